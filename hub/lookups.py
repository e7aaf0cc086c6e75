"""Looking an orchestration up, as of the last commit."""

from __future__ import annotations

from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord
from .runtime import Runtime


def stored_record(runtime: Runtime, instance_id: str) -> OrchestrationRecord:
    """The record of an instance as of the last commit.

    Raises:
      InstanceNotFound: there is no such instance.
    """
    record = runtime.residence.stored_orchestration(instance_id)
    if record is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    return record


def durable_record(runtime: Runtime, instance_id: str) -> OrchestrationRecord | None:
    """The record of an instance that has finished durably; ``None`` while it has not.

    Raises:
      InstanceNotFound: there is no such instance.
    """
    cell = runtime.residence.orchestrations.get(instance_id)
    if cell is not None and cell.purged:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    if cell is not None and not cell.machine.finished:
        return None
    record = runtime.residence.stored_orchestration(instance_id)
    if record is None and cell is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    return record if record is not None and record.status.final else None
