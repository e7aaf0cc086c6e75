"""Scopes, nurseries, timers and retries on a whole hub (O7, O8, O14): live, evicted after every turn, restarted after every commit.

The first part runs the plans of ``durable_shapes`` in all three ways and compares. The second part looks at what only a whole
hub can show: what becomes of the work that a scope cancels.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub, activity_context
from perdure.hub.records import decode_history
from perdure.orchestration import Cancelled, OrchestrationContext, RuntimeStatus, TooSlowError, activity, orchestrator
from perdure.orchestration.history import ACTIONS, StartTimer
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..orchestration.hubs import a_while, opened, until
from .durable_shapes import DEFINITIONS, PLANS, Plan
from .virtual import CACHES, RestlessStore, Tally, holder_of, hub_in, left_over, outcome, runtime_status, tally

Context = OrchestrationContext
Clock = trio.testing.MockClock
EACH = pytest.mark.parametrize("plan", PLANS, ids=str)
LIFETIMES_MAX = 500


async def drive(hub: TaskHub, plan: Plan) -> Any:
    """Start the plan, raise its events at their times, and wait for its result; a repetition changes nothing (D8)."""
    instance = await hub.start(plan.orchestrator, instance_id="plan", request_id="start")
    for number, (at, name, value) in enumerate(plan.events):
        await trio.sleep_until(at)
        if not (await runtime_status(instance)).final:
            await hub.raise_event("plan", name, value, request_id=f"event {number}")
    result = await outcome(instance)
    assert result == plan.result, (await instance.status()).failure
    await hub.wait_idle()
    return result


def steps_of(store: MemoryStore) -> list[str]:
    """Every journaled action of every instance by kind and number, sorted; for timers without their times."""
    entries = [entry for chunk in store.snapshot()[tables.HISTORY].values() for entry in decode_history(chunk)]
    return sorted(f"{type(entry).__name__} {entry.id}" for entry in entries if isinstance(entry, ACTIONS))


async def run(plan: Plan, store: MemoryStore, **options: Any) -> list[str]:
    """One hub from beginning to end; its steps."""
    async with hub_in(store, *DEFINITIONS, **options) as hub:
        await drive(hub, plan)
        for key, value in plan.tallies.items():
            assert await tally(hub, key) == value, key
            assert await holder_of(hub, key) is None
    assert left_over(store) == {}
    return steps_of(store)


def live(plan: Plan) -> list[str]:
    """The steps of a run without evictions and restarts."""

    async def program() -> list[str]:
        return await run(plan, MemoryStore())

    return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))


@EACH
def test_O7_evicted_after_every_turn(plan: Plan) -> None:
    """With nothing kept in memory each plan ends as it says, with the same steps as live, and leaves nothing waiting."""

    async def program() -> list[str]:
        return await run(plan, MemoryStore(), cache_bytes=1)

    evicted = trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    assert evicted == live(plan)


@EACH
def test_O7_restarted_after_every_commit(plan: Plan) -> None:
    """The hub is closed and opened again after each commit; the plan ends as it says, with the same steps as live."""
    store = RestlessStore()

    async def lifetime(commits: int) -> bool:
        ended = False
        async with hub_in(store, *DEFINITIONS) as hub:
            with trio.CancelScope() as scope:
                store.after_commit(commits, scope.cancel)
                await drive(hub, plan)
                ended = True
        return ended

    def progress() -> tuple[Any, ...]:
        disk = store.snapshot()
        return tuple(tuple(disk[table]) for table in (tables.HISTORY, tables.INBOX, tables.INSTANCES, tables.REQUESTS))

    async def program() -> list[str]:
        lifetimes, commits, ended = 0, 1, False
        while not ended:
            lifetimes += 1
            assert lifetimes < LIFETIMES_MAX, "it gets no further"
            before = progress()
            ended = await lifetime(commits)
            commits = 1 if progress() != before else commits + 1
        assert lifetimes > 2
        return await run(plan, store)

    assert trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0)) == live(plan)


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
    ended: list[str] = []

    @activity
    async def long() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

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
        await until(lambda: hub.statistics().activities_running == 1)
        await hub.raise_event("before", "stop")
        await until(lambda: ended == ["cancelled"])
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


async def test_O9_start_and_raise(autojump_clock: Clock) -> None:
    """It starts what is not there and raises the event, both or neither; a finished instance is refused."""

    @orchestrator
    async def sums(ctx: Context) -> int:
        return sum([await ctx.wait_for_external_event("n", int) for _ in range(2)])

    async with hub_in(MemoryStore(), sums) as hub:
        first = await hub.start_and_raise(sums, instance_id="s", event="N", value=1)
        await hub.start_and_raise(sums, instance_id="s", event="n", value=2)
        assert await first.result() == 3
        with pytest.raises(Exception, match="finished"):
            await hub.start_and_raise(sums, instance_id="s", event="n", value=3)
        with pytest.raises(ValueError, match="event"):
            await hub.start_and_raise(sums, instance_id="other", event="", value=3)
        assert [item.instance_id for item in (await hub.query_instances()).items] == ["s"]


async def test_O8_the_journal_has_the_timer_s_time(autojump_clock: Clock) -> None:
    """What is journaled of a timer is its time, so a replay a year later sets it for the same moment."""

    @orchestrator
    async def naps(ctx: Context) -> None:
        await ctx.sleep(20)

    async with hub_in(MemoryStore(), naps) as hub:
        instance = await hub.start(naps)
        await instance.result()
        (timer,) = [entry for entry in await instance.history() if isinstance(entry, StartTimer)]
        created = (await instance.status()).created_at
        assert timer.fire_at - round(created.timestamp() * 1_000_000) == 20_000_000
