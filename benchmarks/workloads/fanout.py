"""One orchestration that calls 1,000 activities at once and waits for all; from its start to its result, in seconds.

Bare Python: awaiting the same function 1,000 times.
"""

from __future__ import annotations

from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import hello
from ..figures import Figure
from ..measuring import Run, check
from ..workload import Workload
from .sequence3 import bare_greetings


@orchestrator
async def spread(ctx: OrchestrationContext, width: int) -> int:
    """Call that many activities at once; return how many results came back."""
    results = await ctx.when_all([ctx.call_activity(hello, f"city {number}") for number in range(width)])
    return len(set(results))


async def _run(run: Run) -> list[Figure]:
    width = run.count(1000, 2)
    async with run.hub([hello, spread]) as (hub, watch):
        with watch.stretch() as stretch:
            got = await (await hub.start(spread, width)).result()
        check("the number of results", got, width)
    return [stretch.duration("start to result", width, bare_seconds=await bare_greetings(width))]


WORKLOAD = Workload("fanout", "one orchestration with 1,000 activities at once", _run)
