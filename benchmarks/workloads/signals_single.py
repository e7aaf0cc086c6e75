"""Single signals: 256 client tasks send 50,000 to 1,000 entities, each waiting for the acknowledgement of its own.

Counted from the first call until all are applied. An acknowledgement means durable, so without group commit this would
be one commit a signal. Bare Python: the same ``deposit`` calls on objects in a dictionary.
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
    rounds = 50
    signals = rounds * len(keys)
    async with run.hub([Account]) as (hub, watch):

        async def signal(number: int) -> None:
            await hub.signal_entity(Account.at(keys[number % len(keys)]), Account.deposit, 1)

        with watch.stretch() as stretch:
            latencies = await closed_loop(_CLIENTS, signals, signal)
            await hub.wait_idle()
            total = await total_balance(hub, keys)
        check("the sum of all balances", total, signals)
    bare = bare_deposits(keys, rounds)
    return [
        stretch.rate("256 clients", signals, bare_seconds=bare),
        stretch.latency("256 clients, p50 to acknowledge", latencies, 0.5, bare_seconds=bare / signals, commits_each=1),
    ]


WORKLOAD = Workload("signals-single", "50,000 single signals by 256 clients to 1,000 entities, until applied", _run)
