"""Instances in memory: a machine, and what storage has of it.

A cell writes itself into a batch when the batch is sealed (:meth:`Cell.flush`): what changed since the last seal, once,
however many turns there were in between. Its number is the key of its rows in every table but the directory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from ..entities.machine import EntityMachine
from ..entities.mailbox import Mailbox
from ..entities.record import EntityRecord
from ..orchestration.machine import OrchestrationMachine
from ..storage import keys, tables
from . import limits
from .payloads import NOTHING_APART, Apart, delete_payloads, write_record
from .records import encode

if TYPE_CHECKING:
    from ..entities.lock import Lock
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
    """

    __slots__ = ("apart", "batch", "damaged", "directory_key", "dirty", "load", "number", "prefix", "queued", "stored")

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

    @abstractmethod
    def flush(self, writes: Writes, payload_bytes_min: int) -> None:
        """Write what changed since the last seal; values of the record from that size on apart from it."""

    @property
    @abstractmethod
    def weight(self) -> int:
        """Its estimated size in memory, bytes."""

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
            for number, message in fresh:
                inbox[prefix + keys.u64(number)] = encode(message)


class EntityCell(Cell):
    """An entity in memory.

    Attributes:
      machine: its machine.
      operated_at: the time of its last operation, microseconds since 1970.
      letter_first, letter_next: the numbers of its dead letters (E4).
    """

    __slots__ = ("_written", "letter_first", "letter_next", "machine", "operated_at")

    machine: EntityMachine

    def __init__(self, number: int, directory_key: bytes, stored: bool, machine: EntityMachine) -> None:
        super().__init__(number, directory_key, stored)
        self.machine = machine
        self.operated_at = 0
        self.letter_first = 0
        self.letter_next = 0
        self._written: tuple[bytes | None, Lock | None, bool, int] = (None, None, False, 0)

    def restore(self, record: EntityRecord) -> None:
        """Take over what is stored."""
        machine = self.machine
        machine.state, machine.version, machine.lock = record.state, record.version, record.lock
        self.operated_at = record.operated_at
        self.letter_first, self.letter_next = record.letter_first, record.letter_next
        self._written = self._mark()

    def _mark(self) -> tuple[bytes | None, Lock | None, bool, int]:
        lock = self.machine.lock
        return self.machine.state, lock, lock is not None and lock.releasing, self.letter_next

    def flush(self, writes: Writes, payload_bytes_min: int) -> None:
        """Write the record if it changed; delete everything if nothing is left to keep (E11)."""
        machine = self.machine
        self._flush_mailbox(machine.mailbox, writes)
        if self.damaged:
            return
        if machine.empty and self.letter_first == self.letter_next:
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
            self.letter_first, self.letter_next,
        )  # fmt: skip
        self.apart = write_record(record, self.prefix, self.batch, self.apart, payload_bytes_min, writes)
        if not self.stored:
            writes[tables.DIRECTORY][self.directory_key] = self.prefix
            self.stored = True

    @property
    def weight(self) -> int:
        """Its estimated size in memory, bytes."""
        machine = self.machine
        state = 0 if machine.state is None else len(machine.state)
        return limits.ENTITY_BYTES + 3 * state + limits.MESSAGE_BYTES * len(machine.mailbox)

    @property
    def evictable(self) -> bool:
        """Not while an async operation runs, or is about to."""
        return self.machine.running is None and self.machine.waiting_operation is None and not self.machine.ready


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
            writes[tables.INSTANCES][self.prefix] = None
            writes[tables.DIRECTORY][self.directory_key] = None
            delete_payloads(self.apart, writes)
            self.apart = NOTHING_APART
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
    def weight(self) -> int:
        """Its estimated size in memory, bytes."""
        machine = self.machine
        code = 0 if machine.kernel is None else limits.ORCHESTRATION_BYTES + 2 * self.journal_bytes
        values = sum(len(payload.value) for payload in self.apart.values()) if self.apart else 0
        return limits.ENTITY_BYTES + code + values + limits.MESSAGE_BYTES * len(machine.mailbox)

    @property
    def evictable(self) -> bool:
        """Not while a message of it is ready."""
        return not self.machine.ready


AnyCell: TypeAlias = EntityCell | OrchestrationCell
"""An instance of either kind."""
