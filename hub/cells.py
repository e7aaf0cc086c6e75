"""Instances in memory: a machine, and what storage has of it.

A cell writes itself into a batch when the batch is sealed (:meth:`Cell.flush`): what changed since the last seal, once,
however many turns there were in between. Its number is the key of its rows in every table but the directory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, final

from ..entities.machine import EntityMachine
from ..entities.mailbox import Mailbox
from ..entities.record import EntityRecord
from ..entities.times import LATEST
from ..orchestration.machine import OrchestrationMachine
from ..storage import keys, tables
from . import limits
from .payloads import NOTHING_APART, Apart, delete_payloads, write_record
from .records import IdleRecord, encode

if TYPE_CHECKING:
    from ..storage.store import Writes


class Cell(ABC):
    """One instance in memory.

    Attributes:
      number: its number.
      prefix: the number as the beginning of a key.
      directory_key: its key in the directory.
      stored: the directory (with the batches under way) has it.
      dirty: it is among those that the open batch will write.
      batch: the number of the last batch that it was dirty in.
      queued: it is in the scheduler's queue.
      load: how many of its messages count as work that is ready.
      damaged: its record or journal is damaged on disk; its messages are kept, and it gets no turn (D9).
      apart: the values of its stored record that are stored apart from it.
      waiting, waiting_bytes: how many stored messages wait for it, and their encoded size.
    """

    __slots__ = (
        "apart", "batch", "damaged", "directory_key", "dirty", "load", "number", "prefix", "queued", "stored", "waiting",
        "waiting_bytes",
    )  # fmt: skip

    def __init__(self, number: int, directory_key: bytes, stored: bool) -> None:
        self.number = number
        self.prefix = keys.u64(number)
        self.directory_key = directory_key
        self.stored = stored
        self.dirty = False
        self.batch = 0
        self.queued = False
        self.load = 0
        self.damaged = False
        self.apart: Apart = NOTHING_APART
        self.waiting = self.waiting_bytes = 0

    @abstractmethod
    def flush(self, writes: Writes, payload_bytes_min: int) -> None:
        """Write what changed since the last seal; values of the record from that size on apart from it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What people call the instance."""

    @property
    @abstractmethod
    def weight(self) -> int:
        """Its estimated size in memory, bytes: known sizes of what is encoded, and constants for the objects around."""

    @property
    @abstractmethod
    def evictable(self) -> bool:
        """Whether it can leave memory, its last batch being durable."""

    def _flush_mailbox(self, mailbox: Mailbox[Any], writes: Writes) -> None:
        fresh, consumed = mailbox.seal()
        if fresh or consumed:
            inbox = writes[tables.INBOX]
            prefix = self.prefix
            for number in consumed:
                inbox[prefix + keys.u64(number)] = None
            if consumed and self.waiting:  # taken for as large as the others: the size of each is not kept
                left = max(0, self.waiting - len(consumed))
                self.waiting, self.waiting_bytes = left, self.waiting_bytes * left // self.waiting
            for number, message in fresh:
                data = inbox[prefix + keys.u64(number)] = encode(message)
                self.note_waiting(data)

    def note_waiting(self, data: bytes) -> None:
        """Count a message that waits, and is stored."""
        self.waiting += 1
        self.waiting_bytes += len(data)


@final
class EntityCell(Cell):
    """An entity in memory.

    Attributes:
      machine: its machine.
      operated_at: when its last operation that went well ended, microseconds since 1970; failed ones leave no trace (E4).
      letters: the numbers of its dead letters, oldest first (E4); one that is not in it is gone.
      letter_next: the number that its next dead letter gets.
      delayed: how many delayed signals are to be delivered to it (E10).
      expires_at: when a row among the timers has it looked at whether it has expired, microseconds since 1970; 0 for never.
      has_async: some of its operations may be ``async``.
    """

    __slots__ = (
        "_idle_ttl",
        "_written",
        "delayed",
        "expires_at",
        "has_async",
        "letter_next",
        "letters",
        "machine",
        "operated_at",
    )

    machine: EntityMachine

    def __init__(self, number: int, directory_key: bytes, stored: bool, machine: EntityMachine) -> None:
        super().__init__(number, directory_key, stored)
        self.machine = machine
        definition = machine.definition
        self.has_async = definition is not None and definition.has_async
        self._idle_ttl = None if definition is None else definition.idle_ttl
        self.operated_at = 0
        self.letters: tuple[int, ...] = ()
        self.letter_next = 0
        self.delayed = 0
        self.expires_at = 0
        self._written: tuple[object, ...] = ()

    def note_success(self, now: int) -> None:
        """After turns at that time: note it if an operation has gone well."""
        if self.machine.succeeded:
            self.machine.succeeded = False
            self.operated_at = now

    def restore(self, record: EntityRecord) -> None:
        """Take over what is stored."""
        machine = self.machine
        machine.state, machine.version, machine.lock = record.state, record.version, record.lock
        self.operated_at = record.operated_at
        self.letters, self.letter_next, self.delayed = record.letters, record.letter_next, record.delayed
        self.expires_at = record.expires_at
        self._written = self._mark()

    def _mark(self) -> tuple[object, ...]:
        lock = self.machine.lock
        releasing = lock is not None and lock.releasing
        return self.machine.state, lock, releasing, self.operated_at, self.letters, self.delayed, self.expires_at

    def flush(self, writes: Writes, payload_bytes_min: int) -> None:
        """Write the record if it changed; delete everything if nothing is left to keep (E11)."""
        machine = self.machine
        self._flush_mailbox(machine.mailbox, writes)
        if self.damaged:
            return
        if self.expires_at or self._idle_ttl is not None:
            self._flush_expiry(writes)
        if machine.state is None and self.empty:
            if self.stored:
                writes[tables.INSTANCES][self.prefix] = None
                writes[tables.DIRECTORY][self.directory_key] = None
                delete_payloads(self.apart, writes)
                self.apart = NOTHING_APART
                self.stored = False
            return
        mark = self._mark()
        if mark == self._written and self.stored:
            return
        self._written = mark
        entity_id = machine.entity_id
        record = EntityRecord(
            entity_id.name, entity_id.key, machine.state, machine.version, machine.lock, self.operated_at,
            self.letters, self.letter_next, self.delayed, self.expires_at,
        )  # fmt: skip
        self.apart = write_record(record, self.prefix, self.batch, self.apart, payload_bytes_min, writes)
        if not self.stored:
            writes[tables.DIRECTORY][self.directory_key] = self.prefix
            self.stored = True

    @property
    def empty(self) -> bool:
        """Whether nothing of it has to be kept (E11)."""
        return self.machine.empty and not self.letters and not self.delayed

    # --- expiry

    @property
    def held(self) -> bool:
        """Whether it cannot expire now: by a lock, what waits for its turn, or delayed signals."""
        machine = self.machine
        return machine.lock is not None or machine.mailbox.waiting > 0 or self.delayed > 0

    @property
    def idle_until(self) -> int:
        """When it expires if nothing happens, microseconds since 1970; 0 for never."""
        ttl = self._idle_ttl
        return 0 if ttl is None or self.machine.state is None else min(self.operated_at + ttl, LATEST)

    def expire(self, now: int) -> None:
        """Its row among the timers has come due: delete its state if it has expired, else leave the rest to :meth:`flush`."""
        self.expires_at = 0
        if not self.held and 0 < self.idle_until <= now:
            self.machine.expire()

    def _flush_expiry(self, writes: Writes) -> None:
        """See that the row among the timers, if one is needed, does not come too late.

        One that comes too early is left: when it comes due it is put where it belongs by then. So an operation writes no row,
        however often it puts off the expiry. While something holds the entity none is needed: letting it go writes one.
        """
        if self.machine.definition is None:
            return  # nobody knows how long it may be idle (O18)
        timers, wanted = writes[tables.TIMERS], self.idle_until
        entity_id = self.machine.entity_id
        record = IdleRecord(entity_id.name, entity_id.key)
        if self.expires_at > wanted:
            timers[record.row(self.prefix, self.expires_at)] = None
            self.expires_at = 0
        if wanted and not self.expires_at and not self.held:
            timers[record.row(self.prefix, wanted)] = encode(record)
            self.expires_at = wanted

    @property
    def title(self) -> str:
        """What people call it."""
        return str(self.machine.entity_id)

    @property
    def weight(self) -> int:
        """Its estimated size in memory, bytes."""
        state = self.machine.state
        values = 0 if state is None else limits.STATE_BYTES_FACTOR * len(state)
        return limits.ENTITY_BYTES + values + limits.MESSAGE_BYTES * self.waiting + self.waiting_bytes

    @property
    def evictable(self) -> bool:
        """Not while an async operation runs, or is about to."""
        return self.machine.running is None and self.machine.waiting_operation is None and not self.machine.ready


@final
class OrchestrationCell(Cell):
    """An orchestration in memory.

    Attributes:
      machine: its machine.
      chunk: the number that the next chunk of its journal gets.
      journal_bytes: the size of the chunks that were written or read.
      purged: the instance is gone; the cell stays until that is durable, so that it is not read back meanwhile.
    """

    __slots__ = ("chunk", "journal_bytes", "machine", "purged")

    machine: OrchestrationMachine

    def __init__(self, number: int, directory_key: bytes, stored: bool, machine: OrchestrationMachine) -> None:
        super().__init__(number, directory_key, stored)
        self.machine = machine
        self.chunk = 0
        self.journal_bytes = 0
        self.purged = False

    def flush(self, writes: Writes, payload_bytes_min: int) -> None:
        """Write the new part of the journal, and the record if it changed; or delete everything."""
        machine = self.machine
        self._flush_mailbox(machine.mailbox, writes)
        if self.purged:
            machine.journal.clear()
            if self.stored:  # once: the id may belong to another instance by the time of a last, empty turn
                writes[tables.INSTANCES][self.prefix] = None
                writes[tables.DIRECTORY][self.directory_key] = None
                delete_payloads(self.apart, writes)
                self.apart = NOTHING_APART
                self.stored = False
            return
        if machine.journal:
            chunk = encode(machine.journal)
            machine.journal.clear()
            writes[tables.HISTORY][self.prefix + keys.u32(self.chunk)] = chunk
            self.chunk += 1
            self.journal_bytes += len(chunk)
        if machine.changed and machine.record is not None:
            machine.changed = False
            self.apart = write_record(machine.record, self.prefix, self.batch, self.apart, payload_bytes_min, writes)
        if not self.stored and machine.record is not None:
            writes[tables.DIRECTORY][self.directory_key] = self.prefix
            self.stored = True

    @property
    def title(self) -> str:
        """What people call it."""
        return f"orchestration {self.machine.instance_id!r}"

    @property
    def weight(self) -> int:
        """Its estimated size in memory, bytes."""
        record = self.machine.record
        code = 0 if self.machine.kernel is None else limits.CODE_BYTES + 2 * self.journal_bytes
        values = 0 if record is None else len(record.arguments) + len(record.output or b"") + len(record.custom_status or b"")
        return limits.ORCHESTRATION_BYTES + code + values + limits.MESSAGE_BYTES * self.waiting + self.waiting_bytes

    @property
    def evictable(self) -> bool:
        """Not while a message of it is ready."""
        return not self.machine.ready


AnyCell: TypeAlias = EntityCell | OrchestrationCell
"""An instance of either kind. Which: ``type(cell) is EntityCell``; ``isinstance`` asks abstract classes in Python, and takes longer."""
