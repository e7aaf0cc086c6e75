"""Heartbeats of activities (O5): what the next attempt finds, and how long an attempt may be silent."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub, activity_context
from perdure.hub.records import ActivityRecord
from perdure.hub.runtime import Runtime
from perdure.orchestration import ActivityFailed, OrchestrationContext, OrchestrationFailed, RetryPolicy, activity, orchestrator
from perdure.storage import tables
from perdure.storage.errors import NotStorable
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, hub_in, left_over

Context = OrchestrationContext
seen: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def _work(items: int, fails_at: list[int]) -> int:
    """Works items off, from where the last attempt was; each attempt fails at another one."""
    context = activity_context()
    first = context.last_heartbeat or 0
    seen.append((context.attempt, first))
    for item in range(first, items):
        if fails_at[context.attempt - 1 : context.attempt] == [item]:
            raise OSError(f"item {item}")
        context.heartbeat(item)
    return items - first


@activity(retry=RetryPolicy(10, 60))
async def on_trio(items: int, fails_at: list[int]) -> int:
    """On Trio."""
    return _work(items, fails_at)


@activity(retry=RetryPolicy(10, 60))
def in_a_thread(items: int, fails_at: list[int]) -> int:
    """In a thread."""
    return _work(items, fails_at)


@activity(retry=RetryPolicy(10, 60))
async def through_a_thread(items: int, fails_at: list[int]) -> int:
    """On Trio, and from there in a thread of its own."""
    return await trio.to_thread.run_sync(_work, items, fails_at)


KINDS = {"trio": on_trio, "thread": in_a_thread, "both": through_a_thread}


@orchestrator
async def working(ctx: Context, kind: str, items: int, fails_at: list[int]) -> int:
    """One activity, with retries."""
    return await ctx.call_activity(KINDS[kind], items, fails_at)


@CACHES
@pytest.mark.parametrize("kind", KINDS)
async def test_O5_the_next_attempt_goes_on_from_the_last_heartbeat(kind: str, cache: int) -> None:
    """Each attempt finds what the one before it said last; the result is that of the last attempt alone; nothing is left on disk."""
    store = MemoryStore()
    clock = iter(range(1_900_000_000_000_000, 2_000_000_000_000_000, 3_600_000_000))
    async with TaskHub("Beating", [working, *KINDS.values()], store, cache_bytes=cache, clock=lambda: next(clock)) as hub:
        assert await (await hub.start(working, kind, 10, [3, 7])).result() == 4
        await hub.wait_idle()
    assert seen == [(1, 0), (2, 2), (3, 6)]
    assert left_over(store) == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_O5_heartbeats_are_taken_in_the_event_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever an activity says how far it is, nothing of the hub is touched by another thread than its own."""
    threads: set[int] = set()
    original = Runtime._heartbeat  # pyright: ignore[reportPrivateUsage] - where heartbeats enter the hub

    def noted(self: Runtime, key: bytes, record: ActivityRecord) -> None:
        threads.add(threading.get_ident())
        original(self, key, record)

    monkeypatch.setattr(Runtime, "_heartbeat", noted)
    async with TaskHub("Beating", [working, *KINDS.values()], MemoryStore()) as hub:
        assert await (await hub.start(working, kind, 3, [])).result() == 3
    assert threads == {threading.get_ident()}


@activity
async def halting(name: str) -> Any:
    """Says how far it is, and waits for ever; the second time it says what it found."""
    context = activity_context()
    if context.attempt > 1:
        return context.last_heartbeat
    context.heartbeat({"name": name, "done": 1})
    context.heartbeat({"name": name, "done": 2})
    return await trio.sleep_forever()


@orchestrator
async def patient(ctx: Context) -> Any:
    """One activity that stops half way."""
    return await ctx.call_activity(halting, "x")


async def test_O5_a_heartbeat_survives_the_process(autojump_clock: object) -> None:
    """An activity that is started again after the program stopped finds its last heartbeat."""
    store = MemoryStore()
    async with hub_in(store, patient, halting) as hub:
        await hub.start(patient, instance_id="x")
        await trio.testing.wait_all_tasks_blocked()
    async with hub_in(store, patient, halting) as hub:
        assert await hub.instance("x").result() == {"name": "x", "done": 2}
    assert left_over(store) == {}


@activity(heartbeat_timeout=10)
async def pulsing(pauses: list[float]) -> str:
    """Gives a heartbeat after each pause, seconds."""
    for pause in pauses:
        await trio.sleep(pause)
        activity_context().heartbeat(pause)
    return "alive"


