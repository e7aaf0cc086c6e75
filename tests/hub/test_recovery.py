"""Opening a hub: what was waiting is taken up, nothing else is read; memory is bounded."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities.messages import CallingTask
from perdure.hub import TaskHub, activity_context, limits
from perdure.hub.activities import ActivityRunner
from perdure.hub.records import ActivityRecord
from perdure.hub.spawning import WorkerSettings
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.orchestration.registry import Registry
from perdure.storage import tables
from perdure.storage.values import Values
from perdure.testing.scripted_store import Harm, ProcessDied, ScriptedStore

from . import disk
from .helpers import Account, Ledger, bank, receive, rounds, transfer, until

attempts: list[tuple[int, str]] = []
"""The attempts of the activity that never ends, and their idempotency keys."""


@activity
async def stuck(number: int) -> int:
    """Never end."""
    context = activity_context()
    attempts.append((context.attempt, context.idempotency_key))
    await trio.sleep_forever()
    return number


@orchestrator
async def waits_for_stuck(ctx: OrchestrationContext, number: int) -> int:
    """Wait for an activity that never ends."""
    return await ctx.call_activity(stuck, number)


@orchestrator
async def stoppable(ctx: OrchestrationContext, number: int) -> str:
    """Cancel an activity that never ends when told to."""
    task = ctx.call_activity(stuck, number)
    await ctx.wait_for_external_event("stop")
    task.cancel()
    return "stopped"


def hub_on(store: ScriptedStore, *, cache_bytes: int = limits.CACHE_BYTES, paused: bool = False) -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, stuck, waits_for_stuck, stoppable, cache_bytes=cache_bytes, paused=paused)


async def leave_behind(store: ScriptedStore, parked: int) -> None:
    """A hub that leaves parked orchestrations, entities at rest, and two messages that wait."""
    async with hub_on(store) as hub:
        async with hub.batch() as batch:
            for number in range(parked):
                batch.start(receive, instance_id=f"parked-{number}")
                batch.signal_entity(Ledger.at(f"rests-{number}"), Ledger.note, number)
        await hub.wait_idle()
        hub.pause()
        await hub.signal_entity(Ledger.at("waiting"), Ledger.note, 1)
        await hub.raise_event("parked-3", "go", 33)


# --- only what is needed


async def reads_of_an_opening(parked: int) -> dict[str, int]:
    """How many records of each table are read by a hub that opens on so many parked instances and works off the rest."""
    first = ScriptedStore()
    await leave_behind(first, parked)
    store = ScriptedStore(first.disk)
    async with hub_on(store) as hub:
        await hub.wait_idle()
        assert hub.statistics().turns == 2
        assert hub.statistics().orchestrations_in_memory == 0, "what has finished leaves memory"
        assert hub.statistics().entities_in_memory == 1
        reads = {table: sum(count for (name, _), count in store.reads.items() if name == table) for table in tables.TABLES}
        assert await hub.instance("parked-3").result() == 33
        assert await hub.read_entity(Ledger.at("waiting")) == Ledger([1])
    return reads


async def test_opening_reads_what_waits_and_nothing_else() -> None:
    """The number of records read does not depend on how many instances are parked."""
    few, many = await reads_of_an_opening(5), await reads_of_an_opening(300)
    assert few == many
    assert sum(many.values()) < 30


async def test_an_opening_without_work_commits_nothing() -> None:
    """Opening and leaving a hub with nothing to do leaves the disk as it was."""
    first = ScriptedStore()
    async with hub_on(first) as hub:
        await hub.start(receive, instance_id="parked")
        await hub.wait_idle()
    store = ScriptedStore(first.disk)
    async with hub_on(store) as hub:
        await hub.wait_idle()
    assert store.submitted == 0


async def test_many_waiting_instances_are_taken_up() -> None:
    """More instances with waiting messages than one page of recovery holds: each gets its messages, in order, once."""
    count = 2 * limits.RECOVERY_PAGE + 17
    store = ScriptedStore()
    async with hub_on(store, paused=True) as hub, hub.batch() as batch:
        for number in range(count):
            batch.signal_entity(Ledger.at(str(number)), Ledger.note, 1)
            batch.signal_entity(Ledger.at(str(number)), Ledger.note, 2)
    async with hub_on(ScriptedStore(store.disk)) as hub:
        await hub.wait_idle()
        assert hub.statistics().entities_in_memory == count
        for number in range(count):
            assert await hub.read_entity(Ledger.at(str(number))) == Ledger([1, 2])
    assert store.table(tables.INBOX) == {}


async def test_new_messages_queue_behind_those_that_waited() -> None:
    """A message that comes while the hub still takes up old ones is run after those of the same entity (E1)."""
    store = ScriptedStore()
    async with hub_on(store, paused=True) as hub, hub.batch() as batch:
        for number in range(1200):
            batch.signal_entity(Ledger.at(str(number)), Ledger.note, 1)
    async with hub_on(ScriptedStore(store.disk)) as hub:
        async with hub.batch() as batch:
            for number in range(1200):
                batch.signal_entity(Ledger.at(str(number)), Ledger.note, 2)
        await hub.wait_idle()
        for number in range(1200):
            assert await hub.read_entity(Ledger.at(str(number))) == Ledger([1, 2])


async def test_activities_in_flight_run_again_with_the_same_key() -> None:
    """After each opening every activity without a result is started once more: a higher attempt, the same key (O5)."""
    attempts.clear()
    store = ScriptedStore()
    async with hub_on(store) as hub:
        for number in range(3):
            await hub.start(waits_for_stuck, number)
        await until(lambda: len(attempts) == 3)
    for opening in range(2, 4):
        async with hub_on(ScriptedStore(store.disk)) as hub:
            await until(lambda opening=opening: len(attempts) == 3 * opening)
            await rounds()
            assert len(attempts) == 3 * opening
    keys = {key for _, key in attempts}
    assert len(keys) == 3
    assert sorted(attempt for attempt, _ in attempts) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("looks", [0, 5], ids=["fast disk", "slow disk"])
async def test_an_activity_that_is_cancelled_before_it_was_taken_up_stays_cancelled(looks: int) -> None:
    """Cancelling an activity right after opening is no race: it neither starts again nor stays on disk."""
    attempts.clear()
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(stoppable, 1, instance_id="i")
        await until(lambda: len(attempts) == 1)
    store = ScriptedStore(store.disk, looks=looks)
    async with hub_on(store) as hub:
        await hub.raise_event("i", "stop")
        assert await hub.instance("i").result() == "stopped"
        await rounds()
        assert hub.statistics().activities_running == 0
    assert store.table(tables.ACTIVITIES) == {}


async def test_an_activity_that_is_cancelled_as_it_starts_does_not_go_on() -> None:
    """A cancellation that comes before the activity's first step is not lost."""
    attempts.clear()
    registry = Registry(Values(), lambda: "id")
    registry.define([stuck])
    record = ActivityRecord(CallingTask("i", "00" * 16, "1"), "stuck", registry.activity(stuck).arguments.encode((1,)), 1)
    async with trio.open_nursery() as nursery:
        runner = ActivityRunner(registry, nursery, 1, WorkerSettings(), lambda *_: None, lambda *_: None)
        runner.start({b"key": record})
        runner.cancel([b"key"])
        await rounds()
        running = runner.running
        nursery.cancel_scope.cancel()
    assert running == 0


