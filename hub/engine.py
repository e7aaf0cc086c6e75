"""Turns, and what follows from them (DESIGN, "The idea in one paragraph").

The engine gives ready instances their turns, one after another, and carries out the effects that they decided: messages
are put into the receivers' mailboxes at once, at memory speed; what leaves the hub (acknowledgements, activities,
``async`` operations) is noted in the open batch, and happens when that batch is durable (D2). There is no ``await``
here: a turn and all its effects fall into one batch (D1).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.lock import release_of
from ..entities.messages import (
    Answer,
    CallingTask,
    ClientRequest,
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
from ..orchestration.messages import (
    CancelActivity,
    DropTimer,
    EventRaised,
    Finished,
    OrchestrationMessage,
    Renewed,
    SectionGranted,
    SetTimer,
    StartActivity,
    StartChild,
    StartExecution,
    TaskResult,
    TellChild,
    Terminate,
)
from ..orchestration.retry import step_and_attempt
from ..storage import keys, tables
from . import limits
from .ack import Ack
from .batch import OpenBatch
from .cells import AnyCell, EntityCell, OrchestrationCell
from .clock import HubClock, as_datetime
from .delayed import DelayedSignals
from .due import Due
from .guard import no_trio
from .letters import keep_letter
from .records import ActivityRecord, activity_key, encode
from .requests import Requests
from .residence import Residence
from .timers import Timers

_log = logging.getLogger(__name__)


class Engine:
    """The turns of one hub.

    Attributes:
      batch: the batch that turns are gathered into.
      ready: instances with something to do, in the order in which they get their turn.
      backlog: messages that are ready to be worked off.
      delayed: the delayed signals.
      calls: clients that wait for an operation's outcome, by token.
      turns: turns that were run since the hub was opened.
    """

    def __init__(
        self,
        residence: Residence,
        requests: Requests,
        timers: Timers,
        clock: HubClock,
        batch: OpenBatch,
        new_id: Callable[[], str],
    ) -> None:
        self.residence = residence
        self.requests = requests
        self.timers = timers
        self.clock = clock
        self.batch = batch
        self.ready: deque[AnyCell] = deque()
        self.backlog = 0
        self.calls: dict[int, Ack] = {}
        self.turns = 0
        self.delayed = DelayedSignals(timers, residence, self.touch)
        self._due = Due(timers, self.delayed, residence, self.to_orchestration, self.touch)
        self._new_id = new_id
        self._handlers: dict[type, Callable[[AnyCell, Any], None]] = {
            Send: lambda _, effect: self.to_entity(effect.target, effect.message),
            Answer: lambda _, effect: self._answer(effect.reply_to, effect.outcome),
            Granted: self._granted,
            StartInstance: self._start_instance,
            RaiseEvent: self._raise_event,
            Letter: self._letter,
            StartActivity: self._start_activity,
            CancelActivity: self._cancel_activity,
            StartChild: self._start_child,
            TellChild: self._tell_child,
            SetTimer: lambda cell, effect: self._due.set_timer(cell, effect, self.batch),
            DropTimer: lambda cell, effect: self._due.set_timer(cell, effect, self.batch),
            SendLater: lambda cell, effect: self.delayed.carry_out(cell, effect, self.batch),
            DropSignal: lambda cell, effect: self.delayed.carry_out(cell, effect, self.batch),
            Renewed: self._renewed,
            Finished: self._finished,
        }

    # --- messages in

    def to_entity(self, target: EntityId, message: EntityMessage) -> None:
        """Put a message into an entity's mailbox."""
        cell = self.residence.entities.get(target) or self.residence.entity(target)
        cell.machine.accept(message)
        self.touch(cell)

    def to_orchestration(self, cell: OrchestrationCell, message: OrchestrationMessage) -> None:
        """Put a message into an orchestration's mailbox."""
        cell.machine.accept(message)
        self.touch(cell)

    def create(self, instance_id: str, start: StartExecution, request_id: str | None = None, *, generated: bool = False) -> None:
        """Create an instance, or begin a new execution in place of a finished one; a generated id is not looked up."""
        if not start.execution:
            start = msgspec.structs.replace(start, execution=self._new_id())
        cell = None if generated else self.residence.orchestration(instance_id)
        if cell is None:
            cell = self.residence.new_orchestration(instance_id)
        else:
            self._forget(cell)
        cell.machine.create(start, self.clock.now(), request_id)
        self._carry_out(cell)
        self.touch(cell)

    def _forget(self, cell: OrchestrationCell) -> None:
        """Delete the journal, and the request id, of the execution that a new one replaces."""
        self._delete_journal(cell)
        record = cell.machine.record
        if record is not None and record.request_id is not None:
            self.requests.forget(record.request_id, self.batch)

    def _delete_journal(self, cell: OrchestrationCell) -> None:
        history = self.batch.writes[tables.HISTORY]
        for key in self.residence.keys_of(cell, tables.HISTORY):
            history[key] = None
        for chunk in range(cell.chunk):  # those of batches under way, which cannot be read yet
            history[cell.prefix + keys.u32(chunk)] = None
        cell.chunk = cell.journal_bytes = 0

    def _renewed(self, cell: AnyCell, _: Renewed) -> None:
        assert isinstance(cell, OrchestrationCell)
        self._delete_journal(cell)

    def touch(self, cell: AnyCell, arrived: int = 1) -> None:
        """Note that a cell changed: the open batch will write it, and it gets a turn if it has something to do.

        Args:
          cell: the cell.
          arrived: how many messages it got.
        """
        if not cell.dirty:
            self._mark(cell)
        if not cell.queued:
            machine = cell.machine
            if cell.damaged:
                return
            if not machine.ready:
                self._note_operation(cell)
                return
            cell.queued = True
            self.ready.append(cell)
            arrived = len(machine.mailbox)
        cell.load += arrived
        self.backlog += arrived

    def _mark(self, cell: AnyCell) -> None:
        """Have the open batch write a cell when it is sealed."""
        cell.dirty = True
        cell.batch = self.batch.number
        self.batch.cells.append(cell)

    def _note_operation(self, cell: AnyCell) -> None:
        """Have the async operation in front of which an entity stands begin when the open batch is durable.

        Its message came with this batch or an earlier one, so it is durable then.
        """
        if isinstance(cell, EntityCell):
            number = cell.machine.waiting_operation
            if number is not None:
                self.batch.operations.append((cell, number))

    def terminate_now(self, cell: OrchestrationCell, reason: str) -> None:
        """End an instance within the open batch, its children too (O4, O16)."""
        machine = cell.machine
        if machine.needs_history:
            self.residence.revive(cell, self.clock.now())
        machine.accept(Terminate(reason))
        with no_trio():
            machine.advance(self.clock.now(), 1)
        self.after_step(cell)

    def purge(self, cell: OrchestrationCell) -> None:
        """Delete an instance, with everything that belongs to it (O16); it is terminated first if it is running."""
        if not cell.machine.finished:
            self.terminate_now(cell, "purged")
        self._forget(cell)
        for table in (tables.INBOX, tables.ACTIVITIES):
            for key in self.residence.keys_of(cell, table):
                self.batch.writes[table][key] = None
        cell.purged = True
        self.touch(cell, arrived=0)

    # --- turns

    def run(self, seconds: float) -> None:
        """Give turns for about that long, or until nothing is ready or the batch is large."""
        end = perf_counter() + seconds
        ready, batch = self.ready, self.batch
        with no_trio():
            now = self.clock.now()
            date = as_datetime(now)
            while ready and len(batch.cells) < limits.BATCH_INSTANCES_MAX:
                cell = ready.popleft()
                if isinstance(cell, EntityCell):
                    cell.machine.advance(date, limits.TURN_MESSAGES_MAX)
                    cell.note_success(now)
                else:
                    self._orchestrate(cell, now)
                self.turns += 1
                self._after_turn(cell)
                if perf_counter() > end:
                    break

    def _orchestrate(self, cell: OrchestrationCell, now: int) -> None:
        machine = cell.machine
        if machine.needs_history:
            self.residence.revive(cell, now)
            if cell.damaged:
                return
        machine.advance(now, limits.TURN_MESSAGES_MAX)

    def after_step(self, cell: AnyCell) -> None:
        """Carry out what a step outside of the queue decided; the instance keeps its place if it is queued."""
        if cell.queued:
            self._carry_out(cell)
        else:
            self._after_turn(cell)

    def _carry_out(self, cell: AnyCell) -> None:
        machine = cell.machine
        effects = machine.effects
        if effects:
            machine.effects = []
            handlers = self._handlers
            for effect in effects:
                handlers[type(effect)](cell, effect)
        if not cell.dirty:
            self._mark(cell)

    def _after_turn(self, cell: AnyCell) -> None:
        """Carry out what a turn decided, and see whether the instance has more to do."""
        self._carry_out(cell)
        self.residence.used(cell)
        machine = cell.machine
        if machine.ready and not cell.damaged:
            load = len(machine.mailbox)
            self.ready.append(cell)
            cell.queued = True
        else:
            load = 0
            cell.queued = False
            self._note_operation(cell)
        self.backlog += load - cell.load
        cell.load = load

    # --- effects

    def _answer(self, reply_to: object, outcome: Outcome) -> None:
        if isinstance(reply_to, CallingTask):
            self.task_result(reply_to, outcome)
        elif isinstance(reply_to, WaitingClient):
            ack = self.calls.pop(reply_to.token, None)
            if ack is not None:
                self.batch.acks.append((ack, outcome))
        elif isinstance(reply_to, ClientRequest):
            self.requests.answered(reply_to.request_id, outcome, self.batch)

    def task_result(self, reply_to: CallingTask, outcome: Outcome) -> bool:
        """Deliver an outcome to a task of an orchestration, if that is still there; false if it cannot be found (D9)."""
        cell = self.residence.orchestration(reply_to.instance_id)
        if cell is None:
            return True
        if cell.damaged:
            return False
        self.to_orchestration(cell, TaskResult(reply_to.execution, reply_to.task, outcome))
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
        record = ActivityRecord(reply_to, effect.name, effect.arguments, attempt, effect.timeout)
        self.schedule(activity_key(cell.prefix, reply_to), record)

    def schedule(self, key: bytes, record: ActivityRecord) -> None:
        """Store an activity, and start it when that is durable."""
        self.batch.writes[tables.ACTIVITIES][key] = encode(record)
        self.batch.activities[key] = record

    def _cancel_activity(self, cell: AnyCell, effect: CancelActivity) -> None:
        key = activity_key(cell.prefix, effect.reply_to)
        self.batch.writes[tables.ACTIVITIES][key] = None
        if self.batch.activities.pop(key, None) is None:
            self.batch.cancelled.append(key)

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

    @property
    def full(self) -> bool:
        """Whether so much is ready, or changed by the open batch, that what is due has to wait its turn."""
        return self.backlog >= limits.BACKLOG_MAX or len(self.batch.cells) >= limits.BATCH_INSTANCES_MAX

    def fire_timers(self, under_way: OpenBatch | None) -> None:
        """Let happen what is due."""
        if not self.full:
            self._due.happen(self.clock.now(), self.batch, under_way)

    def _finished(self, cell: AnyCell, _: Finished) -> None:
        assert isinstance(cell, OrchestrationCell)
        record = cell.machine.record
        assert record is not None
        self.batch.finished.append(record)
