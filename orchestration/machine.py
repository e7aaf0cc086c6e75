"""One orchestration as a state machine: messages in, journal entries and effects out.

The machine owns an instance's record, its mailbox and, while it is in memory, its kernel. The hub gives it messages
with :meth:`accept` and lets it run with :meth:`advance`; what happened is in ``journal`` (to be stored) and
``effects`` (to be carried out), both of the same batch (D1). It does no I/O.

Live and replayed
  A kernel that is in memory is continued (O1). When the machine was evicted, or the program restarted, the hub hands
  the stored journal to :meth:`revive`, which makes a kernel and replays it. So the cost of a step does not grow with the
  number of steps, and memory is bounded by what is kept in memory.

Endings
  Whatever ends an execution goes through :meth:`_end`, which releases or withdraws the locks of its open sections in the
  same turn (L5), tells the parent, and drops the code.
"""

from __future__ import annotations

import logging

from attrs import define

from ..entities.failures import FailureDetails, one_line
from ..entities.lock import release_of
from ..entities.mailbox import Lane
from ..entities.messages import (
    Answer,
    Failure,
    Success,
)
from ..storage.errors import InvariantViolated
from .addresses import FIRST_GENERATION
from .errors import ContinueAsNew, InstanceFinished, OrchestrationCanceled, OrchestrationTerminated
from .history import (
    START_TIMER,
    CancelRequested,
    ExecutionEnded,
    ExecutionStarted,
    HistoryEntry,
)
from .incoming import concerns, event_of
from .kernel import Kernel
from .messages import (
    Cancel,
    DropTimer,
    EventRaised,
    Finished,
    OrchestrationMessage,
    Renewed,
    Resume,
    Rewind,
    SectionGranted,
    SetTimer,
    StartExecution,
    Suspend,
    TaskResult,
    Terminate,
    UpdateRequested,
)
from .rewindable import Rewindable
from .status import OrchestrationRecord, RuntimeStatus, execution_after

_log = logging.getLogger(__name__)


