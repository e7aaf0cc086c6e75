"""What ``hub.describe`` tells: why an instance is where it is (L9).

It shows this moment, what is not on disk yet included. It is imported when somebody asks.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.messages import LockRequest, Operation, SectionId
from ..orchestration.kernel import Kernel
from ..orchestration.status import RuntimeStatus
from .cells import EntityCell, OrchestrationCell
from .clock import as_datetime
from .runtime import Runtime
from .waiting import Past, Waiting, waiting_for_events, waiting_for_locks, waiting_for_work


@frozen
class EntityDescription:
    """An entity at this moment, its lock and its queue (L9).

    Attributes:
      entity_id: the entity.
      exists: it has a state.
      locked_by: the instance id of the lock's holder, ``None`` while free.
      waiting: the instance ids of those that wait for the lock, in order.
      queued: the names of the operations that wait, in order; the holder's own first.
      running: the name of the async operation that runs.
      delayed_signals: how many signals wait for their time (E10).
      dead_letters: how many failed signals are kept (E4).
      idle_until: when it expires if nothing happens and nothing holds it, aware UTC; ``None`` for never.
    """

    entity_id: EntityId
    exists: bool
    locked_by: str | None
    waiting: tuple[str, ...]
    queued: tuple[str, ...]
    running: str | None
    delayed_signals: int
    dead_letters: int
    idle_until: datetime | None


def describe_entity(cell: EntityCell) -> EntityDescription:
    """What a cell shows of its entity."""
    machine = cell.machine
    running = machine.running
    lanes = (*machine.mailbox.held, *machine.mailbox.queue)
    return EntityDescription(
        entity_id=EntityId(machine.entity_id.name, machine.entity_id.key),
        exists=machine.state is not None,
        locked_by=None if machine.lock is None else machine.lock.section.owner,
        waiting=tuple(message.section.owner for _, message in machine.mailbox.queue if isinstance(message, LockRequest)),
        queued=tuple(
            message.name
            for number, message in lanes
            if isinstance(message, Operation) and (running is None or number != running.number)
        ),
        running=None if running is None else running.message.name,
        delayed_signals=cell.delayed,
        dead_letters=len(cell.letters),
        idle_until=as_datetime(cell.idle_until) if cell.idle_until else None,
    )


@frozen
class InstanceDescription:
    """An orchestration at this moment, and what it waits for.

    Attributes:
      instance_id: the instance.
      runtime_status: where it is in its life.
      waiting_for: what it waits for: unfinished steps, events, locks with their holder and the place in the queue; each with
        since when, and the last error of what is tried again.
      section: the entities of the critical section that it is in, or waits to enter.
      unread_events: events that wait for code that takes them.
      failure: why it failed or was suspended.
    """

    instance_id: str
    runtime_status: RuntimeStatus
    waiting_for: tuple[Waiting, ...]
    section: tuple[EntityId, ...]
    unread_events: int
    failure: FailureDetails | None


def describe_instance(runtime: Runtime, cell: OrchestrationCell) -> InstanceDescription:
    """What a cell shows of its orchestration, whose code is in memory if it is needed."""
    machine = cell.machine
    record, kernel = machine.record, machine.kernel
    assert record is not None
    return InstanceDescription(
        instance_id=record.instance_id,
        runtime_status=record.status,
        waiting_for=() if kernel is None else tuple(_waiting_for(runtime, cell, kernel)),
        section=() if kernel is None or kernel.sections.open is None else kernel.sections.open.entities,
        unread_events=record.unread_events if kernel is None else kernel.events_unread,
        failure=record.failure,
    )


def _waiting_for(runtime: Runtime, cell: OrchestrationCell, kernel: Kernel) -> list[Waiting]:
    machine = cell.machine
    past = Past.of([*runtime.residence.history(cell), *machine.journal])
    sections = {
        SectionId(kernel.instance_id, kernel.execution, machine.addresses[position]): entities
        for position, entities in kernel.unreleased.items()
        if position in kernel.tasks  # else all of its locks are taken
    }
    return [
        *waiting_for_work(kernel.open, past),
        *waiting_for_events(kernel.events.wanted),
        *waiting_for_locks(sections, lambda entity_id: runtime.residence.entity(entity_id).machine, past),
    ]