@orchestrator
async def monitored(ctx: Context, pauses: list[float], limit: float | None) -> str:
    """An activity that must not be silent; what it failed with."""
    chosen = pulsing if limit is None else pulsing.options(heartbeat_timeout=limit)
    try:
        return await ctx.call_activity(chosen, pauses)
    except ActivityFailed as error:
        return error.failure.message if error.failure.is_caused_by(TimeoutError) else repr(error)


@pytest.mark.parametrize(
    ("pauses", "limit", "expected"),
    [
        ([9, 9, 9, 9], None, "alive"),
        ([9, 11], None, "attempt 1 of activity 'pulsing' gave no heartbeat for 10.0 s"),
        ([11], None, "attempt 1 of activity 'pulsing' gave no heartbeat for 10.0 s"),
        ([11, 19], 20, "alive"),
        ([21], 20, "attempt 1 of activity 'pulsing' gave no heartbeat for 20.0 s"),
    ],
)
async def test_O5_an_attempt_may_not_be_silent_for_longer(
    pauses: list[float], limit: float | None, expected: str, autojump_clock: object
) -> None:
    """Each heartbeat gives an attempt the whole time again; when it is over the attempt fails; a call may set another time."""
    async with hub_in(MemoryStore(), monitored, pulsing) as hub:
        assert await (await hub.start(monitored, pauses, limit)).result() == expected


given_up = threading.Event()


@activity(heartbeat_timeout=10)
def silent(name: str) -> str:
    """Says nothing until it is given up, and then says a lot."""
    given_up.wait(60)
    activity_context().heartbeat("late")
    seen.append(name)
    return name


async def test_O5_a_thread_that_was_given_up_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The silent thread's attempt fails; its later heartbeat writes nothing, and its result reaches nobody."""
    store = MemoryStore()

    @orchestrator
    async def calling(ctx: Context) -> None:
        await ctx.call_activity(silent, "x")

    async with hub_in(store, calling, silent) as hub:
        instance = await hub.start(calling, instance_id="x")
        await trio.sleep(11)
        with pytest.raises(OrchestrationFailed, match="no heartbeat"):
            await instance.result()
        autojump_clock.autojump_threshold = float("inf")
        given_up.set()
        while not seen:
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        await hub.wait_idle()
    assert left_over(store) == {}


@activity
async def mute() -> str:
    """A heartbeat that cannot be kept."""
    with pytest.raises(NotStorable, match="heartbeat"):
        activity_context().heartbeat(object())
    activity_context().heartbeat()
    return "went on"


async def test_O5_a_heartbeat_that_cannot_be_kept_is_refused() -> None:
    """It raises at the heartbeat, and the activity may go on; one without details is allowed."""

    @orchestrator
    async def calling(ctx: Context) -> str:
        return await ctx.call_activity(mute)

    async with TaskHub("Beating", [calling, mute], MemoryStore()) as hub:
        assert await (await hub.start(calling)).result() == "went on"


async def test_O7_a_heartbeat_does_not_bring_back_what_was_cancelled(autojump_clock: object) -> None:
    """An activity that gives a heartbeat while its cancellation is on its way to disk leaves no row behind."""
    store = MemoryStore()
    beats: list[trio.Event] = [trio.Event()]

    @activity
    async def beating() -> None:
        while True:
            await beats[0].wait()
            beats[0] = trio.Event()
            activity_context().heartbeat("still here")

    @orchestrator
    async def calling(ctx: Context) -> str:
        task = ctx.call_activity(beating)
        await ctx.wait_for_external_event("stop")
        task.cancel()
        await ctx.wait_for_external_event("end")
        return "ended"

    async with hub_in(store, calling, beating) as hub:
        instance = await hub.start(calling, instance_id="x")
        await trio.testing.wait_all_tasks_blocked()
        beats[0].set()
        async with trio.open_nursery() as nursery:
            store.hold_commits(True)
            nursery.start_soon(instance.raise_event, "stop")
            while list(map(str, (await hub.describe("x")).waiting_for)) != ["event 'end'"]:
                await trio.lowlevel.checkpoint()
            beats[0].set()
            while beats[0].is_set():
                await trio.lowlevel.checkpoint()
            store.hold_commits(False)
        await instance.raise_event("end")
        assert await instance.result() == "ended"
        await hub.wait_idle()
    assert not store.snapshot()[tables.ACTIVITIES]
