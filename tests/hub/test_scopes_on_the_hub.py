"""Timers and events on a whole hub: what the journal says of a timer (O8), and starting with an event (O9)."""

from __future__ import annotations

import pytest
import trio.testing
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.orchestration.history import StartTimer
from perdure.storage.memory_store import MemoryStore

from .virtual import hub_in

Context = OrchestrationContext
Clock = trio.testing.MockClock


async def test_O9_start_and_raise(autojump_clock: Clock) -> None:
    """It starts what is not there and raises the event, both or neither; a finished instance is refused."""

    @orchestrator
    async def sums(ctx: Context) -> int:
        return sum([await ctx.wait_for_external_event("n", int) for _ in range(2)])

    async with hub_in(MemoryStore(), sums) as hub:
        first = await hub.start_and_raise(sums, instance_id="s", event="N", value=1)
        await hub.start_and_raise(sums, instance_id="s", event="n", value=2)
        assert await first.result() == 3
        with pytest.raises(Exception, match="finished"):
            await hub.start_and_raise(sums, instance_id="s", event="n", value=3)
        with pytest.raises(ValueError, match="event"):
            await hub.start_and_raise(sums, instance_id="other", event="", value=3)
        assert [item.instance_id for item in (await hub.query_instances()).items] == ["s"]


async def test_O8_the_journal_has_the_timer_s_time(autojump_clock: Clock) -> None:
    """What is journaled of a timer is its time, so a replay a year later sets it for the same moment."""

    @orchestrator
    async def naps(ctx: Context) -> None:
        await ctx.sleep(20)

    async with hub_in(MemoryStore(), naps) as hub:
        instance = await hub.start(naps)
        await instance.result()
        (timer,) = [entry for entry in await instance.history() if isinstance(entry, StartTimer)]
        created = (await instance.status()).created_at
        assert timer.fire_at - round(created.timestamp() * 1_000_000) == 20_000_000
