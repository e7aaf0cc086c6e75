"""The orchestrator of a simulation, which does whatever its argument says, and the activities that it calls.

An orchestrator's argument is a list of instructions, such as ``["lock", ["a", "b"], [["call", "a", 5]]]``; see
:class:`Performer`. :mod:`.programs` makes random ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from ...entities import EntityOperationFailed
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
from .ledgers import SCRIPT, Guest, Ledger, Scratch
from .server import url_of
from .world import Program, Refused, outside

SEEN: Final = "seen"
"""The query that every execution answers: the events that it has received, and the ops that it has sent."""
CREDIT: Final = "credit"
"""The update that every execution offers: have a ledger perform an op."""
UPDATE_SECONDS: Final = 20.0
"""How long an update of nothing takes."""


@activity
async def work(label: str) -> str:
    """Take the time, say how far it is, and fail, as the world decides; another attempt counts on from there."""
    context = activity_context()
    beat = context.last_heartbeat or 0
    effort = outside().activity_began(context.instance_id, context.idempotency_key, context.attempt, context.last_heartbeat)
    for seconds in effort.seconds:
        await trio.sleep(seconds)
        beat += 1
        outside().heartbeat(context.idempotency_key, beat)
        context.heartbeat(beat)
    if effort.fails:
        raise Refused(label)
    return label


@orchestrator(name=SCRIPT)
async def script(ctx: OrchestrationContext, program: Program, collected: list[str]) -> list[str]:
    """Perform a program; the events that it received, in order."""
    performer = Performer(ctx, collected)
    await performer.perform(program)
    return performer.collected


DEFINITIONS: Final[tuple[object, ...]] = (Ledger, Scratch, Guest, work, script)


def _retry(attempts: int) -> RetryPolicy | None:
    return RetryPolicy(max_attempts=attempts, first_interval=1.0, coefficient=2.0) if attempts > 1 else None


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
        self._sent: list[str] = []
        outside().execution_runs(ctx.instance_id, self._tag)
        ctx.on_query(SEEN, self._seen)
        ctx.on_update(CREDIT, self._credit, validate=self._creditable)
        self._instructions: dict[str, Callable[..., Awaitable[None]]] = {
            "signal": self._signal,
            "call": self._call,
            "slow": self._slow,
            "refuse": self._refuse,
            "abandon": self._abandon,
            "later": self._later,
            "work": self._work,
            "http": self._http,
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

    # --- what it offers

    def _seen(self) -> tuple[list[str], list[str]]:
        """The events that it has received, and the ops that it has sent."""
        return self.collected, self._sent

    def _creditable(self, op: str, key: str, amount: int) -> None:
        """Refuse an update."""
        del key
        if amount < 0:
            raise Refused(op)

    async def _credit(self, op: str, key: str, amount: int) -> tuple[str, int]:
        """Have a ledger perform an op; which one, and its place there."""
        del op
        if not amount:
            await self._ctx.sleep(UPDATE_SECONDS)
        performed = self._op()
        self._sent.append(performed)
        return performed, await self._ctx.call_entity(Ledger.at(key), Ledger.note, performed, amount)

    # --- entities

    async def _signal(self, key: str, amount: int) -> None:
        op = self._op()
        self._ctx.signal_entity(Ledger.at(key), Ledger.note, op, amount)
        self._sent.append(op)

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
        outside().saw(9, "an operation that raises did not fail")

    async def _abandon(self, key: str) -> None:
        self._ctx.call_entity(Ledger.at(key), Ledger.note, self._op(), 0)

    async def _later(self, key: str, amount: int, seconds: float, patience: float | None) -> None:
        """Signal a ledger for later, and perhaps cancel that after a while."""
        op = self._op()
        signal_id = self._ctx.signal_entity(Ledger.at(key), Ledger.note, op, amount, deliver_at=seconds)
        if patience is not None:
            await self._ctx.sleep(patience)
            outside().cancelling(op)
            self._ctx.cancel_signal(signal_id)

    async def _lock(self, names: list[str], limit: float | None, inner: Program) -> None:
        async with self._ctx.lock_entities(*map(Ledger.at, names), wait_timeout=limit):
            await self.perform(inner)

    # --- work, time, events

    async def _work(self, attempts: int, seconds: float | None, silence: float | None) -> None:
        chosen = work.options(retry=_retry(attempts), timeout=seconds, heartbeat_timeout=silence)
        with suppress(ActivityFailed):
            await self._ctx.call_activity(chosen, self._op())

    async def _http(self, polls: int, wait: int, attempts: int, limit: float | None) -> None:
        op, before = self._op(), self._ctx.now
        url = url_of(op, polls, wait)
        try:
            answer = await self._ctx.call_http("GET", url, retry=_retry(attempts), timeout=50.0, total_timeout=limit)
        except ActivityFailed:
            return
        if answer.text != op:
            outside().saw(2, f"{op!r} was asked for by HTTP, and the answer is {answer.text!r}")
        if (self._ctx.now - before).total_seconds() < polls * wait:
            outside().saw(20, f"{polls} polls took less than {wait} s each")

    async def _sleep(self, seconds: float) -> None:
        before = self._ctx.now
        await self._ctx.sleep(seconds)
        if (self._ctx.now - before).total_seconds() < seconds:
            outside().saw(20, f"a sleep of {seconds} s was too short")

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
                program: Program = [["sleep", 100.0], ["work", 1, None, None]]
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
