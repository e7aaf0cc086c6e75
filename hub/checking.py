"""What must hold in a hub's data, whatever was under way when it was written (D9, L8).

A disk that lost or changed something leaves records that do not fit each other. Each rule here goes through a table, and
says of each record that breaks it what is wrong, and what would mend it, if anything would:

- An index is made again from what it points to: the directory from the instances, expiry times from requests, counts
  by counting.
- What belongs to nobody is an orphan: rows of an instance that is gone, timers of an execution that has ended. They are
  taken out of the store, and kept in a file.
- A lock whose owner is gone gets the release that it waits for, as a message in the entity's mailbox: the hub passes it on.
- A record that does not match its checksum, or cannot be decoded, is left where it is: the hub sets it aside by itself, and it
  can be put right from a backup.

The rules are those of the hub's own writes: a batch is whole, so nothing here can be in between. They only read, and hold
next to nothing in memory.

An instance whose record is damaged is not gone, and which of them it is may be lost with it. So as long as there is such a
record, nothing is taken for an orphan for want of an instance: it is reported, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec
from attrs import field, frozen

from ..entities.messages import LockRelease, LockRequest, SectionId
from ..entities.record import EntityRecord
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.lmdb_offline import StoredRecords
from .payloads import decode_head
from .records import (
    InstanceRecord,
    RequestRecord,
    TimerRecord,
    decode_activity,
    decode_due,
    decode_entity_message,
    decode_history,
    decode_letter,
    decode_orchestration_message,
    decode_request,
    encode,
)
from .retention import PURGE_TIMER

Fix: TypeAlias = tuple[tuple[str, bytes, bytes | None], ...]
"""What mends something: table, key and new value; ``None`` takes the record out of the store."""

_OWNED: Final = (tables.HISTORY, tables.INBOX, tables.ACTIVITIES, tables.LETTERS, tables.PAYLOADS)
_DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    tables.HISTORY: decode_history,
    tables.ACTIVITIES: decode_activity,
    tables.LETTERS: decode_letter,
}
_SEEN_EVERY: Final = 5_000


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


class Examiner:
    """Goes through a hub's data, table by table.

    Args:
      records: the data.
      seen: is told of a table, and how many records were looked at in all, now and then.
      incomplete: records are known to be lost.
    """

    def __init__(self, records: StoredRecords, seen: Callable[[str, int], None], *, incomplete: bool = False) -> None:
        self._records = records
        self._seen = seen
        self._incomplete = incomplete
        self._found_again: dict[bytes, bytes] = {}
        self._request_count = 0
        self._looked_at = 0
        self._owner: tuple[bytes, bool] = (b"", False)
        self._highest = 0
        self._released: set[SectionId] = set()

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong.

        Raises:
          StorageError: a page cannot be read.
        """
        yield from self._instances()
        yield from self._directory()
        for table in _OWNED:
            yield from self._owned(table)
        yield from self._timers()
        yield from self._requests()
        yield from self._expiry()
        yield from self._counts()
        yield from self._locks()

    # --- reading

    def _rows(self, table: str) -> Iterator[tuple[bytes, bytes | None, Finding | None]]:
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

    def _decoded(self, table: str, decode: Callable[[bytes], object]) -> Iterator[tuple[bytes, object | None, Finding | None]]:
        for key, value, finding in self._rows(table):
            if value is None:
                yield key, None, finding
                continue
            try:
                yield key, decode(value), None
            except (msgspec.MsgspecError, ValueError) as error:
                what = f"the record {key.hex()} of table {table!r} cannot be decoded: {error}"
                yield key, None, Finding("decoding", what, "none: it stays, and the hub does not use it")

    def _instance(self, number: bytes) -> InstanceRecord | None:
        value = self._records.value(tables.INSTANCES, number)
        try:
            return None if value is None else decode_head(value)
        except msgspec.MsgspecError:
            return None

    def _orchestration(self, instance_id: str) -> OrchestrationRecord | None:
        key = keys.orchestration_key(instance_id)
        number = self._found_again.get(key) or self._records.value(tables.DIRECTORY, key)
        record = None if number is None else self._instance(number)
        return record if isinstance(record, OrchestrationRecord) else None

    def _orphan(self, kind: str, what: str, remedy: str, fix: Fix) -> Finding:
        """A finding for want of an instance."""
        if self._incomplete:
            return Finding(kind, what, "none while records of instances are damaged or lost: it may be of one of those")
        return Finding(kind, what, remedy, fix)

    # --- the rules

    def _instances(self) -> Iterator[Finding]:
        """Every instance can be found by its id, and its number is below those that will be given out."""
        for number, record, finding in self._decoded(tables.INSTANCES, decode_head):
            if finding is not None:
                self._incomplete = True
                yield finding
            if not isinstance(record, EntityRecord | OrchestrationRecord):
                continue
            self._highest = max(self._highest, keys.read_u64(number))
            key = _directory_key(record)
            points_to = self._records.value(tables.DIRECTORY, key)
            if points_to == number:
                continue
            other = None if points_to is None else self._instance(points_to)
            if other is not None and _directory_key(other) == key:
                yield Finding("index", f"{_called(record)} is stored twice, under the numbers {points_to!r} and {number!r}")
            else:
                self._found_again[key] = number
                what = f"{_called(record)} cannot be found: its row in the directory is missing, damaged or leads elsewhere"
                yield Finding("index", what, "the row is made again", ((tables.DIRECTORY, key, number),))

    def _directory(self) -> Iterator[Finding]:
        """Every id leads to the instance that has it."""
        for key, number, finding in self._rows(tables.DIRECTORY):
            if number is None:
                if finding is not None and key:
                    yield self._orphan(finding.kind, finding.what, "it is taken out", ((tables.DIRECTORY, key, None),))
                elif finding is not None:
                    yield finding
                continue
            if self._records.stored(tables.INSTANCES, number) is None:
                what = f"the directory row {key!r} leads to an instance that is gone"
                yield self._orphan("orphan", what, "it is taken out", ((tables.DIRECTORY, key, None),))
                continue
            record = self._instance(number)
            if record is not None and _directory_key(record) != key:
                what = f"the directory row {key!r} leads to {_called(record)}"
                yield Finding("index", what, "it is taken out", ((tables.DIRECTORY, key, None),))

    def _owned(self, table: str) -> Iterator[Finding]:
        """Every row of an instance has the instance, and chunks of a journal are numbered without gaps."""
        journal, chunk = b"", 0
        for key, value, finding in self._decoded(table, _DECODERS.get(table, bytes)):
            if finding is not None:
                yield finding
            if not key:
                continue
            if not self._has_owner(key[:8]):
                what = f"the record {key.hex()} of table {table!r} belongs to an instance that is gone"
                yield self._orphan("orphan", what, "it is taken out", ((table, key, None),))
            elif table == tables.INBOX and isinstance(value, bytes):
                yield from self._message(key, value)
            elif table == tables.HISTORY:
                journal, chunk = (journal, chunk + 1) if key[:8] == journal else (key[:8], 0)
                if keys.read_u32(key, 8) != chunk:
                    chunk = keys.read_u32(key, 8)
                    what = f"the journal of instance number {keys.read_u64(key)} has a gap before its chunk {chunk}"
                    yield Finding("index", what, "none: restore a backup, or terminate the instance")

    def _has_owner(self, number: bytes) -> bool:
        if self._owner[0] != number:
            self._owner = (number, self._records.stored(tables.INSTANCES, number) is not None)
        return self._owner[1]

    def _message(self, key: bytes, value: bytes) -> Iterator[Finding]:
        """Every message is one that its receiver understands; which releases are on their way is noted."""
        receiver = self._instance(key[:8])
        try:
            if isinstance(receiver, EntityRecord):
                message = decode_entity_message(value)
                if isinstance(message, LockRelease):
                    self._released.add(message.section)
            elif receiver is not None:
                decode_orchestration_message(value)
        except msgspec.MsgspecError as error:
            what = f"the message {key.hex()} cannot be decoded: {error}"
            yield Finding("decoding", what, "none: it stays, and its receiver waits")

    def _timers(self) -> Iterator[Finding]:
        """Every timer is one of an execution that goes on (O8)."""
        for key, record, finding in self._decoded(tables.TIMERS, decode_due):
            if finding is not None:
                yield finding
            if isinstance(record, TimerRecord) and record.task != PURGE_TIMER:
                owner = self._orchestration(record.instance_id)
                what = f"the timer {key.hex()} is of an execution of {record.instance_id!r} that has ended"
                fix: Fix = ((tables.TIMERS, key, None),)
                if owner is None:
                    yield self._orphan("orphan", what, "it is taken out", fix)
                elif owner.status.final or owner.execution != record.execution:
                    yield Finding("orphan", what, "it is taken out", fix)

    def _requests(self) -> Iterator[Finding]:
        """Every request id expires, or lives with its instance (D8)."""
        for key, record, finding in self._decoded(tables.REQUESTS, decode_request):
            if finding is not None:
                yield finding
            self._request_count += bool(key)
            if not isinstance(record, RequestRecord):
                continue
            if record.expires_at:
                expiry = keys.u64(record.expires_at) + key
                if self._records.value(tables.EXPIRY, expiry) != b"":
                    what = f"the request id {key!r} has no expiry time, and would be kept for ever"
                    yield Finding("index", what, "it is made again", ((tables.EXPIRY, expiry, b""),))
            else:
                target = self._orchestration(record.target)
                if target is None or target.request_id != key.decode():
                    self._request_count -= not self._incomplete
                    what = f"the request id {key!r} is of a start of {record.target!r}, which is gone"
                    yield self._orphan("orphan", what, "it is taken out", ((tables.REQUESTS, key, None),))

    def _expiry(self) -> Iterator[Finding]:
        """Every expiry time is one of a request id that is kept."""
        for key, value, finding in self._rows(tables.EXPIRY):
            if not key:
                if finding is not None:
                    yield finding
                continue
            stored = self._records.stored(tables.REQUESTS, key[8:])
            request = None if stored is None else self._records.value(tables.REQUESTS, key[8:])
            if stored is not None and request is None:
                continue  # damaged itself, and reported
            if value is None or request is None or decode_request(request).expires_at != keys.read_u64(key):
                what = f"the expiry time {key.hex()} is damaged, or of a request id that is not kept"
                yield Finding("orphan", what, "it is taken out", ((tables.EXPIRY, key, None),))

    def _counts(self) -> Iterator[Finding]:
        """The hub's counters are what can be counted."""
        for key, _, finding in self._rows(tables.META):
            if finding is not None and key not in (b"requests", b"next_number"):
                fix: Fix = ((tables.META, key, None),) if key == b"time" else ()
                yield Finding(finding.kind, finding.what, "it is taken out" if fix else finding.remedy, fix)
        for key, least, exactly in ((b"requests", self._request_count, True), (b"next_number", self._highest + 1, False)):
            value = self._records.value(tables.META, key)
            found = None if value is None or len(value) != 8 else keys.read_u64(value)
            if found is None and self._records.stored(tables.META, key) is None and least == int(not exactly):
                continue  # of a hub that has had none
            if found is None or (found != least if exactly else found < least):
                what = f"the counter {key.decode()!r} is {found}, and should be {'' if exactly else 'at least '}{least}"
                yield Finding("count", what, "it is set", ((tables.META, key, keys.u64(least)),))

    def _locks(self) -> Iterator[Finding]:
        """L8: every lock, held or asked for, has an owner that lives, or its release is on its way."""
        for number, stored in self._records.rows(tables.INSTANCES):
            try:
                record = decode_head(self._records.unseal(tables.INSTANCES, number, stored))
            except (DamagedRecord, msgspec.MsgspecError):
                continue
            if isinstance(record, EntityRecord):
                yield from self._locks_of(number, record)

    def _locks_of(self, number: bytes, entity: EntityRecord) -> Iterator[Finding]:
        asked: dict[SectionId, str] = {}
        if entity.lock is not None and not entity.lock.releasing:
            asked[entity.lock.section] = "is locked by"
        last = 0
        for key, message in self._mailbox(number):
            last = keys.read_u64(key, 8)
            if isinstance(message, LockRequest):
                asked.setdefault(message.section, "has a lock request of")
        for section, how in asked.items():
            owner = self._orchestration(section.owner)
            alive = owner is not None and not owner.status.final and owner.execution == section.execution
            if not alive and section not in self._released:
                last += 1
                what = f"{_called(entity)} {how} an execution of {section.owner!r} that has ended, and no release is under way"
                release = (tables.INBOX, number + keys.u64(last), encode(LockRelease(section)))
                remedy = "the release is put into its mailbox"
                yield (self._orphan if owner is None else Finding)("lock", what, remedy, (release,))

    def _mailbox(self, number: bytes) -> Iterator[tuple[bytes, object | None]]:
        for key, stored in self._records.rows(tables.INBOX, number):
            if key[:8] != number:
                return
            try:
                yield key, decode_entity_message(self._records.unseal(tables.INBOX, key, stored))
            except (DamagedRecord, msgspec.MsgspecError):
                yield key, None


def _directory_key(record: InstanceRecord) -> bytes:
    if isinstance(record, EntityRecord):
        return keys.entity_key(record.name, record.key)
    return keys.orchestration_key(record.instance_id)


def _called(record: InstanceRecord) -> str:
    if isinstance(record, EntityRecord):
        return f"entity {'@' + record.name + '@' + record.key!r}"
    return f"orchestration {record.instance_id!r}"
