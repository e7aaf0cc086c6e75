"""What must hold in a hub's data, whatever was under way when it was written (D9, L8).

A disk that lost or changed something leaves records that do not fit each other. Each rule goes through a table, and
says of each record that breaks it what is wrong, and what would mend it, if anything would:

- An index is made again from what it points to: the directory from the instances, expiry times from requests, the rows of starts,
  removals and expiries from the instances, the index of delayed signals from the signals, counts by counting.
- What belongs to nobody is an orphan: rows of an instance that is gone, timers of an execution that has ended, payloads that
  no record refers to, letters that are not in their entity's list. They are taken out of the store, and kept in a file.
- A lock whose owner is gone gets the release that it waits for, as a message in the entity's mailbox: the hub passes it on.
- A record that does not match its checksum, or cannot be decoded, is left where it is: the hub sets it aside by itself, and it
  can be put right from a backup. So is a record whose payload is missing.

The rules are those of the hub's own writes: a batch is whole, so nothing here can be in between. They only read
(:mod:`perdure.hub.check_evidence`), and hold next to nothing in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ..entities.messages import LockRelease, LockRequest, SectionId
from ..entities.record import EntityRecord
from ..storage import keys, tables
from .check_due import DueRules
from .check_evidence import Evidence, Finding, Fix, called, directory_key
from .payloads import change_head, decode_head, payload_keys
from .records import (
    decode_activity,
    decode_entity_message,
    decode_history,
    decode_letter,
    decode_orchestration_message,
    decode_request,
    encode,
)

_OWNED: Final = (tables.HISTORY, tables.INBOX, tables.ACTIVITIES, tables.LETTERS, tables.DELAYED, tables.PAYLOADS)
_DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    tables.HISTORY: decode_history,
    tables.ACTIVITIES: decode_activity,
    tables.LETTERS: decode_letter,
}
_NUMBERS: Final = (b"time", b"rested")
"""Numbers of the hub that it can do without; so are those of suspects, and the retention setting."""

_TAKEN_OUT: Final = "it is taken out"


class Examiner:
    """Goes through a hub's data, table by table.

    Args:
      evidence: the data.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._due = DueRules(evidence)
        self._request_count = 0
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
        yield from self._due.rows()
        yield from self._requests()
        yield from self._expiry()
        yield from self._counts()
        yield from self._entities()

    def _instances(self) -> Iterator[Finding]:
        """Every instance can be found by its id, has what it refers to, and its number is below those that will be given out."""
        evidence = self._evidence
        for number, row, finding in evidence.decoded(tables.INSTANCES, _with_head):
            if finding is not None:
                evidence.incomplete = True
                yield finding
            if number:
                self._highest = max(self._highest, keys.read_u64(number))
            if row is None:
                continue
            data, record = row
            for key in payload_keys(data):
                if key[:8] != number or not evidence.is_there(tables.PAYLOADS, key):
                    what = f"{called(record)} refers to the payload {key.hex()}, which is missing or not its own"
                    yield Finding("index", what, "none: the hub sets the instance aside; restore a backup")
            yield from self._due.known(number, record)
            key = directory_key(record)
            points_to = evidence.value(tables.DIRECTORY, key)
            if points_to == number:
                continue
            other = None if points_to is None else evidence.instance(points_to)
            if other is not None and directory_key(other) == key:
                yield Finding("index", f"{called(record)} is stored twice, under the numbers {points_to!r} and {number!r}")
            else:
                evidence.found_again[key] = number
                what = f"{called(record)} cannot be found: its row in the directory is missing, damaged or leads elsewhere"
                yield Finding("index", what, "the row is made again", ((tables.DIRECTORY, key, number),))

    def _directory(self) -> Iterator[Finding]:
        """Every id leads to the instance that has it."""
        evidence = self._evidence
        for key, number, finding in evidence.rows(tables.DIRECTORY):
            fix = ((tables.DIRECTORY, key, None),)
            if number is None:
                if finding is not None:
                    yield evidence.orphan(finding.kind, finding.what, _TAKEN_OUT, fix) if key else finding
            elif not evidence.is_there(tables.INSTANCES, number):
                yield evidence.orphan("orphan", f"the directory row {key!r} leads to an instance that is gone", _TAKEN_OUT, fix)
            else:
                record = evidence.instance(number)
                if record is not None and directory_key(record) != key:
                    yield Finding("index", f"the directory row {key!r} leads to {called(record)}", _TAKEN_OUT, fix)

    def _owned(self, table: str) -> Iterator[Finding]:
        """Every row of an instance has the instance; chunks of a journal are numbered without gaps; every payload is referred to."""
        evidence = self._evidence
        journal, chunk = b"", 0
        owner, referred = b"", None
        for key, value, finding in evidence.decoded(table, _DECODERS.get(table, bytes)):
            if finding is not None:
                yield finding
            if not key:
                continue
            if not evidence.has_instance(key[:8]):
                what = f"the record {key.hex()} of table {table!r} belongs to an instance that is gone"
                yield evidence.orphan("orphan", what, _TAKEN_OUT, ((table, key, None),))
            elif table == tables.INBOX and isinstance(value, bytes):
                yield from self._message(key, value)
            elif table == tables.DELAYED:
                yield from self._due.indexed(key)
            elif table == tables.PAYLOADS:
                if key[:8] != owner:
                    owner, referred = key[:8], self._referred(key[:8])
                if referred is not None and key not in referred:
                    what = f"the payload {key.hex()} is left over: its instance does not refer to it"
                    yield Finding("orphan", what, _TAKEN_OUT, ((table, key, None),))
            elif table == tables.HISTORY:
                journal, chunk = (journal, chunk + 1) if key[:8] == journal else (key[:8], 0)
                if keys.read_u32(key, 8) != chunk:
                    chunk = keys.read_u32(key, 8)
                    what = f"the journal of instance number {keys.read_u64(key)} has a gap before its chunk {chunk}"
                    yield Finding("index", what, "none: restore a backup, or terminate the instance")

    def _referred(self, number: bytes) -> list[bytes] | None:
        """The payloads that an instance refers to; ``None`` if its record cannot be read."""
        row = self._evidence.value(tables.INSTANCES, number)
        try:
            return None if row is None else payload_keys(row)
        except msgspec.MsgspecError:
            return None

    def _message(self, key: bytes, value: bytes) -> Iterator[Finding]:
        """Every message is one that its receiver understands; which releases are on their way is noted."""
        receiver = self._evidence.instance(key[:8])
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

    def _requests(self) -> Iterator[Finding]:
        """Every request id expires, or lives with its instance (D8)."""
        evidence = self._evidence
        for key, record, finding in evidence.decoded(tables.REQUESTS, decode_request):
            if finding is not None:
                yield finding
            self._request_count += bool(key)
            if record is None:
                continue
            if record.expires_at:
                expiry = keys.u64(record.expires_at) + key
                if evidence.value(tables.EXPIRY, expiry) != b"":
                    what = f"the request id {key!r} has no expiry time, and would be kept for ever"
                    yield Finding("index", what, "it is made again", ((tables.EXPIRY, expiry, b""),))
            else:
                target = evidence.orchestration(record.target)
                if target is None or target.request_id != key.decode():
                    self._request_count -= not evidence.incomplete
                    what = f"the request id {key!r} is of a start of {record.target!r}, which is gone"
                    yield evidence.orphan("orphan", what, _TAKEN_OUT, ((tables.REQUESTS, key, None),))

    def _expiry(self) -> Iterator[Finding]:
        """Every expiry time is one of a request id that is kept."""
        evidence = self._evidence
        for key, value, finding in evidence.rows(tables.EXPIRY):
            if not key:
                if finding is not None:
                    yield finding
                continue
            request = evidence.value(tables.REQUESTS, key[8:])
            if request is None and evidence.is_there(tables.REQUESTS, key[8:]):
                continue  # damaged itself, and reported, or not readable here
            if value is None or request is None or decode_request(request).expires_at != keys.read_u64(key):
                what = f"the expiry time {key.hex()} is damaged, or of a request id that is not kept"
                yield Finding("orphan", what, _TAKEN_OUT, ((tables.EXPIRY, key, None),))

    def _counts(self) -> Iterator[Finding]:
        """The hub's counters are what can be counted, and its other numbers are numbers."""
        evidence = self._evidence
        for key, value, finding in evidence.rows(tables.META):
            if key in (b"requests", b"next_number"):
                continue
            dispensable = key in _NUMBERS or key.startswith(b"suspect:")
            fix: Fix = ((tables.META, key, None),) if dispensable or key == b"retention" else ()
            if finding is not None:
                yield Finding(finding.kind, finding.what, _TAKEN_OUT if fix else finding.remedy, fix)
            elif dispensable and value is not None and len(value) != 8:
                yield Finding("decoding", f"the record {key!r} of table 'meta' is no number", _TAKEN_OUT, fix)
        for key, least, exactly in ((b"requests", self._request_count, True), (b"next_number", self._highest + 1, False)):
            value = evidence.value(tables.META, key)
            found = None if value is None or len(value) != 8 else keys.read_u64(value)
            if found is None and not evidence.is_there(tables.META, key) and least == int(not exactly):
                continue  # of a hub that has had none
            if found is None or (found != least if exactly else found < least):
                what = f"the counter {key.decode()!r} is {found}, and should be {'' if exactly else 'at least '}{least}"
                yield Finding("count", what, "it is set", ((tables.META, key, keys.u64(least)),))

    def _entities(self) -> Iterator[Finding]:
        """Every entity's lock has an owner, and it has the letters and delayed signals that its record says."""
        for number, row in self._evidence.below(tables.INSTANCES, b""):
            try:
                record = None if row is None else decode_head(row)
            except msgspec.MsgspecError:
                continue
            if row is not None and isinstance(record, EntityRecord):
                yield from self._locks_of(number, record)
                yield from self._kept_for(number, record, row)

    def _kept_for(self, number: bytes, entity: EntityRecord, row: bytes) -> Iterator[Finding]:
        evidence = self._evidence
        stored = [keys.read_u64(key, 8) for key, _ in evidence.below(tables.LETTERS, number)]
        for letter in stored:
            if letter not in entity.letters:
                what = f"the letter {letter} of {called(entity)} is not in its list: it was redriven or discarded"
                yield Finding("orphan", what, _TAKEN_OUT, ((tables.LETTERS, number + keys.u64(letter), None),))
        letters = tuple(letter for letter in entity.letters if letter in stored)
        delayed = sum(1 for _ in evidence.below(tables.DELAYED, number)) + self._due.corrected[number]
        right: dict[str, Any] = {"letters": letters, "delayed": delayed}
        right["letter_next"] = max(entity.letter_next, *(letter + 1 for letter in letters), 0)
        wrong = [name for name, value in right.items() if getattr(entity, name) != value]
        if wrong:
            fix: Fix = ((tables.INSTANCES, number, change_head(row, **right)),)
            said = ", ".join(f"{name} is {getattr(entity, name)}, and should be {right[name]}" for name in wrong)
            yield Finding("count", f"the record of {called(entity)} does not fit what is kept for it: {said}", "it is set", fix)

    def _locks_of(self, number: bytes, entity: EntityRecord) -> Iterator[Finding]:
        """L8: every lock, held or asked for, has an owner that lives, or its release is on its way."""
        evidence = self._evidence
        asked: dict[SectionId, str] = {}
        if entity.lock is not None and not entity.lock.releasing:
            asked[entity.lock.section] = "is locked by"
        last = 0
        for key, value in evidence.below(tables.INBOX, number):
            last = keys.read_u64(key, 8)
            try:
                message = None if value is None else decode_entity_message(value)
            except msgspec.MsgspecError:
                continue
            if isinstance(message, LockRequest):
                asked.setdefault(message.section, "has a lock request of")
        for section, how in asked.items():
            owner = evidence.orchestration(section.owner)
            alive = owner is not None and not owner.status.final and owner.execution == section.execution
            if not alive and section not in self._released:
                last += 1
                what = f"{called(entity)} {how} an execution of {section.owner!r} that has ended, and no release is under way"
                release = (tables.INBOX, number + keys.u64(last), encode(LockRelease(section)))
                remedy = "the release is put into its mailbox"
                yield (evidence.orphan if owner is None else Finding)("lock", what, remedy, (release,))


def _with_head(row: bytes) -> tuple[bytes, Any]:
    return row, decode_head(row)