async def test_a_hub_that_dies_while_it_takes_up_loses_nothing() -> None:
    """Wherever in the middle of recovery the process dies, the next one finds everything that is left."""
    store = ScriptedStore()
    async with hub_on(store, paused=True) as hub, hub.batch() as batch:
        for number in range(30):
            batch.signal_entity(Ledger.at(str(number)), Ledger.note_and_pass, number, "all")

    async def take_up(store: ScriptedStore) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "RECOVERY_PAGE", 4)
            patch.setattr(limits, "BATCH_INSTANCES_MAX", 5)
            async with hub_on(store) as hub:
                await hub.wait_idle()

    deaths = 0
    while True:
        store = store.reborn().harm(2, Harm.DIED_AFTER if deaths % 2 else Harm.DIED_BEFORE)
        try:
            await take_up(store)
        except ProcessDied:
            deaths += 1
        else:
            break
    assert deaths > 3
    async with hub_on(store.reborn()) as hub:
        ledger = await hub.read_entity(Ledger.at("all"))
        assert ledger is not None
        assert sorted(ledger.numbers) == list(range(30))


# --- memory


async def test_what_was_dropped_from_memory_comes_back() -> None:
    """With room for nothing, every instance is dropped when idle, and goes on where it was when it is needed."""
    store = ScriptedStore()
    async with hub_on(store, cache_bytes=1) as hub:
        for number in range(20):
            await hub.start(receive, instance_id=str(number))
            await hub.signal_entity(Account.at(str(number)), Account.deposit, 100)
        await hub.wait_idle()
        for number in range(20):
            await hub.signal_entity(Account.at(str(number)), Account.deposit, 1)
        await hub.wait_idle()
        statistics = hub.statistics()
        assert statistics.evictions >= 40
        assert statistics.entities_in_memory + statistics.orchestrations_in_memory < 40
        moves = [await hub.start(transfer, str(number), str(number + 1), 1) for number in range(0, 20, 2)]
        assert [await move.result() for move in moves] == [f"{number} -> {number + 1}: 1" for number in range(0, 20, 2)]
        for number in range(20):
            await hub.raise_event(str(number), "go", number)
            assert await hub.instance(str(number)).result() == number
            expected = 100 if number % 2 == 0 else 102
            assert await hub.read_entity(Account.at(str(number))) == Account(expected)


