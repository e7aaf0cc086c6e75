"""``hub.describe`` says why an instance is where it is (L9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub, activity_context
from perdure.orchestration import OrchestrationContext, RetryPolicy, RuntimeStatus, activity, orchestrator
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, START, hub_in


@define
class Room(Entity):
    guests: int = 0

    def enter(self) -> int:
        self.guests += 1
        return self.guests


@orchestrator
async def stay(ctx: OrchestrationContext, *, _: None = None) -> None:
    async with ctx.lock_entities(Room.at("1"), Room.at("2")):
        await ctx.wait_for_external_event("leave")


@orchestrator
async def several(ctx: OrchestrationContext) -> None:
    nap = ctx.sleep(3600)
    child = ctx.call_sub_orchestrator(stay, instance_id="kid")
    await ctx.when_any([nap, child, ctx.wait_for_external_event("Bell")])


async def test_L9_an_instance_that_waits_for_a_lock_names_holder_and_place() -> None:
    """Holder, waiters and their order are shown on both sides: at the entity and at those who wait."""
    async with TaskHub("Hotel", [Room, stay], MemoryStore()) as hub:
        for name in ("first", "second", "third"):
            await hub.start(stay, instance_id=name)
        await hub.wait_idle()

        room = await hub.describe(Room.at("1"))
        third = await hub.describe("third")
        first = await hub.describe("first")

    assert (room.locked_by, room.waiting, room.exists) == ("first", ("second", "third"), False)
    assert list(map(str, third.waiting_for)) == ["the lock of @room@1, held by 'first', place 2 in the queue"]
    assert third.section == (Room.at("1"), Room.at("2"))
    assert list(map(str, first.waiting_for)) == ["event 'leave'"]


async def test_L9_an_instance_names_its_unfinished_steps_and_events() -> None:
    """Timers, children and events that are waited for are listed, also after the instance left memory."""
    async with TaskHub("Hotel", [Room, stay, several], MemoryStore(), cache_bytes=1) as hub:
        await hub.start(several, instance_id="busy")
        await hub.wait_idle()

        busy = await hub.describe("busy")

        assert hub.statistics().evictions > 0
    assert busy.runtime_status is RuntimeStatus.RUNNING
    assert [str(each).partition(" for ")[0] for each in busy.waiting_for] == [
        "step 1: create_timer",
        "step 2: call_sub_orchestrator 'stay' as 'kid'",
        "event 'bell'",
    ]


@activity(retry=RetryPolicy(5, 60))
async def flaky(fails: int) -> None:
    """Fails so often, then hangs."""
    if activity_context().attempt <= fails:
        raise OSError(f"attempt {activity_context().attempt}")
    await trio.sleep_forever()


@orchestrator
async def patient(ctx: OrchestrationContext) -> None:
    """Waits for many things, begun at different times."""
    await ctx.sleep(60)
    retried = ctx.call_activity(flaky, 2)
    nap = ctx.create_timer(timedelta(days=1))
    await ctx.sleep(600)
    await ctx.when_all([retried, nap, ctx.wait_for_external_event("bell")])


@CACHES
@pytest.mark.parametrize("restarted", [False, True])
async def test_L9_each_wait_tells_since_when_and_what_went_wrong(cache: int, restarted: bool, autojump_clock: object) -> None:
    """Since when, which attempt, the last error, when a timer is due: live, from disk, and after a restart, where events begin anew."""
    store = MemoryStore()
    async with hub_in(store, patient, flaky, cache_bytes=cache) as hub:
        await hub.start(patient, instance_id="x")
        await trio.sleep(60 + 30)
        waits = {each.step: each for each in (await hub.describe("x")).waiting_for}
        assert (waits["2w2"].attempt, str(waits["2w2"].last_error)) == (2, "OSError: attempt 1")
        await trio.sleep(600)
        before = (await hub.describe("x")).waiting_for
    if restarted:
        async with hub_in(store, patient, flaky, cache_bytes=cache) as hub:
            before = (await hub.describe("x")).waiting_for
    begin = datetime.fromtimestamp(START // 1_000_000, UTC)
    seconds = {each.kind: each.since and (each.since - begin).total_seconds() for each in before}
    assert seconds == {"activity": 60 + 60 + 60, "timer": 60, "event": 60 + 600}
    told = {each.kind: (each.attempt, each.last_error and str(each.last_error), each.due_at, each.step) for each in before}
    assert told == {
        "activity": (3, "OSError: attempt 2", None, "2r3"),
        "timer": (1, None, begin + timedelta(days=1, seconds=60), "3"),
        "event": (1, None, None, None),
    }
