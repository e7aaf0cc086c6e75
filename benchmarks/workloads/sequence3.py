"""W3, orchestrations of three async activities, one after another: started, and waited for.

One at a time (median latency), then by 64 and by 256 clients (rate). An activity starts when the commit that scheduled it
is durable, and its result is durable before the next one starts, so one such orchestration needs at least four commits in
a row: for the start, and for each of the three. One at a time it is compared with LMDB's commits of one put each, which
are measured before and after it. Bare Python: awaiting the same function three times.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from ..definitions import greet, greetings, hello
from ..figures import Figure, in_commits
from ..measuring import Run, check, closed_loop, percentile
from ..workload import Workload

if TYPE_CHECKING:
    from perdure.hub import TaskHub

_STEPS = 3


async def _run(run: Run) -> list[Figure]:
    alone, some, many = run.count(500), run.count(6000, 64), run.count(6000, 256)
    async with run.hub([hello, greetings]) as (hub, watch):
        commits = run.one_puts(run.count(500))
        with watch.stretch() as one:
            latencies = await greet_all(hub, _STEPS, alone, 1)
        commits += run.one_puts(run.count(500))
        with watch.stretch() as at64:
            await greet_all(hub, _STEPS, some, 64)
        with watch.stretch() as at256:
            await greet_all(hub, _STEPS, many, 256)
    bare = await bare_greetings(_STEPS)
    median = one.latency("one at a time, p50", latencies, 0.5, bare_seconds=bare)
    return [
        median,
        one.latency("one at a time, p99", latencies, 0.99, bare_seconds=bare),
        in_commits(median, percentile(commits, 0.5)),
        at64.rate("64 clients", some, bare_seconds=bare * some),
        at256.rate("256 clients", many, bare_seconds=bare * many),
    ]


async def greet_all(hub: TaskHub, steps: int, orchestrations: int, clients: int) -> list[float]:
    """Run that many orchestrations of some steps each, and check each result; the latencies in seconds."""
    expected = [f"Hello city {number}" for number in range(steps)]

    async def orchestrate(_: int) -> None:
        check("a result", await (await hub.start(greetings, steps)).result(), expected)

    return await closed_loop(clients, orchestrations, orchestrate)


async def bare_greetings(steps: int) -> float:
    """Seconds for that many activities called bare, one after another; the mean of many rounds."""
    rounds = max(1, 10_000 // steps)
    started = perf_counter()
    for _ in range(rounds):
        for number in range(steps):
            await greet(f"city {number}")
    return (perf_counter() - started) / rounds


WORKLOAD = Workload("sequence3", "W3: orchestrations of three activities in sequence: 1, 64 and 256 clients", _run)
