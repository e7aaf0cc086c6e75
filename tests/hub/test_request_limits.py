"""How long request ids live, how many are kept, and a model of all of it (D8)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, field
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from perdure.hub import LimitReached, RequestMismatch, TaskHub
from perdure.orchestration import InstanceNotFound
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from . import disk
from .helpers import START, FakeClock, Ledger, bank, receive

TTL = 100.0
"""Seconds."""


def hub_on(store: Any, clock: FakeClock | None = None, **options: Any) -> TaskHub:
    """A hub whose request ids live for :data:`TTL`."""
    return bank(store, clock=clock or FakeClock(), request_ttl=TTL, **options)


async def numbers(hub: TaskHub) -> list[int]:
    """What the ledger has."""
    await hub.wait_idle()
    ledger = await hub.read_entity(Ledger.at("l"))
    return [] if ledger is None else ledger.numbers


async def note(hub: TaskHub, number: int, request_id: str) -> None:
    """Signal the ledger."""
    await hub.signal_entity(Ledger.at("l"), Ledger.note, number, request_id=request_id)


async def test_D8_an_id_lives_for_its_time_and_no_longer() -> None:
    """Just before the end of its life an id is a repetition, after it a new request, also across a restart."""
    store, clock = MemoryStore(), FakeClock()
    async with hub_on(store, clock) as hub:
        await note(hub, 1, "r")
        clock.move(TTL - 1)
        await note(hub, 1, "r")
        assert await numbers(hub) == [1]
    async with hub_on(store, clock) as hub:
        await note(hub, 1, "r")
        assert await numbers(hub) == [1]
        clock.move(1)
        await note(hub, 2, "r")
        assert await numbers(hub) == [1, 2]


async def test_D8_a_new_life_of_an_id_is_as_long_as_the_first() -> None:
    """An id that was used again after its end is kept for its full time, whatever becomes of the old ones around it."""
    store, clock = ScriptedStore(), FakeClock()
    async with hub_on(store, clock) as hub:
        for number in range(10):
            await note(hub, number, f"old-{number}")
        clock.move(TTL + 1)
        await note(hub, 100, "old-9")
        for number in range(10):
            await note(hub, 200 + number, f"new-{number}")
        before = await numbers(hub)
        await note(hub, 100, "old-9")
        assert await numbers(hub) == before, "the id was forgotten although its time has just begun"
    disk.check(store.disk.snapshot())


async def test_D8_a_start_is_remembered_as_long_as_its_instance() -> None:
    """The id of a start outlives the time of the others, and the instance's end."""
    store, clock = MemoryStore(), FakeClock()
    async with hub_on(store, clock) as hub:
        first = await hub.start(receive, request_id="r")
        await first.raise_event("go", 3)
        await first.result()
        clock.move(1000 * TTL)
        for number in range(5):
            await note(hub, number, f"n-{number}")
            clock.move(2 * TTL)
        assert (await hub.start(receive, request_id="r")).id == first.id
    async with hub_on(store, clock) as hub:
        assert (await hub.start(receive, request_id="r")).id == first.id


async def test_D8_a_start_is_forgotten_with_its_instance() -> None:
    """When another start replaces the finished instance, the id of the first one is free, and counts no more."""
    async with hub_on(MemoryStore()) as hub:
        await hub.start(receive, instance_id="i", request_id="r")
        await hub.raise_event("i", "go", 1)
        await hub.instance("i").result()
        await hub.start(receive, instance_id="i", if_exists="replace_finished", request_id="s")
        assert hub.statistics().request_ids == 1
        await note(hub, 5, "r")
        assert await numbers(hub) == [5]


