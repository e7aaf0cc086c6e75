"""What goes through a whole hub, or comes due all at once, takes turns with running work; counted in turns, not in time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub, limits, lots
from perdure.hub.engine import Engine
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.orchestration.status import OrchestrationRecord
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .helpers import STUCK_SECONDS, FakeClock

MANY = 1000
SCANNED_AT_A_TIME = 64
ROUNDS = 4
"""Two steps of another task may follow each other, since Trio's order is random, and every second turn of the work is one that says so."""

trace: list[str] = []
"""What happened, in order."""


@define
class Counter(Entity):
    """A number."""

    value: int = 0

    def step(self) -> None:
        """Count; the busy one says so."""
        self.value += 1
        trace.append("turn")

    def note(self) -> None:
        """Count, and say that it was due."""
        self.value += 1
        trace.append("due")


@orchestrator
async def busy(ctx: OrchestrationContext) -> None:
    """Call an entity until told to stop."""
    task = ctx.wait_for_external_event("stop")
    while not task.done:
        await ctx.call_entity(Counter.at("busy"), Counter.step)


@orchestrator
async def quick(ctx: OrchestrationContext) -> None:
    """End at once."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    trace.clear()


def working(**options: Any) -> TaskHub:
    """A hub, not yet open."""
    return TaskHub("Working", [Counter, busy, quick], MemoryStore(), **options)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def beside_work(hub: TaskHub, long: Callable[[], Awaitable[object]]) -> None:
    """Do something that takes long while an orchestration works."""
    instance = await hub.start(busy)
    await until(lambda: "turn" in trace)
    trace.clear()
    with trio.fail_after(STUCK_SECONDS):
        await long()
    done = trace.copy()
    await instance.raise_event("stop")
    await instance.result()
    trace[:] = done


async def many_finished(hub: TaskHub) -> None:
    async with hub.batch() as batch:
        for _ in range(MANY):
            batch.start(quick)
    await hub.wait_idle()


def longest_run(events: Sequence[str], what: str) -> int:
    """How often something happened at most without a turn in between."""
    return max((len(list(group)) for event, group in itertools.groupby(events) if event == what), default=0)


def noting(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, what: str) -> None:
    """Have each call of a method in the trace."""
    original = getattr(owner, name)

    def noted(self: Any, *arguments: Any) -> Any:
        trace.append(what)
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, noted)


# --- going through everything


async def test_what_changes_many_instances_takes_turns_with_running_work() -> None:
    """Purging, cleaning and adopting a retention period, which go through a hub in lots, let turns be run after every few changes."""
    async with working() as hub:
        await many_finished(hub)
        runtime = hub._open_runtime()  # pyright: ignore[reportPrivateUsage] - what the verbs have in common

        async def change_all() -> None:
            await lots.in_lots(
                runtime, OrchestrationRecord, tables.ORCHESTRATION_KIND, lambda record: record.name == "quick",
                lambda _: trace.append("change"),
            )  # fmt: skip

        await beside_work(hub, change_all)
    assert trace.count("change") == MANY
    assert 0 < longest_run(trace, "change") <= ROUNDS * lots.CHANGES_AT_A_TIME


async def test_O16_purging_by_filter_takes_turns_with_running_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two turns of an orchestration that works, no more than a few instances are removed."""
    noting(monkeypatch, Engine, "purge", "purge")
    async with working() as hub:
        await many_finished(hub)
        await beside_work(hub, lambda: hub.purge(status="Completed"))
    assert trace.count("purge") == MANY
    assert 0 < longest_run(trace, "purge") <= ROUNDS * lots.CHANGES_AT_A_TIME


async def test_queries_take_turns_with_running_work() -> None:
    """Between two turns no more than a few records are looked at, though none of them is wanted."""
    async with working() as hub:
        await many_finished(hub)
        runtime = hub._open_runtime()  # pyright: ignore[reportPrivateUsage] - what the verbs have in common

        def matches(record: OrchestrationRecord) -> bool:
            trace.append("look")
            return False

        async def look_at_all() -> None:
            await lots.in_lots(runtime, OrchestrationRecord, tables.ORCHESTRATION_KIND, matches, lambda _: None)

        await beside_work(hub, look_at_all)
    assert trace.count("look") >= MANY
    assert 0 < longest_run(trace, "look") <= ROUNDS * SCANNED_AT_A_TIME


# --- what is due at once


async def test_O16_retention_takes_turns_with_running_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time of many finished instances is over at one moment, turns are run between the removals, as many as those."""
    noting(monkeypatch, Engine, "purge", "purge")
    clock = FakeClock()
    async with working(retention=3600, clock=clock) as hub:
        await many_finished(hub)

        async def time_passes() -> None:
            clock.move(7200)
            await until(lambda: trace.count("purge") >= MANY)

        await beside_work(hub, time_passes)
    assert 0 < longest_run(trace, "purge") <= ROUNDS * limits.DUE_AT_A_TIME
    assert trace.count("turn") >= MANY // 4


async def test_E10_many_signals_at_one_moment_take_turns_with_running_work() -> None:
    """Who is ready does not wait for all signals that are due, but for a bounded number of turns."""
    clock = FakeClock()
    async with working(clock=clock) as hub:
        async with hub.batch() as batch:
            for number in range(MANY):
                batch.signal_entity(Counter.at(str(number)), Counter.note, deliver_at=60)

        async def time_passes() -> None:
            clock.move(120)
            await until(lambda: trace.count("due") >= MANY)

        await beside_work(hub, time_passes)
    assert 0 < longest_run(trace, "due") <= ROUNDS * limits.DUE_AT_A_TIME


# --- one busy instance


async def test_a_huge_batch_to_one_entity_takes_turns_with_others() -> None:
    """Of 100,000 signals to one entity a few are worked off between two turns of others, and other clients get in before the end."""
    worked_off = 0
    async with working() as hub:

        async def flood() -> None:
            nonlocal worked_off
            async with hub.batch() as batch:
                for _ in range(100_000):
                    batch.signal_entity(Counter.at("flooded"), Counter.note)
            await hub.signal_entity(Counter.at("other"), Counter.step)
            worked_off = trace.count("due")

        await beside_work(hub, flood)
    assert 0 < longest_run(trace, "due") <= ROUNDS * limits.TURN_MESSAGES_MAX
    assert 0 < worked_off < 100_000
