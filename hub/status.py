"""What clients are shown of instances and entities."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.messages import LockRequest, Operation
from ..orchestration.kernel import Kernel
from ..orchestration.registry import Registry
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage.errors import PerdureError
from .cells import EntityCell, OrchestrationCell
from .clock import as_datetime


@frozen
class InstanceStatus:
    """An instance as of the last commit.

    Attributes:
      instance_id: the instance.
      name: the orchestrator's name.
      version: the version that it was started with.
      runtime_status: where it is in its life (O17).
      input: its arguments after the context.
      output: its result, or the reason of a termination; ``None`` before that.
      failure: why it failed or was suspended.
      custom_status: the value that the code has set, ``None`` without one.
      created_at, last_updated_at: aware UTC.
      completed_at: aware UTC, ``None`` before it finished.
      parent_id: the parent's instance id.
      tags: what it was tagged with when it was started.
      execution: the id of the execution.
      unread_events: events that were left when it finished.
      unawaited_failures: failures of work that nobody awaited (O10).
    """

    instance_id: str
    name: str
    version: str | None
    runtime_status: RuntimeStatus
    input: tuple[Any, ...]
    output: Any
    failure: FailureDetails | None
    custom_status: Any
    created_at: datetime
    last_updated_at: datetime
    completed_at: datetime | None
    parent_id: str | None
    tags: dict[str, str]
    execution: str
    unread_events: int
    unawaited_failures: tuple[FailureDetails, ...]


def status_of(record: OrchestrationRecord, registry: Registry) -> InstanceStatus:
    """What a record says, with its values decoded by the orchestrator's types where it is defined."""
    return InstanceStatus(
        instance_id=record.instance_id,
        name=record.name,
        version=record.version,
        runtime_status=record.status,
        input=_arguments_of(record, registry),
        output=output_of(record, registry),
        failure=record.failure,
        custom_status=None if record.custom_status is None else registry.values.codec(object).decode(record.custom_status),
        created_at=as_datetime(record.created_at),
        last_updated_at=as_datetime(record.updated_at),
        completed_at=None if record.completed_at is None else as_datetime(record.completed_at),
        parent_id=None if record.parent is None else record.parent.instance_id,
        tags=record.tags,
        execution=record.execution,
        unread_events=record.unread_events,
        unawaited_failures=record.unawaited_failures,
    )


def output_of(record: OrchestrationRecord, registry: Registry) -> Any:
    """The decoded output: the result, or the reason of a termination."""
    if record.output is None:
        return None
    if record.status is RuntimeStatus.TERMINATED:
        return registry.values.codec(str).decode(record.output)
    definition = registry.orchestrators.get((record.name, record.version))
    codec = registry.values.codec(object) if definition is None else definition.result
    return codec.decode(record.output)


def _arguments_of(record: OrchestrationRecord, registry: Registry) -> tuple[Any, ...]:
    definition = registry.orchestrators.get((record.name, record.version))
    if definition is None:
        return tuple(registry.values.codec(object).decode(record.arguments))
    try:
        return definition.arguments.decode(record.arguments)
    except (PerdureError, TypeError, ValueError):
        # The signature has changed since; a status must be readable all the same.
        return tuple(registry.values.codec(object).decode(record.arguments))


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
    """

    entity_id: EntityId
    exists: bool
    locked_by: str | None
    waiting: tuple[str, ...]
    queued: tuple[str, ...]
    running: str | None


def describe_entity(cell: EntityCell) -> EntityDescription:
    """What the machine holds."""
    machine = cell.machine
    running = machine.running
    lanes = (*machine.held, *machine.queue)
    return EntityDescription(
        entity_id=EntityId(machine.entity_id.name, machine.entity_id.key),
        exists=machine.state is not None,
        locked_by=None if machine.lock is None else machine.lock.section.owner,
        waiting=tuple(message.section.owner for _, message in machine.queue if isinstance(message, LockRequest)),
        queued=tuple(
            message.name
            for number, message in lanes
            if isinstance(message, Operation) and (running is None or number != running.number)
        ),
        running=None if running is None else running.message.name,
    )


@frozen
class InstanceDescription:
    """Why an orchestration is where it is.

    Attributes:
      instance_id: the instance.
      runtime_status: where it is in its life.
      waiting_for: the unfinished steps and event names that it waits for, as text.
      section: the entities of the critical section that it is in, or waits to enter.
      failure: why it failed or was suspended.
    """

    instance_id: str
    runtime_status: RuntimeStatus
    waiting_for: tuple[str, ...]
    section: tuple[EntityId, ...]
    failure: FailureDetails | None


def describe_instance(cell: OrchestrationCell, record: OrchestrationRecord) -> InstanceDescription:
    """What the machine and its kernel hold."""
    kernel: Kernel | None = cell.machine.kernel
    return InstanceDescription(
        instance_id=record.instance_id,
        runtime_status=record.status,
        waiting_for=()
        if kernel is None
        else (*(f"step {number}" for number in kernel.tasks), *(f"event {name!r}" for name in kernel.events.wanted)),
        section=() if kernel is None or kernel.sections.open is None else kernel.sections.open.entities,
        failure=record.failure,
    )
