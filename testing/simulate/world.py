"""What a simulation runs: one entity class, one activity, and one orchestrator that does whatever its argument says.

Everything that is sent carries an *op*, a short text that is never used twice. Entities note the ops that they performed, in
order, in their state; orchestrations note the events that they received in their arguments and results. So what has happened
to each op can be read from the store alone, by somebody who knows nothing of the hub (:mod:`.effects`).

An orchestrator's argument is a list of instructions, such as ``["lock", ["a", "b"], [["call", "a", 5]]]``; see
:class:`Performer`. :mod:`.programs` makes random ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import trio
from attrs import define, field

from ...entities import Entity, EntityOperationFailed
from ...hub import activity_context
from ...orchestration import (
    ActivityFailed,
    Cancelled,
    DurableTask,
    OrchestrationContext,
    RetryPolicy,
    SubOrchestrationFailed,
    TooSlowError,
    activity,
    orchestrator,
)

NEVER: Final = "never"
"""What the ops and instances of operations that fail are called: nobody may ever see one."""

Program = list[Any]


class Outside(Protocol):
    """The world around the hub, in which activities and async operations have effects."""

    def operation_began(self, key: str, op: str) -> None:
        """An async operation of an entity has begun."""
        ...

    def execution_runs(self, instance_id: str, tag: str) -> None:
        """An execution of an instance runs, whose ops begin with the tag; it may be a replay."""
        ...

    def starting(self, instance_id: str) -> None:
        """An orchestration is about to start another one; it may be a replay."""
        ...

    def activity_began(self, instance_id: str, idempotency_key: str, attempt: int) -> tuple[float, bool]:
        """An activity has begun: how long it takes, seconds, and whether it fails."""
        ...


_outside: Final[list[Outside]] = []


@contextmanager
def around(world: Outside) -> Generator[None]:
    """The world is around whatever runs in this process meanwhile: an orchestrator's own variables reach no further."""
    _outside.append(world)
    try:
        yield
    finally:
        _outside.pop()


def outside() -> Outside:
    """The world around the hub.

    Raises:
      IndexError: no simulation runs.
    """
    return _outside[-1]


class Refused(Exception):
    """An operation that fails after it has done everything that it can do."""


@define
class Ledger(Entity):
    """The ops that it performed.

    Attributes:
      log: their names, in order.
      balance: the sum of their amounts.
      sent: what it sent on: the op, a blank, and the key of the receiver.
    """

    log: list[str] = field(factory=list[str])
    balance: int = 0
    sent: list[str] = field(factory=list[str])

    def note(self, op: str, amount: int) -> int:
        """Perform an op; the place that it got, from 1."""
        self.log.append(op)
        self.balance += amount
        return len(self.log)

    def take(self, op: str, amount: int) -> int:
        """Perform an op with a negative amount; fails, late, if there is not so much."""
        place = self.note(op, amount)
        if self.balance < 0:
            raise Refused(f"{-amount} is more than there is")
        return place

    async def note_slowly(self, op: str, amount: int, seconds: float) -> int:
        """Perform an op with I/O in its midst."""
        outside().operation_began(self.context.entity_id.key, op)
        await trio.sleep(seconds)
        return self.note(op, amount)

    def pass_on(self, op: str, amount: int, other: str) -> int:
        """Perform an op, and have another ledger perform one."""
        passed = f"@{self.context.entity_id.key}/{len(self.sent)}"
        self.sent.append(f"{passed} {other}")
        self.context.signal_entity(Ledger.at(other), Ledger.note, passed, 0)
        return self.note(op, amount)

    def launch(self, op: str, amount: int, instance_id: str, program: Program) -> int:
        """Perform an op, start an orchestration, and raise an event to it."""
        self.context.start(script, program, list[str](), instance_id=instance_id)
        self.context.raise_event(instance_id, "a", f"{op}!{instance_id}")
        return self.note(op, amount)

    def refuse(self, op: str, amount: int, other: str) -> int:
        """Do everything, then fail: nothing of it may remain (E4)."""
        self.context.signal_entity(Ledger.at(other), Ledger.note, f"{NEVER} {op}", 0)
        self.context.start(script, [], list[str](), instance_id=f"{NEVER} {op}")
        self.sent.append(f"{NEVER} {other}")
        self.note(op, amount + 1)
        raise Refused(op)


@define
class Scratch(Entity):
    """A number that is deleted again and again (E3, E11)."""

    value: int = 0

    def add(self, amount: int) -> int:
        """Add to it; the new value."""
        self.value += amount
        return self.value


@activity
async def work(label: str) -> str:
    """Take the time, and fail, as the world decides."""
    context = activity_context()
    seconds, fails = outside().activity_began(context.instance_id, context.idempotency_key, context.attempt)
    await trio.sleep(seconds)
    if fails:
        raise Refused(label)
    return label


@orchestrator
async def script(ctx: OrchestrationContext, program: Program, collected: list[str]) -> list[str]:
    """Perform a program; the events that it received, in order."""
    performer = Performer(ctx, collected)
    await performer.perform(program)
    return performer.collected


DEFINITIONS: Final[tuple[object, ...]] = (Ledger, Scratch, work, script)


