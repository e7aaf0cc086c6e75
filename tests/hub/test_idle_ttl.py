"""Entities that expire: deleted when nobody has used them for so long, never early, and without a cost for each operation."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.entities import Entity, EntityOperationFailed, entity
from perdure.hub import TaskHub, limits
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..entities.on_hub import BrokenStore, opened
from . import disk
from .helpers import FakeClock
from .scripted_store import Harm, ScriptedStore, dies
from .virtual import CACHES, START, everything, hub_in

Clock = trio.testing.MockClock
TTL = 100.0


@entity(idle_ttl=TTL)
@define
class Session(Entity):
    """Is used for a while."""

    uses: int = 0

    def use(self) -> int:
        """Use it; how often it was."""
        self.uses += 1
        return self.uses

    def look(self) -> int:
        """How often it was used."""
        return self.uses

    def fail(self) -> None:
        """Fail."""
        raise ValueError("no")

    async def use_slowly(self, seconds: float) -> None:
        """Use it for so long."""
        await trio.sleep(seconds)
        self.uses += 1


S = Session.at("s")


@orchestrator
async def hold(ctx: OrchestrationContext, seconds: float) -> None:
    """Hold the session's lock."""
    async with ctx.lock_entities(S):
        await ctx.sleep(seconds)


def of_class(**options: Any) -> type[Entity]:
    """A session's class of another program, with other options."""

    @define
    class Other(Entity):
        uses: int = 0

        def use(self) -> int:
            """Use it; how often it was."""
            self.uses += 1
            return self.uses

    return entity(name="Session", **options)(Other)


async def exists(hub: TaskHub) -> bool:
    """Whether the session is there."""
    return bool((await hub.query_entities(include_state=False)).items)


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


# --- restarts


async def test_it_expires_while_the_hub_is_closed(autojump_clock: Clock) -> None:
    """What expired meanwhile goes when the hub is opened, which looks at nothing else."""
    store = ScriptedStore()
    async with hub_in(store, Session) as hub:  # pyright: ignore[reportArgumentType] - it is a store
        await hub.call_entity(S, Session.use)
        await trio.sleep(TTL / 2)
        async with hub.batch() as batch:
            for number in range(200):
                batch.signal_entity(Session.at(str(number)), Session.use)
    await trio.sleep(TTL * 0.6)
    store.reads.clear()
    async with hub_in(store, Session) as hub:  # pyright: ignore[reportArgumentType] - it is a store
        await hub.wait_idle()
        assert store.reads.total() < 20 + 201
        assert sum(count for (table, _), count in store.reads.items() if table == tables.INSTANCES) <= 2
        assert len((await hub.query_entities(limit=1000)).items) == 200


@pytest.mark.parametrize("seconds", [TTL / 2, 2 * TTL, None])
async def test_another_program_has_another_time(seconds: float | None, autojump_clock: Clock) -> None:
    """A shorter, longer or removed ``idle_ttl`` counts for an entity from its next operation on."""
    store = MemoryStore()
    async with hub_in(store, Session) as hub:
        await hub.call_entity(S, Session.use)
        await trio.sleep(20)
    async with hub_in(store, of_class(idle_ttl=seconds)) as hub:
        await hub.call_entity(S, "use")
        await trio.sleep((seconds or 10 * TTL) - 5)
        assert await exists(hub)
        await trio.sleep(10)
        assert await exists(hub) == (seconds is None)
    assert not store.snapshot()[tables.TIMERS]


async def test_O18_a_class_that_is_not_defined_for_a_while(autojump_clock: Clock) -> None:
    """Nothing expires while its class is not defined, and nothing is forgotten: it goes when the class is back."""
    store = MemoryStore()
    async with hub_in(store, Session) as hub:
        await hub.call_entity(S, Session.use)
    async with hub_in(store) as hub:
        await trio.sleep(3 * TTL)
        assert await exists(hub)
    async with hub_in(store, Session) as hub:
        await trio.sleep(limits.UNDEFINED_EXPIRY_SECONDS)
        assert not await exists(hub)
    assert everything(store) == {}


