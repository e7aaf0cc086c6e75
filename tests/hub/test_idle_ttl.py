"""Entities that expire: deleted when nobody has used them for so long, never early, and without a cost for each operation."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from perdure.entities import EntityOperationFailed, entity
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from ..entities.on_hub import opened
from .helpers import FakeClock
from .sessions import TTL, S, Session, exists, hold, of_class
from .virtual import CACHES, START, everything, hub_in

Clock = trio.testing.MockClock


# --- when


@CACHES
async def test_it_expires_after_its_time_and_leaves_nothing(cache: int, autojump_clock: Clock) -> None:
    """It is there until the time is over, then gone with all that belonged to it (E11); used again, it starts afresh (E3)."""
    store = MemoryStore()
    async with hub_in(store, Session, cache_bytes=cache) as hub:
        await hub.call_entity(S, Session.use)
        await trio.sleep(TTL - 1)
        assert await exists(hub)
        await trio.sleep(2)
        assert not await exists(hub)
        assert everything(store) == {}
        assert await hub.read_entity(S) is None
        assert await hub.call_entity(S, Session.use) == 1


@CACHES
async def test_operations_that_go_well_put_it_off_and_nothing_else_does(cache: int, autojump_clock: Clock) -> None:
    """An operation that goes well counts, also one that changes nothing; reads, failures and locks do not."""
    async with hub_in(MemoryStore(), Session, hold, cache_bytes=cache) as hub:
        await hub.call_entity(S, Session.use)
        for _ in range(5):
            await trio.sleep(TTL - 10)
            await hub.call_entity(S, Session.look)
        await trio.sleep(TTL - 10)
        await hub.read_entity(S)
        await hub.signal_entity(S, Session.fail)
        with pytest.raises(EntityOperationFailed):
            await hub.call_entity(S, Session.fail)
        await (await hub.start(hold, 0.0)).result()
        await trio.sleep(11)
        assert not await exists(hub)


async def test_an_operation_writes_no_timer(autojump_clock: Clock) -> None:
    """However many operations there are before it, a row is written when it first exists, and one each time that one came due."""
    store = ScriptedStore()
    async with hub_in(store, Session) as hub:  # pyright: ignore[reportArgumentType] - it is a store
        for _ in range(50):
            await hub.call_entity(S, Session.use)
            await trio.sleep(1)
        written = [value for batch in store.written(tables.TIMERS) for value in batch.values()]
        assert len(written) == 1
        await trio.sleep(TTL - 10)
        written = [value for batch in store.written(tables.TIMERS) for value in batch.values()]
        assert len([value for value in written if value is not None]) == 2
        assert await exists(hub)


async def test_a_class_without_it_has_no_rows(autojump_clock: Clock) -> None:
    """Entities of classes without ``idle_ttl`` stay, and nothing is written for them."""
    store = MemoryStore()
    async with hub_in(store, of_class()) as hub:
        await hub.call_entity(S, "use")
        assert everything(store) == {"directory": 1, "instances": 1}
        assert (await hub.describe(S)).idle_until is None
        await trio.sleep(1000)
        assert await exists(hub)


async def test_describe_tells_until_when(autojump_clock: Clock) -> None:
    """A client is shown when an idle entity will expire, counted from its last operation."""
    async with hub_in(MemoryStore(), Session) as hub:
        await trio.sleep(7)
        await hub.call_entity(S, Session.use)
        until = (await hub.describe(S)).idle_until
        assert until is not None
        assert (until - datetime.fromtimestamp(START / 1_000_000, UTC)).total_seconds() == pytest.approx(107, abs=0.5)
        assert (await hub.describe(Session.at("nobody"))).idle_until is None


async def test_D6_steps_of_the_clock() -> None:
    """A clock that is set back puts it off, never brings it on."""
    clock = FakeClock()
    async with opened(Session, clock=clock) as hub:
        await hub.call_entity(S, Session.use)
        for seconds, there in ((-500, True), (500 + TTL - 1, True), (2, False)):
            clock.move(seconds)
            await hub.signal_entity(Session.at("other"), Session.look)
            await hub.wait_idle()
            assert (await hub.read_entity(S) is not None) == there


# --- what holds it off


async def test_a_lock_holds_it_off(autojump_clock: Clock) -> None:
    """While it is locked it stays; when the lock falls after the time was over, it goes."""
    store = MemoryStore()
    async with hub_in(store, Session, hold) as hub:
        await hub.call_entity(S, Session.use)
        holder = await hub.start(hold, 10 * TTL)
        await trio.sleep(9 * TTL)
        assert await exists(hub)
        await holder.result()
        await trio.sleep(1)
        assert not await exists(hub)
        assert not store.snapshot()[tables.TIMERS]


async def test_queued_messages_hold_it_off(autojump_clock: Clock) -> None:
    """What waits in its queue, here behind an operation that takes very long, is worked off on the state that there was."""
    async with hub_in(MemoryStore(), Session) as hub:
        await hub.call_entity(S, Session.use)
        await hub.signal_entity(S, Session.use_slowly, 3 * TTL)
        await hub.signal_entity(S, Session.fail)
        await trio.sleep(2 * TTL)
        assert await exists(hub)
        await trio.sleep(1.5 * TTL)
        assert await hub.read_entity(S) == Session(2)
        await trio.sleep(TTL)
        assert not await exists(hub)


async def test_while_the_hub_is_paused_nothing_expires(autojump_clock: Clock) -> None:
    """What comes due while the hub is paused goes afterwards, unless a message came meanwhile: that finds the state."""
    store = MemoryStore()
    async with hub_in(store, Session) as hub:
        await hub.call_entity(S, Session.use)
        await hub.call_entity(Session.at("other"), Session.use)
    async with hub_in(store, Session, paused=True) as hub:
        await trio.sleep(2 * TTL)
        await hub.signal_entity(S, Session.use)
        assert len((await hub.query_entities()).items) == 2
        hub.unpause()
        await hub.wait_idle()
        assert [item.state async for item in hub.iter_entities()] == [Session(2)]


@pytest.mark.parametrize("cancel", [False, True])
async def test_delayed_signals_hold_it_off(cancel: bool, autojump_clock: Clock) -> None:
    """A signal that waits for its time keeps the entity; cancelled after the time was over, it lets it go."""
    async with hub_in(MemoryStore(), Session) as hub:
        await hub.call_entity(S, Session.use)
        sent = await hub.signal_entity(S, Session.use, deliver_at=5 * TTL)
        await trio.sleep(4 * TTL)
        assert await exists(hub)
        if cancel:
            assert await hub.cancel_signal(sent)
            await trio.sleep(1)
            assert not await exists(hub)
        else:
            await trio.sleep(1.5 * TTL)
            assert await hub.read_entity(S) == Session(2)
            await trio.sleep(TTL)
            assert not await exists(hub)


async def test_E4_its_dead_letters_stay(autojump_clock: Clock) -> None:
    """An entity that expires keeps its dead letters, and nothing else."""
    store = MemoryStore()
    async with hub_in(store, Session) as hub:
        await hub.call_entity(S, Session.use)
        await hub.signal_entity(S, Session.fail)
        await trio.sleep(2 * TTL)
        assert not await exists(hub)
        assert everything(store) == {"directory": 1, "instances": 1, "letters": 1}
        assert await hub.discard_dead_letters() == 1
        assert everything(store) == {}


@CACHES
async def test_E11_deleting_takes_the_timer_along(cache: int, autojump_clock: Clock) -> None:
    """An entity that is deleted leaves no row among the timers, and one that comes to be again counts from then."""
    store = MemoryStore()
    async with hub_in(store, Session, cache_bytes=cache) as hub:
        await hub.call_entity(S, Session.use)
        await hub.call_entity(S, "delete")
        assert everything(store) == {}
        await trio.sleep(TTL - 10)
        await hub.call_entity(S, Session.use)
        await trio.sleep(TTL - 10)
        assert await exists(hub)


# --- what it may be


@pytest.mark.parametrize(
    ("ttl", "error"),
    [
        (0, ValueError), (-1.0, ValueError), (math.inf, ValueError), (math.nan, ValueError), (timedelta(0), ValueError),
        (True, TypeError), ("1 day", TypeError), (datetime(2031, 1, 1, tzinfo=UTC), TypeError),
    ],
)  # fmt: skip
def test_an_idle_ttl_is_a_duration_above_0(ttl: Any, error: type[Exception]) -> None:
    """Anything else is refused where it is written."""
    with pytest.raises(error):
        entity(idle_ttl=ttl)


async def test_a_very_long_time_is_allowed(autojump_clock: Clock) -> None:
    """Thousands of years do not overflow anything."""
    async with hub_in(MemoryStore(), of_class(idle_ttl=timedelta(days=365 * 8000))) as hub:
        await hub.call_entity(S, "use")
        until = (await hub.describe(S)).idle_until
        assert until is not None
        assert until.year > 9000
