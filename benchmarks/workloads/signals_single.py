"""W1, single signals: client tasks send to 1,000 entities, each waiting for the acknowledgement of its own.

First as peers were measured, 10,000 signals by 64 clients; then 50,000 by 256. Counted from the first call until all are
applied, and read back. An acknowledgement means durable, so without group commit this would be one commit a signal. Bare
Python: the same ``deposit`` calls on objects in a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, Stopwatch, Stretch, check, closed_loop
from ..workload import Workload
from .signals_batch import bare_deposits, total_balance

if TYPE_CHECKING:
    from perdure.hub import TaskHub


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000, 2))
    few, many = 10 * len(keys), 50 * len(keys)
    async with run.hub([Account]) as (hub, watch):
        at64, _ = await _until_applied(hub, watch, keys, few, 64)
        at256, latencies = await _until_applied(hub, watch, keys, many, 256)
    bare = bare_deposits(keys, 50) / many
    return [
        at64.rate("64 clients", few, bare_seconds=bare * few),
        at256.rate("256 clients", many, bare_seconds=bare * many),
        at256.latency("256 clients, p50 to acknowledge", latencies, 0.5, bare_seconds=bare, commits_each=1),
    ]


async def _until_applied(
    hub: TaskHub, watch: Stopwatch, keys: list[str], signals: int, clients: int
) -> tuple[Stretch, list[float]]:
    before = await total_balance(hub, keys)
    with watch.stretch() as stretch:
        latencies = await send_singly(hub, keys, signals, clients)
        total = await total_balance(hub, keys)
    check("the sum of all balances", total, before + signals)
    return stretch, latencies


async def send_singly(hub: TaskHub, keys: list[str], signals: int, clients: int) -> list[float]:
    """Deposit 1 that many times, to one key after another, until all is applied; the latencies in seconds."""

    async def signal(number: int) -> None:
        await hub.signal_entity(Account.at(keys[number % len(keys)]), Account.deposit, 1)

    latencies = await closed_loop(clients, signals, signal)
    await hub.wait_idle()
    return latencies


WORKLOAD = Workload("signals-single", "W1: single signals to 1,000 entities by 64 and by 256 clients, until applied", _run)
