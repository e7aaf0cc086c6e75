"""Replacing and restarting instances (O4, O16): the old execution ends with all that is its own, and the new one is untouched by it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from perdure.orchestration import (
    InstanceExists,
    InstanceNotFound,
    OrchestrationFailed,
    RuntimeStatus,
    UnknownOrchestrator,
    activity,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from .lives import Clock, Context, careful, echo, gather, hold, nap, parent
from .virtual import CACHES, Tally, everything, holder_of, hub_in, outcome, runtime_status

ALL: tuple[object, ...] = (gather, careful, hold, parent, nap, echo, Tally)
# --- O4, replace


@CACHES
async def test_O4_replace(cache: int, autojump_clock: Clock) -> None:
    """Replacing ends the running execution and its children, frees their locks, tells who waits, and starts the new one."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
        old = await hub.start(parent, 1, instance_id="top")
        await hub.wait_idle()
        told: list[Any] = []

        async def wait() -> None:
            told.append(await outcome(old))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await hub.start(echo, 5, instance_id="top", if_exists="replace")
        assert told == ["OrchestrationTerminated"]
        assert await hub.instance("top").result() == 5
        await hub.wait_idle()
        assert await runtime_status(hub.instance("child1")) is RuntimeStatus.TERMINATED
        assert await runtime_status(hub.instance("leaf")) is RuntimeStatus.TERMINATED
        assert await holder_of(hub, "a") is None


@CACHES
@pytest.mark.parametrize("how", ["suspended", "paused"])
async def test_O4_replace_drops_unread_events(how: str, cache: int, autojump_clock: Clock) -> None:
    """Events that the old execution had not taken are no event of the new one's; the hub goes on."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
        old = await hub.start(gather, 5, instance_id="g")
        await old.raise_event("other", 0)
        await hub.wait_idle()
        if how == "suspended":
            await old.suspend()
        else:
            hub.pause()
        await old.raise_event("number", 1)
        await old.raise_event("number", 2)
        await hub.start(gather, 1, instance_id="g", if_exists="replace")
        hub.unpause()
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.RUNNING
        await hub.raise_event("g", "number", 9)
        assert await hub.instance("g").result() == [9]
        assert (await hub.instance("g").status()).unread_events == 0


@pytest.mark.parametrize("earlier", ["suspend", "cancel", "resume", "terminate"])
async def test_O4_replace_while_another_verb_waits(earlier: str, autojump_clock: Clock) -> None:
    """A verb that was accepted for the old execution, and not worked off yet, does nothing to the new one."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        await hub.start(hold, "a", instance_id="g")
        await hub.wait_idle()
        hub.pause()
        await getattr(hub, earlier)("g")
        await hub.start(gather, 1, instance_id="g", if_exists="replace")
        hub.unpause()
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.RUNNING
        assert await holder_of(hub, "a") is None
        await hub.raise_event("g", "number", 9)
        assert await hub.instance("g").result() == [9]


async def test_O4_replacing_a_pending_instance(autojump_clock: Clock) -> None:
    """An instance that has not begun is replaced like a running one; only the new one runs."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        hub.pause()
        await hub.start(echo, 1, instance_id="e")
        await hub.start(echo, 2, instance_id="e", if_exists="replace")
        await hub.start(echo, 3, instance_id="e", if_exists="replace")
        hub.unpause()
        assert await hub.instance("e").result() == 3


async def test_O4_late_results_of_the_old_execution_are_dropped(autojump_clock: Clock) -> None:
    """An activity of the replaced execution that ends later does not answer the same step of the new one."""

    @activity
    async def slow(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    @orchestrator
    async def calls(ctx: Context, seconds: float) -> float:
        return await ctx.call_activity(slow, seconds)

    async with hub_in(MemoryStore(), slow, calls) as hub:
        await hub.start(calls, 10.0, instance_id="c")
        await trio.sleep(1)
        await hub.start(calls, 100.0, instance_id="c", if_exists="replace")
        assert await hub.instance("c").result() == 100.0


# --- O16, restart


async def test_O16_restart(autojump_clock: Clock) -> None:
    """A restart runs the same orchestrator with the same input, under a new id or its own, which must have finished."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(echo, 4, instance_id="e", tags={"a": "b"})
        await instance.result()
        first = await instance.status()
        other = await instance.restart()
        assert other.id != "e"
        assert await other.result() == 4
        assert (await other.status()).tags == {"a": "b"}
        same = await instance.restart(new_id=False)
        assert same.id == "e"
        assert await same.result() == 4
        assert (await same.status()).execution != first.execution
        running = await hub.start(gather, 1, instance_id="g")
        with pytest.raises(InstanceExists):
            await running.restart(new_id=False)
        twin = await running.restart()
        await twin.raise_event("number", 3)
        assert await twin.result() == [3]
        assert await runtime_status(running) is RuntimeStatus.RUNNING
        with pytest.raises(InstanceNotFound):
            await hub.restart("unknown")


async def test_O16_restart_of_a_failed_instance(autojump_clock: Clock) -> None:
    """A failed instance that is restarted under its own id has neither the old failure nor the old custom status."""
    broken = True

    @orchestrator
    async def fragile(ctx: Context) -> str:
        if broken:
            ctx.set_custom_status("about to fail")
            raise ValueError("broken")
        return "fine"

    async with hub_in(MemoryStore(), fragile) as hub:
        instance = await hub.start(fragile)
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        broken = False
        assert await (await instance.restart(new_id=False)).result() == "fine"
        status = await instance.status()
        assert (status.failure, status.custom_status) == (None, None)


async def test_O16_nothing_is_left_after_a_purge(autojump_clock: Clock) -> None:
    """After all of this a purge of every instance leaves no record of them."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        top = await hub.start(parent, 2, instance_id="top", request_id="r", tags={"x": "y"})
        await hub.wait_idle()
        await top.terminate()
        await hub.wait_idle()
        for name in ("n", "g"):
            instance = await hub.start(nap, 1000.0, instance_id=name, request_id=f"request {name}")
            await instance.suspend()
            await instance.raise_event("x")
            await instance.purge(force=True)
        assert await hub.purge() == 4
        assert (await hub.query_instances()).items == []
        await hub.wait_idle()
    assert everything(store) == {}


async def test_O18_restarting_what_is_no_longer_defined(autojump_clock: Clock) -> None:
    """A client that restarts an instance of an orchestrator that this hub does not define is told so, and nothing is started."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        await (await hub.start(echo, 1, instance_id="e")).result()
    async with hub_in(store, Tally) as hub:
        with pytest.raises(UnknownOrchestrator):
            await hub.restart("e")
        with pytest.raises(UnknownOrchestrator):
            await hub.restart("e", new_id=False)
        assert await runtime_status(hub.instance("e")) is RuntimeStatus.COMPLETED
        assert len((await hub.query_instances()).items) == 1
