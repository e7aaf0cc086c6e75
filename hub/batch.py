"""The batch that turns are being gathered into, and what is to happen when it is durable (D1, D2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ..storage import tables
from ..storage.store import Batch, Commit, Writes

if TYPE_CHECKING:
    from ..orchestration.status import OrchestrationRecord
    from .ack import Ack
    from .cells import AnyCell, EntityCell
    from .records import ActivityRecord


def _no_writes() -> Writes:
    return {table: {} for table in tables.TABLES}


class OpenBatch(msgspec.Struct, eq=False):
    """A batch that still grows, or is on its way to disk.

    Attributes:
      number: its commit number.
      opened_at: when it got its first change, on the event loop's clock, seconds; 0 while it is empty.
      opened_turns: turns that had been run then.
      writes: the puts and deletes.
      cells: the instances that it has to write when it is sealed.
      acks: callers to be told that it is durable, each with what it gets.
      activities: activities that start when it is durable, by their key.
      cancelled: keys of activities that are to be cancelled.
      operations: entities in front of an async operation, and the number of its message, durable with this batch.
      finished: the records of instances that reached a final status.
      requests: request ids that it stores.
      settled: what goes into ``meta`` if the batch is written at all.
      sealed: what was handed to the store.
      commit: its way to disk.
    """

    number: int
    opened_at: float = 0.0
    opened_turns: int = 0
    writes: Writes = msgspec.field(default_factory=_no_writes)
    cells: list[AnyCell] = msgspec.field(default_factory=list)
    acks: list[tuple[Ack, Any]] = msgspec.field(default_factory=list)
    activities: dict[bytes, ActivityRecord] = msgspec.field(default_factory=dict)
    cancelled: list[bytes] = msgspec.field(default_factory=list)
    operations: list[tuple[EntityCell, int]] = msgspec.field(default_factory=list)
    finished: list[OrchestrationRecord] = msgspec.field(default_factory=list)
    requests: list[str] = msgspec.field(default_factory=list)
    settled: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    sealed: Batch | None = None
    commit: Commit | None = None

    def drop_activities(self, keys: Iterable[bytes]) -> None:
        """Delete activities: those that have not been started are not, the others are cancelled when that is durable."""
        for key in keys:
            self.writes[tables.ACTIVITIES][key] = None
            if self.activities.pop(key, None) is None:
                self.cancelled.append(key)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write and nobody to tell."""
        return not (self.cells or self.acks or self.activities or self.operations or any(self.writes.values()))
