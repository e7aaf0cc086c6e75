"""W6, very long orchestrations: 100,000 activities one after another, and 100,000 entity calls, and a tenth of each.

The ratio says how the cost grows with the length: 10 is linear. The short one is run before and after the long one, and the
ratio is to their mean. Bare Python: awaiting the same function, and calling the same method, as often.
"""

from __future__ import annotations

from ..figures import TIMES, Figure
from ..measuring import Run
from ..workload import Workload
from .sequence3 import bare_greetings
from .signals_batch import bare_deposits
from .steps import DEFINITIONS, timed_deposits, timed_steps


async def _run(run: Run) -> list[Figure]:
    short, long = run.count(10_000, 2), run.count(100_000, 20)
    async with run.hub(DEFINITIONS) as (hub, watch):
        few, many, again = [await timed_steps(hub, watch, count) for count in (short, long, short)]
        calls = [await timed_deposits(hub, watch, f"saver-{place}", count) for place, count in enumerate((short, long, short))]
    a_step = await bare_greetings(1000) / 1000
    return [
        many.duration("100,000 activities", long, bare_seconds=a_step * long),
        Figure("activities, ratio", TIMES, 2 * many.seconds / (few.seconds + again.seconds)),
        calls[1].duration("100,000 entity calls", long, bare_seconds=bare_deposits(["saver"], long)),
        Figure("entity calls, ratio", TIMES, 2 * calls[1].seconds / (calls[0].seconds + calls[2].seconds)),
    ]


WORKLOAD = Workload(
    "steps-long", "W6: 10,000 and 100,000 activities, and as many entity calls, in one orchestration", _run, asked_only=True
)
