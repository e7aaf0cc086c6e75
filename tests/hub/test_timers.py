"""Timers on a whole hub (O8, D6): never early, in order, over any horizon, across restarts and steps of the wall clock."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.hub import Instance, TaskHub, limits
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .helpers import FakeClock
from .virtual import CACHES, hub_in, left_over, runtime_status

Context = OrchestrationContext
Clock = trio.testing.MockClock
DAY = 86_400.0


@orchestrator
async def nap(ctx: Context, seconds: float) -> float:
    """Sleep; how long that was by the context's time, seconds."""
    before = ctx.now
    await ctx.sleep(seconds)
    return (ctx.now - before) / timedelta(seconds=1)


@orchestrator
async def naps(ctx: Context, times: int) -> None:
    """Sleep for no time, several times."""
    for _ in range(times):
        await ctx.sleep(0)


@orchestrator
async def until(ctx: Context, time: datetime) -> datetime:
    """Sleep until a time; what time it is then."""
    await ctx.sleep_until(time)
    return ctx.now


@orchestrator
async def approval(ctx: Context, days: float) -> str:
    """Wait for an event, at most so long."""
    event, limit = ctx.wait_for_external_event("ok"), ctx.create_timer(timedelta(days=days))
    return "ok" if await ctx.when_any([event, limit]) is event else "late"


@orchestrator
async def several(ctx: Context, delays: list[float]) -> list[int]:
    """Several timers at once; the order in which they fire."""
    fired: list[int] = []

    async def one(number: int, delay: float) -> None:
        await ctx.sleep(delay)
        fired.append(number)

    async with ctx.open_nursery() as nursery:
        for number, delay in enumerate(delays):
            nursery.start_soon(one, number, delay)
    return fired


ALL = (nap, until, approval, several)


# --- virtual time


@CACHES
async def test_O8_a_timer_of_days(cache: int, autojump_clock: Clock) -> None:
    """A timer of three days fires after three days, which the hub sleeps through."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        slept = await (await hub.start(nap, 3 * DAY)).result()
        assert 3 * DAY <= slept < 3 * DAY + 1
    assert left_over(store) == {}


@settings(max_examples=15)
@given(delays=st.lists(st.floats(0, 500), min_size=1, max_size=8), cache=st.sampled_from([64 << 20, 1]))
def test_O8_never_early_and_in_order(delays: list[float], cache: int) -> None:
    """Whatever the delays: none fires before its time by the context's clock, and they fire in the order of their times."""
    store = MemoryStore()

    async def program() -> None:
        async with hub_in(store, *ALL, cache_bytes=cache) as hub:
            each = [await hub.start(nap, delay) for delay in delays]
            fired = await (await hub.start(several, delays)).result()
            for instance, delay in zip(each, delays, strict=True):
                assert delay <= await instance.result() < delay + 1
            times = [delays[number] for number in fired]
            assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(times))
            assert sorted(fired) == list(range(len(delays)))

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    assert left_over(store) == {}


@CACHES
@pytest.mark.parametrize("answered", [True, False])
async def test_O8_a_timer_that_lost_is_gone_at_the_end(answered: bool, cache: int, autojump_clock: Clock) -> None:
    """With the commit that ends the instance, the timer that lost a race leaves storage."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(approval, 3.0)
        await hub.wait_idle()
        assert len(store.snapshot()[tables.TIMERS]) == 1
        if answered:
            await instance.raise_event("ok")
        assert await instance.result() == ("ok" if answered else "late")
        assert len(store.snapshot()[tables.TIMERS]) == 0


@CACHES
async def test_O8_it_survives_restarts(cache: int, autojump_clock: Clock) -> None:
    """A timer goes on while hubs come and go, and fires in the one that is open at its time."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        await hub.start(nap, 100.0, instance_id="n")
    for _ in range(3):
        async with hub_in(store, *ALL, cache_bytes=cache) as hub:
            assert await runtime_status(hub.instance("n")) is RuntimeStatus.RUNNING
            await trio.sleep(20)
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        assert 100 <= await hub.instance("n").result() < 101


@CACHES
async def test_O8_what_was_due_while_the_hub_was_closed(cache: int, autojump_clock: Clock) -> None:
    """Timers whose time came while no hub was open fire at once when one is, each once."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        for number in range(5):
            await hub.start(nap, 10.0 * number, instance_id=f"n{number}")
    await trio.sleep(1000)
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        for number in range(5):
            assert await hub.instance(f"n{number}").result(timeout=1) >= 10 * number
    assert left_over(store) == {}


async def test_O8_many_at_one_time(autojump_clock: Clock) -> None:
    """More timers due at one moment than are read at a time all fire then."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=1) as hub:
        instances = [await hub.start(nap, 10.0) for _ in range(60)]
        instance = await hub.start(several, [5.0] * 1200)
        assert sorted(await instance.result()) == list(range(1200))
        for each in instances:
            assert 10 <= await each.result() < 11
    assert left_over(store) == {}


