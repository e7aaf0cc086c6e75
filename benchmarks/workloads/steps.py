"""W6, long orchestrations: 1,000 and 10,000 activities one after another, and 10,000 entity calls; from start to result.

The ratio of the two says how the cost grows with the length: 10 is linear, 100 would be a history that is read again at
each step. The short one is run before and after the long one, and the ratio is to their mean, so that a machine that
becomes busier meanwhile counts on both sides. Each activity has to wait for its commit, so this is mostly the disk: it is
compared with as many commits of one put by LMDB, half of them made before and half after. An entity call between two
instances of one hub is processed at memory speed. Bare Python: awaiting the same function, and calling the same method, as
often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, hello
from ..figures import TIMES, Figure, in_commits
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
async def deposits(ctx: OrchestrationContext, key: str, count: int) -> int:
    """Call an entity that many times in sequence; return its balance."""
    balance = 0
    for _ in range(count):
        balance = await ctx.call_entity(Account.at(key), Account.deposit, 1)
    return balance


DEFINITIONS = (Account, hello, steps, deposits)


async def _run(run: Run) -> list[Figure]:
    short, long = run.count(1000, 2), run.count(10_000, 20)
    async with run.hub(DEFINITIONS) as (hub, watch):
        first = await timed_steps(hub, watch, short)
        commits = run.one_puts(long // 2)
        second = await timed_steps(hub, watch, long)
        commits += run.one_puts(long - long // 2)
        third = await timed_steps(hub, watch, short)
        calls = await timed_deposits(hub, watch, "saver", long)
    a_step = await bare_greetings(1000) / 1000
    whole = second.duration("10,000 activities", long, bare_seconds=a_step * long)
    return [
        first.duration("1,000 activities", short, bare_seconds=a_step * short),
        whole,
        in_commits(whole, sum(commits)),
        Figure("ratio of the two", TIMES, 2 * second.seconds / (first.seconds + third.seconds)),
        calls.duration("10,000 entity calls", long, bare_seconds=bare_deposits(["saver"], long)),
    ]


async def timed_steps(hub: TaskHub, watch: Stopwatch, count: int) -> Stretch:
    """Run an orchestration of that many activities, and check its result."""
    with watch.stretch() as stretch:
        answers = await (await hub.start(steps, count)).result()
    check("the number of answers", answers, count)
    return stretch


async def timed_deposits(hub: TaskHub, watch: Stopwatch, key: str, count: int) -> Stretch:
    """Run an orchestration of that many calls of a new entity, and check its balance."""
    with watch.stretch() as stretch:
        balance = await (await hub.start(deposits, key, count)).result()
    check("the balance", balance, count)
    return stretch


WORKLOAD = Workload("steps", "W6: 1,000 and 10,000 activities, and 10,000 entity calls, in one orchestration", _run)
