"""What a check of a hub reads, and how it says what is wrong; the rules are in :mod:`perdure.hub.checking`.

What cannot be read is told apart from what is not there: an instance whose record is damaged is not gone. As long as there is
such a record (``incomplete``) nothing is taken for an orphan for want of an instance: it is reported, and stays.

The records of a hub with a codec are only read with that codec. Without it the rules see keys, and the tables that no codec
changes: :meth:`Evidence.decoded` then gives no values, and a rule goes on without what it cannot see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, TypeVar

import msgspec
from attrs import field, frozen

from ..entities.record import EntityRecord
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.record_codec import PLAIN_TABLES
from .payloads import decode_head
from .records import InstanceRecord

R = TypeVar("R")

Fix: TypeAlias = tuple[tuple[str, bytes, bytes | None], ...]
"""What mends something: table, key and new value; ``None`` takes the record out of the store."""

_SEEN_EVERY = 5_000


@frozen
class Finding:
    """Something that is wrong.

    Attributes:
      kind: ``page``, ``witness``, ``checksum``, ``decoding``, ``index``, ``count``, ``orphan`` or ``lock``.
      what: what is wrong, with which record.
      remedy: what ``repair`` does about it.
      fix: the changes that mend it; none, if it cannot be mended here.
    """

    kind: str
    what: str
    remedy: str = ""
    fix: Fix = field(default=(), repr=False)


class Records(Protocol):
    """All records of a hub that nobody writes; see :class:`perdure.storage.lmdb_offline.StoredRecords`."""

    def counted(self, table: str) -> int:
        """How many records a table is said to have."""
        ...

    def rows(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and stored value of each record of a table, in key order."""
        ...

    def stored(self, table: str, key: bytes) -> bytes | None:
        """A record as it is stored."""
        ...

    def unseal(self, table: str, key: bytes, stored: bytes) -> bytes:
        """The value of a stored record.

        Raises:
          DamagedRecord: it cannot be had.
        """
        ...


class Evidence:
    """A hub's records, as the rules read them.

    Args:
      records: the records.
      seen: is told of a table, and how many records were looked at in all, now and then.
      incomplete: records are known to be lost.
      readable: what is in the records can be read: the hub has no codec, or the records come decoded.

    Attributes:
      incomplete: records are lost, or those of instances are damaged.
      readable: as above.
      found_again: numbers of instances whose rows in the directory are to be made again, by directory key.
    """

    def __init__(
        self, records: Records, seen: Callable[[str, int], None], *, incomplete: bool = False, readable: bool = True
    ) -> None:
        self._records = records
        self._seen = seen
        self._looked_at = 0
        self._owner: tuple[bytes, bool] = (b"", False)
        self.incomplete = incomplete
        self.readable = readable
        self.found_again: dict[bytes, bytes] = {}

    # --- going through a table

    def rows(self, table: str) -> Iterator[tuple[bytes, bytes | None, Finding | None]]:
        """Key and value of each record; of a damaged one no value, and a finding. In the end the number is compared."""
        counted, number = self._records.counted(table), 0
        self._seen(table, self._looked_at)
        for key, stored in self._records.rows(table):
            number += 1
            self._looked_at += 1
            if number % _SEEN_EVERY == 0:
                self._seen(table, self._looked_at)
            try:
                yield key, self._records.unseal(table, key, stored), None
            except DamagedRecord as error:
                yield key, None, Finding("checksum", str(error), "none: it stays, and the hub does not use it")
        if number != counted:
            what = f"table {table!r} says that it has {counted} records, and {number} can be found"
            yield b"", None, Finding("count", what, "none: a page may be lost; restore a backup")

    def decoded(self, table: str, decode: Callable[[bytes], R]) -> Iterator[tuple[bytes, R | None, Finding | None]]:
        """The same with decoded values; ``None`` where one cannot be read."""
        hidden = not self.readable and table not in PLAIN_TABLES
        for key, value, finding in self.rows(table):
            if value is None or hidden:
                yield key, None, finding
                continue
            try:
                yield key, decode(value), None
            except (msgspec.MsgspecError, ValueError) as error:
                what = f"the record {key.hex()} of table {table!r} cannot be decoded: {error}"
                yield key, None, Finding("decoding", what, "none: it stays, and the hub does not use it")

    def below(self, table: str, prefix: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Key and value of each record of one instance; no value if it cannot be read."""
        for key, stored in self._records.rows(table, prefix):
            if not key.startswith(prefix):
                return
            yield key, self._read(table, key, stored)

    # --- looking something up

    def is_there(self, table: str, key: bytes) -> bool:
        """Whether there is a record, sound or not."""
        return self._records.stored(table, key) is not None

    def value(self, table: str, key: bytes) -> bytes | None:
        """The value of a record; ``None`` if there is none, or it cannot be read."""
        stored = self._records.stored(table, key)
        return None if stored is None else self._read(table, key, stored)

    def _read(self, table: str, key: bytes, stored: bytes) -> bytes | None:
        if not self.readable and table not in PLAIN_TABLES:
            return None
        try:
            return self._records.unseal(table, key, stored)
        except DamagedRecord:
            return None

    def has_instance(self, number: bytes) -> bool:
        """Whether there is an instance of a number, its record sound or not."""
        if self._owner[0] != number:
            self._owner = (number, self.is_there(tables.INSTANCES, number))
        return self._owner[1]

    def instance(self, number: bytes) -> InstanceRecord | None:
        """The record of an instance without the values that are stored apart; ``None`` if it cannot be read."""
        value = self.value(tables.INSTANCES, number)
        try:
            return None if value is None else decode_head(value)
        except msgspec.MsgspecError:
            return None

    def number_of(self, directory_key: bytes) -> bytes | None:
        """The number of the instance that an id leads to, or will lead to once its row was made again."""
        return self.found_again.get(directory_key) or self.value(tables.DIRECTORY, directory_key)

    def orchestration(self, instance_id: str) -> OrchestrationRecord | None:
        """The record of an orchestration; ``None`` if it is gone, or cannot be read."""
        number = self.number_of(keys.orchestration_key(instance_id))
        record = None if number is None else self.instance(number)
        return record if isinstance(record, OrchestrationRecord) else None

    def orphan(self, kind: str, what: str, remedy: str, fix: Fix) -> Finding:
        """A finding for want of an instance."""
        if self.incomplete:
            return Finding(kind, what, "none while records of instances are damaged or lost: it may be of one of those")
        return Finding(kind, what, remedy, fix)


def directory_key(record: InstanceRecord) -> bytes:
    """The key of an instance's row in the directory."""
    if isinstance(record, EntityRecord):
        return keys.entity_key(record.name, record.key)
    return keys.orchestration_key(record.instance_id)


def called(record: InstanceRecord) -> str:
    """What an instance is called in a finding."""
    if isinstance(record, EntityRecord):
        return f"entity {str(record.entity_id)!r}"
    return f"orchestration {record.instance_id!r}"
