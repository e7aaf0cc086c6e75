"""What must hold on a hub's disk after every commit, whatever is under way.

A disk is looked at as rows, table by table; :func:`after_each` replays the batches of a run, so that each moment of it
can be checked as if the process had died there.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from perdure.entities.messages import LockRelease, SectionId
from perdure.entities.record import EntityRecord
from perdure.hub.check_evidence import Evidence, Finding
from perdure.hub.checking import Examiner
from perdure.hub.payloads import decode_head, payload_keys
from perdure.hub.records import InstanceRecord, decode_entity_message, decode_history
from perdure.orchestration.history import TaskCompleted, TaskFailed
from perdure.orchestration.status import OrchestrationRecord
from perdure.storage import tables
from perdure.storage.store import Batch

Rows = dict[str, dict[bytes, bytes]]


def after_each(batches: Iterable[Batch]) -> Iterator[Rows]:
    """The disk after each of the batches, the first being the first ever; the same object, changed in between."""
    rows: Rows = {table: {} for table in tables.TABLES}
    for batch in batches:
        for table, changes in batch.writes.items():
            for key, value in changes.items():
                if value is None:
                    rows[table].pop(key, None)
                else:
                    rows[table][key] = value
        yield rows


def records(rows: Rows) -> dict[bytes, InstanceRecord]:
    """Entities and orchestrations, by number; values that are stored apart are empty."""
    return {number: decode_head(data) for number, data in rows[tables.INSTANCES].items()}


def entities(rows: Rows) -> dict[bytes, EntityRecord]:
    """Entities, by number."""
    return {number: record for number, record in records(rows).items() if isinstance(record, EntityRecord)}


def check(rows: Rows) -> None:
    """Tables fit each other, locks have a holder that lives, and no step of a journal was answered twice."""
    found = records(rows)
    assert sorted(rows[tables.DIRECTORY].values()) == sorted(found), "the directory has other instances than there are"
    for table in (tables.INBOX, tables.HISTORY, tables.ACTIVITIES, tables.LETTERS, tables.DELAYED):
        assert {key[:8] for key in rows[table]} <= found.keys(), f"{table} has rows of an instance that is gone"
    referred = Counter(key for data in rows[tables.INSTANCES].values() for key in payload_keys(data))
    assert referred == Counter(rows[tables.PAYLOADS].keys()), "a payload is left over, shared or missing"
    _check_requests(rows)
    _check_counts(rows)
    _check_locks(rows, found)
    _check_journals(rows)
    found_wrong = findings(rows)
    assert not found_wrong, f"`perdure check` would report: {found_wrong}"


class RowsRecords:
    """A disk as a check of a hub reads it."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._sorted = {table: sorted(rows[table]) for table in tables.TABLES}

    def counted(self, table: str) -> int:
        return len(self._rows[table])

    def rows(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        ordered = self._sorted[table]
        for key in itertools.islice(ordered, bisect.bisect_left(ordered, start), None):
            yield key, self._rows[table][key]

    def stored(self, table: str, key: bytes) -> bytes | None:
        return self._rows[table].get(key)

    def unseal(self, table: str, key: bytes, stored: bytes) -> bytes:
        del table, key
        return stored


def findings(rows: Rows) -> list[Finding]:
    """What a check of a hub would report of these rows."""
    return list(Examiner(Evidence(RowsRecords(rows), lambda *_: None)).findings())


def _check_requests(rows: Rows) -> None:
    counted = int.from_bytes(rows[tables.META].get(b"requests", b""), "big")
    assert counted == len(rows[tables.REQUESTS]), "the count of request ids is wrong"
    assert {key[8:] for key in rows[tables.EXPIRY]} <= rows[tables.REQUESTS].keys(), "an expiry has no request id"


def _check_counts(rows: Rows) -> None:
    for number, record in entities(rows).items():
        letters = tuple(sorted(int.from_bytes(key[8:], "big") for key in rows[tables.LETTERS] if key[:8] == number))
        assert letters == record.letters, f"{record.name} {record.key!r} has other letters than its record says"
        delayed = [key for key in rows[tables.DELAYED] if key[:8] == number]
        assert len(delayed) == record.delayed, f"{record.name} {record.key!r} has another number of delayed signals"
    expiring = {record.expires_at.to_bytes(8, "big") + number for number, record in entities(rows).items() if record.expires_at}
    assert expiring == {key for key in rows[tables.TIMERS] if len(key) == 16}, "expiries are not where the records say"
    indexed = {key[8:16] + bytes(8) + key[16:] for key in rows[tables.DELAYED]}
    assert indexed == {key for key in rows[tables.TIMERS] if key[8:16] == bytes(8)}, "the index of delayed signals is wrong"


def _check_locks(rows: Rows, found: dict[bytes, InstanceRecord]) -> None:
    alive = {
        (record.instance_id, record.execution)
        for record in found.values()
        if isinstance(record, OrchestrationRecord) and not record.status.final
    }
    for record in found.values():
        if isinstance(record, EntityRecord) and record.lock is not None and not record.lock.releasing:
            section = record.lock.section
            assert (section.owner, section.execution) in alive or section in _leaving(rows, found), (
                f"{record.name} {record.key!r} is locked by {section}, which has ended, and no release is under way"
            )


def _leaving(rows: Rows, found: dict[bytes, InstanceRecord]) -> set[SectionId]:
    """The sections whose release waits in some entity's mailbox."""
    waiting = [
        decode_entity_message(data) for key, data in rows[tables.INBOX].items() if isinstance(found[key[:8]], EntityRecord)
    ]
    return {message.section for message in waiting if isinstance(message, LockRelease)}


def _check_journals(rows: Rows) -> None:
    for number, chunks in itertools.groupby(sorted(rows[tables.HISTORY].items()), key=lambda row: row[0][:8]):
        entries = [entry for _, chunk in chunks for entry in decode_history(chunk)]
        answers = Counter(entry.task for entry in entries if isinstance(entry, TaskCompleted | TaskFailed))
        assert all(count == 1 for count in answers.values()), f"instance {number.hex()} was answered twice: {answers}"
