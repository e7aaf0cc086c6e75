"""Finding entities: each filter, what a state that cannot be read shows, and pages that are stable and cost the same (O16)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.entities import Entity, EntityOperationFailed, StateUnreadable, UnknownEntity, entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from ..entities.on_hub import BrokenStore
from .virtual import START, Tally, hub_in

Clock = trio.testing.MockClock
BEGIN = datetime.fromtimestamp(START / 1_000_000, UTC)


@entity(name="Tally.Other")
@define
class Other(Entity):
    """A class whose name begins like another's."""

    text: str = ""

    def set(self, text: str) -> None:
        """Take it."""
        self.text = text


@orchestrator
async def lock_only(ctx: OrchestrationContext, key: str) -> None:
    """Lock, and do nothing."""
    async with ctx.lock_entities(Tally.at(key)):
        pass


async def pages_of(hub: TaskHub, limit: int, **filters: Any) -> list[str]:
    """The ids on all pages, in order; each page but the last is full."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = await hub.query_entities(limit=limit, token=token, **filters)
        found += [str(item.entity_id) for item in page.items]
        if page.token is None:
            return found
        assert len(page.items) == limit
        token = page.token


# --- one filter after another


async def test_entities_are_found_by_name_and_key(autojump_clock: Clock) -> None:
    """By name, without regard to case, and by the beginning of the key; names that begin alike are others."""
    async with hub_in(MemoryStore(), Tally, Other) as hub:
        for key in ("", "a", "ab", "b", "é"):
            await hub.call_entity(Tally.at(key), Tally.add, 1)
        await hub.call_entity(Other.at("a"), Other.set, "x")
        tallies = ["@tally@", "@tally@a", "@tally@ab", "@tally@b", "@tally@é"]
        assert await pages_of(hub, 2) == [*tallies, "@tally.other@a"]
        assert await pages_of(hub, 2, name="TALLY") == tallies
        assert await pages_of(hub, 2, name="Tally", key_prefix="a") == ["@tally@a", "@tally@ab"]
        assert await pages_of(hub, 2, name="Tally", key_prefix="é") == ["@tally@é"]
        assert await pages_of(hub, 2, name="tal") == []


@pytest.mark.parametrize(
    ("filters", "error", "says"),
    [
        ({"key_prefix": "a"}, ValueError, "name"),
        ({"name": "Tally", "key_prefix": "\ud800"}, ValueError, "lone surrogate"),
        ({"name": "Tally", "key_prefix": 7}, TypeError, "key_prefix"),
        ({"name": "no name"}, ValueError, "entity name"),
        ({"operated_from": datetime(2031, 1, 1)}, ValueError, "naive"),
        ({"limit": 0}, ValueError, "1 to 10000"),
        ({"token": "65"}, ValueError, "another query"),
    ],
)
async def test_queries_that_are_refused(
    filters: dict[str, Any], error: type[Exception], says: str, autojump_clock: Clock
) -> None:
    """A condition that cannot be meant is refused, and the message says which."""
    async with hub_in(MemoryStore(), Tally) as hub:
        with pytest.raises(error, match=says):
            await hub.query_entities(**{"name": "Tally", **filters} if "token" in filters else filters)


async def test_the_time_is_that_of_the_last_operation_that_went_well(autojump_clock: Clock) -> None:
    """An operation counts that went well, changed anything or not; failures, locks and reads do not; restarts change nothing."""
    store = MemoryStore()
    tally = Tally.at("t")

    async def seconds(hub: TaskHub) -> float:
        (item,) = (await hub.query_entities(name="Tally")).items
        return (item.last_operation_at - BEGIN).total_seconds()

    async with hub_in(store, Tally, lock_only) as hub:
        await hub.call_entity(tally, Tally.add, 1)
        first = await seconds(hub)
        await trio.sleep(60)
        with pytest.raises(EntityOperationFailed):
            await hub.call_entity(tally, Tally.refuse, "no")
        await (await hub.start(lock_only, "t")).result()
        await hub.read_entity(tally)
        await hub.wait_idle()
        assert await seconds(hub) == first < 60
        await hub.call_entity(tally, Tally.add, 0)
        assert await seconds(hub) >= 60
    async with hub_in(store, Tally) as hub:
        assert await seconds(hub) >= 60


async def test_entities_are_found_by_the_time_of_their_last_operation(autojump_clock: Clock) -> None:
    """``operated_from`` counts the moment itself, ``operated_to`` does not."""
    async with hub_in(MemoryStore(), Tally) as hub:
        for key in "abc":
            await hub.call_entity(Tally.at(key), Tally.add, 1)
            await trio.sleep(60)
        times = [item.last_operation_at async for item in hub.iter_entities()]
        assert await pages_of(hub, 2, operated_from=times[1]) == ["@tally@b", "@tally@c"]
        assert await pages_of(hub, 2, operated_to=times[1]) == ["@tally@a"]
        window = {"operated_from": times[0], "operated_to": times[2]}
        assert await pages_of(hub, 2, **window) == ["@tally@a", "@tally@b"]
        assert [item.entity_id.key async for item in hub.iter_entities(**window)] == ["a", "b"]


async def test_with_or_without_states(autojump_clock: Clock) -> None:
    """States are copies; left out they are not even decoded, so entities of unknown classes are shown too."""
    store = MemoryStore()
    async with hub_in(store, Tally, Other) as hub:
        await hub.call_entity(Tally.at("t"), Tally.add, 7)
        await hub.call_entity(Other.at("o"), Other.set, "x")
        assert [item.state async for item in hub.iter_entities()] == [Tally(7), Other("x")]
    async with hub_in(store, Tally) as hub:
        page = await hub.query_entities(include_state=False)
        assert [(item.entity_id.key, item.state, item.error) for item in page.items] == [("t", None, None), ("o", None, None)]


# --- what cannot be read


@entity(name="Tally")
@define
class Renamed(Entity):
    """A tally of another program, whose states do not fit."""

    amount: int = 0


@pytest.mark.parametrize(("definitions", "error"), [((Renamed,), StateUnreadable), ((), UnknownEntity)])
async def test_a_state_that_cannot_be_read_stops_no_other(
    definitions: tuple[type[Entity], ...], error: type[Exception], autojump_clock: Clock
) -> None:
    """An entity whose state does not fit its class, or whose class is not defined, is shown with the reason; others go on."""
    store = MemoryStore()
    async with hub_in(store, Tally, Other) as hub:
        await hub.call_entity(Tally.at("t"), Tally.add, 7)
        await hub.call_entity(Other.at("o"), Other.set, "x")
    async with hub_in(store, Other, *definitions) as hub:
        first, second = (await hub.query_entities()).items
        assert first.entity_id == Tally.at("t")
        assert first.state is None
        assert isinstance(first.error, error)
        assert (second.state, second.error) == (Other("x"), None)


@pytest.mark.parametrize("table", [tables.DIRECTORY, tables.INSTANCES])
async def test_D9_a_damaged_record_is_left_out_and_reported(
    table: str, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A query reports a record that is damaged on disk with its place, and shows all others."""
    store = BrokenStore()
    async with hub_in(store, Tally) as hub:
        for key in "abc":
            await hub.call_entity(Tally.at(key), Tally.add, 1)
    key = b"etally\0b"
    store.broken = {(table, key if table == tables.DIRECTORY else store.snapshot()[tables.DIRECTORY][key])}
    async with hub_in(store, Tally) as hub:
        assert await pages_of(hub, 1) == ["@tally@a", "@tally@c"]
    assert any(table in record.getMessage() for record in caplog.records)


