"""Orchestrations of five async activities, one after another, by 256 clients that start them and wait for the result.

The same as sequence3 with more steps: the difference of the two is the price of a step. Bare Python: awaiting the same
function five times.
"""

from __future__ import annotations

from ..definitions import greetings, hello
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload
from .sequence3 import bare_greetings

_STEPS = 5
_CLIENTS = 256


async def _run(run: Run) -> list[Figure]:
    amount = run.count(6000, _CLIENTS)
    expected = [f"Hello city {number}" for number in range(_STEPS)]
    async with run.hub([hello, greetings]) as (hub, watch):

        async def orchestrate(_: int) -> None:
            check("a result", await (await hub.start(greetings, _STEPS)).result(), expected)

        with watch.stretch() as stretch:
            latencies = await closed_loop(_CLIENTS, amount, orchestrate)
    bare = await bare_greetings(_STEPS)
    return [
        stretch.rate("256 clients", amount, bare_seconds=bare * amount),
        stretch.latency("256 clients, p50", latencies, 0.5, bare_seconds=bare, commits_each=_STEPS + 1),
    ]


WORKLOAD = Workload("hello5", "orchestrations of five activities in sequence: 256 clients", _run)