class Performer:
    """Performs the instructions of a program.

    Attributes:
      collected: the events that were received, those of earlier executions first.
    """

    def __init__(self, ctx: OrchestrationContext, collected: list[str]) -> None:
        self._ctx = ctx
        self.collected = list(collected)
        self._tag = ctx.uuid4().hex[:12]
        self._ops = 0
        outside().execution_runs(ctx.instance_id, self._tag)
        self._instructions: dict[str, Callable[..., Awaitable[None]]] = {
            "signal": self._signal,
            "call": self._call,
            "slow": self._slow,
            "refuse": self._refuse,
            "abandon": self._abandon,
            "work": self._work,
            "sleep": self._sleep,
            "event": self._event,
            "race": self._race,
            "drop": self._drop,
            "within": self._within,
            "lock": self._lock,
            "child": self._child,
            "children": self._children,
            "nursery": self._nursery,
            "try": self._try,
            "careful": self._careful,
            "start": self._start,
            "raise": self._raise,
            "status": self._status,
            "continue": self._continue,
            "fail": self._fail,
        }

    async def perform(self, program: Program) -> None:
        """Perform a program."""
        for name, *arguments in program:
            await self._instructions[name](*arguments)

    def _op(self) -> str:
        self._ops += 1
        return f"{self._tag}:{self._ops}"

    # --- entities

    async def _signal(self, key: str, amount: int) -> None:
        self._ctx.signal_entity(Ledger.at(key), Ledger.note, self._op(), amount)

    async def _call(self, key: str, amount: int) -> None:
        operation = Ledger.note if amount >= 0 else Ledger.take
        with suppress(EntityOperationFailed):
            await self._ctx.call_entity(Ledger.at(key), operation, self._op(), amount)

    async def _slow(self, key: str, seconds: float) -> None:
        await self._ctx.call_entity(Ledger.at(key), Ledger.note_slowly, self._op(), 0, seconds)

    async def _refuse(self, key: str, other: str) -> None:
        try:
            await self._ctx.call_entity(Ledger.at(key), Ledger.refuse, self._op(), 1, other)
        except EntityOperationFailed:
            return
        raise AssertionError("an operation that raises did not fail")

    async def _abandon(self, key: str) -> None:
        self._ctx.call_entity(Ledger.at(key), Ledger.note, self._op(), 0)

    async def _lock(self, names: list[str], limit: float | None, inner: Program) -> None:
        async with self._ctx.lock_entities(*map(Ledger.at, names), wait_timeout=limit):
            await self.perform(inner)

    # --- work, time, events

    async def _work(self, attempts: int, seconds: float | None) -> None:
        retry = RetryPolicy(max_attempts=attempts, first_interval=1.0, coefficient=2.0) if attempts > 1 else None
        chosen = work.options(retry=retry, timeout=seconds)
        with suppress(ActivityFailed):
            await self._ctx.call_activity(chosen, self._op())

    async def _sleep(self, seconds: float) -> None:
        before = self._ctx.now
        await self._ctx.sleep(seconds)
        if (self._ctx.now - before).total_seconds() < seconds:
            raise AssertionError("a sleep was too short")

    async def _event(self, name: str) -> None:
        self.collected.append(await self._ctx.wait_for_external_event(name, str))

    async def _race(self, seconds: float, name: str) -> None:
        event = self._ctx.wait_for_external_event(name, str)
        timer = self._ctx.create_timer(seconds)
        if await self._ctx.when_any([event, timer]) is event:
            self.collected.append(await event)
            timer.cancel()

    async def _within(self, seconds: float, inner: Program) -> None:
        with self._ctx.move_on_after(seconds):
            await self.perform(inner)

    async def _drop(self, what: str, seconds: float) -> None:
        """Call something, and cancel it after a while."""
        task: DurableTask[Any]
        match what:
            case "work":
                task = self._ctx.call_activity(work, self._op())
            case "timer":
                task = self._ctx.create_timer(100.0)
            case _:
                program: Program = [["sleep", 100.0], ["work", 1, None]]
                task = self._ctx.call_sub_orchestrator(script, program, list[str]())
        await self._ctx.sleep(seconds)
        task.cancel()

    # --- others

    async def _child(self, program: Program, instance_id: str | None) -> None:
        if instance_id is not None:
            outside().starting(instance_id)
        await self._ctx.call_sub_orchestrator(script, program, list[str](), instance_id=instance_id)

    async def _children(self, programs: list[Program]) -> None:
        await self._ctx.when_all([self._ctx.call_sub_orchestrator(script, program, list[str]()) for program in programs])

    async def _nursery(self, programs: list[Program]) -> None:
        async with self._ctx.open_nursery() as nursery:
            for program in programs:
                nursery.start_soon(self.perform, program)

    async def _start(self, instance_id: str, program: Program) -> None:
        outside().starting(instance_id)
        self._ctx.start(script, program, list[str](), instance_id=instance_id)

    async def _raise(self, instance_id: str, name: str) -> None:
        self._ctx.raise_event(instance_id, name, self._op())

    # --- the instance itself

    async def _try(self, inner: Program) -> None:
        with suppress(SubOrchestrationFailed, TooSlowError, Refused, ExceptionGroup):
            await self.perform(inner)

    async def _careful(self, inner: Program, key: str) -> None:
        try:
            await self.perform(inner)
        except Cancelled:
            await self._ctx.call_entity(Ledger.at(key), Ledger.note, self._op(), 0)
            raise

    async def _status(self, number: int) -> None:
        self._ctx.set_custom_status(number)

    async def _continue(self, program: Program) -> None:
        self._ctx.continue_as_new(program, self.collected)

    async def _fail(self) -> None:
        raise Refused("as it was told")
