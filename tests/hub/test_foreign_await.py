"""Awaits that are not the context's (O2): each is refused at its line, with no later effect, and the hub goes on unharmed."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing

import pytest
import trio
import trio.testing
from attrs import define
from perdure.entities import Entity, EntityOperationFailed
from perdure.hub import TaskHub
from perdure.orchestration import (
    ForbiddenAwait,
    OrchestrationContext,
    OrchestrationFailed,
    RuntimeStatus,
    activity,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from ..orchestration.foreign import WAYS, Way, World, locking, waiting_for_an_event

EACH = pytest.mark.parametrize(("way", "named", "instead"), WAYS, ids=[way.__name__ for way, _, _ in WAYS])


@activity
async def double(number: int) -> int:
    """Twice the number, after a rest of Trio's."""
    await trio.sleep(1)
    return 2 * number


@orchestrator
async def bystander(ctx: OrchestrationContext) -> int:
    """Has nothing to do with it, and goes on as it should."""
    return await ctx.call_activity(double, await ctx.wait_for_external_event("go", int))


async def still_works(hub: TaskHub) -> None:
    """The hub runs new instances, also long afterwards, when any time limit that was left behind would have struck."""
    for number in range(2):
        await trio.sleep(3600)
        instance = await hub.start(bystander)
        await instance.raise_event("go", number)
        assert await instance.result(timeout=60) == 2 * number


@EACH
async def test_O2_it_is_refused_at_its_line(way: Way, named: str, instead: str, autojump_clock: trio.testing.MockClock) -> None:
    """The instance fails with ForbiddenAwait raised in the line itself, which names what was used and what to use instead."""
    world = World()

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> None:
        await way(world)

    with closing(world.loop):
        async with TaskHub("Test", [wrong, bystander, double], MemoryStore()) as hub:
            waiting = await hub.start(bystander)
            tasks = trio.lowlevel.current_statistics().tasks_living
            with pytest.raises(OrchestrationFailed) as raised:
                await (await hub.start(wrong)).result()
            failure = raised.value.failure
            assert failure.is_caused_by(ForbiddenAwait)
            assert "the line" in failure.traceback
            assert named in failure.message
            assert instead in failure.message
            assert trio.lowlevel.current_statistics().tasks_living == tasks
            await still_works(hub)
            await waiting.raise_event("go", 21)
            assert await waiting.result() == 42
    assert world.ran == []
    assert autojump_clock.autojump_threshold == 0


