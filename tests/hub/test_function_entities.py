"""Entities that are functions, in a whole hub: whatever can be done with a class can be done with them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity, EntityContext, EntityId, EntityOperationFailed, UnknownEntity, UnknownOperation, entity
from perdure.orchestration import OrchestrationContext, orchestrator

from ..entities.on_hub import WatchedStore, opened


@entity
def counter(ctx: EntityContext) -> object:
    """Counts, and tells a class."""
    value = ctx.get_state(int, 0)
    match ctx.operation:
        case "add":
            ctx.set_state(value + ctx.get_input(int, 1))
            ctx.signal_entity(Watcher.at("all"), Watcher.saw, ctx.entity_id.key)
        case "start":
            return ctx.start(add_twice, ctx.entity_id.key, instance_id="started")
        case "delete":
            ctx.delete()
        case "get":
            return value
        case other:
            raise UnknownOperation(f"a counter has no operation {other!r}")
    return None


@entity
async def slow_counter(ctx: EntityContext) -> int:
    """Counts after some I/O."""
    value = ctx.get_state(int, 0) + 1
    await trio.lowlevel.checkpoint()
    ctx.set_state(value)
    return value


@define
class Watcher(Entity):
    """A class, which functions signal and which signals functions."""

    seen: str = ""

    def saw(self, key: str) -> None:
        self.seen += key

    def poke(self, key: str) -> None:
        self.context.signal_entity(counter.at(key), "add", 10)


@orchestrator
async def add_twice(ctx: OrchestrationContext, key: str) -> list[Any]:
    """Use a function under its lock, and after it."""
    async with ctx.lock_entities(counter.at(key), slow_counter.at(key)):
        await ctx.call_entity(counter.at(key), "add", 5)
        slow = await ctx.call_entity(slow_counter.at(key), "any")
        got = await ctx.call_entity(counter.at(key), "get")
    ctx.signal_entity(counter.at(key), "add", 2)
    try:
        await ctx.call_entity(counter.at(key), "jump")
    except EntityOperationFailed as error:
        return [slow, got, error.failure.is_caused_by(UnknownOperation)]
    return []


DEFINITIONS = (counter, slow_counter, Watcher, add_twice)


async def test_a_function_is_used_like_a_class() -> None:
    """Clients, batches, orchestrations under a lock and classes reach it; it reaches classes and orchestrations; restarts keep it."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.signal_entity(counter.at("a"), "add", 1)
        async with hub.batch() as batch:
            batch.signal_entity(EntityId("Counter", "a"), "add")
        await hub.call_entity(Watcher.at("all"), Watcher.poke, "a")
        assert await hub.call_entity(counter.at("a"), "start") == "started"
        assert await hub.instance("started").result() == [1, 17, True]
        await hub.wait_idle()
    async with opened(*DEFINITIONS, store=store) as hub:
        assert await hub.call_entity(counter.at("a"), "get") == 19
        assert await hub.call_entity(slow_counter.at("a"), "again") == 2
        assert await hub.read_entity(Watcher.at("all")) == Watcher("aaaaa")
        found = {str(info.entity_id): info.state async for info in hub.iter_entities(name="counter")}
        assert found == {"@counter@a": 19}


async def test_E4_a_failed_signal_to_a_function_is_a_dead_letter() -> None:
    """An operation that the function refuses leaves nothing but the letter; a wrong input does so too."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        await hub.signal_entity(counter.at("a"), "jump")
        await hub.signal_entity(counter.at("a"), "add", "text")
        await hub.wait_idle()
        letters = (await hub.dead_letters(counter.at("a"))).items
        assert [letter.operation for letter in letters] == ["jump", "add"]
        assert await hub.read_entity(counter.at("a")) is None


async def test_E11_a_deleted_function_entity_leaves_nothing() -> None:
    """After ``ctx.delete()``, and after operations that set no state, nothing is stored."""
    store = WatchedStore()
    async with opened(counter, Watcher, add_twice, store=store) as hub:
        await hub.call_entity(counter.at("a"), "add")
        await hub.call_entity(counter.at("a"), "delete")
        await hub.call_entity(counter.at("b"), "get")
        await hub.call_entity(counter.at("c"), "delete")
        await hub.call_entity(Watcher.at("all"), "delete")
        await hub.wait_idle()
    assert store.left_over() == {}


async def test_O18_work_for_a_function_waits_until_it_is_defined() -> None:
    """A hub without the function keeps its messages; the next one that has it takes them up."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, store=store, paused=True) as hub:
        await hub.signal_entity(counter.at("a"), "add", 3)
    async with opened(Watcher, store=store) as hub:
        with pytest.raises(UnknownEntity, match="no entity named 'counter' is defined"):
            await hub.call_entity(counter.at("a"), "get")
    async with opened(*DEFINITIONS, store=store) as hub:
        assert await hub.call_entity(counter.at("a"), "get") == 3
