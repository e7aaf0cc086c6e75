"""W2, calls: an operation runs and its result comes back, durable.

2,000 to one entity, one at a time (latency), then over 1,000 entities 20,000 by 64 clients and 50,000 by 256 (rate). LMDB
alone, one at a time: one commit. Bare Python: the same ``deposit`` calls on objects in a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..definitions import Account, account_keys
from ..figures import Figure, in_commits
from ..measuring import Run, check, closed_loop, percentile
from ..workload import Workload
from .signals_batch import bare_deposits, total_balance

if TYPE_CHECKING:
    from perdure.hub import TaskHub


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000))
    alone, some, many = run.count(2000), run.count(20_000), run.count(50_000)
    async with run.hub([Account]) as (hub, watch):
        commits = run.one_puts(run.count(500))
        with watch.stretch() as one:
            latencies = await call_all(hub, keys[:1], alone, 1)
        commits += run.one_puts(run.count(500))
        with watch.stretch() as at64:
            await call_all(hub, keys, some, 64)
        with watch.stretch() as at256:
            crowded = await call_all(hub, keys, many, 256)
        check("the sum of all balances", await total_balance(hub, keys), alone + some + many)
    bare = bare_deposits(keys, 10) / (10 * len(keys))
    median = one.latency("one at a time, p50", latencies, 0.5, bare_seconds=bare)
    return [
        median,
        one.latency("one at a time, p99", latencies, 0.99, bare_seconds=bare),
        in_commits(median, percentile(commits, 0.5)),
        at64.rate("64 clients", some, bare_seconds=bare * some),
        at256.rate("256 clients", many, bare_seconds=bare * many),
        at256.latency("256 clients, p99", crowded, 0.99, bare_seconds=bare, commits_each=1),
    ]


async def call_all(hub: TaskHub, keys: list[str], calls: int, clients: int) -> list[float]:
    """Deposit 1 that many times, to one key after another, and wait for each balance; the latencies in seconds."""

    async def call(number: int) -> None:
        await hub.call_entity(Account.at(keys[number % len(keys)]), Account.deposit, 1)

    return await closed_loop(clients, calls, call)


WORKLOAD = Workload("call", "W2: operations called one at a time, and over 1,000 entities by 64 and 256 clients", _run)
