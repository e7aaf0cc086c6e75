"""What turns decide, carried out within their batch (D1).

Messages between instances are put into the receivers' mailboxes at once, at memory speed; what leaves the hub
(acknowledgements, activities) is noted in the open batch, and happens when that is durable (D2).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.lock import release_of
from ..entities.messages import (
    Answer,
    CallingTask,
    DropSignal,
    EntityMessage,
    Failure,
    Granted,
    Letter,
    Outcome,
    RaiseEvent,
    Send,
    SendLater,
    StartInstance,
    WaitingClient,
)
from ..orchestration.errors import InstanceExists
from ..orchestration.history import START_TIMER
from ..orchestration.messages import (
    CancelActivity,
    DropTimer,
    EventRaised,
    Finished,
    OrchestrationMessage,
    Renewed,
    Rewind,
    RewindChild,
    SectionGranted,
    SetTimer,
    StartActivity,
    StartChild,
    StartExecution,
    TaskResult,
    TellChild,
)
from ..orchestration.retry import step_and_attempt
from ..orchestration.status import RuntimeStatus
from ..storage import tables
from . import limits
from .ack import Ack
from .batch import OpenBatch
from .cells import AnyCell, EntityCell, OrchestrationCell
from .clock import HubClock
from .delayed import DelayedSignals
from .due import Due
from .letters import keep_letter
from .records import ActivityRecord, TimerRecord, activity_key, encode
from .requests import Requests
from .residence import Residence
from .retention import PURGE_TIMER, Retention
from .timers import Timers

_log = logging.getLogger(__name__)


class Effects(ABC):
    """The table of effects.

    Attributes:
      residence, requests, timers, clock: the parts of the hub that effects reach.
      batch: the batch that turns are gathered into.
      delayed: the delayed signals.
      calls: clients that wait for an operation's outcome, by token.
      retention: how long finished instances are kept.
      backlog: messages that are ready to be worked off.
      handlers: what carries out an effect of a cell, by the effect's type.
    """

    def __init__(
        self, residence: Residence, requests: Requests, timers: Timers, clock: HubClock, batch: OpenBatch, retention: Retention
    ) -> None:
        self.residence = residence
        self.requests = requests
        self.timers = timers
        self.clock = clock
        self.batch = batch
        self.retention = retention
        self.backlog: int = 0
        self.delayed = DelayedSignals(timers, residence, self.touch)
        self._due = Due(timers, self.delayed, residence, self._timer_due, self.touch)
        self.calls: dict[int, Ack] = {}
        self.handlers: dict[type, Callable[[AnyCell, Any], None]] = {
            Send: self._send,
            Answer: self._answer,
            Granted: self._granted,
            StartInstance: self._start_instance,
            RaiseEvent: self._raise_event,
            Letter: self._letter,
            StartActivity: self._start_activity,
            CancelActivity: self._cancel_activity,
            StartChild: self._start_child,
            RewindChild: self._rewind_child,
            TellChild: self._tell_child,
            SetTimer: lambda cell, effect: self._due.set_timer(cell, effect, self.batch),
            DropTimer: lambda cell, effect: self._due.set_timer(cell, effect, self.batch),
            SendLater: lambda cell, effect: self.delayed.carry_out(cell, effect, self.batch),
            DropSignal: lambda cell, effect: self.delayed.carry_out(cell, effect, self.batch),
            Renewed: self._renewed,
            Finished: self._finished,
        }

    @abstractmethod
    def to_entity(self, target: EntityId, message: EntityMessage) -> None:
        """Put a message into an entity's mailbox."""

    @abstractmethod
    def to_orchestration(self, cell: OrchestrationCell, message: OrchestrationMessage) -> None:
        """Put a message into an orchestration's mailbox."""

    @abstractmethod
    def touch(self, cell: AnyCell, arrived: int = 1) -> None:
        """Note that a cell changed, and how many messages it got."""

    @abstractmethod
    def create(self, instance_id: str, start: StartExecution) -> None:
        """Create an instance, or begin a new execution in place of a finished one."""

    @abstractmethod
    def retain(self, cell: OrchestrationCell) -> None:
        """Remove an instance that has finished, if its time is over."""

    @abstractmethod
    def renewed(self, cell: OrchestrationCell) -> None:
        """The journal of an execution is over, and the instance goes on."""

    def _send(self, _: AnyCell, effect: Send) -> None:
        self.to_entity(effect.target, effect.message)

    def _answer(self, _: AnyCell, effect: Answer) -> None:
        reply_to, outcome = effect.reply_to, effect.outcome
        if isinstance(reply_to, CallingTask):
            self.task_result(reply_to, outcome)
        elif isinstance(reply_to, WaitingClient):
            ack = self.calls.pop(reply_to.token, None)
            if ack is not None:
                self.batch.acks.append((ack, outcome))
        else:
            self.requests.answered(reply_to.request_id, outcome, self.batch)

    def task_result(self, reply_to: CallingTask, outcome: Outcome, heartbeat: bytes | None = None) -> bool:
        """Deliver an outcome to a task of an orchestration, if that is still there; false if it cannot be found (D9)."""
        cell = self.residence.orchestration(reply_to.instance_id)
        if cell is None:
            return True
        if cell.damaged:
            return False
        self.to_orchestration(cell, TaskResult(reply_to.execution, reply_to.task, outcome, heartbeat))
        return True

    def _granted(self, _: AnyCell, effect: Granted) -> None:
        owner = self.residence.orchestration(effect.section.owner)
        if owner is None:
            release = release_of(effect.section, effect.entities)
            self.to_entity(release.target, release.message)
        else:
            self.to_orchestration(owner, SectionGranted(effect.section, effect.entities))

    def _start_instance(self, cell: AnyCell, effect: StartInstance) -> None:
        if self.residence.orchestration(effect.instance_id) is not None:
            _log.warning("a start of %r is dropped: an instance %r exists", effect.name, effect.instance_id)
            return
        self.create(effect.instance_id, StartExecution("", effect.name, effect.version, effect.arguments))

    def _raise_event(self, _: AnyCell, effect: RaiseEvent) -> None:
        target = self.residence.orchestration(effect.instance_id)
        if target is None or target.machine.finished:
            _log.warning(
                "event %r is dropped: orchestration %r %s", effect.name, effect.instance_id,
                "does not exist" if target is None else "has finished",
            )  # fmt: skip
            return
        self.to_orchestration(target, EventRaised(effect.name, effect.value))

    def _letter(self, cell: AnyCell, effect: Letter) -> None:
        assert isinstance(cell, EntityCell)
        keep_letter(cell, effect, self.clock.now(), self.batch)

    def _start_activity(self, cell: AnyCell, effect: StartActivity) -> None:
        reply_to = effect.reply_to
        _, attempt = step_and_attempt(reply_to.task)
        record = ActivityRecord(
            reply_to, effect.name, effect.arguments, attempt, effect.timeout, effect.heartbeat_timeout, effect.heartbeat
        )
        self.schedule(activity_key(cell.prefix, reply_to), record)

    def schedule(self, key: bytes, record: ActivityRecord) -> None:
        """Store an activity, and start it when that is durable."""
        self.batch.writes[tables.ACTIVITIES][key] = encode(record)
        self.batch.activities[key] = record

    def _cancel_activity(self, cell: AnyCell, effect: CancelActivity) -> None:
        self.batch.drop_activities([activity_key(cell.prefix, effect.reply_to)])

    def _tell_child(self, _: AnyCell, effect: TellChild) -> None:
        child = self.residence.orchestration(effect.instance_id)
        if child is None or child.machine.finished:
            return
        record = child.machine.record
        if record is not None and record.parent == effect.parent:
            self.to_orchestration(child, effect.message)

    def _start_child(self, _: AnyCell, effect: StartChild) -> None:
        existing = self.residence.orchestration(effect.instance_id)
        if existing is not None and not existing.machine.finished:
            error = InstanceExists(f"a running instance has the id {effect.instance_id!r}, which this child was to have")
            parent = effect.message.parent
            assert parent is not None
            self.task_result(parent, Failure(FailureDetails.from_exception(error)))
            return
        self.create(effect.instance_id, effect.message)

    def _rewind_child(self, cell: AnyCell, effect: RewindChild) -> None:
        child = self.residence.orchestration(effect.instance_id)
        record = None if child is None else child.machine.record
        ended_otherwise = record is not None and record.status in (RuntimeStatus.CANCELED, RuntimeStatus.TERMINATED)
        if child is None or record is None or record.parent != effect.former or ended_otherwise:
            self._start_child(cell, StartChild(effect.instance_id, effect.message))
        else:
            self.to_orchestration(child, Rewind(effect.reason, effect.message.parent))

    @property
    def full(self) -> bool:
        """Whether so much is ready, or changed by the open batch, that what is due has to wait its turn."""
        return self.backlog >= limits.BACKLOG_MAX or len(self.batch.cells) >= limits.BATCH_INSTANCES_MAX

    def fire_timers(self, under_way: OpenBatch | None, at_most: int) -> None:
        """Let happen what is due, at most so much of it."""
        if not self.full:
            self._due.happen(self.clock.now(), self.batch, under_way, at_most)

    def _timer_due(self, record: TimerRecord) -> None:
        cell = self.residence.orchestration(record.instance_id)
        if cell is None:
            return
        if record.task == START_TIMER:
            cell.machine.begin(record.execution)
            self.touch(cell)
        elif record.task == PURGE_TIMER:
            self.retain(cell)
        else:
            self.to_orchestration(cell, record.due())

    def _renewed(self, cell: AnyCell, _: Renewed) -> None:
        assert isinstance(cell, OrchestrationCell)
        self.renewed(cell)

    def _finished(self, cell: AnyCell, _: Finished) -> None:
        assert isinstance(cell, OrchestrationCell)
        record = cell.machine.record
        assert record is not None
        self.batch.finished.append(record)
        self.retention.set(cell, record, self.batch)
