"""Entities in a whole hub: signals, calls, order, reads, wrong calls, and what is left (E2, E3, E7, E9, E11, E12)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, field
from perdure.entities import Entity, EntityId, EntityOperationFailed, UnknownEntity, UnknownOperation, entity
from perdure.hub import TaskHub
from perdure.storage import NotStorable

from ..entities.on_hub import WatchedStore, opened, until
from .entity_world import OTHER, A, Log, begun, gates, use


@pytest.fixture(autouse=True)
def clean() -> None:
    begun.clear()
    gates.clear()


# --- signals, calls, order


async def test_D3_a_signal_is_durable_when_it_returns() -> None:
    """A signal that has returned is there after a restart that follows at once."""
    store = WatchedStore()
    async with opened(Log, store=store, paused=True) as hub:
        await hub.signal_entity(A, Log.write, "x")
    async with opened(Log, store=store) as hub:
        assert await hub.call_entity(A, Log.read) == ["x"]


async def test_E2_order_of_one_client() -> None:
    """Signals, batches and calls of one hub object run in the order of its calls."""
    async with opened(Log) as hub:
        for number in range(5):
            await hub.signal_entity(A, Log.write, str(number))
        async with hub.batch() as batch:
            for number in range(5, 10):
                batch.signal_entity(A, Log.write, str(number))
        assert await hub.call_entity(A, Log.write, "10") == 11
        assert await hub.call_entity(A, Log.read) == [str(number) for number in range(11)]


async def test_E2_order_of_an_entity_and_of_an_orchestration() -> None:
    """What an operation or an orchestration sends to one entity arrives in the order in which it was sent."""
    async with opened(Log, use) as hub:
        await hub.call_entity(A, Log.copy_to, "other", "copy", 20)
        assert await hub.call_entity(OTHER, Log.read) == [f"copy{number}" for number in range(20)]
        instance = await hub.start(use, "used")
        assert await instance.result() == ["0", "1", "2", "3", "4"]


async def test_E2_exactly_once_across_restarts() -> None:
    """Signals that waited over several restarts run once each, in order."""
    store = WatchedStore()
    for number in range(4):
        async with opened(Log, store=store, paused=True) as hub:
            await hub.signal_entity(A, Log.write, str(number))
    for _ in range(2):
        async with opened(Log, store=store) as hub:
            assert await hub.call_entity(A, Log.read) == ["0", "1", "2", "3"]


async def test_E1_many_callers_of_one_entity() -> None:
    """Calls from many tasks at once each see the effect of all those before."""
    async with opened(Log) as hub, trio.open_nursery() as nursery:
        results: list[int] = []

        async def call(number: int) -> None:
            results.append(await hub.call_entity(A, Log.write, str(number)))

        for number in range(50):
            nursery.start_soon(call, number)
        await until(lambda: len(results) == 50)
        assert sorted(results) == list(range(1, 51))


async def test_call_by_name_and_class() -> None:
    """An operation may be named by a string, and an entity by a plain id in any case."""
    async with opened(Log) as hub:
        assert await hub.call_entity(EntityId("LOG", "a"), "write", "x") == 1
        assert await hub.call_entity(A, "read") == ["x"]


async def test_a_cancelled_call_runs_all_the_same() -> None:
    """Cancelling a call only ends the waiting: its operation runs, once."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        store.hold_commits()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.call_entity, A, Log.write, "x")
            await until(lambda: store.submitted)
            nursery.cancel_scope.cancel()
        store.hold_commits(False)
        assert await hub.call_entity(A, Log.read) == ["x"]


async def test_E3_delete_and_afresh() -> None:
    """A deleted entity is gone for readers, and the next operation starts from the defaults."""
    async with opened(Log) as hub:
        await hub.call_entity(A, Log.write, "x")
        await hub.call_entity(A, "delete")
        assert await hub.read_entity(A) is None
        assert not (await hub.describe(A)).exists
        assert await hub.call_entity(A, Log.write, "y") == 1


# --- E9


