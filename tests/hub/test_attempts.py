"""Attempts of activities that are cut off (O7, O5): by a scope around the retrying, or by their own time limit."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing
from perdure.orchestration import (
    ActivityFailed,
    OrchestrationContext,
    RetryPolicy,
    activity,
    orchestrator,
)
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, hub_in, left_over, outcome

Context = OrchestrationContext
Clock = trio.testing.MockClock


# --- cancelling what is being retried


@CACHES
@pytest.mark.parametrize("seconds", [3, 150], ids=["while the attempt runs", "while it waits"])
async def test_O7_a_scope_ends_the_retrying(seconds: float, cache: int, autojump_clock: Clock) -> None:
    """A scope that is cancelled while an attempt runs, or between two, ends the retrying; no timer, no further attempt."""
    began: list[float] = []

    @activity(retry=RetryPolicy(100, 100))
    async def attempt() -> None:
        began.append(trio.current_time())
        await trio.sleep(5)
        raise ValueError("again")

    @orchestrator
    async def calls(ctx: Context, seconds: float) -> str:
        with ctx.move_on_after(seconds):
            await ctx.call_activity(attempt)
        await ctx.wait_for_external_event("go")
        return "went on"

    store = MemoryStore()
    async with hub_in(store, attempt, calls, cache_bytes=cache) as hub:
        instance = await hub.start(calls, float(seconds))
        await trio.sleep(1000)
        assert len(began) == (1 if seconds == 3 else 2)
        assert left_over(store) == {}
        await instance.raise_event("go")
        assert await instance.result() == "went on"


# --- time limits of attempts


@CACHES
async def test_O5_an_attempt_that_takes_too_long(cache: int, autojump_clock: Clock) -> None:
    """An async attempt is cancelled at its limit and fails with TimeoutError, which can be retried; a call may set another."""
    cancelled: list[float] = []

    @activity(timeout=5)
    async def slow(seconds: float) -> str:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise
        return "in time"

    @orchestrator
    async def calls(ctx: Context) -> list[str]:
        seen: list[str] = [await ctx.call_activity(slow, 4.0), await ctx.call_activity(slow.options(timeout=100), 50.0)]
        for chosen in (slow, slow.options(retry=RetryPolicy(3, 10))):
            try:
                await ctx.call_activity(chosen, 60.0)
            except ActivityFailed as error:
                seen.append(str(error.failure.is_caused_by(TimeoutError)))
        return seen

    store = MemoryStore()
    async with hub_in(store, slow, calls, cache_bytes=cache) as hub:
        assert await (await hub.start(calls)).result() == ["in time", "in time", "True", "True"]
        assert [round(time) for time in cancelled] == [59, 64, 79, 94]
        await hub.wait_idle()
    assert left_over(store) == {}


async def test_O5_a_plain_attempt_that_takes_too_long(autojump_clock: Clock) -> None:
    """A plain one goes on in its thread; the call fails at the limit, and the late result is dropped."""
    let_go, ended = threading.Event(), threading.Event()

    @activity(timeout=5)
    def stuck() -> str:
        let_go.wait(10)
        ended.set()
        return "late"

    @orchestrator
    async def calls(ctx: Context) -> str:
        try:
            return await ctx.call_activity(stuck)
        except ActivityFailed as error:
            return str(error.failure.is_caused_by(TimeoutError))

    store = MemoryStore()
    try:
        async with hub_in(store, stuck, calls) as hub:
            instance = await hub.start(calls)
            assert await instance.result() == "True"
            let_go.set()
            assert ended.wait(10)  # virtual time stands still meanwhile
            await hub.wait_idle()
            assert await outcome(instance) == "True"
    finally:
        let_go.set()
    assert left_over(store) == {}
    assert store.snapshot()[tables.ACTIVITIES] == {}
