"""Cleaning entities (E11, L8): what should not be there is put right, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from perdure.entities.lock import Lock
from perdure.entities.messages import LockRequest, Operation, SectionId
from perdure.entities.record import EntityRecord
from perdure.hub import CleanedEntities, TaskHub, lots
from perdure.hub.records import encode
from perdure.orchestration import RuntimeStatus
from perdure.storage import tables
from perdure.storage.keys import entity_key, u64
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch

from ..entities.on_hub import BrokenStore, WatchedStore, opened
from .lock_world import DEFINITIONS, A, Counter, hold, holders, leave, orphans, waiting


class Planter:
    """Writes to a closed hub's disk what no hub would."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._number = 1000

    def plant(self, key: str, lock: Lock | None = None, *messages: Any, state: bytes | None = None) -> bytes:
        """An entity with such a record, and messages that wait; its number."""
        self._number += 1
        number = u64(self._number)
        record = EntityRecord("counter", key, state, 0, lock, 0)
        epoch = self._store.open()
        inbox = {number + u64(place): encode(message) for place, message in enumerate(messages, 1)}
        self._store.submit(
            Batch(
                0,
                epoch,
                self._store.commit_number + 1,
                {
                    tables.DIRECTORY: {entity_key("counter", key): number},
                    tables.INSTANCES: {number: encode(record)},
                    tables.INBOX: dict(inbox),
                    tables.META: {b"next_number": u64(self._number + 1)},
                },
            )
        )
        self._store.close()
        return number


def lock_of(owner: str, execution: str, keys: str, index: int) -> Lock:
    """The lock that a section has of one of its entities."""
    return Lock(SectionId(owner, execution, "1"), tuple(("counter", key) for key in keys), index)


async def clean(hub: TaskHub, **options: bool) -> tuple[int, int]:
    """Clean, and let everything come to rest; what was done."""
    cleaned = await hub.clean_entities(**options)
    await hub.wait_idle()
    return cleaned.empty_removed, cleaned.locks_released


async def test_E11_there_is_nothing_to_clean() -> None:
    """After work of all kinds there is nothing to clean, and cleaning touches no entity that has something to keep."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.signal_entity(A, Counter.set, 0)
        await hub.signal_entity(Counter.at("lettered"), Counter.set, 1)
        await hub.signal_entity(Counter.at("lettered"), "delete")
        await hub.signal_entity(Counter.at("later"), Counter.add, 1, deliver_at=10_000)
        await hub.start(hold, "xy", instance_id="holder")
        await hub.start(hold, "y", instance_id="waiter")
        await hub.wait_idle()
        await hub.suspend("holder")
        before = {name: rows for name, rows in store.snapshot().items() if name != tables.META}
        assert await hub.clean_entities() == CleanedEntities(0, 0)
        await hub.wait_idle()
        assert {name: rows for name, rows in store.snapshot().items() if name != tables.META} == before
        assert await holders(hub, "xy") == ["holder", "holder"]
        await hub.resume("holder")
        await leave(hub, "holder")
        await leave(hub, "waiter")


async def test_E11_empty_entities_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entities without anything to keep are removed, over any number of pages; those with a message or a state are not."""
    monkeypatch.setattr(lots, "LOT", 2)
    store = WatchedStore()
    planter = Planter(store)
    for key in ("1", "2", "3", "4", "5"):
        planter.plant(key)
    planter.plant("waits", None, Operation("nothing of the kind", b"\x90"))
    async with opened(*DEFINITIONS, store=store, paused=True) as hub:
        assert await hub.clean_entities(remove_empty=False) == CleanedEntities(0, 0)
        assert await hub.clean_entities() == CleanedEntities(5, 0)
        assert await hub.clean_entities() == CleanedEntities(0, 0)
        assert store.left_over() == {"directory": 1, "instances": 1, "inbox": 1}


@pytest.mark.parametrize("owner", ["missing", "completed", "another execution"])
async def test_L8_an_orphaned_lock_is_released(owner: str) -> None:
    """Locks whose owner is missing, has ended or runs another execution are released along the set; the next waiter is served."""
    store = MemoryStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.start(hold, "z", instance_id="owner")
        execution = (await hub.get_status("owner")).execution
        if owner == "completed":
            await leave(hub, "owner")
        await hub.wait_idle()
    dead = {"missing": "nobody", "completed": "owner", "another execution": "owner"}[owner]
    planter = Planter(store)
    locked = lock_of(dead, execution if owner == "completed" else "00" * 16, "abc", 0)
    for index, key in enumerate("abc"):
        planter.plant(key, lock_of(dead, locked.section.execution, "abc", index), state=None)
    assert len(orphans(store)) == 3
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.start(hold, "bc", instance_id="next")
        assert await holders(hub, "abc") == [dead] * 3
        assert await clean(hub, release_orphaned_locks=False) == (0, 0)
        assert await waiting(hub, "b") == ("next",)
        assert await clean(hub) == (0, 3)
        assert await holders(hub, "abc") == [None, "next", "next"]
        await leave(hub, "next")
        if owner == "another execution":
            assert (await hub.get_status("owner")).runtime_status is RuntimeStatus.RUNNING
            await leave(hub, "owner")
    assert orphans(store) == []


async def test_L8_orphaned_requests_go_with_the_lock() -> None:
    """Requests of owners that are gone, waiting behind an orphaned lock, are passed over; a living one gets the lock."""
    store = MemoryStore()
    planter = Planter(store)
    requests = [LockRequest(SectionId(f"gone {number}", "00" * 16, "1"), (("counter", "a"),), 0) for number in range(3)]
    planter.plant("a", lock_of("nobody", "00" * 16, "a", 0), *requests)
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.start(hold, "a", instance_id="next")
        await hub.wait_idle()
        assert await clean(hub) == (0, 1)
        assert await holders(hub, "a") == ["next"]
        await leave(hub, "next")


async def test_L8_living_owners_keep_their_locks() -> None:
    """Running, suspended and pending owners keep what they hold, whether they are in memory or not."""
    store = MemoryStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        for name, keys in (("running", "a"), ("suspended", "b"), ("waiting", "ca")):
            await hub.start(hold, keys, instance_id=name)
            await hub.wait_idle()
        await hub.suspend("suspended")
        await hub.wait_idle()
    for cache in (1, 64 << 20):
        async with opened(*DEFINITIONS, store=store, cache_bytes=cache) as hub:
            assert await clean(hub) == (0, 0)
            assert await holders(hub, "abc") == ["running", "suspended", None]


async def test_D9_damaged_records_are_left() -> None:
    """A damaged entity, and an owner whose record is damaged, are not touched: nobody knows whether they are orphans."""
    store = BrokenStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.start(hold, "a", instance_id="owner")
        await hub.wait_idle()
    number = store.snapshot()[tables.DIRECTORY][b"oowner"]
    broken = Planter(store).plant("empty but damaged")
    store.broken = {(tables.INSTANCES, number), (tables.INSTANCES, broken)}
    async with opened(*DEFINITIONS, store=store) as hub:
        assert await clean(hub) == (0, 0)
        assert await holders(hub, "a") == ["owner"]
