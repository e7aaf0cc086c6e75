"""What becomes of the work that a scope cancels (O7, L7): activities, children, entity calls and lock requests, on a whole hub."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio
import trio.testing
from perdure.hub import activity_context
from perdure.orchestration import Cancelled, OrchestrationContext, RuntimeStatus, TooSlowError, activity, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..orchestration.hubs import a_while, opened, until
from .virtual import CACHES, Tally, holder_of, hub_in, left_over, runtime_status, tally

Context = OrchestrationContext
Clock = trio.testing.MockClock
# --- what becomes of cancelled work


@CACHES
async def test_O7_an_async_activity_is_cancelled(cache: int, autojump_clock: Clock) -> None:
    """It is cancelled at once, its row leaves storage, and it is not started again by the next hub."""
    seen: list[str] = []

    @activity
    async def long() -> None:
        seen.append("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append(f"cancelled {activity_context().cancelled} at {trio.current_time():.0f}")
            raise

    @orchestrator
    async def calls(ctx: Context) -> None:
        with ctx.move_on_after(20):
            await ctx.call_activity(long)
        await ctx.wait_for_external_event("go")

    store = MemoryStore()
    async with hub_in(store, long, calls, cache_bytes=cache) as hub:
        await hub.start(calls, instance_id="c")
        await trio.sleep(50)
        assert seen == ["begun", "cancelled True at 20"]
        assert hub.statistics().activities_running == 0
        assert left_over(store) == {}
    async with hub_in(store, long, calls) as hub:
        await hub.raise_event("c", "go")
        await hub.instance("c").result()
        assert len(seen) == 2


async def test_O7_a_plain_activity_is_told(autojump_clock: Clock) -> None:
    """One in a thread sees ``activity_context().cancelled``; its result is dropped."""
    begun, told = threading.Event(), threading.Event()

    @activity
    def long() -> str:
        context = activity_context()
        begun.set()
        pause = threading.Event()
        for _ in range(10_000):
            if context.cancelled:
                told.set()
                return "late"
            pause.wait(0.001)
        return "never told"

    @orchestrator
    async def calls(ctx: Context) -> str:
        with ctx.CancelScope() as scope:
            call = ctx.call_activity(long)
            await ctx.wait_for_external_event("stop")
            scope.cancel()
            return await call
        return await ctx.wait_for_external_event("go", str)

    store = MemoryStore()
    async with hub_in(store, long, calls) as hub:
        instance = await hub.start(calls)
        await until(begun.is_set)
        await instance.raise_event("stop")
        await until(told.is_set)
        await until(lambda: hub.statistics().activities_running == 0)
        await instance.raise_event("go", "went on")
        assert await instance.result() == "went on"
        await hub.wait_idle()
    assert left_over(store) == {}


async def test_O7_an_activity_that_waits_for_a_free_place(autojump_clock: Clock) -> None:
    """One that is cancelled before its turn came never runs, and the place goes to the next."""
    ran: list[int] = []

    @activity(max_concurrent=1)
    async def one_at_a_time(number: int) -> None:
        ran.append(number)
        await trio.sleep(100)

    @orchestrator
    async def calls(ctx: Context, number: int, seconds: float) -> None:
        with ctx.move_on_after(seconds):
            await ctx.call_activity(one_at_a_time, number)

    store = MemoryStore()
    async with hub_in(store, one_at_a_time, calls) as hub:
        instances = [await hub.start(calls, number, seconds) for number, seconds in enumerate([1000.0, 20.0, 1000.0])]
        for instance in instances:
            await instance.result()
        await hub.wait_idle()
        assert ran == [0, 2]
        assert hub.statistics().activities_running == 0
    assert left_over(store) == {}


async def test_O7_cancelled_before_it_is_durable() -> None:
    """An activity that is cancelled while the commit that scheduled it is under way is cancelled as soon as it is durable."""
    seen: list[str] = []

    @activity
    async def long() -> None:
        seen.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            seen.append("cancelled")

    @orchestrator
    async def calls(ctx: Context) -> str:
        with ctx.CancelScope() as scope:
            ctx.call_activity(long)
            await ctx.wait_for_external_event("stop")
            scope.cancel()
        return await ctx.wait_for_external_event("go", str)

    store = MemoryStore()
    async with opened([long, calls], store) as hub:
        await hub.start(calls, instance_id="before")
        await until(lambda: seen == ["begun"])
        await hub.raise_event("before", "stop")
        await until(lambda: seen == ["begun", "cancelled"])
        async with trio.open_nursery() as nursery:
            store.hold_commits(True)
            nursery.start_soon(partial(hub.start, calls, instance_id="c"))
            await a_while()
            nursery.start_soon(hub.raise_event, "c", "stop")
            await a_while()
            store.hold_commits(False)
        await a_while()
        assert hub.statistics().activities_running == 0, "it goes on though nobody waits for it"
        await hub.raise_event("c", "go", "went on")
        assert await hub.instance("c").result() == "went on"


@CACHES
async def test_O7_a_child_is_cancelled(cache: int, autojump_clock: Clock) -> None:
    """A child that was called inside is cancelled gracefully: it may clean up, and ends Canceled; one from outside goes on."""

    @orchestrator
    async def child(ctx: Context) -> str:
        try:
            await ctx.sleep(100)
        except Cancelled:
            await ctx.call_entity(Tally.at("cleaned"), Tally.add, 1)
            raise
        return "slept"

    @orchestrator
    async def calls(ctx: Context) -> str:
        outside = ctx.call_sub_orchestrator(child, instance_id="outside")
        with ctx.move_on_after(20):
            await ctx.call_sub_orchestrator(child, instance_id="inside")
        return await outside

    store = MemoryStore()
    async with hub_in(store, child, calls, Tally, cache_bytes=cache) as hub:
        assert await (await hub.start(calls)).result() == "slept"
        assert await runtime_status(hub.instance("inside")) is RuntimeStatus.CANCELED
        assert await tally(hub, "cleaned") == 1
    assert left_over(store) == {}


@CACHES
async def test_O7_an_entity_call_still_runs(cache: int, autojump_clock: Clock) -> None:
    """A call to an entity that waits in a queue when its scope is cancelled runs later, and its result is dropped."""

    @orchestrator
    async def holds(ctx: Context) -> None:
        async with ctx.lock_entities(Tally.at("t")):
            await ctx.sleep(100)

    @orchestrator
    async def calls(ctx: Context) -> str:
        with ctx.move_on_after(20):
            await ctx.call_entity(Tally.at("t"), Tally.add, 5)
        return await ctx.wait_for_external_event("go", str)

    async with hub_in(MemoryStore(), holds, calls, Tally, cache_bytes=cache) as hub:
        await hub.start(holds)
        await hub.wait_idle()
        instance = await hub.start(calls)
        await trio.sleep(50)
        assert await tally(hub, "t") == 0
        await trio.sleep(100)
        assert await tally(hub, "t") == 5
        await instance.raise_event("go", "fine")
        assert await instance.result() == "fine"
        assert (await instance.status()).unawaited_failures == ()


@CACHES
@pytest.mark.parametrize("way", ["scope", "wait_timeout"])
async def test_L7_a_lock_request_is_withdrawn(way: str, cache: int, autojump_clock: Clock) -> None:
    """A wait for locks that is cut off withdraws its request, also the locks that it had already; the next one gets them."""

    @orchestrator
    async def holds(ctx: Context, keys: list[str], seconds: float) -> str:
        async with ctx.lock_entities(*(Tally.at(key) for key in keys)):
            await ctx.sleep(seconds)
        return "held"

    @orchestrator
    async def tries(ctx: Context, way: str) -> list[str]:
        before = ctx.now
        seen: list[str] = []
        if way == "scope":
            with ctx.move_on_after(20):
                async with ctx.lock_entities(Tally.at("a"), Tally.at("b")):
                    seen.append("never here")
        else:
            try:
                async with ctx.lock_entities(Tally.at("a"), Tally.at("b"), wait_timeout=20):
                    seen.append("never here")
            except TooSlowError:
                pass
        seen.append(str(round((ctx.now - before).total_seconds())))
        await ctx.wait_for_external_event("go")
        return seen

    store = MemoryStore()
    async with hub_in(store, holds, tries, Tally, cache_bytes=cache) as hub:
        await hub.start(holds, ["b"], 100.0, instance_id="first")
        await hub.wait_idle()
        instance = await hub.start(tries, way, instance_id="second")
        await hub.wait_idle()
        assert await holder_of(hub, "a") == "second", "it holds the first and waits for the second"
        await hub.start(holds, ["a"], 10.0, instance_id="third")
        await trio.sleep(25)
        assert await holder_of(hub, "a") == "third"
        await trio.sleep(100)
        assert await holder_of(hub, "a") is None
        assert await holder_of(hub, "b") is None
        await instance.raise_event("go")
        assert await instance.result() == ["20"]
    assert left_over(store) == {}


async def test_L7_the_limit_is_for_the_wait_only(autojump_clock: Clock) -> None:
    """A body that takes longer than ``wait_timeout`` is not cut off, and the limit's timer is gone."""
    store = MemoryStore()

    @orchestrator
    async def takes(ctx: Context) -> str:
        async with ctx.lock_entities(Tally.at("a"), wait_timeout=20):
            await ctx.wait_for_external_event("go")
            await ctx.sleep(100)
        return "in peace"

    async with hub_in(store, takes, Tally) as hub:
        instance = await hub.start(takes)
        await trio.sleep(5)
        assert store.snapshot()[tables.TIMERS] == {}
        await instance.raise_event("go")
        assert await instance.result() == "in peace"