# --- pages


async def test_an_iteration_may_be_left(autojump_clock: Clock) -> None:
    """An iteration over all pages can be left in the middle: nothing has to be closed, and nothing is said about it."""
    async with hub_in(MemoryStore(), Tally) as hub:
        for key in "abc":
            await hub.call_entity(Tally.at(key), Tally.add, 1)
        async for item in hub.iter_entities():
            assert item.entity_id.key == "a"
            break
        empty = hub.iter_entities(name="nobody")
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(empty)


async def test_the_last_page_costs_what_the_first_does(autojump_clock: Clock) -> None:
    """The last full page reads as few records as the first: only those that it shows."""
    store = ScriptedStore()
    async with hub_in(store, Tally) as hub:  # pyright: ignore[reportArgumentType] - it is a store
        async with hub.batch() as batch:
            for number in range(1000):
                batch.signal_entity(Tally.at(f"{number:04}"), Tally.add, 1)
        await hub.wait_idle()

        token: str | None = None
        costs: list[int] = []
        while True:
            before = store.reads.total()
            page = await hub.query_entities(limit=100, token=token)
            costs.append(store.reads.total() - before)
            assert len(page.items) == 100
            token = page.token
            if token is None:
                break
    assert len(costs) == 10
    assert max(costs) - min(costs) <= 64
    assert max(costs) < 500


