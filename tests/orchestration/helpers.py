"""Orchestrations by hand, for function tests: messages go in, journal entries and effects come out, and nothing else happens.

A :class:`Bench` holds definitions. A :class:`Subject` is one machine with what a hub keeps beside it: the stored journal, and a
clock that the test moves. The tests give each message themselves; what a hub would do with the effects is none of their
business, which is what the whole hub's tests are for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from attrs import define, field
from perdure.entities.failures import FailureDetails
from perdure.entities.messages import CallingTask, Failure, SectionId, Success
from perdure.orchestration.closing import abandoned
from perdure.orchestration.history import (
    ACTIONS,
    Action,
    CallChild,
    CallEntity,
    ExecutionEnded,
    HistoryEntry,
    LockEntities,
    ScheduleActivity,
    TurnStarted,
)
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.messages import (
    EventRaised,
    OrchestrationEffect,
    OrchestrationMessage,
    Resume,
    Rewind,
    SectionGranted,
    StartExecution,
    TaskResult,
    Terminate,
)
from perdure.orchestration.registry import Registry, check_event_name
from perdure.orchestration.status import OrchestrationRecord, RuntimeStatus
from perdure.storage.values import Values

EXECUTION = "00ff" * 8
BEGIN = 1_936_000_000_000_000
"""The time at which subjects begin, microseconds since 1970."""
SECOND = 1_000_000

_encode = msgspec.msgpack.Encoder().encode
_decode_history = msgspec.msgpack.Decoder(list[HistoryEntry]).decode
_decode_record = msgspec.msgpack.Decoder(OrchestrationRecord).decode


class Bench:
    """Definitions, and machines of them."""

    def __init__(self, *definitions: object) -> None:
        self._ids = itertools.count(1)
        self.registry = Registry(Values(), self.new_id)
        self.registry.define(definitions)

    def new_id(self) -> str:
        """An execution id, another one each time and the same ones in each run."""
        return f"{next(self._ids):032x}"

    def subject(self, orchestrator: Any, *arguments: Any, **options: Any) -> Subject:
        """A started instance that has run up to its first wait; see :meth:`Subject.create` for the options."""
        subject = Subject(self)
        subject.create(orchestrator, *arguments, **options)
        subject.run()
        return subject


@define(eq=False)
class Subject:
    """One machine under test.

    Attributes:
      bench: where it comes from.
      machine: the machine.
      journal: what a hub would have stored of its execution's journal.
      now: the time that its next turn is given, microseconds since 1970.
      foreign: what other libraries yielded and the machine asked to withdraw.
      finished: the machine said so.
    """

    bench: Bench
    instance_id: str = "instance"
    machine: OrchestrationMachine = field(init=False)
    journal: list[HistoryEntry] = field(factory=list[HistoryEntry], init=False)
    now: int = field(default=BEGIN, init=False)
    foreign: list[object] = field(factory=list[object], init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = OrchestrationMachine(self.instance_id, self.bench.registry, self.foreign.append)

    # --- what a hub does

    def create(self, orchestrator: Any, *arguments: Any, parent: CallingTask | None = None, execution: str = EXECUTION) -> None:
        """Start an execution; it runs with the next turn."""
        self.journal.clear()
        name, version, encoded = self.bench.registry.orchestration(orchestrator, arguments)
        self.machine.create(StartExecution(execution, name, version, encoded, parent), self.now)

    def run(self, budget: int = 3, *messages: OrchestrationMessage) -> list[OrchestrationEffect]:
        """Give turns until nothing is ready, store the journal, and take the effects."""
        for message in messages:
            self.machine.accept(message)
        while self.machine.ready:
            if self.machine.needs_history:
                self.machine.revive(list(self.journal), self.now)
                if not self.machine.ready:
                    break
            self.now += SECOND
            assert self.machine.advance(self.now, budget) > 0, "a machine that is ready does something"
        return self.take()

    def take(self) -> list[OrchestrationEffect]:
        """Store the journal as a hub does, through its bytes, and take the effects."""
        self.journal.extend(_decode_history(_encode(self.machine.journal)))
        self.machine.journal.clear()
        effects, self.machine.effects = self.machine.effects, []
        return effects

    def evict(self) -> None:
        """Drop the code from memory, and bring it back from the stored journal."""
        self.machine.evict()
        self.revive()

    def revive(self) -> None:
        """Replay the stored journal."""
        self.machine.revive(list(self.journal), self.now)

    def reopened(self, bench: Bench | None = None) -> Subject:
        """The machine that a restart makes of what is stored, perhaps with other code; nothing is replayed yet."""
        old = self.machine
        old.evict()
        fresh = Subject(self.bench if bench is None else bench, self.instance_id)
        fresh.machine.record = self.stored_record
        fresh.machine.now = self.record.updated_at
        fresh.journal, fresh.now = list(self.journal), self.now
        for number, message in sorted(
            (*old.mailbox.inbox, *old.mailbox.control, *old.mailbox.endings), key=lambda entry: entry[0]
        ):
            fresh.machine.accept(message, number)
        return fresh

    # --- what happens to the instance

    def answer(self, step: str, value: Any = None) -> TaskResult:
        """The message that the work of a step has returned a value."""
        return TaskResult(self.record.execution, step, Success(self._result_codec(step).encode(value)))

    def completes(self, step: str, value: Any = None) -> list[OrchestrationEffect]:
        """The work of a step returns a value; run."""
        return self.run(3, self.answer(step, value))

    def fails(self, step: str, error: Exception) -> list[OrchestrationEffect]:
        """The work of a step fails; run."""
        return self.run(3, TaskResult(self.record.execution, step, Failure(FailureDetails.from_exception(error))))

    def event(self, name: str, value: Any = None) -> list[OrchestrationEffect]:
        """An event arrives; run."""
        return self.run(3, self.raised(name, value))

    def raised(self, name: str, value: Any = None) -> EventRaised:
        """The message of an event."""
        return EventRaised(check_event_name(name), self.bench.registry.event_value(name, value))

    def granted(self, step: str) -> list[OrchestrationEffect]:
        """All locks that a step asked for are taken; run."""
        request = self.action(step)
        assert isinstance(request, LockEntities)
        return self.run(3, SectionGranted(SectionId(self.instance_id, self.record.execution, step), request.entities))

    def rewind(self, reason: str | None = None) -> list[OrchestrationEffect]:
        """Rewind it, and run."""
        assert self.refusal(reason) is None
        self.journal.clear()
        return self.run()

    def refusal(self, reason: str | None = None) -> str | None:
        """Try to rewind it; why it cannot be."""
        self.revive()
        self.now += SECOND
        return self.machine.rewind(Rewind(reason), self.now)

    def terminate(self, reason: str | None = None, *, recursive: bool = True) -> list[OrchestrationEffect]:
        """Terminate it; run."""
        return self.run(3, Terminate(reason, recursive))

    def resume(self) -> list[OrchestrationEffect]:
        """Resume it; run."""
        return self.run(3, Resume(None))

    # --- what became of it

    @property
    def record(self) -> OrchestrationRecord:
        """Its record."""
        assert self.machine.record is not None
        return self.machine.record

    @property
    def stored_record(self) -> OrchestrationRecord:
        """A copy of its record, through its bytes."""
        return _decode_record(_encode(self.record))

    @property
    def status(self) -> RuntimeStatus:
        """Its status."""
        return self.record.status

    @property
    def output(self) -> Any:
        """Its decoded result; it must have completed."""
        record = self.record
        assert record.status is RuntimeStatus.COMPLETED, record.failure or record.status
        assert record.output is not None
        return self.bench.registry.orchestrator(record.name).result.decode(record.output)

    @property
    def failure(self) -> FailureDetails:
        """How it failed; it must have."""
        assert self.record.status is RuntimeStatus.FAILED, self.record.status
        assert self.record.failure is not None
        return self.record.failure

    @property
    def actions(self) -> list[Action]:
        """The journaled actions, in order."""
        return [entry for entry in self.journal if isinstance(entry, ACTIONS)]

    @property
    def steps(self) -> list[str]:
        """The numbers of the journaled actions, in order."""
        return [action.id for action in self.actions]

    def action(self, step: str) -> Action:
        """The journaled action of a step."""
        return next(action for action in self.actions if action.id == step)

    def argument(self, step: str) -> Any:
        """The first argument of a journaled activity."""
        action = self.action(step)
        assert isinstance(action, ScheduleActivity)
        return self.bench.registry.activity(action.name).arguments.decode(action.arguments)[0]

    def _result_codec(self, step: str) -> Any:
        action, registry = self.action(step), self.bench.registry
        match action:
            case ScheduleActivity():
                return registry.activity(action.name).result
            case CallChild():
                return registry.orchestrator(action.name).result
            case CallEntity():
                return registry.entity(action.entity[0]).operation(action.operation).result
            case _:
                raise AssertionError(f"{action!r} has no result")


def without_turns(journal: list[HistoryEntry]) -> list[HistoryEntry]:
    """A journal without the marks of its turns, which say only when they were."""
    return [entry for entry in journal if not isinstance(entry, TurnStarted)]


def ended(journal: list[HistoryEntry]) -> bool:
    """Whether a journal has its last entry."""
    return any(isinstance(entry, ExecutionEnded) for entry in journal)


def time_of(microseconds: int) -> datetime:
    """A time as orchestrators see it."""
    return datetime.fromtimestamp(math.floor(microseconds / SECOND), UTC).replace(microsecond=microseconds % SECOND)


@contextmanager
def let_go_afterwards(let_go: Callable[[], None]) -> Generator[None]:
    """For code that refuses to be closed: end it when the test is over, and free it.

    Python runs the rest of a coroutine once more when it frees it, and reports what that raises as an error that nobody can
    handle. The framework therefore keeps such a coroutine for ever. A test that leaves one behind would see that report at
    the end of the process; so the test's code stops refusing when it is told to, and then its coroutine can be closed.
    """
    kept = len(abandoned)
    try:
        yield
    finally:
        let_go()
        while len(abandoned) > kept:
            left: Any = abandoned.pop()
            with suppress(RuntimeError):  # the context refuses what its code asks for on the way out
                left.close()
