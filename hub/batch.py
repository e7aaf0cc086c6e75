"""The batch that turns are being gathered into, and what is to happen when it is durable (D1, D2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from ..storage import tables
from ..storage.store import Batch, Commit, Writes

if TYPE_CHECKING:
    from ..orchestration.status import OrchestrationRecord
    from .ack import Ack
    from .cells import AnyCell, EntityCell
    from .records import ActivityRecord


def _no_writes() -> Writes:
    return {table: {} for table in tables.TABLES}


@define(eq=False)
class OpenBatch:
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
    writes: Writes = field(factory=_no_writes)
    cells: list[AnyCell] = field(factory=list)
    acks: list[tuple[Ack, Any]] = field(factory=list)
    activities: dict[bytes, ActivityRecord] = field(factory=dict)
    cancelled: list[bytes] = field(factory=list)
    operations: list[tuple[EntityCell, int]] = field(factory=list)
    finished: list[OrchestrationRecord] = field(factory=list)
    requests: list[str] = field(factory=list)
    settled: dict[bytes, bytes] = field(factory=dict)
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
