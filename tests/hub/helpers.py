"""A bank for the hub's tests, a clock to be moved, and calls beside a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
from attrs import define, field
from perdure.entities import Entity
from perdure.hub import HubClosed, TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage import StorageInDoubt
from perdure.testing import ProcessDied, ScriptedStore

T = TypeVar("T")

START = 1_900_000_000_000_000
"""Where fake clocks begin, microseconds since 1970."""

SECOND = 1_000_000

PATIENCE = 2000
"""Checkpoints after which a test stops waiting for something that should long have happened."""

STUCK_SECONDS = 30.0
"""A call that takes so long will not end any more; no test that passes takes a noticeable part of that."""


# --- a bank


class InsufficientFunds(Exception):
    """A withdrawal of more than there is."""


@define
class Account(Entity):
    """Money."""

    balance: int = 0

    def deposit(self, amount: int) -> int:
        """Add money; the new balance."""
        self.balance += amount
        return self.balance

    def withdraw(self, amount: int) -> int:
        """Take money; the new balance."""
        if amount > self.balance:
            raise InsufficientFunds(f"{amount} > {self.balance}")
        self.balance -= amount
        return self.balance

    async def deposit_slowly(self, amount: int) -> int:
        """Add money after some I/O; the new balance."""
        before = self.balance
        await trio.lowlevel.checkpoint()
        self.balance = before + amount
        return self.balance


@define
class Ledger(Entity):
    """Numbers in the order in which they came."""

    numbers: list[int] = field(factory=list[int])

    def note(self, number: int) -> int:
        """Note a number; how many there are."""
        self.numbers.append(number)
        return len(self.numbers)

    def note_and_pass(self, number: int, other: str) -> None:
        """Note a number, and have another ledger note it."""
        self.numbers.append(number)
        self.context.signal_entity(Ledger.at(other), Ledger.note, number)

    def note_and_fail(self, number: int, other: str) -> None:
        """Change everything that an operation can change, then fail."""
        self.note_and_pass(number, other)
        self.context.start(receive, instance_id=f"never-{number}")
        raise ValueError(f"number {number} is not wanted")


@activity
async def receipt(payer: str, payee: str, amount: int) -> str:
    """A line of text."""
    await trio.lowlevel.checkpoint()
    return f"{payer} -> {payee}: {amount}"


@orchestrator
async def transfer(ctx: OrchestrationContext, payer: str, payee: str, amount: int) -> str:
    """Move money under locks; the receipt."""
    source, target = Account.at(payer), Account.at(payee)
    async with ctx.lock_entities(source, target):
        await ctx.call_entity(source, Account.withdraw, amount)
        await ctx.call_entity(target, Account.deposit, amount)
    return await ctx.call_activity(receipt, payer, payee, amount)


@orchestrator
async def receive(ctx: OrchestrationContext) -> int:
    """Wait for one event; its value."""
    return await ctx.wait_for_external_event("go", int)


BANK: tuple[object, ...] = (Account, Ledger, receipt, transfer, receive)


def bank(storage: Any, *more: object, **options: Any) -> TaskHub:
    """A hub of the bank, not yet open."""
    return TaskHub("Bank", [*BANK, *more], storage, **options)


# --- time


@define
class FakeClock:
    """A wall clock that stands still until it is moved.

    Attributes:
      time: microseconds since 1970.
    """

    time: int = START

    def __call__(self) -> int:
        """The time."""
        return self.time

    def move(self, seconds: float) -> None:
        """Set it forward, or back."""
        self.time += int(seconds * SECOND)


async def rounds(count: int = 40) -> None:
    """Let every other task, the hub's scheduler among them, have so many steps."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something holds; fail if it does not come to hold."""
    for _ in range(PATIENCE):
        if condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("what the test waits for did not happen")


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, of whatever depth; of anything else, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]


def dies(program: Callable[[ScriptedStore], Awaitable[object]], store: ScriptedStore) -> bool:
    """Run a process; whether its disk killed it."""
    try:
        trio.run(program, store)
    except BaseException as error:
        if all(isinstance(leaf, StorageInDoubt | ProcessDied | HubClosed) for leaf in leaves(error)):
            return True
        raise
    return False


async def ending(run: Callable[[], Awaitable[object]]) -> BaseException | None:
    """What a function raises, whatever it is; ``None`` if it returns.

    Not ``pytest.raises``: a test that is ended by a stray cancellation would pass.
    """
    try:
        await run()
    except BaseException as error:
        return error
    return None


@define
class Caller:
    """A client's call that runs beside the test.

    Attributes:
      ended: it has returned or raised.
      value, error: with what.
    """

    ended: bool = False
    value: Any = None
    error: BaseException | None = None

    async def run(self, verb: Callable[[], Awaitable[Any]]) -> None:
        """Make the call; an exception is kept, not raised."""
        try:
            self.value = await verb()
        except Exception as error:
            self.error = error
        self.ended = True

    @property
    def outcome(self) -> Any:
        """What was returned; raises what was raised."""
        assert self.ended, "the call has not ended"
        if self.error is not None:
            raise self.error
        return self.value


class Callers:
    """Calls beside the test."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def call(self, verb: Callable[[], Awaitable[Any]]) -> Caller:
        """Begin a call."""
        caller = Caller()
        self._nursery.start_soon(caller.run, verb)
        return caller


@asynccontextmanager
async def callers() -> AsyncGenerator[Callers]:
    """Calls beside the test; all have ended when the block is left. One that is stuck then is given up at last."""
    async with trio.open_nursery() as nursery:
        yield Callers(nursery)
        nursery.cancel_scope.deadline = trio.current_time() + STUCK_SECONDS
