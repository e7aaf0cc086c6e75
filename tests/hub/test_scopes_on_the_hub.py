"""Scopes, nurseries, timers and retries on a whole hub (O7, O8, O14): live, evicted after every turn, restarted after every commit.

The first part runs the plans of ``durable_shapes`` in all three ways and compares. The second part looks at what only a whole
hub can show: what becomes of the work that a scope cancels.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub
from perdure.hub.records import decode_history
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.orchestration.history import ACTIONS, StartTimer
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .durable_shapes import DEFINITIONS, PLANS, Plan
from .virtual import RestlessStore, holder_of, hub_in, left_over, outcome, runtime_status, tally

Context = OrchestrationContext
Clock = trio.testing.MockClock
EACH = pytest.mark.parametrize("plan", PLANS, ids=str)
LIFETIMES_MAX = 500


async def drive(hub: TaskHub, plan: Plan) -> Any:
    """Start the plan, raise its events at their times, and wait for its result; a repetition changes nothing (D8)."""
    instance = await hub.start(plan.orchestrator, instance_id="plan", request_id="start")
    for number, (at, name, value) in enumerate(plan.events):
        await trio.sleep_until(at)
        if not (await runtime_status(instance)).final:
            await hub.raise_event("plan", name, value, request_id=f"event {number}")
    result = await outcome(instance)
    assert result == plan.result, (await instance.status()).failure
    await hub.wait_idle()
    return result


def steps_of(store: MemoryStore) -> list[str]:
    """Every journaled action of every instance by kind and number, sorted; for timers without their times."""
    entries = [entry for chunk in store.snapshot()[tables.HISTORY].values() for entry in decode_history(chunk)]
    return sorted(f"{type(entry).__name__} {entry.id}" for entry in entries if isinstance(entry, ACTIONS))


async def run(plan: Plan, store: MemoryStore, **options: Any) -> list[str]:
    """One hub from beginning to end; its steps."""
    async with hub_in(store, *DEFINITIONS, **options) as hub:
        await drive(hub, plan)
        for key, value in plan.tallies.items():
            assert await tally(hub, key) == value, key
            assert await holder_of(hub, key) is None
    assert left_over(store) == {}
    return steps_of(store)


def live(plan: Plan) -> list[str]:
    """The steps of a run without evictions and restarts."""

    async def program() -> list[str]:
        return await run(plan, MemoryStore())

    return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))


@EACH
def test_O7_evicted_after_every_turn(plan: Plan) -> None:
    """With nothing kept in memory each plan ends as it says, with the same steps as live, and leaves nothing waiting."""

    async def program() -> list[str]:
        return await run(plan, MemoryStore(), cache_bytes=1)

    evicted = trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    assert evicted == live(plan)


@EACH
def test_O7_restarted_after_every_commit(plan: Plan) -> None:
    """The hub is closed and opened again after each commit; the plan ends as it says, with the same steps as live."""
    store = RestlessStore()

    async def lifetime(commits: int) -> bool:
        ended = False
        async with hub_in(store, *DEFINITIONS) as hub:
            with trio.CancelScope() as scope:
                store.after_commit(commits, scope.cancel)
                await drive(hub, plan)
                ended = True
        return ended

    def progress() -> tuple[Any, ...]:
        disk = store.snapshot()
        return tuple(tuple(disk[table]) for table in (tables.HISTORY, tables.INBOX, tables.INSTANCES, tables.REQUESTS))

    async def program() -> list[str]:
        lifetimes, commits, ended = 0, 1, False
        while not ended:
            lifetimes += 1
            assert lifetimes < LIFETIMES_MAX, "it gets no further"
            before = progress()
            ended = await lifetime(commits)
            commits = 1 if progress() != before else commits + 1
        assert lifetimes > 2
        return await run(plan, store)

    assert trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0)) == live(plan)


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
