"""Counters, holders of locks, and a lookout for orphans, for tests of critical sections in a whole hub.

The lookout looks at the disk after each commit: a lock, or a request for one, whose owner has ended must have its release
on the same disk (L5). So a crash after any commit cannot leave an orphan.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field
from perdure.entities import Entity
from perdure.entities.messages import LockRelease, LockRequest
from perdure.entities.record import EntityRecord
from perdure.hub import TaskHub
from perdure.hub.records import decode_entity_message, decode_instance
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage.memory_store import MemoryStore
from perdure.storage.tables import INBOX, INSTANCES

from ..entities.on_hub import WatchedStore, opened

gates: dict[str, trio.Event] = {}
"""Where async operations wait until a test lets them go on."""


@define
class Counter(Entity):
    """A number, and the names of those who touched it."""

    value: int = 0
    seen: list[str] = field(factory=list)

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        self.value = value

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def see(self, who: str) -> list[str]:
        self.seen.append(who)
        return self.seen

    async def see_slowly(self, who: str) -> None:
        await gates.setdefault(who, trio.Event()).wait()
        self.seen.append(who)


A, B, C = (Counter.at(key) for key in "abc")


@activity
async def nothing() -> int:
    """Do nothing; 7."""
    return 7


@orchestrator
async def child(ctx: OrchestrationContext) -> int:
    """Return 8."""
    return 8


@orchestrator
async def hold(ctx: OrchestrationContext, keys: str) -> str:
    """Lock what is named by the letters, and do then as an event says."""
    async with ctx.lock_entities(*map(Counter.at, keys)):
        for key in keys:
            await ctx.call_entity(Counter.at(key), Counter.see, ctx.instance_id)
        match await ctx.wait_for_external_event("then", str):
            case "return":
                return "from inside"
            case "fail":
                raise ValueError("inside")
            case "call and leave":
                ctx.call_entity(Counter.at(keys[0]), Counter.see_slowly, "pending")
            case _:
                pass
    return "left"


DEFINITIONS = (Counter, hold, child, nothing)


# --- looking


def orphans(store: MemoryStore) -> list[str]:
    """Locks and lock requests on disk whose owner has ended, and whose release is not on disk."""
    tables = store.snapshot()
    records = [decode_instance(data) for data in tables[INSTANCES].values()]
    alive = {
        (record.instance_id, record.execution)
        for record in records
        if not isinstance(record, EntityRecord) and not record.status.final
    }
    messages = [decode_entity_message(data) for data in entity_inboxes(tables)]
    wanted = [(message.section, "request") for message in messages if isinstance(message, LockRequest)]
    wanted += [
        (record.lock.section, f"lock of {record.key!r}")
        for record in records
        if isinstance(record, EntityRecord) and record.lock is not None and not record.lock.releasing
    ]
    released = {message.section for message in messages if isinstance(message, LockRelease)}
    return [
        f"{what} for {section}"
        for section, what in wanted
        if (section.owner, section.execution) not in alive and section not in released
    ]


def entity_inboxes(tables: dict[str, dict[bytes, bytes]]) -> list[bytes]:
    """The messages on disk that wait for entities."""
    entities = {key for key, data in tables[INSTANCES].items() if isinstance(decode_instance(data), EntityRecord)}
    return [data for key, data in tables[INBOX].items() if key[:8] in entities]


@asynccontextmanager
async def watched(*more: object, **options: Any) -> AsyncGenerator[TaskHub]:
    """A hub whose disk is looked at after each commit; at the end nothing may be locked, or wait."""
    found: list[str] = []
    store = WatchedStore(lambda: found.extend(orphans(store)))
    async with opened(*DEFINITIONS, *more, store=store, **options) as hub:
        yield hub
        await hub.wait_idle()
    assert found == []
    assert not entity_inboxes(store.snapshot())
    assert not [record for record in map(decode_instance, store.snapshot()[INSTANCES].values()) if getattr(record, "lock", None)]


async def holders(hub: TaskHub, keys: str) -> list[str | None]:
    """Who holds each of some entities, when everything has come to rest."""
    await hub.wait_idle()
    return [(await hub.describe(Counter.at(key))).locked_by for key in keys]


async def waiting(hub: TaskHub, key: str) -> tuple[str, ...]:
    """Who waits for an entity, when everything has come to rest."""
    await hub.wait_idle()
    return (await hub.describe(Counter.at(key))).waiting


async def leave(hub: TaskHub, instance_id: str) -> None:
    """Let a holder go on, and wait until it has ended."""
    await hub.raise_event(instance_id, "then", "leave")
    await hub.instance(instance_id).result()
