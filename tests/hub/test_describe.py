"""``hub.describe`` says why an instance is where it is (L9)."""

from __future__ import annotations

from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage.memory_store import MemoryStore


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
    assert third.waiting_for == ("the lock of @room@1, held by 'first', place 2 in the queue",)
    assert third.section == (Room.at("1"), Room.at("2"))
    assert first.waiting_for == ("event 'leave'",)


async def test_L9_an_instance_names_its_unfinished_steps_and_events() -> None:
    """Timers, children and events that are waited for are listed, also after the instance left memory."""
    async with TaskHub("Hotel", [Room, stay, several], MemoryStore(), cache_bytes=1) as hub:
        await hub.start(several, instance_id="busy")
        await hub.wait_idle()

        busy = await hub.describe("busy")

        assert hub.statistics().evictions > 0
    assert busy.runtime_status is RuntimeStatus.RUNNING
    assert [line.split(" with ")[0].partition(" for ")[0] for line in busy.waiting_for] == [
        "step 1: create_timer",
        "step 2: call_sub_orchestrator 'stay' as 'kid'",
        "event 'bell'",
    ]
