"""HelloSequence5: orchestrations of five async activities in sequence, by 256 clients that start them and wait for the result.

The same as sequence3 with more steps: the difference of the two is the price of a step. Bare Python: awaiting the same
function five times.
"""

from __future__ import annotations

from ..definitions import greetings, hello
from ..figures import Figure
from ..measuring import Run
from ..workload import Workload
from .sequence3 import bare_greetings, greet_all

_STEPS = 5
_CLIENTS = 256


async def _run(run: Run) -> list[Figure]:
    amount = run.count(6000, _CLIENTS)
    async with run.hub([hello, greetings]) as (hub, watch):
        with watch.stretch() as stretch:
            latencies = await greet_all(hub, _STEPS, amount, _CLIENTS)
    bare = await bare_greetings(_STEPS)
    return [
        stretch.rate("256 clients", amount, bare_seconds=bare * amount),
        stretch.latency("256 clients, p50", latencies, 0.5, bare_seconds=bare, commits_each=_STEPS + 1),
    ]


WORKLOAD = Workload("hello5", "HelloSequence5: orchestrations of five activities in sequence, 256 clients", _run)