async def test_D8_a_start_is_forgotten_when_its_instance_is_purged() -> None:
    """Purging takes the id along: the same request starts a new instance then, and the id was not counted meanwhile."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        first = await hub.start(receive, request_id="r")
        await first.raise_event("go", 1)
        await first.result()
        await first.purge()
        assert hub.statistics().request_ids == 0
        second = await hub.start(receive, request_id="r")
        assert second.id != first.id
        await hub.wait_idle()
        disk.check(store.disk.snapshot())


async def test_D8_the_limit_refuses_new_ids_and_forgets_none() -> None:
    """At the limit a new id is refused by an error that names the limit; kept ones still work, and so do calls without."""
    async with hub_on(MemoryStore(), request_limit=3) as hub:
        for number in range(3):
            await note(hub, number, f"n-{number}")
        with pytest.raises(LimitReached, match=r"the limit of 3 \(request_limit\)"):
            await note(hub, 3, "n-3")
        with pytest.raises(LimitReached):
            await hub.call_entity(Ledger.at("l"), Ledger.note, 3, request_id="n-3")
        with pytest.raises(LimitReached):
            await hub.start(receive, instance_id="i", request_id="n-3")
        with pytest.raises(InstanceNotFound):
            await hub.instance("i").status()
        for number in range(3):
            await note(hub, number, f"n-{number}")
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 9)
        assert await numbers(hub) == [0, 1, 2, 9]
        assert hub.statistics().request_ids == 3


async def test_D8_the_limit_makes_room_for_what_has_expired() -> None:
    """A hub at its limit takes new ids again when the time of the old ones is over."""
    clock = FakeClock()
    async with hub_on(MemoryStore(), clock, request_limit=3) as hub:
        for number in range(3):
            await note(hub, number, f"n-{number}")
        clock.move(TTL + 1)
        await note(hub, 3, "n-3")
        assert await numbers(hub) == [0, 1, 2, 3]


async def test_D8_the_limit_counts_across_restarts() -> None:
    """The count is kept with the ids."""
    store = MemoryStore()
    async with hub_on(store, request_limit=2) as hub:
        await note(hub, 1, "a")
        await note(hub, 2, "b")
    async with hub_on(store, request_limit=2) as hub:
        assert hub.statistics().request_ids == 2
        with pytest.raises(LimitReached):
            await note(hub, 3, "c")


async def test_D8_expired_ids_leave_storage() -> None:
    """With a steady stream of new ids the old ones go: what is kept does not grow."""
    store, clock = ScriptedStore(), FakeClock()
    async with hub_on(store, clock) as hub:
        for number in range(200):
            await note(hub, number, f"n-{number}")
            clock.move(TTL / 10)
            disk.check(store.disk.snapshot())
        assert hub.statistics().request_ids <= 12
        assert len(store.table(tables.REQUESTS)) == len(store.table(tables.EXPIRY)) == hub.statistics().request_ids


async def test_D8_without_an_id_nothing_is_kept() -> None:
    """Requests without an id leave nothing behind."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        for _ in range(2):
            await hub.call_entity(Ledger.at("l"), Ledger.note, 1)
        await hub.start(receive)
    assert (len(store.table(tables.REQUESTS)), len(store.table(tables.EXPIRY))) == (0, 0)


# --- against a model


@define
class Model:
    """What D8 promises, as simply as can be.

    Attributes:
      kept: for each id what was asked, its answer and its end.
      noted: how many numbers have taken effect.
    """

    kept: dict[str, tuple[str, int, float]] = field(factory=dict[str, tuple[str, int, float]])
    noted: int = 0


class RequestMachine(RuleBasedStateMachine):
    """Calls with ids, the clock, and restarts, against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ScriptedStore()
        self.clock = FakeClock()
        self.model = Model()

    @rule(
        calls=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1)), min_size=1, max_size=8),
        wait=st.sampled_from([0.0, 1.0, TTL / 2, TTL, TTL + 1]),
    )
    def one_process(self, calls: list[tuple[str, int]], wait: float) -> None:
        """Open, make calls, and close; time passes before."""
        self.clock.move(wait)

        async def run() -> None:
            async with hub_on(self.store, self.clock) as hub:
                for request_id, number in calls:
                    await self._call(hub, request_id, number)

        trio.run(run)

    async def _call(self, hub: TaskHub, request_id: str, number: int) -> None:
        now = (self.clock.time - START) / 1_000_000
        asked, answer, ends = self.model.kept.get(request_id, ("", 0, 0.0))
        call = hub.call_entity(Ledger.at("l"), Ledger.note, number, request_id=request_id)
        if ends > now and asked != str(number):
            with pytest.raises(RequestMismatch):
                await call
        elif ends > now:
            assert await call == answer
        else:
            self.model.noted += 1
            assert await call == self.model.noted
            self.model.kept[request_id] = (str(number), self.model.noted, now + TTL)

    @invariant()
    def the_disk_is_sound(self) -> None:
        """The index fits the ids."""
        disk.check(self.store.disk.snapshot())


model_settings = settings(
    max_examples=25,
    stateful_step_count=6,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),  # each step opens a hub: shrinking would take minutes
)


def test_D8_agrees_with_a_model() -> None:
    """For any calls, times and restarts, effects and answers are those of the model."""
    run_state_machine_as_test(RequestMachine, settings=model_settings)
