"""What a hub's store holds, decoded, and kept up to date batch by batch.

It is a reader of its own: it knows the tables and the records, and nothing of the hub's memory. So what it sees is what
the next process would find. After each batch, :meth:`Stored.apply` tells what became of the instances that it touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

from ..entities.messages import EntityMessage, LockRelease, LockRequest, Operation, SectionId
from ..entities.record import EntityRecord
from ..hub.payloads import SplitRecord
from ..hub.records import (
    ActivityRecord,
    DueRecord,
    InstanceRecord,
    LetterRecord,
    RequestRecord,
    decode_activity,
    decode_due,
    decode_entity_message,
    decode_history,
    decode_instance,
    decode_letter,
    decode_orchestration_message,
    decode_request,
)
from ..orchestration.history import HistoryEntry
from ..orchestration.messages import OrchestrationMessage
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.store import Batch
from .journal import Journal

_decode_row = msgspec.msgpack.Decoder(EntityRecord | OrchestrationRecord | SplitRecord).decode
_ROWS_OF_INSTANCES = (tables.PAYLOADS, tables.INSTANCES, tables.HISTORY, tables.INBOX, tables.LETTERS, tables.DELAYED)


@define(eq=False)
class StoredInstance:
    """What entities and orchestrations have in common.

    Attributes:
      number: its number, as the beginning of its keys.
      referred: the keys of the payloads that its record refers to.
      payloads: the payloads that are stored for it, by key.
    """

    number: bytes
    referred: list[bytes] = field(factory=list, kw_only=True)
    payloads: dict[bytes, bytes] = field(factory=dict, kw_only=True)

    def whole(self, row: bytes) -> InstanceRecord:
        """The record in a row, with its payloads; one that is missing is left empty."""
        decoded, self.referred = _decode_row(row), payload_keys(row)
        if not isinstance(decoded, SplitRecord):
            return decoded
        values = {name: self.payloads.get(key, b"") for name, key in decoded.payloads.items()}
        return msgspec.structs.replace(decode_instance(decoded.record), **values)


@define(eq=False)
class StoredEntity(StoredInstance):
    """An entity.

    Attributes:
      record: its record.
      inbox: the messages that wait, by number.
      letters: its dead letters, by number.
      state: its state as plain data, ``None`` if it does not exist.
      delayed: the delayed signals that the index has for it, by their keys among the timers.
    """

    record: EntityRecord | None = None
    inbox: dict[int, EntityMessage] = field(factory=dict)
    letters: dict[int, LetterRecord] = field(factory=dict)
    state: Any = None
    delayed: set[bytes] = field(factory=set)

    def before(self) -> StoredEntity:
        """As it is now, to be compared with what it becomes."""
        return StoredEntity(self.number, self.record, dict(self.inbox), dict(self.letters), self.state, set(self.delayed))


@define(eq=False)
class StoredOrchestration(StoredInstance):
    """An orchestration.

    Attributes:
      record: its record.
      inbox: the messages that wait, by number.
      chunks: the chunks of its journal, by number.
      journal: the journal, read.
      read: how many entries of it there were when this was looked at; for comparing with what follows.
      generation: how often it had been rewound then.
    """

    record: OrchestrationRecord | None = None
    inbox: dict[int, OrchestrationMessage] = field(factory=dict)
    chunks: dict[int, list[HistoryEntry]] = field(factory=dict)
    journal: Journal = field(factory=Journal)
    read: int = 0
    generation: int = 0

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.record is not None and not self.record.status.final

    def before(self) -> StoredOrchestration:
        """As it is now, to be compared with what it becomes; the journal is the same object, which may grow."""
        journal = self.journal
        now = len(journal.entries), journal.addresses.generation
        return StoredOrchestration(self.number, self.record, dict(self.inbox), dict(self.chunks), journal, *now)


AnyStored = StoredEntity | StoredOrchestration


@define(eq=False)
class Change:
    """What a batch did.

    Attributes:
      before: the instances that it touched, as they were; ``None`` for those that are new.
      gone: the numbers of those that it deleted.
      requests: the request ids that it touched, as they were.
      scheduled: the activities that it stored.
      due: what it stored or removed that was due some time, as it was, by key.
      faults: what may not be: (number of the invariant, what).
    """

    before: dict[bytes, AnyStored | None] = field(factory=dict)
    gone: set[bytes] = field(factory=set)
    requests: dict[str, RequestRecord | None] = field(factory=dict)
    scheduled: list[ActivityRecord] = field(factory=list)
    due: dict[bytes, DueRecord | None] = field(factory=dict)
    faults: list[tuple[int, str]] = field(factory=list)


@define(eq=False)
class Stored:
    """A store's content.

    Attributes:
      directory: the number of each instance, by its key there.
      instances: entities and orchestrations, by number.
      timers: what is due at a time, by their keys: timers, delayed signals, expiries.
      activities: by their keys.
      requests: by request id.
      expiry: the request ids by which those that end are found.
      meta: the hub's counters.
      strays: rows of instances that are not there, by table.
      commit_number: of the last batch.
      epoch: of its owner.
    """

    directory: dict[bytes, bytes] = field(factory=dict)
    instances: dict[bytes, AnyStored] = field(factory=dict)
    timers: dict[bytes, DueRecord] = field(factory=dict)
    activities: dict[bytes, ActivityRecord] = field(factory=dict)
    requests: dict[str, RequestRecord] = field(factory=dict)
    expiry: set[str] = field(factory=set)
    meta: dict[bytes, bytes] = field(factory=dict)
    strays: set[tuple[str, bytes]] = field(factory=set)
    commit_number: int = 0
    epoch: int = 0

    @classmethod
    def of(cls, rows: Mapping[str, Mapping[bytes, bytes]]) -> Stored:
        """What the tables of a store hold, as ``MemoryStore.snapshot`` gives them."""
        stored = cls()
        stored.apply(Batch(0, 0, 0, {table: dict(rows.get(table, {})) for table in tables.TABLES}))
        return stored

    # --- looking

    @property
    def entities(self) -> Iterator[StoredEntity]:
        """The entities."""
        return (each for each in self.instances.values() if type(each) is StoredEntity)

    @property
    def orchestrations(self) -> Iterator[StoredOrchestration]:
        """The orchestrations."""
        return (each for each in self.instances.values() if type(each) is StoredOrchestration)

    def entity(self, name: str, key: str) -> StoredEntity | None:
        """An entity by its id."""
        found = self.instances.get(self.directory.get(keys.entity_key(name, key), b""))
        return found if isinstance(found, StoredEntity) else None

    def orchestration(self, instance_id: str) -> StoredOrchestration | None:
        """An orchestration by its id."""
        found = self.instances.get(self.directory.get(keys.orchestration_key(instance_id), b""))
        return found if isinstance(found, StoredOrchestration) else None

    @property
    def time(self) -> int:
        """The hub's time at the last commit, microseconds since 1970."""
        return int.from_bytes(self.meta.get(b"time", b""), "big")

    def messages(self) -> Iterator[tuple[StoredEntity, EntityMessage]]:
        """Everything that waits in front of entities."""
        for entity in self.entities:
            for message in entity.inbox.values():
                yield entity, message

    def requests_for_locks(self) -> dict[SectionId, tuple[StoredEntity, LockRequest]]:
        """The lock requests that wait, and where."""
        return {message.section: (at, message) for at, message in self.messages() if type(message) is LockRequest}

    def releases(self) -> list[tuple[StoredEntity, LockRelease]]:
        """The releases that are under way, and where; there may be several of a section."""
        return [(at, message) for at, message in self.messages() if type(message) is LockRelease]

    def calls(self) -> set[Any]:
        """Who waits for the operations that wait."""
        return {message.reply_to for _, message in self.messages() if type(message) is Operation and message.reply_to is not None}

    # --- reading on

    def apply(self, batch: Batch) -> Change:
        """Take over a batch."""
        change = Change()
        self.commit_number, self.epoch = batch.number, batch.epoch
        writes = batch.writes
        gone = self._apply_directory(writes[tables.DIRECTORY], change)
        for table in _ROWS_OF_INSTANCES:
            self._apply_rows(table, writes[table], change)
        for number in gone:
            self._forget(number, change)
        self._apply_rest(batch, change)
        return change

    def _apply_directory(self, rows: Mapping[bytes, bytes | None], change: Change) -> list[bytes]:
        gone: list[bytes] = []
        for key, number in rows.items():
            before = self.directory.pop(key, None)
            if before is not None and before != number:
                gone.append(before)
            if number is None:
                continue
            self.directory[key] = number
            if number not in self.instances:
                self.instances[number] = (StoredEntity if key[:1] == tables.ENTITY_KIND else StoredOrchestration)(number)
                change.before[number] = None
        return gone

    def _apply_rows(self, table: str, rows: Mapping[bytes, bytes | None], change: Change) -> None:
        for key in sorted(rows):
            number, value = key[:8], rows[key]
            found = self.instances.get(number)
            if found is None:
                (self.strays.discard if value is None else self.strays.add)((table, key))
                continue
            if number not in change.before:
                change.before[number] = found.before()
            if table == tables.PAYLOADS:
                _update(found.payloads, {key: value}, bytes)
            elif isinstance(found, StoredEntity):
                _apply_to_entity(found, table, key, value)
            else:
                _apply_to_orchestration(found, table, key, value)
        if table == tables.HISTORY:
            self._read_journals(rows, change)

    def _read_journals(self, rows: Mapping[bytes, bytes | None], change: Change) -> None:
        for number in {key[:8]: None for key in rows}:
            found, before = self.instances.get(number), change.before.get(number)
            if not isinstance(found, StoredOrchestration):
                continue
            old = before.chunks if isinstance(before, StoredOrchestration) else {}
            grown = all(found.chunks.get(chunk) is entries for chunk, entries in old.items())
            if not grown:
                found.journal = Journal()
            if sorted(found.chunks) != list(range(len(found.chunks))):
                change.faults.append((18, f"the journal of {found.record and found.record.instance_id} has a gap"))
            for chunk in sorted(found.chunks.keys() - (old.keys() if grown else ())):
                found.journal.extend(found.chunks[chunk])

    def _forget(self, number: bytes, change: Change) -> None:
        found = self.instances.pop(number)
        change.gone.add(number)
        left = [tables.INBOX] * len(found.inbox) + [tables.PAYLOADS] * len(found.payloads)
        if isinstance(found, StoredEntity):
            left += [tables.LETTERS] * len(found.letters) + [tables.DELAYED] * len(found.delayed)
        else:
            left += [tables.HISTORY] * len(found.chunks)
        if found.record is not None:
            left.append(tables.INSTANCES)
        if left:
            change.faults.append((23, f"instance {number.hex()} left the directory, and rows in {', '.join(left)}"))

    def _apply_rest(self, batch: Batch, change: Change) -> None:
        writes = batch.writes
        change.due = {key: self.timers.get(key) for key in writes[tables.TIMERS]}
        _update(self.timers, writes[tables.TIMERS], decode_due)
        _update(self.activities, writes[tables.ACTIVITIES], decode_activity)
        change.scheduled = [self.activities[key] for key in writes[tables.ACTIVITIES] if key in self.activities]
        for key, value in writes[tables.REQUESTS].items():
            request_id = key.decode()
            change.requests[request_id] = self.requests.pop(request_id, None)
            if value is not None:
                self.requests[request_id] = decode_request(value)
        for key, value in writes[tables.EXPIRY].items():
            (self.expiry.discard if value is None else self.expiry.add)(key[8:].decode())
        _update(self.meta, writes[tables.META], bytes)


