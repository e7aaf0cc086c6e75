"""Transfers: an orchestration locks two of 1,000 accounts, withdraws from one and deposits to the other.

Each client starts one and waits for its result, then the next. Accounts are drawn at random (the same ones in each run),
so some transfers wait for each other's locks. At the end the sum of all money must be what it was. Bare Python: a
withdrawal and a deposit on objects in a dictionary.
"""

from __future__ import annotations

import random
from time import perf_counter

from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload
from .signals_batch import total_balance

_OPENING_BALANCE = 1_000_000


@orchestrator
async def transfer(ctx: OrchestrationContext, payer: str, payee: str, amount: int) -> int:
    """Move money, isolated from all other transfers; return what the payee has then."""
    source, target = Account.at(payer), Account.at(payee)
    async with ctx.lock_entities(source, target):
        await ctx.call_entity(source, Account.withdraw, amount)
        return await ctx.call_entity(target, Account.deposit, amount)


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000, 10))
    dice = random.Random(1)
    pairs = [dice.sample(keys, 2) for _ in range(10_000)]
    alone, some, many = run.count(1000), run.count(8000, 64), run.count(16_000, 1024)
    async with run.hub([Account, transfer]) as (hub, watch):
        async with hub.batch() as batch:
            for key in keys:
                batch.signal_entity(Account.at(key), Account.deposit, _OPENING_BALANCE)
        await hub.wait_idle()

        async def move(number: int) -> None:
            payer, payee = pairs[number % len(pairs)]
            await (await hub.start(transfer, payer, payee, 1)).result()

        with watch.stretch() as one:
            latencies = await closed_loop(1, alone, move)
        with watch.stretch() as at64:
            latencies64 = await closed_loop(64, some, move)
        with watch.stretch() as at1024:
            await closed_loop(1024, many, move)
        await hub.wait_idle()
        check("the sum of all money", await total_balance(hub, keys), _OPENING_BALANCE * len(keys))
    bare = _bare_transfer(keys, pairs)
    return [
        one.latency("alone, p50", latencies, 0.5, bare_seconds=bare, target=2),
        one.latency("alone, p99", latencies, 0.99, bare_seconds=bare),
        at64.rate("64 clients", some, bare_seconds=bare * some, target=4000),
        at64.latency("64 clients, p99", latencies64, 0.99, bare_seconds=bare, commits_each=2),
        at1024.rate("1,024 clients", many, bare_seconds=bare * many),
    ]


def _bare_transfer(keys: list[str], pairs: list[list[str]]) -> float:
    accounts = {key: Account(_OPENING_BALANCE) for key in keys}
    started = perf_counter()
    for payer, payee in pairs:
        accounts[payer].withdraw(1)
        accounts[payee].deposit(1)
    return (perf_counter() - started) / len(pairs)


WORKLOAD = Workload("transfer", "locked transfers between two of 1,000 accounts: 1, 64 and 1,024 clients", _run)