async def test_nothing_is_dropped_while_there_is_room() -> None:
    """With the usual memory, a few instances stay."""
    async with hub_on(ScriptedStore()) as hub:
        for number in range(20):
            await hub.start(receive, instance_id=str(number))
        await hub.wait_idle()
        statistics = hub.statistics()
    assert (statistics.evictions, statistics.orchestrations_in_memory) == (0, 20)
    assert statistics.bytes_in_memory > 0


async def test_memory_stays_bounded_over_many_instances() -> None:
    """Ten times as many instances as there is room for: what is in memory stays about the room, however many come."""
    room = 20 * limits.ENTITY_BYTES
    async with hub_on(ScriptedStore(), cache_bytes=room) as hub:
        for number in range(200):
            await hub.signal_entity(Account.at(str(number)), Account.deposit, 1)
        await hub.wait_idle()
        assert hub.statistics().bytes_in_memory <= 2 * room
        assert hub.statistics().evictions >= 150


scripts = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), st.integers(0, 2), st.integers(0, 9)),
        st.tuples(st.just("start"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("event"), st.integers(0, 2), st.integers(0, 9)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=15,
)


@settings(max_examples=12, deadline=None)
@given(scripts)
def test_memory_and_restarts_change_no_result(script: list[tuple[str, int, int]]) -> None:
    """For any script of requests, a hub that drops everything, and one that is reopened in between, end as a plain one."""

    async def run(cache_bytes: int, reopen: bool) -> list[object]:
        store = ScriptedStore()
        parts: list[list[tuple[str, int, int]]] = [[]]
        seen: list[object] = []
        for step in script:
            if step[0] == "reopen" and reopen:
                parts.append([])
            parts[-1].append(step)
        for part in parts:
            async with hub_on(store, cache_bytes=cache_bytes) as hub:
                for verb, who, value in part:
                    await _do(hub, verb, who, value)
                await hub.wait_idle()
                seen = await _see(hub)
            store = ScriptedStore(store.disk)
            disk.check(store.disk.snapshot())
        return seen

    plain, forgetful, reopened = (
        trio.run(run, cache_bytes, reopen) for cache_bytes, reopen in ((limits.CACHE_BYTES, False), (1, False), (1, True))
    )
    assert plain == forgetful == reopened


async def _do(hub: TaskHub, verb: str, who: int, value: int) -> None:
    if verb == "signal":
        await hub.signal_entity(Ledger.at(str(who)), Ledger.note_and_pass, value, str((who + 1) % 3))
    elif verb == "start":
        await hub.start(receive, instance_id=str(who), if_exists="return")
    elif verb == "event":
        await hub.start(receive, instance_id=str(who), if_exists="return")
        if not (await hub.instance(str(who)).status()).runtime_status.final:
            await hub.raise_event(str(who), "go", value)
    await hub.wait_idle()


async def _see(hub: TaskHub) -> list[object]:
    ledgers = [await hub.read_entity(Ledger.at(str(who))) for who in range(3)]
    seen: list[object] = [None if ledger is None else ledger.numbers for ledger in ledgers]
    for who in range(3):
        found = await hub.start(receive, instance_id=str(who), if_exists="return")
        status = await found.status()
        seen.append((status.runtime_status, status.output))
    return seen
