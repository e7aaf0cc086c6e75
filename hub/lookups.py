"""Looking an instance up, as of the last commit."""

from __future__ import annotations

from ..entities.ids import EntityId
from ..entities.record import EntityRecord
from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord
from ..storage import keys
from ..storage.store import CommittedStore
from .payloads import find_record


def find_stored(store: CommittedStore, instance_id: str, *, include_values: bool = True) -> OrchestrationRecord | None:
    """The record of an instance as of the last commit, ``None`` if there is no such instance.

    Without ``include_values`` large ones (:mod:`.payloads`) are not read; they are empty.
    """
    found = find_record(store, keys.orchestration_key(instance_id), include_values=include_values)
    return found[1] if found is not None and isinstance(found[1], OrchestrationRecord) else None


def stored_record(store: CommittedStore, instance_id: str, *, include_values: bool = True) -> OrchestrationRecord:
    """Like :func:`find_stored`, of an instance that must exist.

    Raises:
      InstanceNotFound: there is no such instance.
    """
    record = find_stored(store, instance_id, include_values=include_values)
    if record is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    return record


def find_stored_entity(store: CommittedStore, entity_id: EntityId) -> EntityRecord | None:
    """The record of an entity as of the last commit, ``None`` if nothing of it is stored.

    Raises:
      DamagedRecord: it is damaged on disk (D9).
    """
    found = find_record(store, keys.entity_key(entity_id.name, entity_id.key))
    return found[1] if found is not None and isinstance(found[1], EntityRecord) else None