KEYS = st.text(alphabet="ab-é/\0", max_size=3)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "look", "fail", "delete", "wait"]), KEYS, st.integers(1, 100)),
    max_size=20,
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "key_prefix": KEYS,
        "operated_from": st.integers(0, 300).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
        "operated_to": st.integers(0, 900).map(lambda seconds: BEGIN + timedelta(seconds=seconds)),
    },
)


async def act(hub: TaskHub, step: tuple[str, str, int], known: dict[str, datetime]) -> None:
    """Do a step, on the hub and on the model: the keys of the entities that exist, and when they last operated."""
    verb, key, seconds = step
    if verb == "wait":
        await trio.sleep(seconds)
    elif verb == "fail":
        await hub.signal_entity(Tally.at(key), Tally.refuse, "no")
    elif verb == "delete":
        await hub.signal_entity(Tally.at(key), "delete")
        known.pop(key, None)
    else:
        await hub.signal_entity(Tally.at(key), Tally.add, 1 if verb == "add" else 0)
        known[key] = BEGIN + timedelta(seconds=trio.current_time())
    await hub.wait_idle()


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, filters=FILTERS, limit=st.integers(1, 4), cache=st.sampled_from([64 << 20, 1]), reopen=st.booleans())
def test_queries_agree_with_a_model(steps: list[Any], filters: dict[str, Any], limit: int, cache: int, reopen: bool) -> None:
    """After any operations, any filters find what the model says, in order, in pages of any size, across a restart too."""

    async def program() -> None:
        known: dict[str, datetime] = {}
        store = MemoryStore()

        async def check(hub: TaskHub) -> None:
            expected = sorted(
                (
                    key
                    for key, time in known.items()
                    if key.startswith(filters.get("key_prefix", ""))
                    and ("operated_from" not in filters or time >= filters["operated_from"])
                    and ("operated_to" not in filters or time < filters["operated_to"])
                ),
                key=str.encode,
            )
            assert await pages_of(hub, limit, name="Tally", **filters) == [f"@tally@{key}" for key in expected]

        async with hub_in(store, Tally, cache_bytes=cache) as hub:
            for step in steps:
                await act(hub, step, known)
            if not reopen:
                await check(hub)
        if reopen:
            async with hub_in(store, Tally) as hub:
                await check(hub)

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(before=st.sets(KEYS, max_size=12), between=st.lists(STEPS, max_size=12), limit=st.integers(1, 3))
def test_pages_are_stable_while_entities_come_and_go(before: set[str], between: list[list[Any]], limit: int) -> None:
    """What exists from the first page to the last is shown once, nothing twice, in order, whatever happens between pages."""

    async def program() -> None:
        async with hub_in(MemoryStore(), Tally) as hub:
            known: dict[str, datetime] = {}
            for key in before:
                await act(hub, ("add", key, 0), known)
            throughout, ever = set(known), set(known)
            shown: list[str] = []
            token: str | None = None
            meanwhile = iter(between)
            while True:
                page = await hub.query_entities(limit=limit, token=token)
                shown += [item.entity_id.key for item in page.items]
                token = page.token
                if token is None:
                    break
                for step in next(meanwhile, []):
                    await act(hub, step, known)
                    throughout &= set(known)
                    ever |= set(known)
            assert shown == sorted(set(shown), key=str.encode), "shown twice, or out of order"
            assert throughout <= set(shown) <= ever

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