@EACH
async def test_O2_a_refusal_can_be_caught_and_replayed(
    way: Way, named: str, instead: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Code that catches the refusal goes on, is evicted and replayed as any other, and the hub closes when it is cancelled."""
    del named, instead
    world = World()

    @orchestrator
    async def forgiving(ctx: OrchestrationContext) -> list[object]:
        seen: list[object] = []
        for number in range(3):
            try:
                await way(world)
            except ForbiddenAwait:
                seen.append(await ctx.call_activity(double, number))
        return seen

    store = MemoryStore()
    with closing(world.loop):
        with trio.CancelScope() as scope:
            async with TaskHub("Test", [forgiving, bystander, double], store, cache_bytes=1) as hub:
                instance = await hub.start(forgiving, instance_id="forgiving")
                assert await instance.result() == [0, 2, 4]
                assert hub.statistics().evictions >= 3
                scope.cancel()
                await hub.run_forever()
        assert scope.cancelled_caught
        async with TaskHub("Test", [forgiving, bystander, double], store) as hub:
            assert (await hub.instance("forgiving").status()).output == [0, 2, 4]
            await still_works(hub)
    assert world.ran == []
    assert autojump_clock.autojump_threshold == 0


async def test_O2_a_refused_wait_has_no_later_effect() -> None:
    """Nobody waits in the event or the lock of a refused await, and using them afterwards wakes nothing and harms nobody."""
    world = World()

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> None:
        for way in (waiting_for_an_event, locking):
            with pytest.raises(ForbiddenAwait):
                await way(world)
        await ctx.wait_for_external_event("go")

    with closing(world.loop):
        async with TaskHub("Test", [wrong], MemoryStore()) as hub:
            instance = await hub.start(wrong)
            await hub.wait_idle()
            assert world.event.statistics().tasks_waiting == 0
            assert not world.lock.locked()
            turns = hub.statistics().turns
            world.event.set()
            async with world.lock:
                await trio.testing.wait_all_tasks_blocked()
            assert hub.statistics().turns == turns
            await instance.raise_event("go")
            await instance.result()


async def test_O2_a_refused_wait_in_a_parking_lot_has_no_later_effect() -> None:
    """A lot, which locks and queues of Trio are made of, holds nobody after a refused wait, and emptying it harms nobody."""
    lot = trio.lowlevel.ParkingLot()

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> None:
        with pytest.raises(ForbiddenAwait):
            await lot.park()

    async with TaskHub("Test", [wrong], MemoryStore()) as hub:
        await (await hub.start(wrong)).result()
        assert lot.statistics().tasks_waiting == 0
        lot.unpark_all()


VERBS: dict[str, Callable[[TaskHub], Awaitable[object]]] = {
    "start": lambda hub: hub.start(bystander, instance_id="started"),
    "raise_event": lambda hub: hub.raise_event("victim", "go", 1),
    "signal_entity": lambda hub: hub.signal_entity(Careless.at("x"), Careless.add, 1),
    "call_entity": lambda hub: hub.call_entity(Careless.at("x"), Careless.add, 1),
    "terminate": lambda hub: hub.terminate("victim"),
    "result": lambda hub: hub.instance("victim").result(),
    "wait_idle": lambda hub: hub.wait_idle(),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_O2_the_hubs_own_verbs_are_foreign_too(verb: str, autojump_clock: trio.testing.MockClock) -> None:
    """A client's verb that is awaited in an orchestrator is refused like any other await, and nothing of it happens."""
    hubs: list[TaskHub] = []

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> str:
        with pytest.raises(ForbiddenAwait):
            await VERBS[verb](hubs[0])
        return "refused"

    async with TaskHub("Test", [wrong, bystander, double, Careless], MemoryStore()) as hub:
        hubs.append(hub)
        victim = await hub.start(bystander, instance_id="victim")
        await hub.wait_idle()
        assert await (await hub.start(wrong, instance_id="wrong")).result() == "refused"
        await hub.wait_idle()
        assert [status.instance_id async for status in hub.iter_instances()] == ["victim", "wrong"]
        assert (await victim.status()).runtime_status is RuntimeStatus.RUNNING
        assert await hub.read_entity(Careless.at("x")) is None
        await victim.raise_event("go", 2)
        assert await victim.result() == 4
    assert autojump_clock.autojump_threshold == 0


async def test_O2_a_forbidden_await_in_a_section_leaves_nothing() -> None:
    """Inside a critical section it fails the instance, whose locks are released as with any failure (L5)."""

    @define
    class Counter(Entity):
        value: int = 0

        def add(self, amount: int) -> int:
            self.value += amount
            return self.value

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> None:
        async with ctx.lock_entities(Counter.at("a"), Counter.at("b")):
            await trio.sleep(1)

    async with TaskHub("Test", [wrong, Counter], MemoryStore()) as hub:
        with pytest.raises(OrchestrationFailed):
            await (await hub.start(wrong)).result()
        assert await hub.call_entity(Counter.at("b"), Counter.add, 1) == 1


async def test_O2_an_async_generator_that_is_left_early_ends_within_its_turn(
    recwarn: pytest.WarningsRecorder, autojump_clock: trio.testing.MockClock
) -> None:
    """Its ``finally`` runs at once and not by Trio's hooks; awaiting Trio in there is refused; the instance goes on."""
    order: list[str] = []

    async def numbers(ctx: OrchestrationContext) -> AsyncGenerator[int]:
        try:
            for number in range(10):
                yield await ctx.call_activity(double, number)
        finally:
            order.append("generator left")
            with pytest.raises(ForbiddenAwait):
                await trio.lowlevel.checkpoint()

    @orchestrator
    async def leaving(ctx: OrchestrationContext) -> str:
        async for number in numbers(ctx):
            if number == 2:
                break
        order.append("loop left")
        return "done"

    async with TaskHub("Test", [leaving, double], MemoryStore()) as hub:
        assert await (await hub.start(leaving)).result() == "done"
    gc.collect()
    await trio.lowlevel.checkpoint()
    assert order in (["generator left", "loop left"], ["loop left", "generator left"])
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]
    assert autojump_clock.autojump_threshold == 0


# --- plain operations of entities


