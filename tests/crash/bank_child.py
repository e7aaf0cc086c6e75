"""A bank on a real folder, under a mixed load, until it is killed.

    python bank_child.py <folder> <acknowledgements> <first number> <seed>

Each request has a number of its own, from the first number on. After a request was acknowledged, and only then, a line
``<kind> <number>`` is appended to the file of acknowledgements. The file is written without any fsync: what a process
wrote is there for the next one however it died. A first line ``open`` says that the hub has been opened.

The definitions are here as well, so that whoever looks at the folder afterwards opens the same hub.
"""

from __future__ import annotations

import os
import random
import sys
from typing import TYPE_CHECKING

import trio
from attrs import define, field
from perdure.entities import Entity, EntityRef
from perdure.hub import TaskHub, activity_context
from perdure.orchestration import OrchestrationContext, activity, orchestrator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ACCOUNTS = 8
LEDGERS = 32
FUNDS = 1_000_000
"""What each account begins with."""


@define
class Account(Entity):
    """Money. It is given once, and then only moved."""

    balance: int = 0

    def open_with(self, amount: int) -> None:
        """Give an account its money, once."""
        if not self.balance:
            self.balance = amount

    def move(self, amount: int) -> int:
        """Add or take money."""
        self.balance += amount
        return self.balance


@define
class Ledger(Entity):
    """The numbers of signals and calls, in the order in which they came."""

    numbers: list[int] = field(factory=list[int])

    def note(self, number: int) -> int:
        """Note a number."""
        self.numbers.append(number)
        return number

    async def note_slowly(self, number: int) -> int:
        """Note a number after some I/O."""
        await trio.lowlevel.checkpoint()
        self.numbers.append(number)
        return number


@activity
async def stamp(number: int) -> str:
    """Text that shows which call it is for."""
    await trio.lowlevel.checkpoint()
    return f"{number} {activity_context().idempotency_key}"


@activity
def stamp_in_a_thread(number: int) -> str:
    """The same in a thread."""
    return f"{number} {activity_context().idempotency_key}"


@orchestrator
async def transfer(ctx: OrchestrationContext, number: int, payer: str, payee: str, amount: int) -> str:
    """Move money under locks, then have a stamp."""
    source, target = Account.at(payer), Account.at(payee)
    async with ctx.lock_entities(source, target):
        await ctx.call_entity(source, Account.move, -amount)
        await ctx.call_entity(target, Account.move, amount)
    return await ctx.call_activity(stamp, number)


@orchestrator
async def errand(ctx: OrchestrationContext, number: int) -> list[str]:
    """A child that moves money, beside an activity in a thread, and a signal."""
    ctx.signal_entity(ledger(number), Ledger.note, number)
    child = ctx.call_sub_orchestrator(transfer, number, str(number % ACCOUNTS), str((number + 1) % ACCOUNTS), 1)
    return await ctx.when_all([child, ctx.call_activity(stamp_in_a_thread, number)])


DEFINITIONS: tuple[object, ...] = (Account, Ledger, stamp, stamp_in_a_thread, transfer, errand)


def ledger(number: int) -> EntityRef[Ledger]:
    """The ledger that notes a number."""
    return Ledger.at(str(number % LEDGERS))


class Load:
    """Clients that send requests, each one after another, and write down what was acknowledged."""

    def __init__(self, hub: TaskHub, acknowledgements: int, first: int, seed: int) -> None:
        self._hub = hub
        self._file = acknowledgements
        self._next = first
        self._random = random.Random(seed)

    def acknowledged(self, kind: str, number: int) -> None:
        """Write a line."""
        os.write(self._file, f"{kind} {number}\n".encode())

    async def client(self) -> None:
        """Requests without end."""
        kinds: list[tuple[str, Callable[[int], Awaitable[object]]]] = [
            ("signal", self._signal),
            ("call", self._call),
            ("slow", self._slow),
            ("transfer", self._transfer),
            ("errand", self._errand),
            ("batch", self._batch),
        ]
        while True:
            kind, send = self._random.choice(kinds)
            self._next += 1
            number = self._next
            await send(number)
            self.acknowledged(kind, number)

    async def _signal(self, number: int) -> None:
        await self._hub.signal_entity(ledger(number), Ledger.note, number)

    async def _call(self, number: int) -> None:
        answer = await self._hub.call_entity(ledger(number), Ledger.note, number, request_id=f"r-{number}")
        assert answer == number

    async def _slow(self, number: int) -> None:
        answer = await self._hub.call_entity(ledger(number), Ledger.note_slowly, number)
        assert answer == number

    async def _transfer(self, number: int) -> None:
        payer, payee = self._random.sample(range(ACCOUNTS), 2)
        await self._hub.start(transfer, number, str(payer), str(payee), self._random.randrange(1, 50), instance_id=f"t-{number}")

    async def _errand(self, number: int) -> None:
        instance = await self._hub.start(errand, number, instance_id=f"e-{number}")
        if number % 2:
            await instance.result()

    async def _batch(self, number: int) -> None:
        async with self._hub.batch() as batch:
            batch.signal_entity(ledger(number), Ledger.note, number)
            batch.start(errand, number, instance_id=f"b-{number}")


async def main() -> None:
    """Open the hub and press on."""
    folder, acknowledgements, first, seed = sys.argv[1:]
    file = os.open(acknowledgements, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with TaskHub("Bank", DEFINITIONS, folder) as hub, trio.open_nursery() as nursery:
        for number in range(ACCOUNTS):
            await hub.call_entity(Account.at(str(number)), Account.open_with, FUNDS, request_id=f"open-{number}")
        load = Load(hub, file, int(first), int(seed))
        load.acknowledged("open", 0)
        for _ in range(4):
            nursery.start_soon(load.client)


if __name__ == "__main__":
    trio.run(main)
