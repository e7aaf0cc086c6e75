"""Async operations of entities in a whole hub: when they begin, one at a time, what they may do (D2, E1, E5, E8)."""

from __future__ import annotations

import pytest
import trio
from perdure.entities import EntityOperationFailed
from perdure.hub import TaskHub

from ..entities.on_hub import WatchedStore, a_while, opened, until
from .entity_world import OTHER, A, Log, begun, gates, hubs


@pytest.fixture(autouse=True)
def clean() -> None:
    begun.clear()
    gates.clear()
    hubs.clear()


async def test_D2_an_async_operation_begins_after_the_commit() -> None:
    """An async operation begins when its message is durable, and not before."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub, trio.open_nursery() as nursery:
        store.hold_commits()
        nursery.start_soon(hub.signal_entity, A, Log.wait, "x")
        await until(lambda: store.submitted)
        await a_while()
        assert begun == []
        store.hold_commits(False)
        await until(lambda: begun)
        gates["x"].set()


async def test_D2_each_async_operation_waits_for_its_own_commit() -> None:
    """An async operation that arrives while an older commit is under way does not begin when that one is done."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub, trio.open_nursery() as nursery:
        store.hold_commits()
        nursery.start_soon(hub.signal_entity, A, Log.wait, "first")
        await until(lambda: store.submitted == 1)
        nursery.start_soon(hub.signal_entity, A, Log.write, "between")
        await a_while()
        store.finish_one()
        await until(lambda: begun == ["first"] and store.submitted == 2)
        gates["first"].set()
        await until(lambda: hub.statistics().operations_running == 0)
        nursery.start_soon(hub.signal_entity, A, Log.wait, "second")
        await a_while()
        store.finish_one()
        await until(lambda: store.submitted == 3)
        await a_while()
        assert begun == ["first"], "the second one has begun before the third commit, which holds its message"
        store.hold_commits(False)
        await until(lambda: begun == ["first", "second"])
        gates["second"].set()


async def test_D2_an_answer_waits_for_the_commit() -> None:
    """A call's result is given when the commit that holds its effect is durable."""
    store = WatchedStore()
    answers: list[int] = []

    async def call(hub: TaskHub) -> None:
        answers.append(await hub.call_entity(A, Log.write, "x"))

    async with opened(Log, store=store) as hub, trio.open_nursery() as nursery:
        store.hold_commits()
        nursery.start_soon(call, hub)
        await until(lambda: store.submitted)
        await a_while()
        assert answers == []
        store.hold_commits(False)
        await until(lambda: answers == [1])


async def test_E1_one_at_a_time() -> None:
    """While an async operation waits, no other of its entity runs, and other entities go on; then all run in order."""
    async with opened(Log) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(hub.call_entity, A, Log.wait, "one")
        await until(lambda: begun == ["one"])
        for name in ("two", "three"):
            await hub.signal_entity(A, Log.write, f"before {name}")
            await hub.signal_entity(A, Log.wait, name)
        assert await hub.call_entity(OTHER, Log.write, "x") == 1
        await a_while()
        assert begun == ["one"]
        description = await hub.describe(A)
        assert (description.running, description.queued) == ("wait", ("write", "wait", "write", "wait"))
        for name in ("one", "two", "three"):
            await until(lambda name=name: begun[-1] == name)
            gates[name].set()
        assert await hub.call_entity(A, Log.read) == ["one", "before two", "two", "before three", "three"]


async def test_E5_an_interrupted_operation_runs_again() -> None:
    """An async operation that was cut off by the end of the hub runs again from the old state, and its message is not lost."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        await hub.call_entity(A, Log.write, "x")
        await hub.signal_entity(A, Log.wait, "slow")
        await hub.signal_entity(A, Log.write, "y")
        await until(lambda: begun == ["slow"])
    async with opened(Log, store=store) as hub:
        await until(lambda: begun == ["slow", "slow"])
        gates["slow"].set()
        assert await hub.call_entity(A, Log.read) == ["x", "slow", "y"]


@pytest.mark.parametrize("then", ["pass on", "fail", "swallow"])
async def test_D7_how_an_operation_takes_its_interruption_does_not_count(then: str) -> None:
    """An operation that the end of the hub interrupts runs again, also if it answers that with an error or by returning."""
    store = WatchedStore()
    async with opened(Log, store=store) as hub:
        await hub.signal_entity(A, Log.wait_and_clean_up, "slow", then)
        await until(lambda: begun == ["slow"])
    async with opened(Log, store=store) as hub:
        await until(lambda: begun == ["slow", "slow"])
        gates["slow"].set()
        assert await hub.call_entity(A, Log.read) == ["slow"]
        assert (await hub.dead_letters(A)).items == []


@pytest.mark.parametrize("what", ["call", "call self", "call in a task"])
async def test_E8_no_call_from_inside(what: str) -> None:
    """An async operation that calls an entity through the hub, itself included, is refused with the reason, and fails."""
    async with opened(Log) as hub:
        hubs.append(hub)
        with pytest.raises(EntityOperationFailed) as caught:
            await hub.call_entity(A, Log.use_hub, what)
        assert caught.value.failure.is_caused_by(RuntimeError)
        leaf = caught.value.failure
        while leaf.members:
            leaf = leaf.members[0]
        assert "@log@a" in leaf.message
        assert "deadlock" in leaf.message
        assert "signal" in leaf.message
        assert await hub.call_entity(OTHER, Log.read) == []


async def test_E8_signals_and_reads_from_inside() -> None:
    """Through the hub, an async operation may signal and read, neither of which waits for an entity."""
    async with opened(Log) as hub:
        hubs.append(hub)
        await hub.call_entity(A, Log.use_hub, "signal")
        assert await hub.call_entity(OTHER, Log.read) == ["from inside"]
        await hub.call_entity(A, Log.write, "x")
        assert await hub.call_entity(A, Log.use_hub, "read") == ["x"]
