"""Starts that are to come later (O4, D6), and waiting for a start or for another status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import HubClosed, InstanceStatus, TaskHub
from perdure.orchestration import (
    InstanceNotFound,
    OrchestrationCanceled,
    OrchestrationContext,
    OrchestrationTerminated,
    RuntimeStatus,
    orchestrator,
)
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, START, hub_in, left_over, runtime_status

Context = OrchestrationContext
BEGIN = datetime.fromtimestamp(START // 1_000_000, UTC)
DAY = timedelta(days=1)


@orchestrator
async def listening(ctx: Context, count: int) -> list[Any]:
    """When it began, and so many events."""
    return [(ctx.now - BEGIN) // DAY, *[await ctx.wait_for_external_event("word") for _ in range(count)]]


@orchestrator
async def reporting(ctx: Context, reports: int) -> str:
    """Shows how far it is, a step an event."""
    for number in range(reports):
        ctx.set_custom_status({"done": number})
        await ctx.wait_for_external_event("next")
    return "done"


@CACHES
@pytest.mark.parametrize("restarts", [0, 1])
@pytest.mark.parametrize("when", [3 * DAY, BEGIN + 3 * DAY])
async def test_O4_a_start_waits_for_its_time(when: Any, restarts: int, cache: int, autojump_clock: object) -> None:
    """It is Pending until then, keeps what it is sent in order, and begins at its time, also over a restart; nothing is left."""
    store = MemoryStore()
    async with hub_in(store, listening, cache_bytes=cache) as hub:
        instance = await hub.start(listening, 2, instance_id="x", start_at=when)
        await instance.raise_event("word", "first")
        await hub.wait_idle()
        status = await instance.status()
        assert (status.runtime_status, status.start_at) == (RuntimeStatus.PENDING, BEGIN + 3 * DAY)
        if not restarts:
            await instance.raise_event("word", "second")
            assert await instance.result() == [3, "first", "second"]
    async with hub_in(store, listening, cache_bytes=cache) as hub:
        instance = hub.instance("x")
        if restarts:
            await instance.raise_event("word", "second")
        assert await instance.result() == [3, "first", "second"]
        assert (await instance.status()).start_at is None
    assert left_over(store) == {}


@pytest.mark.parametrize("verb", ["terminate", "cancel", "purge", "replace"])
async def test_O13_what_waits_for_its_start_can_be_ended(verb: str, autojump_clock: object) -> None:
    """Ended before its time it never runs, and its timer is gone."""
    store = MemoryStore()
    async with hub_in(store, listening) as hub:
        instance = await hub.start(listening, 0, instance_id="x", start_at=DAY)
        match verb:
            case "terminate":
                await instance.terminate("no")
                with pytest.raises(OrchestrationTerminated):
                    await instance.result()
            case "cancel":
                await instance.cancel()
                with pytest.raises(OrchestrationCanceled):
                    await instance.result()
            case "purge":
                await instance.purge(force=True)
            case _:
                await hub.start(listening, 0, instance_id="x", if_exists="replace", start_at=2 * DAY)
        assert len(store.snapshot()[tables.TIMERS]) == (verb == "replace")
        if verb == "replace":
            assert await instance.result() == [2]
    assert left_over(store) == {}


async def test_O12_suspended_before_its_start(autojump_clock: object) -> None:
    """Suspended, it does not begin when its time comes; resumed, it does."""
    async with hub_in(MemoryStore(), listening) as hub:
        instance = await hub.start(listening, 0, start_at=DAY)
        await instance.suspend()
        await trio.sleep(3 * DAY.total_seconds())
        assert await runtime_status(instance) is RuntimeStatus.SUSPENDED
        await instance.resume()
        assert await instance.result() == [3]


async def test_O4_a_time_that_is_past_is_now(autojump_clock: object) -> None:
    """A start that was to be earlier begins at once; a naive time and a negative duration are refused."""
    async with hub_in(MemoryStore(), listening) as hub:
        assert await (await hub.start(listening, 0, start_at=BEGIN - DAY)).result() == [0]
        assert await (await hub.start(listening, 0, start_at=0)).result() == [0]
        for wrong in (datetime(2030, 1, 1), -1):
            with pytest.raises(ValueError, match=r"naive|below 0|0 or more"):
                await hub.start(listening, 0, start_at=wrong)


async def test_wait_for_start(autojump_clock: object) -> None:
    """It returns when the instance has begun, also after its end; not before, not for what does not exist, and within its limit."""
    async with hub_in(MemoryStore(), listening) as hub:
        instance = await hub.start(listening, 1, start_at=DAY)
        with pytest.raises(TimeoutError, match="not begun"):
            await instance.wait_for_start(timeout=60)
        before = trio.current_time()
        assert (await instance.wait_for_start()).runtime_status is RuntimeStatus.RUNNING
        assert trio.current_time() - before == pytest.approx(DAY.total_seconds() - 60)
        await instance.raise_event("word", 1)
        await instance.result()
        assert (await instance.wait_for_start()).runtime_status is RuntimeStatus.COMPLETED
        with pytest.raises(InstanceNotFound):
            await hub.instance("nobody").wait_for_start()


@CACHES
async def test_wait_for_status_change_sees_each_state(cache: int, autojump_clock: object) -> None:
    """In a loop that hands on what it got, every status that was there for a commit is seen, in order, up to the end."""
    seen: list[InstanceStatus] = []

    async def watch(hub: TaskHub) -> None:
        status = await hub.instance("x").status()
        while not status.runtime_status.final:
            status = await hub.instance("x").wait_for_status_change(status)
            seen.append(status)

    async with hub_in(MemoryStore(), reporting, cache_bytes=cache) as hub:
        instance = await hub.start(reporting, 3, instance_id="x", start_at=DAY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, hub)
            await instance.wait_for_start()
            for _ in range(3):
                await hub.wait_idle()
                await trio.testing.wait_all_tasks_blocked()
                await instance.raise_event("next")
        assert [(status.runtime_status.value, status.custom_status) for status in seen] == [
            ("Running", {"done": 0}),
            ("Running", {"done": 1}),
            ("Running", {"done": 2}),
            ("Completed", {"done": 2}),
        ]
        assert await instance.wait_for_status_change() == seen[-1], "what has finished does not change"


@pytest.mark.parametrize("how", ["purge", "close", "time"])
async def test_waiting_for_a_change_ends(how: str, autojump_clock: object) -> None:
    """A waiting client is told when the instance is purged, when the hub is closed, and when its time is over."""
    expected: dict[str, type[Exception]] = {"purge": InstanceNotFound, "close": HubClosed, "time": TimeoutError}
    raised: list[BaseException] = []

    async def watch(hub: TaskHub) -> None:
        try:
            await hub.instance("x").wait_for_status_change(timeout=60 if how == "time" else None)
        except Exception as error:
            raised.append(error)

    async with trio.open_nursery() as nursery, hub_in(MemoryStore(), reporting) as hub:
        await hub.start(reporting, 1, instance_id="x")
        await hub.wait_idle()
        nursery.start_soon(watch, hub)
        await trio.testing.wait_all_tasks_blocked()
        if how == "purge":
            await hub.purge_instance("x", force=True)
        elif how == "time":
            await trio.sleep(61)
    assert [type(error) for error in raised] == [expected[how]]