async def test_O8_the_far_future(autojump_clock: Clock) -> None:
    """A timer for the year 9999 can be set, shows what is stored, and goes when the instance is terminated."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(until, datetime(9999, 12, 30, tzinfo=UTC))
        await trio.sleep(100)
        assert await runtime_status(instance) is RuntimeStatus.RUNNING
        assert len(store.snapshot()[tables.TIMERS]) == 1
        await instance.terminate()
        await hub.wait_idle()
    assert left_over(store) == {}


async def test_O8_the_past(autojump_clock: Clock) -> None:
    """A point in time that has passed is waited for in no time."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        time = datetime(1999, 1, 1, tzinfo=UTC)
        assert await (await hub.start(until, time)).result(timeout=1) > time


# --- D6: a wall clock that steps


async def sees_the_clock() -> None:
    """Let the hub look at the wall clock: it does so after a minute."""
    await trio.sleep(limits.PARK_SECONDS_MAX + 1)


async def test_D6_the_wall_clock_is_set_back(autojump_clock: Clock) -> None:
    """A wall clock that is set back fires nothing early; the timer fires when its time has come by it, once."""
    clock, store = FakeClock(), MemoryStore()
    async with TaskHub("Clocks", ALL, store, clock=clock) as hub:
        instance = await hub.start(nap, 100.0)
        await hub.wait_idle()
        clock.move(50)
        await sees_the_clock()
        clock.move(-1000)
        for _ in range(9):
            await sees_the_clock()
            clock.move(100)
        assert await runtime_status(instance) is RuntimeStatus.RUNNING
        clock.move(151)
        await sees_the_clock()
        assert await instance.result(timeout=1) >= 100
    assert left_over(store) == {}


async def test_D6_the_wall_clock_is_set_forward(autojump_clock: Clock) -> None:
    """A wall clock that is set forward is noticed soon, for the length of the wait; what is due by it fires, the rest does not."""
    clock, store = FakeClock(), MemoryStore()
    async with TaskHub("Clocks", ALL, store, clock=clock) as hub:
        month, year = await hub.start(nap, 30 * DAY), await hub.start(nap, 365 * DAY)
        await hub.wait_idle()
        clock.move(31 * DAY)
        await sees_the_clock()
        assert await month.result(timeout=1) >= 30 * DAY
        assert await runtime_status(year) is RuntimeStatus.RUNNING
        clock.move(365 * DAY)
        await sees_the_clock()
        assert await year.result(timeout=1) >= 365 * DAY
    assert left_over(store) == {}


async def test_D6_set_back_between_two_hubs(autojump_clock: Clock) -> None:
    """After a restart with an earlier wall clock the context's time does not go back, and no timer is early or lost."""
    clock, store = FakeClock(), MemoryStore()
    async with TaskHub("Clocks", ALL, store, clock=clock) as hub:
        await hub.start(nap, 100.0, instance_id="n")
        await hub.wait_idle()
    clock.move(-1000)
    async with TaskHub("Clocks", ALL, store, clock=clock) as hub:
        await sees_the_clock()
        assert await runtime_status(hub.instance("n")) is RuntimeStatus.RUNNING
        clock.move(1101)
        await sees_the_clock()
        assert await hub.instance("n").result(timeout=1) >= 100


@settings(max_examples=20)
@given(steps=st.lists(st.integers(-300, 300), min_size=1, max_size=12), delay=st.integers(0, 400))
def test_D6_whatever_the_steps(steps: list[int], delay: int) -> None:
    """However the wall clock steps, a timer has fired at the end if, and only if, the latest time that was seen is due."""
    clock, store = FakeClock(), MemoryStore()

    async def program() -> None:
        begin = latest = clock.time
        async with TaskHub("Clocks", ALL, store, clock=clock) as hub:
            instance = await hub.start(nap, float(delay))
            await hub.wait_idle()
            for step in steps:
                clock.move(step)
                latest = max(latest, clock.time)
                await sees_the_clock()
                ended = await runtime_status(instance) is RuntimeStatus.COMPLETED
                assert ended == (latest >= begin + delay * 1_000_000)

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("times", [1, 3])
async def test_wait_idle_waits_for_what_is_due(times: int) -> None:
    """A timer whose time has come is work: the hub is not idle before it has fired, and what follows is done."""

    async def wait(hub: TaskHub, instance: Instance[None]) -> None:
        await hub.wait_idle()
        seen.append((await instance.status()).runtime_status)

    seen: list[RuntimeStatus] = []
    async with hub_in(MemoryStore(), naps, paused=True) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(wait, hub, await hub.start(naps, times))
        await trio.testing.wait_all_tasks_blocked()
        hub.unpause()
    assert seen == [RuntimeStatus.COMPLETED]
