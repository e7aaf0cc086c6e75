"""Continuing as new (O11): what is carried over, what is dropped, and what forbids it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from perdure.hub.records import decode_history
from perdure.orchestration import (
    LockRuleError,
    OrchestrationContext,
    OrchestrationFailed,
    RuntimeStatus,
    activity,
    orchestrator,
)
from perdure.orchestration.history import EventReceived, ExecutionStarted
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, Tally, everything, holder_of, hub_in, left_over, runtime_status

Context = OrchestrationContext
Clock = trio.testing.MockClock


@orchestrator
async def collect(ctx: Context, wanted: int, seen: list[int]) -> list[int]:
    """One event an execution, until there are enough; their values in the order in which they came."""
    ctx.set_custom_status(len(seen))
    if len(seen) < wanted:
        seen.append(await ctx.wait_for_external_event("number", int))
        ctx.continue_as_new(wanted, seen)
    return seen


@orchestrator
async def forgetful(ctx: Context, keep: bool, again: bool) -> str:
    """Continue once, when told to; then wait for the number, at most a minute."""
    if not again:
        await ctx.wait_for_external_event("renew")
        ctx.continue_as_new(keep, True, keep_events=keep)
    with ctx.move_on_after(60):
        return f"got {await ctx.wait_for_external_event('number', int)}"
    return "got nothing"


@CACHES
async def test_O11_one_event_an_execution(cache: int, autojump_clock: Clock) -> None:
    """Events that wait when an execution continues are carried over, all of them, in order, new arrivals behind them."""
    async with hub_in(MemoryStore(), collect, cache_bytes=cache) as hub:
        instance = await hub.start(collect, 12, [], instance_id="c")
        await instance.suspend("gather")
        for number in range(8):
            await instance.raise_event("number", number)
        await instance.resume()
        for number in range(8, 12):
            await instance.raise_event("number", number)
        assert await instance.result() == list(range(12))
        assert (await instance.status()).custom_status == 12


@CACHES
async def test_O11_five_hundred_events_of_eight_senders(cache: int, autojump_clock: Clock) -> None:
    """With eight senders at once none of 500 events is lost, each sender's own come in order, and result() waits through all."""
    count, senders = 500, 8
    async with hub_in(MemoryStore(), collect, cache_bytes=cache) as hub:
        instance = await hub.start(collect, count, [], instance_id="c")
        results: list[list[int]] = []

        async def wait() -> None:
            results.append(await hub.instance("c").result())

        async def send(sender: int) -> None:
            for number in range(sender, count, senders):
                await hub.raise_event("c", "number", number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            for sender in range(senders):
                nursery.start_soon(send, sender)
        (seen,) = results
        assert sorted(seen) == list(range(count))
        for sender in range(senders):
            own = [number for number in seen if number % senders == sender]
            assert own == sorted(own), "events of one sender changed places"
        status = await instance.status()
        assert (status.custom_status, status.unread_events) == (count, 0)


@orchestrator
async def held_back(ctx: Context, wanted: int, seen: list[int], begun: bool) -> list[int]:
    """Like ``collect``, but the first execution reads no number: it waits for the word."""
    if not begun:
        await ctx.wait_for_external_event("begin")
        ctx.continue_as_new(wanted, seen, True)
    if len(seen) < wanted:
        seen.append(await ctx.wait_for_external_event("number", int))
        ctx.continue_as_new(wanted, seen, True)
    return seen


@CACHES
@pytest.mark.parametrize("count", [1, 2, 3, 20, 1000])
async def test_O11_carried_over_again_and_again(cache: int, count: int, autojump_clock: Clock) -> None:
    """Events that one execution left unread are all carried on by the executions that read one each."""
    async with hub_in(MemoryStore(), held_back, cache_bytes=cache) as hub:
        instance = await hub.start(held_back, count, [], False)
        async with hub.batch() as batch:
            for number in range(count):
                batch.raise_event(instance.id, "number", number)
        await hub.wait_idle()
        await instance.raise_event("begin")
        await hub.wait_idle()
        status = await instance.status()
        assert status.runtime_status is RuntimeStatus.COMPLETED, f"{status.runtime_status}: of {count} events some were lost"
        assert await instance.result() == list(range(count))


@pytest.mark.parametrize("keep", [True, False])
async def test_O11_keep_events(keep: bool, autojump_clock: Clock) -> None:
    """Unread events go along by default; with ``keep_events=False`` they are dropped."""
    async with hub_in(MemoryStore(), forgetful) as hub:
        instance = await hub.start(forgetful, keep, False)
        await instance.raise_event("number", 7)
        await instance.raise_event("renew")
        assert await instance.result() == ("got 7" if keep else "got nothing")


async def test_O11_new_arrivals_come_behind(autojump_clock: Clock) -> None:
    """Carried events are journaled before those that arrive during the new execution, in the order of their arrival."""
    async with hub_in(MemoryStore(), collect, cache_bytes=1) as hub:
        instance = await hub.start(collect, 3, [], instance_id="c")
        await instance.suspend()
        for name, value in (("number", 1), ("other", 5), ("other", 6)):
            await instance.raise_event(name, value)
        await instance.resume()
        await instance.raise_event("other", 7)
        await hub.wait_idle()
        journal = await instance.history()
        assert isinstance(journal[1], ExecutionStarted)
        values = [entry.value for entry in journal if isinstance(entry, EventReceived)]
        assert values == [b"\x05", b"\x06", b"\x07"]
        for number in (2, 3):
            await instance.raise_event("number", number)
        assert await instance.result() == [1, 2, 3]
        assert (await instance.status()).unread_events == 3


@CACHES
async def test_O11_the_old_journal_is_gone(cache: int, autojump_clock: Clock) -> None:
    """After 40 executions storage holds the journal of the last one only; input, execution id and status are its own."""
    store = MemoryStore()
    async with hub_in(store, collect, cache_bytes=cache) as hub:
        instance = await hub.start(collect, 41, [])
        first = (await instance.status()).execution
        for number in range(40):
            await instance.raise_event("number", number)
            await hub.wait_idle()
        entries = [entry for chunk in store.snapshot()[tables.HISTORY].values() for entry in decode_history(chunk)]
        starts = [entry for entry in entries if isinstance(entry, ExecutionStarted)]
        status = await instance.status()
        assert [start.execution for start in starts] == [status.execution] != [first]
        assert status.runtime_status is RuntimeStatus.RUNNING
        assert status.input == (41, list(range(40)))
        assert not [entry for entry in entries if isinstance(entry, EventReceived)]


@orchestrator
async def speaks_once(ctx: Context, number: int) -> int:
    """Set the custom status in the first execution only."""
    if number == 0:
        ctx.set_custom_status("said once")
    if number < 3:
        await ctx.wait_for_external_event("next")
        ctx.continue_as_new(number + 1)
    return number


@CACHES
async def test_O11_what_the_instance_keeps(cache: int, autojump_clock: Clock) -> None:
    """The custom status that an earlier execution has set stays, and so do the tags and the time of the start."""
    async with hub_in(MemoryStore(), speaks_once, cache_bytes=cache) as hub:
        instance = await hub.start(speaks_once, 0, tags={"a": "b"})
        created = (await instance.status()).created_at
        for _ in range(3):
            await trio.sleep(10)
            await instance.raise_event("next")
        assert await instance.result() == 3
        status = await instance.status()
        assert (status.custom_status, status.tags, status.created_at) == ("said once", {"a": "b"}, created)


@activity
async def slow(seconds: float) -> float:
    """Take long."""
    await trio.sleep(seconds)
    return seconds


@orchestrator
async def leaves_work(ctx: Context, execution: int) -> str:
    """Leave an activity and a timer behind, then wait under the same step numbers in the next execution."""
    if execution == 1:
        ctx.call_activity(slow, 10.0)
        ctx.create_timer(20)
        await ctx.wait_for_external_event("renew")
        ctx.continue_as_new(2)
    before = ctx.now
    result = await ctx.call_activity(slow, 100.0)
    await ctx.create_timer(200)
    return f"{result} {(ctx.now - before).total_seconds():.0f}"


@CACHES
async def test_O11_results_and_timers_of_the_old_execution_are_dropped(cache: int, autojump_clock: Clock) -> None:
    """The new execution's first steps are not answered by the old one's work, and the old timer is gone from storage."""
    store = MemoryStore()
    async with hub_in(store, leaves_work, slow, cache_bytes=cache) as hub:
        instance = await hub.start(leaves_work, 1)
        await trio.sleep(1)
        assert len(store.snapshot()[tables.TIMERS]) == 1
        await instance.raise_event("renew")
        await trio.sleep(1)
        assert len(store.snapshot()[tables.TIMERS]) == 0
        assert await instance.result() == "100.0 300"
        await hub.wait_idle()
    assert left_over(store) == {}


@orchestrator
async def careless(ctx: Context, times: int, where: str) -> str:
    """Continue inside things that could stop it."""
    if times == 0:
        return "ended"
    match where:
        case "except":
            try:
                ctx.continue_as_new(times - 1, where)
            except Exception:
                return "swallowed"
        case "finally":
            try:
                ctx.continue_as_new(times - 1, where)
            finally:
                raise ValueError("on the way out")
        case "section":
            async with ctx.lock_entities(Tally.at("a")):
                ctx.continue_as_new(times - 1, where)
        case "scope":
            with ctx.move_on_after(1000):
                await ctx.sleep(1)
                ctx.continue_as_new(times - 1, where)
        case _:
            ctx.continue_as_new(times - 1, where)
    return "never here"


async def test_O11_it_passes_except_exception(autojump_clock: Clock) -> None:
    """``except Exception`` does not catch it."""
    async with hub_in(MemoryStore(), careless, Tally) as hub:
        assert await (await hub.start(careless, 3, "except")).result() == "ended"


async def test_O11_it_passes_a_scope(autojump_clock: Clock) -> None:
    """It may be called inside a cancel scope, whose timer is then gone."""
    store = MemoryStore()
    async with hub_in(store, careless, Tally) as hub:
        assert await (await hub.start(careless, 3, "scope")).result() == "ended"
    assert left_over(store) == {}


async def test_O11_an_exception_on_the_way_out_fails_the_instance(autojump_clock: Clock) -> None:
    """An exception from a ``finally`` that it passes fails the instance; it does not continue."""
    async with hub_in(MemoryStore(), careless, Tally) as hub:
        with pytest.raises(OrchestrationFailed) as caught:
            await (await hub.start(careless, 3, "finally")).result()
        assert caught.value.failure.is_caused_by(ValueError)


async def test_O11_it_is_refused_in_a_section(autojump_clock: Clock) -> None:
    """Inside a critical section it is a LockRuleError, and the lock is released when the instance fails of it."""
    async with hub_in(MemoryStore(), careless, Tally) as hub:
        with pytest.raises(OrchestrationFailed) as caught:
            await (await hub.start(careless, 3, "section")).result()
        assert caught.value.failure.is_caused_by(LockRuleError)
        await hub.wait_idle()
        assert await holder_of(hub, "a") is None


async def test_O11_many_times_without_waiting(autojump_clock: Clock) -> None:
    """Three thousand executions that never wait end like three, and the hub goes on."""
    async with hub_in(MemoryStore(), careless, Tally) as hub:
        assert await (await hub.start(careless, 3000, "")).result() == "ended"


async def test_O11_many_events_in_one_turn(autojump_clock: Clock) -> None:
    """A thousand events that waited together are consumed by a thousand executions, none lost, and the hub goes on."""
    async with hub_in(MemoryStore(), collect) as hub:
        instance = await hub.start(collect, 1000, [])
        await hub.wait_idle()
        await instance.suspend()
        async with hub.batch() as batch:
            for number in range(1000):
                batch.raise_event(instance.id, "number", number)
        await instance.resume()
        assert await instance.result() == list(range(1000))


@orchestrator
async def parent(ctx: Context) -> list[int]:
    """Waits for a child that continues as new."""
    return await ctx.call_sub_orchestrator(collect, 3, [], instance_id="kid")


async def test_O11_a_parent_waits_through_it(autojump_clock: Clock) -> None:
    """A child's answer is that of its last execution."""
    async with hub_in(MemoryStore(), collect, parent, cache_bytes=1) as hub:
        instance = await hub.start(parent)
        for number in range(3):
            await hub.wait_idle()
            await hub.raise_event("kid", "number", number)
        assert await instance.result() == [0, 1, 2]
        assert (await hub.instance("kid").status()).parent_id == instance.id


async def test_O11_across_restarts(autojump_clock: Clock) -> None:
    """An instance that continued as new goes on after the hub was opened again, with the events that it had not read."""
    store = MemoryStore()
    for lifetime in range(4):
        async with hub_in(store, collect) as hub:
            if lifetime == 0:
                await hub.start(collect, 4, [], instance_id="c")
            await hub.raise_event("c", "number", lifetime)
            await hub.wait_idle()
            status = await runtime_status(hub.instance("c"))
            assert status is (RuntimeStatus.COMPLETED if lifetime == 3 else RuntimeStatus.RUNNING)
    async with hub_in(store, collect) as hub:
        assert await hub.instance("c").result() == [0, 1, 2, 3]
        await hub.instance("c").purge()
    assert everything(store) == {}
