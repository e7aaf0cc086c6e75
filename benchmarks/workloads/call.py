"""Calls: an operation runs and its result comes back, durable.

2,000 one at a time (median and 99th percentile of the latency), then 50,000 by 256 clients (rate), over 1,000 entities.
LMDB alone, one at a time: one commit. Bare Python: the same ``deposit`` calls on objects in a dictionary.
"""

from __future__ import annotations

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload
from .signals_batch import bare_deposits, total_balance

_CLIENTS = 256


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000))
    alone, together = run.count(2000), run.count(50_000)
    async with run.hub([Account]) as (hub, watch):

        async def call(number: int) -> None:
            await hub.call_entity(Account.at(keys[number % len(keys)]), Account.deposit, 1)

        with watch.stretch() as one:
            latencies = await closed_loop(1, alone, call)
        with watch.stretch() as many:
            crowded = await closed_loop(_CLIENTS, together, call)
        check("the sum of all balances", await total_balance(hub, keys), alone + together)
    bare = bare_deposits(keys, 10) / (10 * len(keys))
    return [
        one.latency("one at a time, p50", latencies, 0.5, bare_seconds=bare),
        one.latency("one at a time, p99", latencies, 0.99, bare_seconds=bare),
        many.rate("256 clients", together, bare_seconds=bare * together),
        many.latency("256 clients, p99", crowded, 0.99, bare_seconds=bare, commits_each=1),
    ]


WORKLOAD = Workload("call", "operations called one at a time, and by 256 clients, over 1,000 entities", _run)
