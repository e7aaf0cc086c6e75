"""``ctx.map``: bounded fan-out (O7). Every turn is replayed; see ``timing``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import ActivityFailed, OrchestrationContext, RuntimeStatus, activity, orchestrator
from perdure.orchestration.history import ScheduleActivity
from perdure.orchestration.messages import CancelActivity

from .helpers import Bench
from .timing import Timed, timed

Context = OrchestrationContext


@activity
async def square(number: int) -> int:
    """A square."""
    return number * number


@orchestrator
async def squares(ctx: Context, numbers: list[int], limit: int) -> list[int]:
    """All squares, bounded."""
    return await ctx.map(square, numbers, limit=limit)


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, square), body, *arguments)


def asked(subject: Timed) -> list[str]:
    """The steps of all activities so far."""
    return [entry.id for entry in subject.journal if isinstance(entry, ScheduleActivity)]


@given(count=st.integers(0, 8), limit=st.integers(1, 5), data=st.data())
def test_map_keeps_its_limit_and_order(count: int, limit: int, data: st.DataObject) -> None:
    """In whatever order they end: never more than the limit run, each item once, and the results are in the items' order."""
    subject = started(squares, list(range(count)), limit)
    done: set[str] = set()
    while subject.status is RuntimeStatus.RUNNING:
        running = [step for step in asked(subject) if step not in done]
        assert len(running) == min(limit, count - len(done))
        step = data.draw(st.sampled_from(running))
        done.add(step)
        subject.evict()
        subject.completes(step, subject.argument(step) ** 2)
    assert subject.output == [number * number for number in range(count)]
    assert len(asked(subject)) == count


def test_map_raises_the_first_failure_in_order_when_all_have_ended() -> None:
    """A failure stops nothing: all items run, and the failure of the earliest item is raised in the end."""

    @orchestrator
    async def failing(ctx: Context) -> str:
        try:
            await ctx.map(square, range(4), limit=2)
        except ActivityFailed as error:
            return error.failure.message
        return "no failure"

    subject = started(failing)
    subject.fails("2", ValueError("item 1"))
    subject.fails("1", ValueError("item 0"))
    assert asked(subject) == ["1", "2", "3", "4"]
    subject.completes("4", 9)
    assert subject.status is RuntimeStatus.RUNNING
    subject.completes("3", 4)
    assert subject.output == "item 0"
    assert not subject.record.unawaited_failures


@pytest.mark.parametrize("limit", [0, -1])
def test_map_needs_a_limit(limit: int) -> None:
    """A limit below 1 is a ValueError, and nothing runs."""

    @orchestrator
    async def wrong(ctx: Context, limit: int) -> str:
        try:
            await ctx.map(square, [1], limit=limit)
        except ValueError as error:
            return str(error)
        return "taken"

    subject = started(wrong, limit)
    assert "limit" in subject.output
    assert not asked(subject)


def test_map_in_a_scope() -> None:
    """A scope that is cancelled cancels what runs, and begins no further item."""

    @orchestrator
    async def limited(ctx: Context) -> str:
        with ctx.move_on_after(10):
            await ctx.map(square, range(100), limit=3)
        await ctx.wait_for_external_event("end")
        return "went on"

    subject = started(limited)
    subject.completes("2", 0)
    subject.fire()
    assert asked(subject) == ["2", "3", "4", "5"]
    assert sorted(effect.reply_to.task for effect in subject.sent if isinstance(effect, CancelActivity)) == ["3", "4", "5"]
    subject.event("end")
    assert subject.output == "went on"


def test_two_maps_beside_each_other() -> None:
    """Maps in tasks of a nursery do not shift each other's numbers."""

    @orchestrator
    async def both(ctx: Context) -> list[list[int]]:
        results: list[list[int]] = [[], []]

        async def one(place: int, numbers: list[int]) -> None:
            results[place] = await ctx.map(square, numbers, limit=1)

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(one, 0, [1, 2])
            nursery.start_soon(one, 1, [3, 4])
        return results

    subject = started(both)
    for step in ("2/1", "2/2", "1/1", "1/2"):
        subject.completes(step, subject.argument(step) ** 2)
        if subject.status is RuntimeStatus.RUNNING:
            subject.evict()
            subject.revive()
    assert subject.output == [[1, 4], [9, 16]]
