"""Turns, and what follows from them (DESIGN, "The idea in one paragraph").

The engine gives ready instances their turns, one after another, and has the effects that they decided carried out. There
is no ``await`` here: a turn and all its effects fall into one batch (D1).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter

import msgspec

from ..entities.ids import EntityId
from ..entities.messages import (
    EntityMessage,
)
from ..orchestration.messages import (
    OrchestrationMessage,
    Rewind,
    StartExecution,
    Terminate,
)
from ..storage import keys, tables
from . import limits
from .batch import OpenBatch
from .cells import AnyCell, EntityCell, OrchestrationCell
from .clock import HubClock, as_datetime
from .effects import Effects
from .guard import no_trio
from .requests import Requests
from .residence import Residence
from .retention import Retention
from .timers import Timers

_log = logging.getLogger(__name__)


class Engine(Effects):
    """The turns of one hub.

    Attributes:
      ready: instances with something to do, in the order in which they get their turn.
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
        retention: int | None,
    ) -> None:
        super().__init__(residence, requests, timers, clock, batch, Retention(timers, retention))
        self.ready: deque[AnyCell] = deque()
        self.turns = 0
        self._new_id = new_id

    # --- messages in

    def to_entity(self, target: EntityId, message: EntityMessage) -> None:
        """Put a message into an entity's mailbox."""
        self.to_cell(self.residence.entity(target), message)

    def to_cell(self, cell: EntityCell, message: EntityMessage) -> None:
        """Put a message into the mailbox of an entity that is in memory."""
        machine = cell.machine
        machine.mailbox.put(message, None, machine.lock)
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
        self.delete_journal(cell)
        record = cell.machine.record
        if record is not None:
            self.retention.drop(cell, record, self.batch)
            if record.request_id is not None:
                self.requests.forget(record.request_id, self.batch)

    def delete_journal(self, cell: OrchestrationCell) -> None:
        """Delete the journal of an execution that is over."""
        history = self.batch.writes[tables.HISTORY]
        for key in self.residence.keys_of(cell, tables.HISTORY):
            history[key] = None
        for chunk in range(cell.chunk):  # those of batches under way, which cannot be read yet
            history[cell.prefix + keys.u32(chunk)] = None
        cell.chunk = cell.journal_bytes = 0

    def renewed(self, cell: OrchestrationCell) -> None:
        """The journal of an execution is over, and the instance goes on."""
        self.delete_journal(cell)
        if cell.machine.record is not None:
            self.retention.drop(cell, cell.machine.record, self.batch)

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
                if type(cell) is EntityCell:
                    self._note_operation(cell)
                return
            cell.queued = True
            self.ready.append(cell)
            arrived = machine.mailbox.waiting
        cell.load += arrived
        self.backlog += arrived

    def _mark(self, cell: AnyCell) -> None:
        """Have the open batch write a cell when it is sealed."""
        cell.dirty = True
        cell.batch = self.batch.number
        self.batch.cells.append(cell)

    def _note_operation(self, cell: EntityCell) -> None:
        """Have the async operation in front of which an entity stands begin when the open batch is durable.

        Its message came with this batch or an earlier one, so it is durable then.
        """
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

    def rewind(self, cell: OrchestrationCell, message: Rewind) -> str | None:
        """Rewind an instance within the open batch, unless that is refused; why, is returned then (O16)."""
        now = self.clock.now()
        self.residence.revive(cell, now)
        with no_trio():
            refusal = cell.machine.rewind(message, now)
        if refusal is None:
            self.after_step(cell)
        return refusal

    def purge(self, cell: OrchestrationCell) -> None:
        """Delete an instance with all that it has, also in the batch under way (O16); a running one is terminated first."""
        if not cell.machine.finished:
            self.terminate_now(cell, "purged")
        self._forget(cell)
        cell.machine.drop_messages()
        self._carry_out(cell)
        residence = self.residence
        self.batch.writes[tables.INBOX].update(dict.fromkeys(residence.keys_of(cell, tables.INBOX)))
        self.batch.drop_activities(
            {*residence.keys_of(cell, tables.ACTIVITIES), *residence.keys_under_way(cell, tables.ACTIVITIES)}
        )
        cell.purged = True
        self.touch(cell, arrived=0)

    def retain(self, cell: OrchestrationCell) -> None:
        """Remove an instance that has finished, if its time is over; else give it the timer that it should have (O16)."""
        machine, record = cell.machine, cell.machine.record
        if record is None or not machine.finished:
            return  # it was rewound or replaced
        due = self.retention.purge_at(record)
        if due is not None and due <= self.clock.now():
            self.purge(cell)
        else:
            self.retention.set(cell, record, self.batch)
            machine.changed = True
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
                if type(cell) is EntityCell:
                    cell.machine.advance(date, limits.TURN_MESSAGES_MAX)
                    cell.note_success(now)
                else:
                    self._orchestrate(cell, now)
                self.turns += 1
                self._after_turn(cell)
                if perf_counter() > end:
                    break

    def run_one(self) -> None:
        """Give the next instance a turn with one message (O20)."""
        with no_trio():
            now = self.clock.now()
            cell = self.ready.popleft()
            if type(cell) is EntityCell:
                cell.machine.advance(as_datetime(now), 1)
                cell.note_success(now)
            else:
                self._orchestrate(cell, now, 1)
            self.turns += 1
            self._after_turn(cell)

    def set_aside(self, cell: AnyCell, error: Exception) -> None:
        """Have an instance not do what it is about to do (O20): an operation fails, an orchestration ends Failed."""
        if type(cell) is EntityCell:
            cell.machine.set_aside(error)
        else:
            cell.machine.set_aside(self.residence.history(cell), error, self.clock.now())
        if cell.queued:
            self.ready.remove(cell)
        self._after_turn(cell)

    def _orchestrate(self, cell: OrchestrationCell, now: int, budget: int = limits.TURN_MESSAGES_MAX) -> None:
        machine = cell.machine
        if machine.kernel is None and machine.needs_history:
            self.residence.revive(cell, now)
            if cell.damaged:
                return
        machine.advance(now, budget)

    def after_step(self, cell: AnyCell) -> None:
        """Carry out what a step outside of the queue decided; the instance keeps its place if it is queued."""
        if cell.queued:
            self._carry_out(cell)
        else:
            cell.queued = True  # as within a turn: what it sends to itself gives it no second place in the queue
            self._after_turn(cell)

    def _carry_out(self, cell: AnyCell) -> None:
        machine = cell.machine
        effects = machine.effects
        if effects:
            machine.effects = []
            handlers = self.handlers
            for effect in effects:
                handlers[type(effect)](cell, effect)
        if not cell.dirty:
            self._mark(cell)

    def _after_turn(self, cell: AnyCell) -> None:
        """Carry out what a turn decided, and see whether the instance has more to do."""
        machine = cell.machine
        if machine.effects or not cell.dirty:
            self._carry_out(cell)
        if machine.mailbox.waiting and machine.ready and not cell.damaged:
            load = machine.mailbox.waiting
            self.ready.append(cell)
            cell.queued = True
        else:
            load = 0
            cell.queued = False
            if type(cell) is EntityCell and cell.has_async:
                self._note_operation(cell)
        self.backlog += load - cell.load
        cell.load = load
