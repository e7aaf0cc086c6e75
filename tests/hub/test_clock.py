"""The hub's clock never goes back, however the wall clock is set (D6)."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define
from perdure.entities import Entity
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage import tables
from perdure.testing.scripted_store import ScriptedStore

from .helpers import FakeClock, Ledger, bank


@define
class Timekeeper(Entity):
    """Notes the time."""

    last: datetime = datetime(2000, 1, 1)

    def look(self) -> datetime:
        """The time of the turn."""
        self.last = self.context.now
        return self.last


@orchestrator
async def times(ctx: OrchestrationContext, steps: int) -> list[datetime]:
    """The time at each step."""
    seen = [ctx.now]
    for _ in range(steps):
        await ctx.wait_for_external_event("tick")
        seen.append(ctx.now)
    return seen


STEPS = [10.0, -3600.0, 0.0, 5.0, -1.0, 7200.0, -86400.0]
"""Seconds by which the wall clock is set, at each look."""


async def test_D6_time_never_goes_back() -> None:
    """However the wall clock is set, neither an entity nor an orchestration sees an earlier time than before."""
    clock = FakeClock()
    store = ScriptedStore()
    seen: list[datetime] = []
    async with bank(store, Timekeeper, times, clock=clock) as hub:
        instance = await hub.start(times, len(STEPS))
        for seconds in STEPS:
            clock.move(seconds)
            seen.append(await hub.call_entity(Timekeeper.at("t"), Timekeeper.look))
            await instance.raise_event("tick")
            await hub.wait_idle()
        told = await instance.result()
    assert seen == sorted(seen)
    assert told == sorted(told)
    assert told[-1] - told[0] == timedelta(seconds=3614)
    assert all(moment.utcoffset() == timedelta(0) for moment in (*seen, *told))


async def look_again_and_again() -> tuple[list[datetime], list[datetime]]:
    """What an entity and an orchestration see of a clock that is set while the hub is closed."""
    clock = FakeClock()
    store = ScriptedStore()
    seen: list[datetime] = []
    told: list[datetime] = []
    for seconds in STEPS:
        async with bank(store, Timekeeper, times, clock=clock) as hub:
            instance = await hub.start(times, len(STEPS), instance_id="i", if_exists="return")
            clock.move(seconds)
            seen.append(await hub.call_entity(Timekeeper.at("t"), Timekeeper.look))
            await instance.raise_event("tick")
            await hub.wait_idle()
            told = (await instance.status()).output
        store = ScriptedStore(store.disk)
    return seen, told


async def test_D6_an_orchestration_never_sees_time_go_back_across_restarts() -> None:
    """A clock that was set back while the hub was closed is not seen going back by an instance."""
    _, told = await look_again_and_again()
    assert len(told) == len(STEPS) + 1
    assert told == sorted(told)


async def test_D6_an_entity_never_sees_time_go_back_across_restarts() -> None:
    """Nor by an entity."""
    seen, _ = await look_again_and_again()
    assert seen == sorted(seen)


async def test_D6_a_clock_set_back_fires_nothing_early_and_loses_nothing() -> None:
    """A timer set before the clock was put back comes when the hub's clock reaches it, once."""

    @orchestrator
    async def naps(ctx: OrchestrationContext) -> float:
        before = ctx.now
        await ctx.sleep(60)
        return (ctx.now - before).total_seconds()

    clock = FakeClock()
    store = ScriptedStore()
    async with bank(store, naps, clock=clock) as hub:
        instance = await hub.start(naps, instance_id="n")
        await hub.wait_idle()
        clock.move(-3600)
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 1)
        await hub.wait_idle()
        assert (await instance.status()).runtime_status is RuntimeStatus.RUNNING
    async with bank(ScriptedStore(store.disk), naps, clock=clock) as hub:
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 2)
        await hub.wait_idle()
        assert (await hub.instance("n").status()).runtime_status is RuntimeStatus.RUNNING
        clock.move(3600 + 61)
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 3)
        assert await hub.instance("n").result() >= 60
    assert store.table(tables.TIMERS) == {}
