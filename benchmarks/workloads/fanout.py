"""W4: one orchestration that calls 1,000 activities at once and waits for all, and one with 10,000; from start to result.

The ratio of the two says how the cost grows with the width, as in ``steps``: 10 is linear, and the narrow one is run before and
after the wide one. Then a hub that notes nothing runs the wide one three times: the most memory that the process has meanwhile
(``RssAnon``, without mapped files), and how much of it is left after the third time, compared with after the first: 1 is no growth.
Bare Python: awaiting the same function as often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import hello
from ..figures import MEGABYTES, TIMES, Figure
from ..measuring import HUB_NAME, Run, check
from ..memory import anonymous_megabytes, watched_memory
from ..workload import Workload
from .sequence3 import bare_greetings

if TYPE_CHECKING:
    from ..measuring import Stopwatch, Stretch


@orchestrator
async def spread(ctx: OrchestrationContext, width: int) -> int:
    """Call that many activities at once; return how many results came back."""
    results = await ctx.when_all([ctx.call_activity(hello, f"city {number}") for number in range(width)])
    return len(set(results))


async def _run(run: Run) -> list[Figure]:
    narrow, wide = run.count(1000, 2), run.count(10_000, 20)
    async with run.hub([hello, spread]) as (hub, watch):
        first = await _timed(hub, watch, narrow)
        second = await _timed(hub, watch, wide)
        third = await _timed(hub, watch, narrow)
    peak, growth = await _memory(run, wide)
    an_activity = await bare_greetings(1000) / 1000
    return [
        first.duration("start to result", narrow, bare_seconds=an_activity * narrow),
        second.duration("10,000 activities", wide, bare_seconds=an_activity * wide),
        Figure("ratio of the two", TIMES, 2 * second.seconds / (first.seconds + third.seconds)),
        Figure("most memory", MEGABYTES, peak),
        Figure("memory kept, third to first", TIMES, growth),
    ]


async def _timed(hub: TaskHub, watch: Stopwatch, width: int) -> Stretch:
    with watch.stretch() as stretch:
        await spread_out(hub, width)
    return stretch


async def _memory(run: Run, width: int) -> tuple[float, float]:
    """The most memory while it is run three times, in megabytes, and the ratio of what is left after the third to after the first."""
    after: list[float] = []
    # The plain default storage: noting what is written, as the timed hub does, would take memory.
    async with TaskHub(HUB_NAME, [hello, spread], storage=run.folder / "plain") as hub, watched_memory() as peak:
        for _ in range(3):
            await spread_out(hub, width)
            await hub.wait_idle()
            after.append(anonymous_megabytes())
    return peak.megabytes, after[-1] / after[0]


async def spread_out(hub: TaskHub, width: int) -> None:
    """Run one orchestration of that width, and check its result."""
    check("the number of results", await (await hub.start(spread, width)).result(), width)


WORKLOAD = Workload("fanout", "W4: one orchestration with 1,000 and with 10,000 activities at once, and the memory of it", _run)
