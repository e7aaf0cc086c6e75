"""What must hold on a hub's disk after every commit, whatever is under way.

A disk is looked at as rows, table by table; :func:`after_each` replays the batches of a run, so that each moment of it
can be checked as if the process had died there.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator

from perdure.entities.record import EntityRecord
from perdure.hub.check_evidence import Evidence, Finding
from perdure.hub.checking import Examiner
from perdure.hub.payloads import decode_head
from perdure.hub.records import InstanceRecord
from perdure.storage import tables
from perdure.storage.store import Batch
from perdure.testing import Stored, faults_of

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
    """Everything that must hold on a disk at any moment holds: tables, locks, journals, what will answer open work; and a check says so."""
    assert faults_of(Stored.of(rows)) == []
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
