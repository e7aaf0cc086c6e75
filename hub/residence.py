"""Which instances are in memory, and how the others are found (bounded caches, recovery by need).

An instance leaves memory only when the last batch that wrote it is durable, and nothing of it is under way. So whatever
is not in memory is read from the last commit, and reads never have to look into batches that are under way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice

from ..entities.failures import one_line
from ..entities.ids import EntityId
from ..entities.machine import EntityMachine
from ..entities.record import EntityRecord
from ..orchestration.history import HistoryEntry
from ..orchestration.machine import OrchestrationMachine
from ..orchestration.registry import Registry
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import Store, Writes
from . import limits
from .cells import AnyCell, EntityCell, OrchestrationCell
from .guard import no_trio, withdraw
from .journals import entries_of, read_chunks
from .payloads import check_identity, read_head, read_record
from .records import InstanceRecord, decode_entity_message, decode_orchestration_message

_log = logging.getLogger(__name__)
_NEXT_NUMBER = b"next_number"
_PAGE = 1000


class Residence:
    """The instances in memory, by id, and in the order of their last use.

    Attributes:
      entities: by the parts of their ids.
      orchestrations: by id.
      bytes: the estimated size of all of them.
      evictions: how many left memory for others since the hub was opened.
      under_way: the writes of batches that are not durable yet, oldest first.
      payload_bytes_min: from this size on a value of a record is stored apart from it.
    """

    def __init__(
        self, store: Store, registry: Registry, cache_bytes: int, payload_bytes_min: int = limits.PAYLOAD_BYTES_MIN
    ) -> None:
        self._store = store
        self._registry = registry
        self._cache_bytes = cache_bytes
        self.payload_bytes_min = payload_bytes_min
        self.entities: dict[tuple[str, str], EntityCell] = {}
        self.orchestrations: dict[str, OrchestrationCell] = {}
        self.bytes = 0
        self.evictions = 0
        self.under_way: Callable[[], list[Writes]] = list
        self._order: dict[AnyCell, int] = {}
        stored = store.get(tables.META, _NEXT_NUMBER)
        self._next_number = self._stored_number = 1 if stored is None else keys.read_u64(stored)

    # --- finding

    def entity(self, entity_id: EntityId) -> EntityCell:
        """The entity's cell, read from storage or made afresh if it is not in memory."""
        cell = self.entities.get(entity_id.parts)
        if cell is not None:
            return cell
        key = keys.entity_key(entity_id.name, entity_id.key)
        number, damaged = self._number(key)
        machine = EntityMachine(entity_id, self._registry.entities.get(entity_id.name), self._registry)
        cell = EntityCell(self._allocate() if number is None else keys.read_u64(number), key, number is not None, machine)
        cell.damaged = damaged
        if number is not None:
            record = self._record(cell)
            if isinstance(record, EntityRecord):
                cell.restore(record)
            self._restore_inbox(cell, lambda sequence, data: machine.accept(decode_entity_message(data), sequence))
        if machine.definition is None:
            _log.warning("work for %s waits: no entity named %r is defined to this hub", one_line(entity_id), entity_id.name)
        self.entities[entity_id.parts] = cell
        self._admit(cell)
        return cell

    def orchestration(self, instance_id: str) -> OrchestrationCell | None:
        """The instance's cell, read from storage if it is not in memory; ``None`` if there is no such instance."""
        cell = self.orchestrations.get(instance_id)
        if cell is not None:
            return None if cell.purged else cell
        key = keys.orchestration_key(instance_id)
        number, damaged = self._number(key)
        if number is None and not damaged:
            return None
        machine = OrchestrationMachine(instance_id, self._registry, withdraw)
        cell = OrchestrationCell(self._allocate() if number is None else keys.read_u64(number), key, number is not None, machine)
        cell.damaged = damaged
        record = self._record(cell)
        if isinstance(record, OrchestrationRecord):
            machine.record, machine.now = record, record.updated_at
        self._restore_inbox(cell, lambda sequence, data: machine.accept(decode_orchestration_message(data), sequence))
        if not machine.defined and record is not None:
            _log.warning(
                "orchestration %r waits: no orchestrator named %r is defined to this hub",
                instance_id,
                machine.record and machine.record.name,
            )
        self.orchestrations[instance_id] = cell
        self._admit(cell)
        return cell

    def new_orchestration(self, instance_id: str) -> OrchestrationCell:
        """A cell for an instance that does not exist."""
        machine = OrchestrationMachine(instance_id, self._registry, withdraw)
        cell = OrchestrationCell(self._allocate(), keys.orchestration_key(instance_id), False, machine)
        self.orchestrations[instance_id] = cell
        self._admit(cell)
        return cell

    @property
    def next_number(self) -> int:
        """The number that the next new instance gets."""
        return self._next_number

    def take_up(self, prefix: bytes) -> AnyCell | None:
        """The instance of a number, read into memory if it is not there.

        ``None`` if it has its place in the queue already, or its record cannot be found or read. Being in memory is not
        enough: a client may have looked it up, which gives it no turn.
        """
        try:
            record = read_head(self._store, prefix)
        except DamagedRecord as error:
            _log.error("%s; its messages stay where they are", error)
            return None
        if record is None:
            return None
        if isinstance(record, EntityRecord):
            cell: AnyCell | None = self.entity(record.entity_id)
        else:
            cell = self.orchestration(record.instance_id)
        return None if cell is None or cell.queued else cell

    def revive(self, cell: OrchestrationCell, now: int) -> None:
        """Read the journal of an instance and replay it; a damaged journal parks the instance."""
        try:
            history = self.history(cell)
        except DamagedRecord as error:
            cell.damaged = True
            _log.error(
                "the journal of orchestration %r is damaged, the instance is set aside: %s", cell.machine.instance_id, error
            )
            return
        with no_trio():
            cell.machine.revive(history, now)

    def history(self, cell: OrchestrationCell) -> list[HistoryEntry]:
        """The journal of an instance's execution, batches under way included; notes its length in the cell."""
        chunks = read_chunks(self._store, cell.prefix)
        numbers = range(max(cell.chunk, len(chunks)))
        for writes in self.under_way():
            for key in (cell.prefix + keys.u32(number) for number in numbers):
                if key in writes[tables.HISTORY]:
                    chunk = writes[tables.HISTORY][key]
                    if chunk is None:
                        chunks.pop(key, None)
                    else:
                        chunks[key] = chunk
        cell.chunk, cell.journal_bytes = max(cell.chunk, len(chunks)), sum(map(len, chunks.values()))
        return entries_of(chunks)

    def keys_of(self, cell: AnyCell, table: str) -> list[bytes]:
        """The stored keys of an instance in a table."""
        found: list[bytes] = []
        start, stop = cell.prefix, keys.prefix_end(cell.prefix)
        while page := self._store.keys(table, start, stop, _PAGE):
            found.extend(page)
            start = page[-1] + b"\0"
        return found

    def keys_under_way(self, cell: AnyCell, table: str) -> set[bytes]:
        """The keys of an instance in a table that batches which are not durable yet write or delete."""
        return {key for writes in self.under_way() for key in writes[table] if key.startswith(cell.prefix)}

    def _number(self, key: bytes) -> tuple[bytes | None, bool]:
        """The number that the directory has for a key, and whether its row is damaged."""
        try:
            return self._store.get(tables.DIRECTORY, key), False
        except DamagedRecord as error:
            _log.error("%s. The instance is set aside", error)
            return None, True

    def _record(self, cell: AnyCell) -> InstanceRecord | None:
        try:
            stored = read_record(self._store, cell.prefix)
            if stored is not None:
                check_identity(stored[0], cell.directory_key)
        except DamagedRecord as error:
            cell.damaged = True
            _log.error("the record of instance number %d is damaged, the instance is set aside: %s", cell.number, error)
            return None
        if stored is None:
            return None
        record, cell.apart = stored
        return record

    def _restore_inbox(self, cell: AnyCell, accept: Callable[[int, bytes], None]) -> None:
        try:
            self._read_inbox(cell, accept)
        except DamagedRecord as error:
            cell.damaged = True
            _log.error("a message of instance number %d is damaged, the instance is set aside: %s", cell.number, error)
            # What arrives from now on is kept behind what waits already, and must not take its place.
            for key in self.keys_of(cell, tables.INBOX):
                cell.machine.mailbox.left_in_storage(keys.read_u64(key, 8))

    def _read_inbox(self, cell: AnyCell, accept: Callable[[int, bytes], None]) -> None:
        start, stop = cell.prefix, keys.prefix_end(cell.prefix)
        while page := self._store.scan(tables.INBOX, start, stop, _PAGE):
            for key, data in page:
                accept(keys.read_u64(key, 8), data)
                cell.note_waiting(data)
            if len(page) < _PAGE:
                break
            start = page[-1][0] + b"\0"

    def _allocate(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    # --- keeping and dropping

    def _admit(self, cell: AnyCell) -> None:
        weight = cell.weight
        self._order[cell] = weight
        self.bytes += weight

    def used(self, cell: AnyCell) -> None:
        """Note that a cell was used: it moves to the end of those that may be dropped."""
        self._order[cell] = self._order.pop(cell)

    def flushed(self, cell: AnyCell) -> None:
        """Weigh a cell again after it was written; it was used, so it moves to the end of those that may be dropped."""
        weight = cell.weight
        self.bytes += weight - self._order.pop(cell)
        self._order[cell] = weight

    def flush_numbers(self, writes: Writes) -> None:
        """Write how far instance numbers are given out, if that changed."""
        if self._next_number != self._stored_number:
            self._stored_number = self._next_number
            writes[tables.META][_NEXT_NUMBER] = keys.u64(self._next_number)

    def evict(self, committed: int, attempts: int) -> None:
        """Drop what is idle longest until the rest fits, looking at no more than ``attempts`` cells."""
        if self.bytes <= self._cache_bytes:
            return
        for cell in list(islice(self._order, attempts)):
            if self._in_use(cell, committed):
                self.used(cell)
                continue
            self.drop(cell)
            self.evictions += 1
            if self.bytes <= self._cache_bytes:
                return

    def finished(self, instance_id: str, committed: int) -> OrchestrationRecord | None:
        """An orchestration has finished, durably: most are not needed any more, and are in the way in memory.

        Returns:
          Its record as it is on disk, if it has left memory.
        """
        cell = self.orchestrations.get(instance_id)
        if cell is None or cell.purged or not cell.machine.finished or self._in_use(cell, committed):
            return None
        self.drop(cell)
        return cell.machine.record

    def _in_use(self, cell: AnyCell, committed: int) -> bool:
        """Whether a cell has to stay: it has something to do, or something of it is not durable."""
        return cell.dirty or cell.queued or cell.batch > committed or not cell.evictable

    def drop(self, cell: AnyCell) -> None:
        """Drop a cell from memory."""
        self.bytes -= self._order.pop(cell)
        if type(cell) is OrchestrationCell:
            if self.orchestrations.get(cell.machine.instance_id) is cell:  # not so if it was purged and started again
                del self.orchestrations[cell.machine.instance_id]
            if cell.machine.kernel is not None:
                with no_trio():
                    cell.machine.evict()
        else:
            del self.entities[cell.machine.entity_id.parts]

    def drop_all(self) -> None:
        """Drop everything, whatever state it is in; the hub is closing."""
        for cell in list(self._order):
            self.drop(cell)
