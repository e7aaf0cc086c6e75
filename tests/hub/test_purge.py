"""Purging (O16): final instances only, unless forced; with everything that belongs to them, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from perdure.orchestration import (
    InstanceNotFound,
    OrchestrationContext,
    RuntimeStatus,
    activity,
    orchestrator,
)
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, START, Tally, everything, holder_of, hub_in, left_over, outcome, runtime_status

Context = OrchestrationContext
Clock = trio.testing.MockClock
BEGIN = datetime.fromtimestamp(START / 1_000_000, UTC)


@activity
async def slow(seconds: float) -> float:
    """Take long."""
    await trio.sleep(seconds)
    return seconds


@orchestrator
async def busy(ctx: Context) -> str:
    """Use everything that leaves records: activities, timers, events, children, locks, custom status."""
    ctx.set_custom_status({"busy": True})
    ctx.call_activity(slow, 50.0)
    ctx.create_timer(5000)
    ctx.call_sub_orchestrator(hold, instance_id="kid")
    await ctx.wait_for_external_event("go")
    return "done"


@orchestrator
async def hold(ctx: Context) -> str:
    """Hold a lock."""
    async with ctx.lock_entities(Tally.at("a"), Tally.at("b")):
        await ctx.wait_for_external_event("go")
    return "held"


@orchestrator
async def quick(ctx: Context) -> str:
    """At once."""
    return "done"


ALL = (busy, hold, quick, slow, Tally)


@CACHES
async def test_O16_purging_a_finished_instance_leaves_nothing(cache: int, autojump_clock: Clock) -> None:
    """Record, journal, id, request id and what was under way are gone from every table; the id is free again."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(busy, instance_id="b", request_id="r", tags={"x": "y"})
        await instance.raise_event("unread", "x" * 1000)
        await instance.raise_event("go")
        assert await instance.result() == "done"
        await hub.terminate("kid")
        await hub.wait_idle()
        assert everything(store)
        await instance.purge()
        await hub.instance("kid").purge()
        with pytest.raises(InstanceNotFound):
            await instance.status()
        with pytest.raises(InstanceNotFound):
            await instance.result()
        await hub.wait_idle()
        assert everything(store) == {}
        again = await hub.start(quick, instance_id="b", request_id="r")
        assert await again.result() == "done"


@pytest.mark.parametrize("how", ["running", "suspended", "pending"])
async def test_O16_a_running_instance_is_purged_by_force_only(how: str, autojump_clock: Clock) -> None:
    """Without ``force`` it is refused and nothing changes; with it nothing of the instance is left, its timer included."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        if how == "pending":
            hub.pause()
        instance = await hub.start(busy, instance_id="b")
        await trio.sleep(1)
        if how == "suspended":
            await instance.suspend()
            await instance.raise_event("go")
            await trio.sleep(1)
        before = await instance.status()
        with pytest.raises(ValueError, match="force"):
            await instance.purge()
        assert await instance.status() == before
        await instance.purge(force=True)
        with pytest.raises(InstanceNotFound):
            await instance.status()
        hub.unpause()
        await hub.wait_idle()
        if how != "pending":
            assert await runtime_status(hub.instance("kid")) is RuntimeStatus.TERMINATED
            await hub.instance("kid").purge()
        await hub.wait_idle()
    assert everything(store) == {}


@CACHES
async def test_O16_purging_a_holder_by_force_releases_its_locks(cache: int, autojump_clock: Clock) -> None:
    """The lock of a purged holder goes to the one that waits for it."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        first = await hub.start(hold, instance_id="1")
        await hub.wait_idle()
        second = await hub.start(hold, instance_id="2")
        await hub.wait_idle()
        assert await holder_of(hub, "a") == "1"
        await first.purge(force=True)
        await hub.wait_idle()
        assert await holder_of(hub, "a") == await holder_of(hub, "b") == "2"
        await second.raise_event("go")
        assert await second.result() == "held"
        await second.purge()
        await hub.wait_idle()
    assert everything(store) == {}


@pytest.mark.parametrize("verb", ["suspend", "cancel", "resume"])
async def test_O16_purging_by_force_while_another_verb_waits(verb: str, autojump_clock: Clock) -> None:
    """A verb that was accepted before, and not worked off yet, does not keep the purge from releasing the locks."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(hold, instance_id="1")
        await hub.wait_idle()
        hub.pause()
        await getattr(instance, verb)()
        await instance.purge(force=True)
        hub.unpause()
        await hub.wait_idle()
        assert await holder_of(hub, "a") is None
        assert await holder_of(hub, "b") is None
    assert everything(store) == {}


async def test_O16_who_waits_for_a_purged_instance_is_told(autojump_clock: Clock) -> None:
    """A call of result() that waits while its instance is purged by force hears that it was terminated."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(hold)
        told: list[str] = []

        async def wait() -> None:
            told.append(await outcome(instance))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await instance.purge(force=True)
        assert told == ["OrchestrationTerminated"]


async def test_O16_work_that_ends_after_the_purge(autojump_clock: Clock) -> None:
    """An activity that is still running when its instance is purged brings nothing back when it ends."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(busy)
        await trio.sleep(1)
        await instance.raise_event("go")
        await instance.result()
        await hub.instance("kid").purge(force=True)
        await instance.purge()
        await trio.sleep(100)
        await hub.wait_idle()
        assert everything(store) == {}
    async with hub_in(store, *ALL) as hub:
        await hub.wait_idle()
        assert everything(store) == {}


async def test_O16_purging_many(autojump_clock: Clock) -> None:
    """A purge by filters removes every finished instance that they mean, over many pages, and says how many."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        for number in range(450):
            await hub.start(quick, instance_id=f"q{number}", tags={"odd": str(number % 2)})
        running = await hub.start(hold, instance_id="q-running")
        await hub.wait_idle()
        assert await hub.purge(tags={"odd": "1"}) == 225
        assert await hub.purge(id_prefix="q", created_to=BEGIN + timedelta(days=1)) == 225
        assert await hub.purge() == 0
        assert [item.instance_id async for item in hub.iter_instances()] == ["q-running"]
        await running.raise_event("go")
        assert await running.result() == "held"
        with pytest.raises(ValueError, match="naive"):
            await hub.purge(created_to=datetime(2030, 1, 1))


async def test_O16_purging_what_is_not_there(autojump_clock: Clock) -> None:
    """Purging an unknown instance raises InstanceNotFound, also right after it was purged."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        with pytest.raises(InstanceNotFound):
            await hub.instance("nobody").purge()
        instance = await hub.start(quick)
        await instance.result()
        await instance.purge()
        with pytest.raises(InstanceNotFound):
            await instance.purge(force=True)


async def test_O8_purging_drops_the_timers(autojump_clock: Clock) -> None:
    """The timers of an instance that is purged by force are gone with the same commit."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(busy)
        await trio.sleep(1)
        assert len(store.snapshot()[tables.TIMERS]) == 1
        await instance.purge(force=True)
        assert len(store.snapshot()[tables.TIMERS]) == 0
        await hub.wait_idle()
    assert left_over(store) == {}
