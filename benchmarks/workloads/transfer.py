"""W5, transfers: an orchestration locks two of 1,000 accounts, withdraws from one and deposits to the other.

Each client starts one and waits for its result, then the next. Accounts are drawn at random (the same ones in each run),
so some transfers wait for each other's locks. At the end the sum of all money must be what it was. Bare Python: a
withdrawal and a deposit on objects in a dictionary.
"""

from __future__ import annotations

import random
from time import perf_counter
from typing import TYPE_CHECKING

from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, account_keys
from ..figures import Figure, in_commits
from ..measuring import Run, check, closed_loop, percentile
from ..workload import Workload
from .signals_batch import total_balance

if TYPE_CHECKING:
    from perdure.hub import TaskHub

OPENING_BALANCE = 1_000_000


@orchestrator
async def transfer(ctx: OrchestrationContext, payer: str, payee: str, amount: int) -> int:
    """Move money, isolated from all other transfers; return what the payee has then."""
    source, target = Account.at(payer), Account.at(payee)
    async with ctx.lock_entities(source, target):
        await ctx.call_entity(source, Account.withdraw, amount)
        return await ctx.call_entity(target, Account.deposit, amount)


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000, 10))
    pairs = pairs_of(keys)
    alone, some, many = run.count(1000), run.count(8000, 64), run.count(16_000, 1024)
    async with run.hub([Account, transfer]) as (hub, watch):
        await open_accounts(hub, keys)
        commits = run.one_puts(run.count(500))
        with watch.stretch() as one:
            latencies = await move_all(hub, pairs, alone, 1)
        commits += run.one_puts(run.count(500))
        with watch.stretch() as at64:
            latencies64 = await move_all(hub, pairs, some, 64)
        with watch.stretch() as at1024:
            await move_all(hub, pairs, many, 1024)
        await hub.wait_idle()
        check("the sum of all money", await total_balance(hub, keys), OPENING_BALANCE * len(keys))
    bare = _bare_transfer(keys, pairs)
    median = one.latency("alone, p50", latencies, 0.5, bare_seconds=bare)
    return [
        median,
        one.latency("alone, p99", latencies, 0.99, bare_seconds=bare),
        in_commits(median, percentile(commits, 0.5)),
        at64.rate("64 clients", some, bare_seconds=bare * some),
        at64.latency("64 clients, p99", latencies64, 0.99, bare_seconds=bare, commits_each=2),
        at1024.rate("1,024 clients", many, bare_seconds=bare * many),
    ]


def pairs_of(keys: list[str]) -> list[list[str]]:
    """Payers and payees, drawn at random; the same ones each time."""
    dice = random.Random(1)
    return [dice.sample(keys, 2) for _ in range(10_000)]


async def open_accounts(hub: TaskHub, keys: list[str]) -> None:
    """Put money into each account."""
    async with hub.batch() as batch:
        for key in keys:
            batch.signal_entity(Account.at(key), Account.deposit, OPENING_BALANCE)
    await hub.wait_idle()


async def move_all(hub: TaskHub, pairs: list[list[str]], transfers: int, clients: int) -> list[float]:
    """Make that many transfers, between one pair after another, and wait for each result; the latencies in seconds."""

    async def move(number: int) -> None:
        payer, payee = pairs[number % len(pairs)]
        await (await hub.start(transfer, payer, payee, 1)).result()

    return await closed_loop(clients, transfers, move)


def _bare_transfer(keys: list[str], pairs: list[list[str]]) -> float:
    accounts = {key: Account(OPENING_BALANCE) for key in keys}
    started = perf_counter()
    for payer, payee in pairs:
        accounts[payer].withdraw(1)
        accounts[payee].deposit(1)
    return (perf_counter() - started) / len(pairs)


WORKLOAD = Workload("transfer", "W5: locked transfers between two of 1,000 accounts: 1, 64 and 1,024 clients", _run)
