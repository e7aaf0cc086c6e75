"""``hub.clean_entities``: what should not be there, found and put right (E11, L8).

Entities that have nothing to keep remove themselves, and an owner's end releases its locks in the same commit (L5); so
there is nothing to clean unless a record was lost or damaged, or written by something else. This looks, as Durable
Functions' operation of that name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ..entities.messages import LockRelease
from ..entities.record import EntityRecord
from ..storage import tables
from .lots import in_lots
from .opening import OpenableHub

if TYPE_CHECKING:
    from ..entities.lock import Lock
    from .runtime import Runtime


@frozen
class CleanedEntities:
    """What :meth:`TaskHub.clean_entities` has done.

    Attributes:
      empty_removed: entities without anything to keep that were removed.
      locks_released: locks of orchestrations that are gone or have ended that were released.
    """

    empty_removed: int
    locks_released: int


class CleanVerbs(OpenableHub):
    """Clean entities."""

    async def clean_entities(self, *, remove_empty: bool = True, release_orphaned_locks: bool = True) -> CleanedEntities:
        """Remove entities that have nothing to keep, and release locks whose owner is missing or has ended (E11, L8).

        A suspended or pending owner is alive and keeps its locks. It goes through the entities a few at a time, each lot
        durable before the next, so running work goes on beside it. Cancelling it leaves the rest.

        Args:
          remove_empty: remove entities without state, queued messages, lock, delayed signals and dead letters.
          release_orphaned_locks: release orphaned locks; whoever waits for them is served. It counts locks, too, whose
            release was just under way.

        Raises:
          StorageError, HubClosed: as for :meth:`signal_entity`.
        """
        runtime = self._open_runtime()
        removed = released = 0

        def clean(record: EntityRecord) -> None:
            nonlocal removed, released
            cell = runtime.residence.entity(record.entity_id)
            lock = cell.machine.lock
            if cell.damaged:
                return
            if lock is not None:
                if release_orphaned_locks and not lock.releasing and _orphaned(runtime, lock):
                    runtime.engine.to_entity(record.entity_id, LockRelease(lock.section))
                    released += 1
            elif remove_empty and cell.stored and cell.empty:
                runtime.engine.touch(cell, arrived=0)  # it removes itself when it is written
                removed += 1

        await in_lots(
            runtime, EntityRecord, tables.ENTITY_KIND, lambda record: record.lock is not None or record.state is None, clean
        )
        return CleanedEntities(removed, released)


def _orphaned(runtime: Runtime, lock: Lock) -> bool:
    """Whether the owner of a lock is missing, in a final state, or in another execution (L8)."""
    owner = runtime.residence.orchestration(lock.section.owner)
    if owner is None:
        return True
    record = owner.machine.record
    return record is not None and (record.status.final or record.execution != lock.section.execution)
