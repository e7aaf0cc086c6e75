"""Timers: what is due at a time, in the order of the times (O8, D6).

Timers live in storage only, sorted by their time. In memory is just the time of the earliest, so a million of them cost
nothing. When the hub's clock has reached it, the due ones are read, delivered as messages, and deleted in the same
batch. A timer can fire once its own batch is durable, which its reader cannot tell from firing a moment later.
"""

from __future__ import annotations

import logging

import msgspec

from ..orchestration.messages import TimerDue
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import Store
from .batch import OpenBatch
from .records import encode

_log = logging.getLogger(__name__)
_PAGE = 500
_NEVER = 1 << 63


class TimerRecord(msgspec.Struct, frozen=True, array_like=True, tag="timer"):
    """A timer of an orchestration."""

    instance_id: str
    execution: str
    task: str

    def due(self) -> TimerDue:
        """The message that it delivers."""
        return TimerDue(self.execution, self.task)


decode_timer = msgspec.msgpack.Decoder(TimerRecord).decode


class Timers:
    """The timers of one hub.

    Attributes:
      next_due: no timer is due before this time, microseconds since 1970.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.next_due = 0
        self._damaged: set[bytes] = set()

    def set(self, batch: OpenBatch, prefix: bytes, fire_at: int, record: TimerRecord) -> None:
        """Store a timer with the open batch."""
        batch.writes[tables.TIMERS][_key(prefix, fire_at, record)] = encode(record)

    def drop(self, batch: OpenBatch, prefix: bytes, fire_at: int, record: TimerRecord) -> None:
        """Forget a timer with the open batch."""
        batch.writes[tables.TIMERS][_key(prefix, fire_at, record)] = None

    def committed(self, batch: OpenBatch) -> None:
        """The timers that a batch stored can fire from now on."""
        for key, value in batch.writes[tables.TIMERS].items():
            if value is not None:
                self.next_due = min(self.next_due, keys.read_u64(key))

    def take_due(self, now: int, batch: OpenBatch, under_way: OpenBatch | None) -> list[TimerRecord]:
        """The timers whose time has come, at most a page of them; they are deleted with the open batch."""
        if now < self.next_due:
            return []
        due: list[TimerRecord] = []
        gone = batch.writes[tables.TIMERS]
        going = {} if under_way is None else under_way.writes[tables.TIMERS]
        start = b""
        while True:
            page = self._store.keys(tables.TIMERS, start, None, _PAGE)
            for key in page:
                fire_at = keys.read_u64(key)
                if fire_at > now or len(due) >= _PAGE:
                    self.next_due = fire_at
                    return due
                if key not in gone and key not in going:
                    self._take(key, gone, due)
            if len(page) < _PAGE:
                self.next_due = _NEVER
                return due
            start = page[-1] + b"\0"

    def _take(self, key: bytes, gone: dict[bytes, bytes | None], due: list[TimerRecord]) -> None:
        if key in self._damaged:
            return
        try:
            value = self._store.get(tables.TIMERS, key)
        except DamagedRecord as error:
            self._damaged.add(key)
            _log.error("a timer is damaged and set aside: %s", error)
            return
        if value is not None:
            gone[key] = None
            due.append(decode_timer(value))

    def seconds_left(self, now: int) -> float:
        """Seconds until the next timer may be due; infinite without one."""
        return float("inf") if self.next_due == _NEVER else max(0, self.next_due - now) / 1_000_000


def _key(prefix: bytes, fire_at: int, record: TimerRecord) -> bytes:
    return keys.u64(fire_at) + prefix + bytes.fromhex(record.execution) + record.task.encode()
