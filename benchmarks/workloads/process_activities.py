"""Activities that compute: in worker threads, and in worker processes; and what the hub can do beside them.

One orchestration calls 200 activities at once that each compute for some 10 ms. Meanwhile a client calls an entity, one call at a
time: the 99th percentile of that is what the computing takes from the hub. Bare Python: the same computations one after another,
in one thread. Threads compute one at a time, whatever the machine; processes as many at a time as there are processors. (What the
processes use of the machine is reported as use by others.)

Then what a process costs by itself: an activity that does nothing, one at a time, from start to result.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio
from perdure.orchestration import OrchestrationContext, activity, orchestrator

from ..definitions import Account
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload

if TYPE_CHECKING:
    from perdure.hub import TaskHub

    from ..measuring import Stopwatch

_NUMBERS = 100_000


def compute(seed: int) -> int:
    """What the activities do, to be called bare: some 10 ms of arithmetic."""
    number = seed
    for _ in range(_NUMBERS):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return number


@activity
def in_thread(seed: int) -> int:
    """Compute in a worker thread."""
    return compute(seed)


@activity(process=True)
def in_process(seed: int) -> int:
    """Compute in a worker process."""
    return compute(seed)


@activity
def idle_thread() -> None:
    """Do nothing, in a worker thread."""


@activity(process=True)
def idle_process() -> None:
    """Do nothing, in a worker process."""


COMPUTING = {"thread": in_thread, "process": in_process}
IDLE = {"thread": idle_thread, "process": idle_process}


@orchestrator
async def at_once(ctx: OrchestrationContext, where: str, count: int) -> int:
    """Compute that often at once; the sum of the results."""
    return sum(await ctx.when_all([ctx.call_activity(COMPUTING[where], seed) for seed in range(count)]))


@orchestrator
async def once(ctx: OrchestrationContext, where: str) -> None:
    """Do nothing, once."""
    await ctx.call_activity(IDLE[where])


async def _run(run: Run) -> list[Figure]:
    count, calls = run.count(200, 4), run.count(500, 5)
    started = perf_counter()
    total = sum(compute(seed) for seed in range(count))
    bare = perf_counter() - started
    figures: list[Figure] = []
    async with run.hub([Account, at_once, once, *COMPUTING.values(), *IDLE.values()]) as (hub, watch):
        await (await hub.start(at_once, "process", 4)).result()  # the processes are there
        for where in ("thread", "process"):
            figures += await _computing(hub, watch, where, count, total, bare)
        for where in ("thread", "process"):

            async def nothing(_: int, where: str = where) -> None:
                await (await hub.start(once, where)).result()

            with watch.stretch() as stretch:
                latencies = await closed_loop(1, calls, nothing)
            figures.append(stretch.latency(f"nothing in a {where}, p50", latencies, 0.5, bare_seconds=None))
    return figures


async def _computing(hub: TaskHub, watch: Stopwatch, where: str, count: int, total: int, bare: float) -> list[Figure]:
    latencies: list[float] = []

    async def call_on() -> None:
        while True:
            began = perf_counter()
            await hub.call_entity(Account.at("beside"), Account.deposit, 1)
            latencies.append(perf_counter() - began)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_on)
        with watch.stretch() as stretch:
            check("the sum of the results", await (await hub.start(at_once, where, count)).result(), total)
        nursery.cancel_scope.cancel()
    return [
        stretch.rate(f"computed in a {where}", count, bare_seconds=bare),
        stretch.latency(f"a call beside {where}, p99", latencies, 0.99, bare_seconds=None, commits_each=1),
    ]


WORKLOAD = Workload("process-activities", "200 activities that compute, in threads and in processes, and calls beside them", _run)
