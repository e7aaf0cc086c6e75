"""W1 through batches: 200,000 signals to 1,000 entities, sent by one client through ``hub.batch()`` in groups of 1,000.

Counted from the first call until all are applied: ``hub.wait_idle()`` has returned, and the sum over all entities is
right. Each group is acknowledged, so durable, before the next one is sent. Bare Python: the same ``deposit`` calls on
objects in a dictionary.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, check
from ..workload import Workload

if TYPE_CHECKING:
    from perdure.hub import TaskHub


async def _run(run: Run) -> list[Figure]:
    entities = run.count(1000)
    groups = run.count(200, 2)
    keys = account_keys(entities)
    async with run.hub([Account]) as (hub, watch):
        with watch.stretch() as stretch:
            await send_groups(hub, keys, groups)
            total = await total_balance(hub, keys)
        check("the sum of all balances", total, groups * entities)
    return [stretch.rate("1 client", groups * entities, bare_seconds=bare_deposits(keys, groups))]


async def send_groups(hub: TaskHub, keys: list[str], groups: int) -> None:
    """Deposit 1 to each of the keys in one batch, that many times, until all is applied."""
    for _ in range(groups):
        async with hub.batch() as batch:
            for key in keys:
                batch.signal_entity(Account.at(key), Account.deposit, 1)
    await hub.wait_idle()


async def total_balance(hub: TaskHub, keys: list[str]) -> int:
    """The sum of the balances as of the last commit."""
    total = 0
    for key in keys:
        account = await hub.read_entity(Account.at(key))
        total += 0 if account is None else account.balance
    return total


def bare_deposits(keys: list[str], rounds: int) -> float:
    """Seconds for that many deposits to each of the keys, on plain objects."""
    accounts = {key: Account() for key in keys}
    started = perf_counter()
    for _ in range(rounds):
        for key in keys:
            accounts[key].deposit(1)
    return perf_counter() - started


WORKLOAD = Workload("signals-batch", "W1: 200,000 signals to 1,000 entities in groups of 1,000, until applied", _run)
