"""``describe`` for a hub that another process runs: what the last commit says, without running any code.

A running hub describes an instance by the code that waits; a reader has no business to run it. The journal tells the same,
but for what is not journaled: which events are waited for.

All that belongs to one description must be of one commit, so call this inside a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..entities.ids import EntityId
from ..entities.machine import EntityMachine
from ..entities.messages import SectionId
from ..entities.record import EntityRecord
from ..orchestration.addresses import Addresses
from ..orchestration.errors import InstanceNotFound
from ..orchestration.history import LockTaken, open_sections, open_work
from ..orchestration.messages import EventRaised
from ..orchestration.registry import Registry
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.store import CommittedStore
from .cells import EntityCell
from .describing import EntityDescription, InstanceDescription, describe_entity
from .journals import read_journal
from .payloads import find_record
from .records import decode_entity_message, decode_orchestration_message
from .waiting import Past, waiting_for_locks, waiting_for_work

_PAGE = 1000


def describe_stored_entity(store: CommittedStore, registry: Registry, entity_id: EntityId) -> EntityDescription:
    """An entity as of the last commit; an async operation that runs is among those that wait.

    Raises:
      DamagedRecord: its record or one of its messages is damaged.
    """
    return describe_entity(_stored_cell(store, registry, entity_id))


def describe_stored_instance(store: CommittedStore, registry: Registry, instance_id: str) -> InstanceDescription:
    """An orchestration as of the last commit, and what it waits for, but for names of events.

    Raises:
      InstanceNotFound: there is no such instance.
      DamagedRecord: its record, its journal or one of its messages is damaged.
    """
    number, record = find_record(store, keys.orchestration_key(instance_id), include_values=False) or (None, None)
    if number is None or not isinstance(record, OrchestrationRecord):
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    unread, waiting_for, section = record.unread_events, (), ()
    if not record.status.final:
        journal = read_journal(store, number)
        sections, addresses = open_sections(journal), Addresses.of(journal)
        taken = {entry.task for entry in journal if isinstance(entry, LockTaken)}
        awaited = {
            SectionId(instance_id, record.execution, addresses[position]): entities
            for position, entities in sections.items()
            if position not in taken
        }
        past = Past.of(journal)
        waiting_for = (
            *waiting_for_work(open_work(journal), past),
            *waiting_for_locks(awaited, lambda entity_id: _stored_cell(store, registry, entity_id).machine, past),
        )
        section = next((tuple(EntityId(*entity) for entity in entities) for entities in sections.values()), ())
        unread = sum(isinstance(decode_orchestration_message(data), EventRaised) for _, data in _inbox(store, number))
    return InstanceDescription(instance_id, record.status, waiting_for, section, unread, record.failure)


def _stored_cell(store: CommittedStore, registry: Registry, entity_id: EntityId) -> EntityCell:
    machine = EntityMachine(EntityId(entity_id.name, entity_id.key), registry.entities.get(entity_id.name), registry)
    key = keys.entity_key(entity_id.name, entity_id.key)
    number, record = find_record(store, key, include_values=False) or (None, None)
    cell = EntityCell(0 if number is None else keys.read_u64(number), key, number is not None, machine)
    if number is not None and isinstance(record, EntityRecord):
        cell.restore(record)
        for sequence, data in _inbox(store, number):
            machine.accept(decode_entity_message(data), sequence)
    return cell


def _inbox(store: CommittedStore, number: bytes) -> Iterator[tuple[int, bytes]]:
    start, stop = number, keys.prefix_end(number)
    while page := store.scan(tables.INBOX, start, stop, _PAGE):
        for key, data in page:
            yield keys.read_u64(key, 8), data
        start = page[-1][0] + b"\0"
