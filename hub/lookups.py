"""Looking an orchestration up, as of the last commit."""

from __future__ import annotations

from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord
from ..storage import keys
from ..storage.store import CommittedStore
from .payloads import find_record
from .runtime import Runtime


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
    record = find_stored(runtime.store, instance_id)
    if record is None and cell is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    return record if record is not None and record.status.final else None
