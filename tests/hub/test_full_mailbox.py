"""Memory stays bounded behind a lock or a suspension: an instance with a full mailbox takes nothing more from clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from attrs import define
from perdure.entities import Entity
from perdure.hub import LimitReached, TaskHub, limits
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore


@define
class Tally(Entity):
    value: int = 0

    def add(self) -> int:
        self.value += 1
        return self.value


@orchestrator
async def hold(ctx: OrchestrationContext) -> None:
    async with ctx.lock_entities(Tally.at("t")):
        await ctx.wait_for_external_event("go")


@orchestrator
async def collect(ctx: OrchestrationContext, count: int) -> int:
    return sum([await ctx.wait_for_external_event("number", int) for _ in range(count)])


REQUESTS: dict[str, Callable[[TaskHub], Awaitable[object]]] = {
    "signal": lambda hub: hub.signal_entity(Tally.at("t"), Tally.add),
    "call": lambda hub: hub.call_entity(Tally.at("t"), Tally.add),
    "call once": lambda hub: hub.call_entity(Tally.at("t"), Tally.add, request_id="once"),
}


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_locked_entity_with_a_full_mailbox_refuses_and_recovers(request_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was accepted runs once the lock is gone, what was refused left nothing, and there is room again."""
    monkeypatch.setattr(limits, "MAILBOX_MESSAGES_MAX", 5)
    async with TaskHub("Full", [Tally, hold], MemoryStore()) as hub:
        holder = await hub.start(hold)
        await hub.wait_idle()
        for _ in range(5):
            await hub.signal_entity(Tally.at("t"), Tally.add)

        with pytest.raises(LimitReached, match="5 messages wait for @tally@t"):
            await REQUESTS[request_](hub)

        await holder.raise_event("go")
        await holder.result()
        await hub.wait_idle()
        assert await hub.read_entity(Tally.at("t")) == Tally(5)
        assert await hub.call_entity(Tally.at("t"), Tally.add) == 6


async def test_a_suspended_instance_with_a_full_mailbox_refuses_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events beyond the limit are refused; those before it are all received after the resume."""
    monkeypatch.setattr(limits, "MAILBOX_MESSAGES_MAX", 3)
    async with TaskHub("Full", [collect], MemoryStore()) as hub:
        instance = await hub.start(collect, 3)
        await hub.wait_idle()
        await instance.suspend()
        await hub.wait_idle()
        for number in (1, 2, 3):
            await instance.raise_event("number", number)

        with pytest.raises(LimitReached):
            await instance.raise_event("number", 4)

        await instance.resume()
        assert await instance.result() == 6