@define(eq=False)
class OrchestrationMachine(Rewindable):
    """The machine of one instance."""

    # --- what the hub asks

    def accept(self, message: OrchestrationMessage, number: int | None = None) -> None:
        """Put a message in the mailbox.

        Args:
          message: the message.
          number: its number if it was read back from storage; such messages come first, in the order of numbers.
        """
        self.mailbox.put(message, number)
        if type(message) is SectionGranted and self._status is RuntimeStatus.FAILED:
            self.mailbox.urge_grants()

    def create(self, start: StartExecution, now: int, request_id: str | None = None) -> None:
        """Begin the instance, or a new execution in place of a finished one; it is Pending until its first turn.

        The caller deletes the stored journal of the execution that is replaced.

        Args:
          start: what to run; its execution id is set.
          now: the hub's time, microseconds since 1970.
          request_id: the request id that it was started with, if any.
        """
        if self.record is not None or self.mailbox.waiting:  # a new instance has nothing to let go of
            self.evict()
            self.journal.clear()
            self._forget_open()
            self.addresses = FIRST_GENERATION
            self.drop_messages()
        self.now = max(self.now, now)
        self.record = OrchestrationRecord(
            self.instance_id, start.execution, start.name, start.version, RuntimeStatus.PENDING, start.arguments,
            start.parent, self.now, self.now, request_id=request_id, tags=start.tags,
        )  # fmt: skip
        self.changed = True
        if start.start_at is None or start.start_at <= self.now:
            self.accept(start)
        else:
            self.record.start_at = start.start_at
            self.effects.append(SetTimer(start.execution, START_TIMER, start.start_at))

    def begin(self, execution: str) -> None:
        """The time has come for an execution that was to start later; what it was sent meanwhile comes behind its start."""
        record = self._running
        if record.execution == execution and record.start_at is not None:
            record.start_at, self.changed = None, True
            self.mailbox.put_before(
                [StartExecution(execution, record.name, record.version, record.arguments, record.parent, record.tags)]
            )

    def drop_messages(self) -> None:
        """Drop what an execution that goes was sent and has not seen; who waits is told, and granted locks are handed back (L5)."""
        for message in self.mailbox.clear():
            if isinstance(message, SectionGranted | UpdateRequested | Rewind):
                self._too_late(message)
            else:
                _log.warning("%s for %r, which was replaced or purged, is dropped", type(message).__name__, self.instance_id)

    @property
    def finished(self) -> bool:
        """Whether the instance is in a final status."""
        return self.record is not None and self.record.status.final

    @property
    def defined(self) -> bool:
        """Whether the code of the instance is defined to this hub (O18)."""
        return (
            self.record is None
            or self.record.status.final
            or (self.record.name, self.record.version) in self.registry.orchestrators
        )

    @property
    def ready(self) -> bool:
        """Whether :meth:`advance` would do something."""
        return self._lane() is not None

    def _lane(self) -> Lane[OrchestrationMessage] | None:
        mailbox, record = self.mailbox, self.record
        if self.kernel is not None and record is not None and record.status is RuntimeStatus.RUNNING and not mailbox.urgent:
            return mailbox.inbox or None  # the usual case, without asking whether the code is defined: it runs
        return mailbox.lane(record, self.defined)

    @property
    def needs_history(self) -> bool:
        """Whether :meth:`revive` must be called before :meth:`advance`."""
        if self.kernel is not None:
            return False
        status = self._status
        return status in (RuntimeStatus.RUNNING, RuntimeStatus.SUSPENDED) or (
            status is RuntimeStatus.FAILED and self.mailbox.rewinds
        )

    def revive(self, history: list[HistoryEntry], now: int) -> None:
        """Make a kernel and replay the journal of the execution; a mismatch suspends the instance (O3).

        One that has failed is only made ready to be rewound.
        """
        record = self._running
        self._remember(history)
        if record.status is RuntimeStatus.FAILED:
            self._failed_history = [*history, *self.journal]
            return
        if not self.defined:
            return
        kernel = self._load(record)
        kernel.replay(history, self._context)
        self.now = max(self.now, kernel.now)
        if kernel.mismatch is not None:
            self.evict()
            failure = FailureDetails.from_exception(kernel.mismatch)
            if record.suspend(None, failure, now):
                _log.error("orchestration %r is suspended: %s", self.instance_id, kernel.mismatch)
                self.changed = True
        elif kernel.ending is not None:
            self._turn_noted = False
            self._begin_turn(now)
            self._settle()

    def advance(self, now: int, budget: int) -> int:
        """Work off at most ``budget`` messages in one turn; return how many were.

        Args:
          now: the hub's time, microseconds since 1970.
          budget: 1 or more.
        """
        done, self._turn_noted = 0, False
        while done < budget and self.mailbox.waiting and (lane := self._lane()) is not None:
            number, message = lane.popleft()
            self.mailbox.took(number)
            done += 1
            if self.addresses.generation and (known := self.addresses.incoming(message)) is not message:
                if known is None:
                    self._too_late(message)
                    continue
                message = known
            if type(message) is Rewind:
                self._rewind_for_parent(message, now)
            elif concerns(message, self.record, self.kernel):
                self._begin_turn(now)
                self._handle(message)
            else:
                self._too_late(message)
        return done

    # --- turns

    def _begin_turn(self, now: int) -> None:
        self.now = max(self.now, now)
        if self.kernel is not None:
            self.kernel.now = self.now

    def _too_late(self, message: OrchestrationMessage) -> None:
        """What changes nothing any more is dropped before it reaches the journal."""
        if isinstance(message, SectionGranted):
            self.effects.append(release_of(message.section, message.entities))  # handed back at once (L5)
        elif isinstance(message, UpdateRequested) and message.reply_to is not None:
            error = InstanceFinished(f"orchestration {self.instance_id!r} has ended before it took the update {message.name!r}")
            self.effects.append(Answer(message.reply_to, Failure(FailureDetails.from_exception(error))))
        elif isinstance(message, Rewind) and message.parent is not None:
            gone = OrchestrationTerminated(self.instance_id, "replaced or purged before it was rewound")
            self.effects.append(Answer(message.parent, Failure(FailureDetails.from_exception(gone))))
        else:
            _log.info("%s for orchestration %r came too late and is dropped", type(message).__name__, self.instance_id)

    def _handle(self, message: OrchestrationMessage) -> None:
        match message:
            case TaskResult():  # nearly all are
                event = event_of(message)
            case StartExecution():
                event = self._started(message)
            case Terminate():
                return self._terminate(message)
            case Cancel():
                if not self._can_be_interrupted(message.reason):
                    return None
                event = CancelRequested(message.reason)
            case UpdateRequested():
                if self._refuse_update(message):
                    return None
                event = event_of(message)
            case Suspend():
                self.changed = self._running.suspend(message.reason, None, self.now) or self.changed
                return None
            case Resume():
                self._resume(message.reason)
                return None
            case _:
                event = event_of(message)
        kernel = self.kernel
        if kernel is None:
            raise InvariantViolated(f"orchestration {self.instance_id!r} ran a turn without its code")
        self._note(event)
        kernel.apply(event, self._context)
        return self._settle()

    def _refuse_update(self, message: UpdateRequested) -> bool:
        """Answer an update that the code does not accept; false if it does."""
        assert self.kernel is not None
        refusal = self.kernel.handlers.refusal(self.instance_id, message.name, message.arguments)
        if refusal is not None and message.reply_to is not None:
            self.effects.append(Answer(message.reply_to, refusal))
        return refusal is not None

    def _can_be_interrupted(self, reason: str | None) -> bool:
        """Get ready to be cancelled; false if there is no code that could be interrupted."""
        if not self._resume(reason):
            _log.warning("orchestration %r cannot be cancelled before its code fits its journal; terminate it", self.instance_id)
            return False
        if self._running.status.before_its_turn:
            self._end_cancelled()
            return False
        return True

    def _started(self, start: StartExecution) -> ExecutionStarted:
        record = self._running
        record.status, record.updated_at = RuntimeStatus.RUNNING, self.now
        self.changed = True
        self._load(record).now = self.now
        return ExecutionStarted(start.execution, start.name, start.version, start.arguments, start.parent)

    def _terminate(self, message: Terminate) -> None:
        output = None if message.reason is None else self.registry.values.codec(str).encode(message.reason)
        told = FailureDetails.from_exception(OrchestrationTerminated(self.instance_id, message.reason))
        self._end(RuntimeStatus.TERMINATED, output, None, Failure(told), message if message.recursive else None)

    def _resume(self, reason: str | None) -> bool:
        """Go on after a suspension; false if the instance cannot, since its code still does not fit its journal."""
        if self._running.status is RuntimeStatus.SUSPENDED:
            if self.kernel is None:
                return False
            self._running.resume(reason, self.now)
            self.changed = True
        return True

    def _settle(self) -> None:
        """Journal what the code asked for, turn it into effects, and see whether the code has ended."""
        kernel = self.kernel
        assert kernel is not None
        if kernel.actions:
            actions, kernel.actions = kernel.actions, []
            self.journal.extend(actions)
            execution = self._running.execution
            for action in actions:
                effect = self._effect_of(action, execution)
                if effect is not None:
                    self.effects.append(effect)
        if kernel.custom_status is not None and self.record is not None and kernel.custom_status != self.record.custom_status:
            self.record.custom_status, self.record.updated_at = kernel.custom_status, self.now
            self.changed = True
        if kernel.updates_ended:
            self._answer_updates()
        ending = kernel.ending
        if ending is None:
            return
        if ending.continued is not None:
            self._renew(ending.continued, kernel)
        elif ending.cancelled:
            self._end_cancelled()
        elif ending.failure is not None:
            self._end(RuntimeStatus.FAILED, None, ending.failure, Failure(ending.failure))
        else:
            assert ending.value is not None
            self._end(RuntimeStatus.COMPLETED, ending.value, None, Success(ending.value))

    def set_aside(self, history: list[HistoryEntry], error: Exception, now: int) -> None:
        """End it with an error, without running its code (O20); it can be rewound."""
        if self._running.status.final:
            return
        self.evict()
        self._remember(history)
        self._begin_turn(now)
        failure = FailureDetails.from_exception(error)
        self._end(RuntimeStatus.FAILED, None, failure, Failure(failure))

    def _end_cancelled(self) -> None:
        told = FailureDetails.from_exception(OrchestrationCanceled(self.instance_id))
        self._end(RuntimeStatus.CANCELED, None, None, Failure(told))

    def _renew(self, continued: ContinueAsNew, old: Kernel) -> None:
        """Put a new execution in place of the old one: its start, the unread events, then what waits already (O11)."""
        record = self._running
        carried = [EventRaised(name, value) for name, value in old.events.kept()] if continued.keep_events else []
        self.effects.extend(self._leaving(record.execution, None))
        self._answer_updates("the execution has continued as new before the update had ended")
        self.effects.append(Renewed())
        self.evict()
        self.addresses = FIRST_GENERATION
        record.execution, record.arguments = execution_after(record.execution), continued.arguments
        record.status, record.updated_at = RuntimeStatus.CONTINUED_AS_NEW, self.now
        self.changed = True
        self.journal.clear()
        self._turn_noted = False
        start = StartExecution(record.execution, record.name, record.version, record.arguments, record.parent, record.tags)
        self.mailbox.put_before((start, *carried))

    def _end(
        self,
        status: RuntimeStatus,
        output: bytes | None,
        failure: FailureDetails | None,
        outcome: Success | Failure,
        recursive: Terminate | None = None,
    ) -> None:
        """Reach a final status: the locks go, the parent hears of it, the code is dropped (O10, L5)."""
        record, kernel = self.record, self.kernel
        assert record is not None
        record.status, record.output, record.failure = status, output, failure
        record.updated_at = record.completed_at = self.now
        self.changed = True
        self._answer_updates(f"orchestration {self.instance_id!r} has ended ({status.value}) before the update had")
        self._note(ExecutionEnded(status, output, failure))
        self.effects.extend(self._leaving(record.execution, recursive))
        self._forget_open()
        if record.start_at is not None:
            self.effects.append(DropTimer(record.execution, START_TIMER, record.start_at))
            record.start_at = None
        if status is RuntimeStatus.FAILED:
            self.mailbox.urge_grants()
            for message in self.mailbox.take(lambda message: isinstance(message, UpdateRequested)):
                self._too_late(message)
        if kernel is not None:
            record.unread_events = kernel.events_unread + sum(type(message) is EventRaised for _, message in self.mailbox.inbox)
            unawaited = kernel.unawaited_failures()
            record.unawaited_failures = tuple(unawaited)
            for each in unawaited:
                _log.warning("orchestration %r ended without awaiting a failure: %s", self.instance_id, one_line(each))
        if record.parent is not None:
            self.effects.append(Answer(record.parent, outcome))
        self.effects.append(Finished())
        self.evict()
