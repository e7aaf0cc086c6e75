"""A store that notes the shape of what the hub writes, so that LMDB alone can write the same again.

It is the default store with a note taken at each batch: the keys, and the sizes of the values. The note costs some tens of
nanoseconds a record, which the measured hub pays; that is below a hundredth of what a record costs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from perdure.storage.lmdb_store import LmdbStore

if TYPE_CHECKING:
    from perdure.storage.lmdb_writer import LmdbCommit
    from perdure.storage.store import Batch


@frozen
class TableShape:
    """What one batch writes to one table.

    Attributes:
      table: its name.
      puts: keys that are written.
      value_bytes: the size of all their values together.
      deletes: keys that are deleted.
    """

    table: str
    puts: list[bytes]
    value_bytes: int
    deletes: list[bytes]


BatchShape = list[TableShape]


class RecordingStore(LmdbStore):
    """The default store, with ``batches``: the shape of every batch that was submitted."""

    batches: list[BatchShape]

    def submit(self, batch: Batch) -> LmdbCommit:
        """Note the batch, and begin to write it."""
        self.batches.append([_shape(table, changes) for table, changes in batch.writes.items() if changes])
        return super().submit(batch)

    def open(self) -> int:
        """Become the owner; recording begins."""
        self.batches = []
        return super().open()


def _shape(table: str, changes: dict[bytes, bytes | None]) -> TableShape:
    values = [value for value in changes.values() if value is not None]
    size = sum(map(len, values))
    if len(values) == len(changes):
        return TableShape(table, list(changes), size, [])
    return TableShape(
        table,
        [key for key, value in changes.items() if value is not None],
        size,
        [key for key, value in changes.items() if value is None],
    )
