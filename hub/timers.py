"""What is due at a time, in the order of the times: timers (O8), delayed signals (E10), entities that expire (D6).

All of it lives in storage only, in one table that is sorted by time. In memory is just the time of the earliest, so a
million timers cost nothing. When the hub's clock has reached it, what is due is read, taken out with the open batch, and
handed to the engine, which lets it happen in that same batch. A row can come due once its own batch is durable, which
nobody can tell from coming due a moment later.

Rows that were taken are in storage until their batch is durable. So the search goes on where it last ended, and back to a row that a
commit has put before that place.
"""

from __future__ import annotations

import logging

from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import Store
from .batch import OpenBatch
from .records import DueRecord, decode_due, encode

_log = logging.getLogger(__name__)
_NEVER = 1 << 63


class Timers:
    """What is due some time in one hub.

    Attributes:
      next_due: nothing is due before this time, microseconds since 1970.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.next_due = 0
        self._from = b""  # every row before this key was taken, is being rewritten, or was set aside
        self._aside: set[bytes] = set()

    def set(self, batch: OpenBatch, key: bytes, record: DueRecord) -> None:
        """Store a row with the open batch."""
        batch.writes[tables.TIMERS][key] = encode(record)

    def drop(self, batch: OpenBatch, key: bytes) -> None:
        """Forget a row with the open batch."""
        batch.writes[tables.TIMERS][key] = None

    def stored(self, key: bytes) -> DueRecord | None:
        """What is stored under a key as of the last commit.

        Raises:
          DamagedRecord: it is damaged.
        """
        value = self._store.get(tables.TIMERS, key)
        return None if value is None else decode_due(value)

    def committed(self, batch: OpenBatch) -> None:
        """What a batch stored can come due from now on."""
        for key, value in batch.writes[tables.TIMERS].items():
            if value is not None:
                self.next_due = min(self.next_due, keys.read_u64(key))
                self._from = min(self._from, key)

    def take_due(self, now: int, batch: OpenBatch, under_way: OpenBatch | None, at_most: int) -> list[tuple[bytes, DueRecord]]:
        """What is due now, each with its key, the earliest first, and no more than so many; it is deleted with the open batch."""
        if now < self.next_due:
            return []
        due: list[tuple[bytes, DueRecord]] = []
        gone = batch.writes[tables.TIMERS]
        going = {} if under_way is None else under_way.writes[tables.TIMERS]
        while True:
            page = self._store.keys(tables.TIMERS, self._from, None, at_most + 1)
            for key in page:
                due_at = keys.read_u64(key)
                if due_at > now or len(due) >= at_most:
                    self.next_due = due_at
                    return due
                self._from = key + b"\0"
                if key not in gone and key not in going:
                    self._take(key, gone, due)
            if len(page) <= at_most:
                self.next_due = _NEVER
                return due

    def _take(self, key: bytes, gone: dict[bytes, bytes | None], due: list[tuple[bytes, DueRecord]]) -> None:
        if key in self._aside:
            return
        try:
            record = self.stored(key)
        except DamagedRecord as error:
            self._aside.add(key)
            _log.error("a timer is damaged and set aside: %s", error)
            return
        if record is not None:
            gone[key] = None
            due.append((key, record))

    def set_aside(self, key: bytes, batch: OpenBatch) -> None:
        """Leave a row that was taken, and cannot be used, where it is until the hub is opened again."""
        del batch.writes[tables.TIMERS][key]
        self._aside.add(key)

    def seconds_left(self, now: int) -> float:
        """Seconds until something may be due; infinite if nothing is."""
        return float("inf") if self.next_due == _NEVER else max(0, self.next_due - now) / 1_000_000
