"""Looking an instance up, as of the last commit."""

from __future__ import annotations

from ..entities.ids import EntityId
from ..entities.record import EntityRecord
from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from .records import decode_instance
from .runtime import Runtime


def find_stored_entity(runtime: Runtime, entity_id: EntityId) -> EntityRecord | None:
    """The record of an entity as of the last commit, ``None`` if nothing of it is stored.

    Raises:
      DamagedRecord: the record is damaged on disk (D9).
    """
    number = runtime.store.get(tables.DIRECTORY, keys.entity_key(entity_id.name, entity_id.key))
    stored = None if number is None else runtime.store.get(tables.INSTANCES, number)
    record = None if stored is None else decode_instance(stored)
    return record if isinstance(record, EntityRecord) else None


def find_stored(runtime: Runtime, instance_id: str) -> OrchestrationRecord | None:
    """The record of an instance as of the last commit, ``None`` if there is no such instance."""
    number = runtime.store.get(tables.DIRECTORY, keys.orchestration_key(instance_id))
    stored = None if number is None else runtime.store.get(tables.INSTANCES, number)
    record = None if stored is None else decode_instance(stored)
    return record if isinstance(record, OrchestrationRecord) else None


def stored_record(runtime: Runtime, instance_id: str) -> OrchestrationRecord:
    """The record of an instance as of the last commit.

    Raises:
      InstanceNotFound: there is no such instance.
    """
    record = find_stored(runtime, instance_id)
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
    record = find_stored(runtime, instance_id)
    if record is None and cell is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    return record if record is not None and record.status.final else None
