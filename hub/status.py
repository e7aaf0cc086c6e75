"""What clients are shown of instances and entities."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ..entities.failures import FailureDetails
from ..orchestration.registry import Registry
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage.errors import PerdureError
from .clock import as_datetime


@frozen
class InstanceStatus:
    """An instance as of the last commit.

    Attributes:
      instance_id: the instance.
      name: the orchestrator's name.
      version: the version that it was started with.
      runtime_status: where it is in its life (O17).
      input: its arguments after the context; empty if values were not asked for.
      output: its result, or the reason of a termination; ``None`` before that, and if values were not asked for.
      failure: why it failed or was suspended.
      custom_status: the value that the code has set, ``None`` without one, and if values were not asked for.
      created_at, last_updated_at: aware UTC.
      completed_at: aware UTC, ``None`` before it finished.
      parent_id: the parent's instance id.
      tags: what it was tagged with when it was started.
      start_at: when it is to start, aware UTC; ``None`` unless it waits for that.
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
    start_at: datetime | None
    execution: str
    unread_events: int
    unawaited_failures: tuple[FailureDetails, ...]


def status_of(record: OrchestrationRecord, registry: Registry, *, include_values: bool = True) -> InstanceStatus:
    """What a record says, with its values, if they are asked for, decoded by the orchestrator's types where it is defined."""
    custom_status = record.custom_status if include_values else None
    return InstanceStatus(
        instance_id=record.instance_id,
        name=record.name,
        version=record.version,
        runtime_status=record.status,
        input=_arguments_of(record, registry) if include_values else (),
        output=output_of(record, registry) if include_values else None,
        failure=record.failure,
        custom_status=None if custom_status is None else registry.values.codec(object).decode(custom_status),
        created_at=as_datetime(record.created_at),
        last_updated_at=as_datetime(record.updated_at),
        completed_at=None if record.completed_at is None else as_datetime(record.completed_at),
        parent_id=None if record.parent is None else record.parent.instance_id,
        tags=record.tags,
        start_at=None if record.start_at is None else as_datetime(record.start_at),
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