async def test_D9_a_damaged_entity_is_left(autojump_clock: Clock) -> None:
    """An entity whose record is damaged stops no other, and expires when the record is mended."""
    store = BrokenStore()
    async with hub_in(store, Session) as hub:
        await hub.call_entity(S, Session.use)
        await hub.call_entity(Session.at("t"), Session.use)
    (number,) = [number for key, number in store.snapshot()[tables.DIRECTORY].items() if key.endswith(b"s")]
    store.broken = {(tables.INSTANCES, number)}
    async with hub_in(store, Session) as hub:
        await trio.sleep(2 * TTL)
        assert len(store.snapshot()[tables.INSTANCES]) == 1
    store.broken = frozenset()
    async with hub_in(store, Session) as hub:
        await trio.sleep(1)
    assert everything(store) == {}


@pytest.mark.parametrize("harm", [Harm.DIED_BEFORE, Harm.DIED_AFTER, Harm.LOST, Harm.KEPT])
def test_whatever_happens_to_a_commit(harm: Harm) -> None:
    """Wherever the process dies, rows and records fit each other, and in the end everything that was idle is gone."""
    for at in range(1, 8):
        clock = FakeClock()

        async def live(store: ScriptedStore, clock: FakeClock = clock) -> None:
            async with TaskHub("Test", [Session], store, clock=clock) as hub:
                for key in "abc":
                    await hub.signal_entity(Session.at(key), Session.use, request_id=key)
                clock.move(TTL / 2)
                await hub.signal_entity(Session.at("a"), Session.use, request_id="again")
                clock.move(TTL / 2)
                await hub.wait_idle()

        async def end(store: ScriptedStore, clock: FakeClock = clock) -> list[str]:
            clock.move(2 * TTL)
            async with TaskHub("Test", [Session], store, clock=clock) as hub:
                await hub.wait_idle()
                await hub.call_entity(Session.at("x"), "delete")
                return [item.entity_id.key async for item in hub.iter_entities()]

        store = ScriptedStore().harm(at, harm)
        while dies(live, store):
            disk.check(store.disk.snapshot())
            store = store.reborn()
        disk.check(store.disk.snapshot())
        assert trio.run(end, store.reborn()) == []
        left = everything(store.disk)
        assert {name for name in left if name not in ("requests", "expiry")} == set(), left


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


# --- against a model


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["use", "look", "fail", "delete", "read"]), st.sampled_from("ab")),
        st.tuples(st.just("later"), st.sampled_from("ab"), st.integers(1, 250)),
        st.tuples(st.just("wait"), st.integers(1, 120)),
        st.tuples(st.just("reopen")),
    ),
    max_size=20,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, cache=st.sampled_from([64 << 20, 1]))
def test_expiry_agrees_with_a_model(steps: list[Any], cache: int) -> None:
    """Whatever is done in whatever order: an entity exists when, and only when, one of two numbers in a dictionary says so."""
    store = MemoryStore()
    used: dict[str, float] = {}
    later: dict[str, list[float]] = {"a": [], "b": []}

    def go_on(now: float) -> None:
        for key in "ab":
            while True:
                due = min(later[key], default=math.inf)
                expires = math.inf if later[key] or key not in used else max(used[key] + TTL, 0)
                if min(due, expires) > now:
                    break
                if due <= expires:
                    later[key].remove(due)
                    used[key] = due
                else:
                    del used[key]

    async def act(hub: TaskHub, step: tuple[Any, ...]) -> None:
        match step:
            case ("wait", seconds):
                await trio.sleep(seconds)
            case ("later", key, seconds):
                later[key].append(trio.current_time() + seconds)
                await hub.signal_entity(Session.at(key), Session.use, deliver_at=seconds)
            case ("read", key):
                await hub.read_entity(Session.at(key))
            case (verb, key):
                await hub.signal_entity(Session.at(key), verb)
                if verb in ("use", "look"):
                    used[key] = trio.current_time()
                elif verb == "delete":
                    used.pop(key, None)
            case _:
                pass

    async def program() -> None:
        rest = list(steps)
        while True:
            async with hub_in(store, Session, cache_bytes=cache) as hub:
                while True:
                    await trio.sleep(0.01)
                    await hub.wait_idle()
                    go_on(trio.current_time())
                    found = [item.entity_id.key async for item in hub.iter_entities(include_state=False)]
                    assert found == sorted(used)
                    disk.check(store.snapshot())
                    if not rest or rest[0] == ("reopen",):
                        break
                    await act(hub, rest.pop(0))
            if not rest:
                return
            rest.pop(0)

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