async def test_E9_reading_shows_the_last_commit() -> None:
    """A read shows what is durable, not what was computed since; after a call has returned it shows that call's effect."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub, trio.open_nursery() as nursery:
        assert await hub.read_entity(A) is None
        store.hold_commits()
        nursery.start_soon(hub.call_entity, A, Log.write, "x")
        await until(lambda: store.submitted)
        assert await hub.read_entity(A) is None
        store.finish_one()
        nursery.start_soon(hub.call_entity, A, Log.write, "y")
        await until(lambda: store.submitted == 2)
        assert await hub.read_entity(A) == Log(["x"])
        store.hold_commits(False)
        assert await hub.call_entity(A, Log.write, "z") == 3
        assert await hub.read_entity(A) == Log(["x", "y", "z"])


async def test_E9_a_read_is_a_copy() -> None:
    """Changing what was read changes nothing, and two reads give two objects; its context raises."""
    async with opened(Log) as hub:
        await hub.call_entity(A, Log.write, "x")
        read = await hub.read_entity(A)
        assert read is not None
        read.write("mine")
        assert await hub.read_entity(A) == Log(["x"])
        assert await hub.call_entity(A, Log.read) == ["x"]
        with pytest.raises(RuntimeError, match="is a copy"):
            _ = read.context


async def test_E9_reading_waits_for_nothing() -> None:
    """A read is answered while an operation of the entity is suspended and others wait, with the state before it."""
    async with opened(Log) as hub, trio.open_nursery() as nursery:
        await hub.call_entity(A, Log.write, "x")
        nursery.start_soon(hub.call_entity, A, Log.wait, "slow")
        await until(lambda: begun)
        await hub.signal_entity(A, Log.write, "y")
        assert await hub.read_entity(A) == Log(["x"])
        gates["slow"].set()
    async with opened(Log) as hub:
        assert await hub.read_entity(A) is None


# --- E7


async def test_E7_wrong_calls_are_refused_and_send_nothing() -> None:
    """Unknown classes and operations, wrong arguments and what is no entity id are refused by each verb, with nothing sent."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        untyped: Any = hub
        for verb in (untyped.signal_entity, untyped.call_entity):
            for error, arguments in (
                (UnknownEntity, (EntityId("nothing", "a"), "write", "x")),
                (UnknownOperation, (A, "burn")),
                (UnknownOperation, (A, "_write", "x")),
                (UnknownOperation, (A, TaskHub.batch)),
                (TypeError, (A, Log.write)),
                (TypeError, (A, Log.write, "x", "y")),
                (NotStorable, (A, Log.write, 1)),
                (TypeError, ("@log@a", Log.write, "x")),
                (TypeError, (Log, Log.write, "x")),
            ):
                with pytest.raises(error):
                    await verb(*arguments)
        for verb in (untyped.read_entity, untyped.dead_letters):
            with pytest.raises(TypeError, match="entity id"):
                await verb("@log@a")
        with pytest.raises(UnknownEntity):
            await hub.read_entity(EntityId("nothing", "a"))
        await hub.wait_idle()
        assert store.submitted == 0


# --- E11


async def test_E11_nothing_is_left() -> None:
    """Entities that were deleted, never came to be, or were only read, described or asked, leave no record at all."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        await hub.call_entity(A, Log.write, "x")
        await hub.call_entity(A, "delete")
        with pytest.raises(EntityOperationFailed):
            await hub.call_entity(Log.at("failed"), Log.refuse, "x")
        await hub.call_entity(Log.at("never"), "delete")
        await hub.read_entity(Log.at("read"))
        await hub.describe(Log.at("described"))
        await hub.dead_letters(Log.at("asked"))
        await hub.wait_idle()
    assert store.left_over() == {}


@entity(name="log", version=1)
@define
class NewLog(Entity):
    """A later version of the class, with one more attribute."""

    lines: list[str] = field(factory=list)
    title: str = "untitled"

    def read(self) -> list[str]:
        return [self.title, *self.lines]


async def test_E12_new_attributes_get_their_defaults() -> None:
    """A state that an older class saved is read with the defaults of the attributes that it does not have."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        await hub.call_entity(A, Log.write, "x")
    async with opened(NewLog, store=store) as hub:
        assert await hub.read_entity(NewLog.at("a")) == NewLog(["x"])
        assert await hub.call_entity(NewLog.at("a"), NewLog.read) == ["untitled", "x"]
