"""Expiry across restarts (D6, D9, O18): programs that change, damage, crashes; and against a model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.hub import TaskHub, limits
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import Harm, ScriptedStore

from ..entities.on_hub import BrokenStore
from . import disk
from .helpers import FakeClock, dies
from .sessions import TTL, S, Session, exists, of_class
from .virtual import everything, hub_in

Clock = trio.testing.MockClock


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
