"""What must hold of what is due some time: timers, starts, purges, delayed signals, expiries (O8, O16, E10, D6).

A row among the timers belongs to what it is for, and what knows of its row (a delayed start, a purge, an expiry, a delayed
signal's entry in the index of its entity) has it. The row of a step's timer cannot be made again: only the code knows of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..entities.record import EntityRecord
from ..orchestration.history import START_TIMER
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from .check_evidence import Evidence, Finding, called
from .delayed import is_signal_key, key_of_index
from .records import IdleRecord, InstanceRecord, SignalRecord, TimerRecord, decode_due, encode
from .retention import PURGE_TIMER

_TAKEN_OUT = "it is taken out"


class DueRules:
    """The rules of what is due.

    Attributes:
      corrected: by how much a repair changes the number of an entity's rows in the index of delayed signals, by its number.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.corrected: Counter[bytes] = Counter()

    def known(self, number: bytes, record: InstanceRecord) -> Iterator[Finding]:
        """What a record says is due has its row."""
        for due, row in _rows_of(record):
            key, value = row.row(number, due), encode(row)
            if self._evidence.value(tables.TIMERS, key) != value:
                what = f"{called(record)} waits for {_called_due(row)}, whose row {key.hex()} is missing or damaged"
                yield Finding("index", what, "the row is made again", ((tables.TIMERS, key, value),))

    def rows(self) -> Iterator[Finding]:
        """Every row is one of something that waits for it."""
        for key, row, finding in self._evidence.decoded(tables.TIMERS, decode_due):
            if finding is not None:
                yield finding
            if row is None:
                continue
            if isinstance(row, SignalRecord):
                yield from self._signal(key, row)
            elif isinstance(row, IdleRecord):
                yield from self._expiry(key, row)
            else:
                yield from self._timer(key, row)

    def indexed(self, key: bytes) -> Iterator[Finding]:
        """Every row of the index of delayed signals is one of a signal."""
        if not self._evidence.is_there(tables.TIMERS, key_of_index(key)):
            self.corrected[key[:8]] -= 1
            what = f"the row {key.hex()} of the index of delayed signals is of a signal that is gone"
            yield Finding("orphan", what, _TAKEN_OUT, ((tables.DELAYED, key, None),))

    def _timer(self, key: bytes, row: TimerRecord) -> Iterator[Finding]:
        evidence = self._evidence
        owner = evidence.orchestration(row.instance_id)
        what = f"the row {key.hex()} among the timers is of {_called_due(row)} of {row.instance_id!r}, which does not wait for it"
        fix = ((tables.TIMERS, key, None),)
        if owner is None:
            yield evidence.orphan("orphan", what, _TAKEN_OUT, fix)
            return
        number = evidence.number_of(keys.orchestration_key(row.instance_id))
        due = keys.read_u64(key)
        if number is not None and owner.execution == row.execution and key == row.row(number, due):
            wanted = {START_TIMER: owner.start_at == due, PURGE_TIMER: owner.purge_at == due}
            if wanted.get(row.task, not owner.status.final):
                return
        yield Finding("orphan", what, _TAKEN_OUT, fix)

    def _expiry(self, key: bytes, row: IdleRecord) -> Iterator[Finding]:
        number = key[8:16]
        owner = self._evidence.instance(number)
        what = f"the row {key.hex()} among the timers is of an expiry of {str(row.entity_id)!r}, which does not wait for it"
        fix = ((tables.TIMERS, key, None),)
        if owner is None:
            yield self._evidence.orphan("orphan", what, _TAKEN_OUT, fix)
        elif all(known.row(number, due) != key or known != row for due, known in _rows_of(owner)):
            yield Finding("orphan", what, _TAKEN_OUT, fix)

    def _signal(self, key: bytes, row: SignalRecord) -> Iterator[Finding]:
        number = self._evidence.number_of(keys.entity_key(row.name, row.key))
        if number is None or not self._evidence.has_instance(number) or not is_signal_key(key):
            what = f"the delayed signal {key.hex()} is for {str(row.entity_id)!r}, which does not know of it"
            yield self._evidence.orphan("orphan", what, _TAKEN_OUT, ((tables.TIMERS, key, None),))
            return
        index = number + key[:8] + key[16:]
        if self._evidence.value(tables.DELAYED, index) != b"":
            self.corrected[number] += not self._evidence.is_there(tables.DELAYED, index)
            what = (
                f"the delayed signal {key.hex()} for {str(row.entity_id)!r} is not in the index of its entity, or damaged there"
            )
            yield Finding("index", what, "the row is made again", ((tables.DELAYED, index, b""),))


def _rows_of(record: InstanceRecord) -> Iterator[tuple[int, TimerRecord | IdleRecord]]:
    """The rows among the timers that a record knows of, with their times."""
    if isinstance(record, EntityRecord):
        if record.expires_at:
            yield record.expires_at, IdleRecord(record.name, record.key)
        return
    assert isinstance(record, OrchestrationRecord)
    for task, due in ((START_TIMER, record.start_at), (PURGE_TIMER, record.purge_at)):
        if due is not None:
            yield due, TimerRecord(record.instance_id, record.execution, task)


def _called_due(row: TimerRecord | IdleRecord) -> str:
    if isinstance(row, TimerRecord):
        return {START_TIMER: "a start", PURGE_TIMER: "a removal"}.get(row.task, "a timer")
    return "an expiry"
