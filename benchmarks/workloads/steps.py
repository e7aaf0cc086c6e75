"""Long orchestrations: 1,000 and 10,000 activities one after another, and 10,000 entity calls; from start to result.

The ratio of the two says how the cost grows with the length: 10 is linear, 100 would be a history that is read again at
each step. The short one is run before and after the long one, and the ratio is to their mean, so that a machine that
becomes busier meanwhile counts on both sides. An activity costs one commit, so this is mostly the disk; an entity call
between two instances of one hub is processed at memory speed. Bare Python: awaiting the same function, and calling the
same method, as often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, hello
from ..figures import TIMES, Figure
from ..measuring import Run, Stopwatch, Stretch, check
from ..workload import Workload
from .sequence3 import bare_greetings
from .signals_batch import bare_deposits

if TYPE_CHECKING:
    from perdure.hub import TaskHub


@orchestrator
async def steps(ctx: OrchestrationContext, count: int) -> int:
    """Call that many activities in sequence; return how many answered."""
    answers = 0
    for number in range(count):
        answers += (await ctx.call_activity(hello, f"city {number}")).startswith("Hello")
    return answers


@orchestrator
async def deposits(ctx: OrchestrationContext, count: int) -> int:
    """Call an entity that many times in sequence; return its balance."""
    balance = 0
    for _ in range(count):
        balance = await ctx.call_entity(Account.at("saver"), Account.deposit, 1)
    return balance


async def _run(run: Run) -> list[Figure]:
    short, long = run.count(1000, 2), run.count(10_000, 20)
    async with run.hub([Account, hello, steps, deposits]) as (hub, watch):
        first = await _steps(hub, watch, short)
        second = await _steps(hub, watch, long)
        third = await _steps(hub, watch, short)
        with watch.stretch() as calls:
            balance = await (await hub.start(deposits, long)).result()
        check("the balance", balance, long)
    a_step = await bare_greetings(1000) / 1000
    return [
        first.duration("1,000 activities", short, bare_seconds=a_step * short),
        second.duration("10,000 activities", long, bare_seconds=a_step * long),
        Figure("ratio of the two", TIMES, 2 * second.seconds / (first.seconds + third.seconds), target=12),
        calls.duration("10,000 entity calls", long, bare_seconds=bare_deposits(["saver"], long)),
    ]


async def _steps(hub: TaskHub, watch: Stopwatch, count: int) -> Stretch:
    with watch.stretch() as stretch:
        answers = await (await hub.start(steps, count)).result()
    check("the number of answers", answers, count)
    return stretch


WORKLOAD = Workload("steps", "1,000 and 10,000 activities, and 10,000 entity calls, in one orchestration", _run)