@define
class Careless(Entity):
    """Uses Trio in plain operations."""

    value: int = 0

    def scope(self) -> None:
        with trio.CancelScope():  # noqa: ASYNC100 - the line
            self.value += 1

    def limit(self) -> None:
        with trio.move_on_after(5):  # noqa: ASYNC100 - the line
            self.value += 1

    def nursery(self) -> None:
        trio.open_nursery().__aenter__().send(None)  # type: ignore[attr-defined]  # the line

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


@pytest.mark.parametrize("operation", ["scope", "limit", "nursery"])
async def test_O2_plain_operations_are_kept_from_trio_too(operation: str, autojump_clock: trio.testing.MockClock) -> None:
    """The operation fails with ForbiddenAwait at the line and leaves no trace (E4); entity and hub go on."""
    async with TaskHub("Test", [Careless, bystander, double], MemoryStore()) as hub:
        with pytest.raises(EntityOperationFailed) as raised:
            await hub.call_entity(Careless.at("x"), operation)
        assert raised.value.failure.is_caused_by(ForbiddenAwait)
        assert "the line" in raised.value.failure.traceback
        assert await hub.call_entity(Careless.at("x"), Careless.add, 1) == 1
        await still_works(hub)
    assert autojump_clock.autojump_threshold == 0


# --- code that is dropped or looked at, outside of a turn


@orchestrator
async def scoped_on_the_way_out(ctx: OrchestrationContext) -> None:
    """Enters Trio's scopes while it is being closed."""
    try:
        await ctx.wait_for_external_event("go")
    finally:
        scope = trio.move_on_after(5)
        scope.__enter__()
        await ctx.wait_for_external_event("never")


@pytest.mark.parametrize("what", ["evict", "close", "describe"])
async def test_O2_no_scope_attaches_while_code_is_dropped(
    what: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Eviction, closing the hub and describing an evicted instance keep Trio away as turns do: no task of Trio's gets a scope."""
    caplog.set_level(logging.CRITICAL)
    store = MemoryStore()
    definitions = [scoped_on_the_way_out, bystander, double]
    async with TaskHub("Test", definitions, store, cache_bytes=10**9 if what == "close" else 1) as hub:
        await hub.start(scoped_on_the_way_out, instance_id="x")
        await hub.wait_idle()
        if what == "describe":
            assert (await hub.describe("x")).waiting_for
        if what != "close":
            assert hub.statistics().evictions >= 1
            await still_works(hub)
    await trio.sleep(60)  # would be cut short by a scope that was left on this task
    async with TaskHub("Test", definitions, store) as hub:
        assert (await hub.instance("x").status()).runtime_status is RuntimeStatus.RUNNING
        await still_works(hub)
    assert autojump_clock.current_time() >= 60


async def test_O2_describing_replays_away_from_trio(autojump_clock: trio.testing.MockClock) -> None:
    """Describing an instance runs its code in the caller's task; code that has changed and enters a scope there is refused too."""

    @orchestrator(name="changing")
    async def before(ctx: OrchestrationContext) -> None:
        await ctx.wait_for_external_event("go")

    @orchestrator(name="changing")
    async def after(ctx: OrchestrationContext) -> None:
        trio.move_on_after(5).__enter__()
        await ctx.wait_for_external_event("go")

    store = MemoryStore()
    async with TaskHub("Test", [before], store) as hub:
        await hub.start(before, instance_id="x")
        await hub.wait_idle()
    async with TaskHub("Test", [after, bystander, double], store) as hub:
        await hub.describe("x")
        assert trio.current_effective_deadline() == float("inf"), "a scope is left on this task"
        await still_works(hub)
        await hub.wait_idle()
        status = await hub.instance("x").status()
        assert status.failure is not None
        assert status.failure.is_caused_by(ForbiddenAwait)
    assert autojump_clock.current_time() >= 60


async def test_O5_activities_may_use_all_of_this(autojump_clock: trio.testing.MockClock) -> None:
    """What is refused in orchestrators is what activities are for: scopes, nurseries, sleeps and events of Trio work there."""

    @activity
    async def busy(number: int) -> int:
        results: list[int] = []

        async def child() -> None:
            await trio.sleep(1)
            results.append(number)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                nursery.start_soon(child)
        return sum(results)

    @orchestrator
    async def asking(ctx: OrchestrationContext) -> int:
        return await ctx.call_activity(busy, 4)

    async with TaskHub("Test", [asking, busy], MemoryStore()) as hub:
        waiting: Awaitable[int] = (await hub.start(asking)).result()
        assert await waiting == 8
    assert autojump_clock.current_time() >= 1
