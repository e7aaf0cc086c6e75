"""Delayed signals: sent now, delivered at a time (E10).

A delayed signal is a row among the timers, found by its id, since the id holds the time; and a row of an index by entity,
from which one entity's are listed. Both are written and deleted together, with the count in the entity's record: while it
is not zero the entity is kept (E11) and does not expire. So whoever cancels a signal, and the clock that delivers it,
decide by one row which of them was first.

That row may be in a batch that is not on disk yet, or be deleted by one; what those batches have changed is remembered here
until they are durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..entities.delayed import parts_of
from ..entities.messages import DropSignal, SendLater
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from .cells import AnyCell, EntityCell
from .records import SignalRecord
from .timers import Timers

if TYPE_CHECKING:
    from .batch import OpenBatch
    from .residence import Residence

_log = logging.getLogger(__name__)
_NOBODY: Final = keys.u64(0)
"""The number that no instance has."""


class DelayedSignals:
    """The delayed signals of one hub.

    Args:
      timers: the timers.
      residence: finds entities.
      touch: tells the engine that a cell changed, and how many messages it got.
    """

    def __init__(self, timers: Timers, residence: Residence, touch: Callable[[AnyCell, int], None]) -> None:
        self._timers = timers
        self._residence = residence
        self._touch = touch
        self._uncommitted: dict[bytes, tuple[SignalRecord | None, int]] = {}

    def send(self, effect: SendLater, sender: str, batch: OpenBatch) -> None:
        """Store a signal; asking again for one that is there already, as code that is run again may, changes nothing."""
        key = signal_key(effect.signal_id)
        if self.find(effect.signal_id) is not None:
            return
        target = effect.target
        cell = self._residence.entity(target)
        record = SignalRecord(target.name, target.key, effect.message, sender)
        self._timers.set(batch, key, record)
        batch.writes[tables.DELAYED][index_key(cell, key)] = b""
        self._uncommitted[key] = record, batch.number
        cell.delayed += 1
        self._touch(cell, 0)

    def cancel(self, signal_id: str, batch: OpenBatch) -> bool:
        """Forget a signal; false if it was delivered or cancelled before.

        Raises:
          DamagedRecord: it is damaged on disk (D9).
        """
        record = self.find(signal_id)
        if record is None:
            return False
        key = signal_key(signal_id)
        self._timers.drop(batch, key)
        self._touch(self._gone(key, record, batch), 0)
        return True

    def deliver(self, key: bytes, record: SignalRecord, batch: OpenBatch) -> None:
        """Put a signal that is due, and was taken out of the timers, into its entity's mailbox."""
        cell = self._gone(key, record, batch)
        cell.machine.accept(record.message)
        self._touch(cell, 1)

    def carry_out(self, cell: AnyCell, effect: SendLater | DropSignal, batch: OpenBatch) -> None:
        """Do what an operation or an orchestration has decided; what meets a damaged record is left, and reported."""
        try:
            if isinstance(effect, SendLater):
                self.send(effect, _name_of(cell), batch)
            else:
                self.cancel(effect.signal_id, batch)
        except DamagedRecord as error:
            _log.error("a delayed signal cannot be sent or cancelled: %s", error)

    def committed(self, batch: OpenBatch) -> None:
        """What a batch changed can be read from the store from now on."""
        uncommitted = self._uncommitted
        if uncommitted:
            for key in batch.writes[tables.TIMERS]:
                entry = uncommitted.get(key)
                if entry is not None and entry[1] == batch.number:
                    del uncommitted[key]

    def find(self, signal_id: str) -> SignalRecord | None:
        """A signal that was neither delivered nor cancelled, at this moment; ``None`` if there is none of that id.

        Raises:
          DamagedRecord: it is damaged on disk (D9).
        """
        key = signal_key(signal_id)
        if key in self._uncommitted:
            return self._uncommitted[key][0]
        stored = self._timers.stored(key)
        return stored if isinstance(stored, SignalRecord) else None

    def _gone(self, key: bytes, record: SignalRecord, batch: OpenBatch) -> EntityCell:
        """The entity of a signal whose row was just deleted; the rest of it is deleted too."""
        cell = self._residence.entity(record.entity_id)
        batch.writes[tables.DELAYED][index_key(cell, key)] = None
        self._uncommitted[key] = None, batch.number
        cell.delayed -= 1
        return cell


def signal_key(signal_id: str) -> bytes:
    """The key of a delayed signal."""
    due, digest = parts_of(signal_id)
    return keys.u64(due) + _NOBODY + digest


def is_signal_key(key: bytes) -> bool:
    """Whether a key is that of a delayed signal."""
    return key[8:16] == _NOBODY


def signal_id_of_key(key: bytes) -> str:
    """The id of the delayed signal under a key."""
    return key[:8].hex() + key[16:].hex()


def index_key(cell: EntityCell, key: bytes) -> bytes:
    """The key of a signal in the index by entity."""
    return cell.prefix + key[:8] + key[16:]


def key_of_index(index: bytes) -> bytes:
    """The key of a signal among the timers, from its key in the index."""
    return index[8:16] + _NOBODY + index[16:]


def _name_of(cell: AnyCell) -> str:
    return str(cell.machine.entity_id) if isinstance(cell, EntityCell) else cell.machine.instance_id
