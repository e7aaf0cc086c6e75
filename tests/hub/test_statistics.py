"""What ``hub.statistics()`` says is so."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.hub import limits
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, Ledger, bank, callers, receive, rounds, transfer, until

gate: list[trio.Event] = []


@define
class Slow(Entity):
    """Waits for the test."""

    passed: int = 0

    async def wait(self) -> None:
        """Wait."""
        await gate[0].wait()
        self.passed += 1


@activity
async def slow_work() -> None:
    """Wait for the test."""
    await gate[0].wait()


@activity(max_concurrent=1)
async def narrow_work() -> None:
    """Wait for the test, one at a time."""
    await gate[0].wait()


@orchestrator
async def worker(ctx: OrchestrationContext) -> None:
    """Three of each."""
    await ctx.when_all([*(ctx.call_activity(slow_work) for _ in range(3)), *(ctx.call_activity(narrow_work) for _ in range(3))])


@pytest.fixture(autouse=True)
def _gate() -> None:
    gate[:] = [trio.Event()]


async def test_a_fresh_hub_has_nothing() -> None:
    """Every figure of a hub that has nothing to do is zero."""
    async with bank(MemoryStore()) as hub:
        await hub.wait_idle()
        statistics = attrs.asdict(hub.statistics(), recurse=True)
    store = statistics.pop("store")
    assert {name: value for name, value in statistics.items() if value} == {}
    assert (store["commits"], store["puts"], store["deletes"]) == (0, 0, 0)


async def test_statistics_are_a_picture_of_a_moment() -> None:
    """They cannot be changed, and do not change by themselves."""
    async with bank(MemoryStore()) as hub:
        before = hub.statistics()
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
        assert (before.turns, hub.statistics().turns) == (0, 1)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            before.turns = 5  # type: ignore[misc]


async def test_turns_and_commits_are_counted() -> None:
    """Turns that were run, and batches that became durable: the store counts the same."""
    store = ScriptedStore()
    async with bank(store) as hub:
        for number in range(5):
            await hub.signal_entity(Account.at(str(number)), Account.deposit, 1)
        await hub.wait_idle()
        statistics = hub.statistics()
        assert statistics.turns == 5
        assert statistics.commits == statistics.store.commits == statistics.store.commit_number == len(store.batches)


async def test_what_waits_in_a_paused_hub_is_shown() -> None:
    """Instances with something to do, and their messages."""
    async with bank(MemoryStore(), paused=True) as hub:
        await rounds()
        for number in range(6):
            await hub.signal_entity(Account.at(str(number % 2)), Account.deposit, 1)
        await hub.start(receive)
        statistics = hub.statistics()
        assert (statistics.ready, statistics.backlog) == (3, 7)
        assert (statistics.entities_in_memory, statistics.orchestrations_in_memory) == (2, 1)
        hub.unpause()
        await hub.wait_idle()
        assert (hub.statistics().ready, hub.statistics().backlog) == (0, 0)


async def test_activities_are_counted_while_they_run_or_wait_for_a_place() -> None:
    """All that were started and have not ended."""
    async with bank(MemoryStore(), worker, slow_work, narrow_work) as hub:
        instance = await hub.start(worker)
        await until(lambda: hub.statistics().activities_running == 6)
        gate[0].set()
        await instance.result()
        assert hub.statistics().activities_running == 0


async def test_an_activity_that_is_not_defined_is_shown_as_parked(caplog: pytest.LogCaptureFixture) -> None:
    """A hub without the definition says that work waits, in its statistics and in the log (O18)."""
    store = MemoryStore()
    async with bank(store, worker, slow_work, narrow_work) as hub:
        await hub.start(worker, instance_id="w")
        await until(lambda: hub.statistics().activities_running == 6)
    async with bank(store, worker, slow_work) as hub:
        await until(lambda: hub.statistics().activities_running == 3)
        await rounds()
        assert hub.statistics().activities_parked == 3
    assert any("narrow_work" in record.message and record.levelno == logging.WARNING for record in caplog.records)
    async with bank(store, worker, slow_work, narrow_work) as hub:
        gate[0].set()
        await hub.instance("w").result()
        assert hub.statistics().activities_parked == 0


async def test_async_operations_are_counted_while_they_run() -> None:
    """One for each entity at most."""
    async with bank(MemoryStore(), Slow) as hub:
        for number in range(6):
            await hub.signal_entity(Slow.at(str(number % 2)), Slow.wait)
        await until(lambda: hub.statistics().operations_running == 2)
        await rounds()
        assert hub.statistics().operations_running == 2
        gate[0].set()
        await hub.wait_idle()
        assert hub.statistics().operations_running == 0
        assert await hub.read_entity(Slow.at("0")) == Slow(3)


async def test_failing_storage_is_shown() -> None:
    """From the first failure until the first commit that works."""
    store = ScriptedStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))
        async with bank(store) as hub, callers() as beside:
            assert not hub.statistics().storage_failing
            store.refusing = True
            beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1))
            await until(lambda: hub.statistics().storage_failing)
            store.refusing = False
            await until(lambda: not hub.statistics().storage_failing)
            assert len(store.batches) == 1


async def test_the_hub_of_an_lmdb_folder_shows_its_file(tmp_path: Any) -> None:
    """Sizes of the data file, and how much of it is in use."""
    async with bank(tmp_path) as hub:
        for number in range(50):
            await hub.signal_entity(Ledger.at(str(number)), Ledger.note, number)
        await hub.wait_idle()
        store = hub.statistics().store
    assert store.puts > 50
    assert 0 < store.live_bytes <= store.file_bytes


work = st.lists(
    st.tuples(st.sampled_from(["signal", "call", "start", "event", "transfer", "slow"]), st.integers(0, 3)), max_size=25
)


@settings(max_examples=25, deadline=None)
@given(work, st.sampled_from([1, limits.CACHE_BYTES]), st.integers(0, 2))
def test_an_idle_hub_has_no_work(steps: list[tuple[str, int]], cache_bytes: int, looks: int) -> None:
    """After any work, idle means: nothing ready, nothing running, no backlog, and nobody in memory is forgotten in the count."""

    async def run() -> None:
        gate[:] = [trio.Event()]
        gate[0].set()
        async with bank(ScriptedStore(looks=looks), Slow, cache_bytes=cache_bytes) as hub:
            async with callers() as beside:
                for verb, who in steps:
                    beside.call(lambda verb=verb, who=who: _do(hub, verb, str(who)))
            await hub.wait_idle()
            statistics = hub.statistics()
            assert (statistics.ready, statistics.backlog) == (0, 0)
            assert (statistics.activities_running, statistics.operations_running) == (0, 0)
            in_memory = statistics.entities_in_memory + statistics.orchestrations_in_memory
            assert (statistics.bytes_in_memory > 0) == (in_memory > 0)

    trio.run(run)


async def _do(hub: Any, verb: str, who: str) -> None:
    match verb:
        case "signal":
            await hub.signal_entity(Ledger.at(who), Ledger.note_and_pass, 1, "other")
        case "call":
            await hub.call_entity(Account.at(who), Account.deposit, 5)
        case "start":
            await hub.start(receive, instance_id=who, if_exists="return")
        case "event":
            await hub.raise_event(who, "go", 1)
        case "transfer":
            await (await hub.start(transfer, who, "other", 1)).result()
        case _:
            await hub.signal_entity(Slow.at(who), Slow.wait)