def payload_keys(row: bytes) -> list[bytes]:
    """The keys of the payloads that an instance's row refers to."""
    decoded = _decode_row(row)
    return [*decoded.payloads.values()] if isinstance(decoded, SplitRecord) else []


def _update(rows: dict[bytes, Any], changes: Mapping[bytes, bytes | None], decode: Any) -> None:
    for key, value in changes.items():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = decode(value)


def _apply_to_entity(entity: StoredEntity, table: str, key: bytes, value: bytes | None) -> None:
    if table == tables.INBOX:
        _update_numbered(entity.inbox, key, value, decode_entity_message)
    elif table == tables.LETTERS:
        _update_numbered(entity.letters, key, value, decode_letter)
    elif table == tables.DELAYED:
        (entity.delayed.discard if value is None else entity.delayed.add)(key[8:16] + bytes(8) + key[16:])
    elif table == tables.INSTANCES:
        record = None if value is None else entity.whole(value)
        assert not isinstance(record, OrchestrationRecord)
        if record is None or entity.record is None or record.state != entity.record.state:
            entity.state = None if record is None or record.state is None else msgspec.msgpack.decode(record.state)
        entity.record = record


def _apply_to_orchestration(orchestration: StoredOrchestration, table: str, key: bytes, value: bytes | None) -> None:
    if table == tables.INBOX:
        _update_numbered(orchestration.inbox, key, value, decode_orchestration_message)
    elif table == tables.HISTORY:
        chunk = keys.read_u32(key, 8)
        if value is None:
            orchestration.chunks.pop(chunk, None)
        else:
            orchestration.chunks[chunk] = decode_history(value)
    elif table == tables.INSTANCES:
        record = None if value is None else orchestration.whole(value)
        assert not isinstance(record, EntityRecord)
        orchestration.record = record


def _update_numbered(rows: dict[int, Any], key: bytes, value: bytes | None, decode: Any) -> None:
    number = keys.read_u64(key, 8)
    if value is None:
        rows.pop(number, None)
    else:
        rows[number] = decode(value)
