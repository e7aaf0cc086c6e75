"""Orchestrations of three async activities, one after another: started, and waited for.

One at a time (median latency), then by 64 and by 256 clients (rate). An activity starts when the commit that scheduled it
is durable, and its result is durable before the next one starts, so one such orchestration needs at least four commits in
a row: for the start, and for each of the three. Bare Python: awaiting the same function three times.
"""

from __future__ import annotations

from time import perf_counter

from ..definitions import greet, greetings, hello
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload

_STEPS = 3


async def _run(run: Run) -> list[Figure]:
    alone, some, many = run.count(500), run.count(6000, 64), run.count(6000, 256)
    expected = [f"Hello city {number}" for number in range(_STEPS)]
    async with run.hub([hello, greetings]) as (hub, watch):

        async def orchestrate(_: int) -> None:
            check("a result", await (await hub.start(greetings, _STEPS)).result(), expected)

        with watch.stretch() as one:
            latencies = await closed_loop(1, alone, orchestrate)
        with watch.stretch() as at64:
            await closed_loop(64, some, orchestrate)
        with watch.stretch() as at256:
            await closed_loop(256, many, orchestrate)
    bare = await bare_greetings(_STEPS)
    return [
        one.latency("one at a time, p50", latencies, 0.5, bare_seconds=bare),
        at64.rate("64 clients", some, bare_seconds=bare * some, target=2000),
        at256.rate("256 clients", many, bare_seconds=bare * many),
    ]


async def bare_greetings(steps: int) -> float:
    """Seconds for that many activities called bare, one after another; the mean of many rounds."""
    rounds = max(1, 10_000 // steps)
    started = perf_counter()
    for _ in range(rounds):
        for number in range(steps):
            await greet(f"city {number}")
    return (perf_counter() - started) / rounds


WORKLOAD = Workload("sequence3", "orchestrations of three activities in sequence: 1, 64 and 256 clients", _run)
