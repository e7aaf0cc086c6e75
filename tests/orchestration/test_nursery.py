"""Nurseries (O7): concurrent tasks of one orchestration. Every turn of every test here is replayed as well; see ``timing``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import (
    ActivityFailed,
    Cancelled,
    OrchestrationContext,
    RuntimeStatus,
    orchestrator,
)
from perdure.orchestration.history import ScheduleActivity
from perdure.orchestration.messages import CancelActivity

from .helpers import Bench
from .timing import Timed, timed
from .work import WORK, add, echo

Context = OrchestrationContext


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, *WORK), body, *arguments)


def test_O7_a_nursery_waits_for_all() -> None:
    """The block ends when its last task has, whatever the order."""

    @orchestrator
    async def both(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def one(name: str) -> None:
            await ctx.wait_for_external_event(name)
            seen.append(name)

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(one, "a")
            nursery.start_soon(one, "b")
            seen.append("block")
        return [*seen, "after"]

    subject = started(both)
    subject.event("b")
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("a")
    assert subject.output == ["block", "b", "a", "after"]


def test_O7_an_empty_nursery_ends_at_once() -> None:
    """A nursery without tasks is left without waiting, and so is one whose tasks do not wait."""

    @orchestrator
    async def quick(ctx: Context) -> list[int]:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async with ctx.open_nursery():
            pass
        async with ctx.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(note, number)
        return seen

    assert started(quick).output == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("where", ["task", "block"])
def test_O7_one_that_fails_cancels_the_others(where: str) -> None:
    """An exception in a task, or in the block, cancels what the others called, and comes out in an ExceptionGroup."""

    @orchestrator
    async def failing(ctx: Context, where: str) -> list[str]:
        seen: list[str] = []

        async def patient() -> None:
            try:
                await ctx.call_activity(add, 1, 1)
            except Cancelled:
                seen.append("cancelled")
                raise

        async def breaks() -> None:
            await ctx.wait_for_external_event("go")
            raise ValueError("boom")

        try:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(patient)
                if where == "task":
                    nursery.start_soon(breaks)
                else:
                    await breaks()
        except ExceptionGroup as group:
            seen.extend(repr(error) for error in group.exceptions)
        return seen

    subject = started(failing, where)
    subject.event("go")
    assert subject.output == ["cancelled", "ValueError('boom')"]
    assert [type(effect) for effect in subject.sent if isinstance(effect, CancelActivity)] == [CancelActivity]


def test_O7_several_failures_come_out_together() -> None:
    """Tasks that fail while they are being cancelled are in the group as well; ``Cancelled`` itself is not."""

    @orchestrator
    async def failing(ctx: Context) -> list[str]:
        async def breaks_late(text: str) -> None:
            try:
                await ctx.wait_for_external_event("never")
            finally:
                raise KeyError(text)

        async def breaks() -> None:
            await ctx.wait_for_external_event("go")
            raise ValueError("first")

        try:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(breaks_late, "second")
                nursery.start_soon(breaks)
                await ctx.wait_for_external_event("never")
        except ExceptionGroup as group:
            return sorted(repr(error) for error in group.exceptions)
        return []

    subject = started(failing)
    subject.event("go")
    assert subject.output == ["KeyError('second')", "ValueError('first')"]


def test_O7_failure_details_keep_the_members() -> None:
    """An instance that fails with a group says so, with its members, and ``is_caused_by`` looks into them."""

    @orchestrator
    async def failing(ctx: Context) -> None:
        async def breaks(error: Exception) -> None:
            raise error

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(breaks, ValueError("one"))

    failure = started(failing).failure
    assert failure.type_name.endswith("ExceptionGroup")
    assert [member.message for member in failure.members] == ["one"]
    assert failure.is_caused_by(ValueError)
    assert not failure.is_caused_by(KeyError)


def test_O7_the_failure_of_an_activity_is_seen_in_the_group() -> None:
    """``except*`` finds the failure of an activity that a task awaited."""

    @orchestrator
    async def failing(ctx: Context) -> str:
        async def call() -> None:
            await ctx.call_activity(add, 1, 1)

        found = "no failure"
        try:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(call)
        except* ActivityFailed as group:
            found = str(group.exceptions[0])
        return found

    subject = started(failing)
    subject.fails("1/1", ValueError("broken"))
    assert "broken" in subject.output


# --- numbers


def test_O7_steps_are_numbered_under_their_opener() -> None:
    """A task's steps carry the number of the step that opened it, so that tasks do not shift each other's numbers."""

    @orchestrator
    async def nested(ctx: Context) -> None:
        async def inner() -> None:
            await ctx.call_activity(echo, "inner")

        async def outer() -> None:
            ctx.call_activity(echo, "outer")
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(inner)

        ctx.call_activity(echo, "root")
        async with ctx.open_nursery() as nursery:
            nursery.start_soon(outer)
            nursery.start_soon(outer)
        await ctx.call_activity(echo, "after")

    subject = started(nested)
    found = {entry.id for entry in subject.journal if isinstance(entry, ScheduleActivity)}
    assert found == {"1", "2/1", "3/1", "2/2/1", "3/2/1"}
    subject.completes("3/2/1")
    subject.completes("2/2/1")
    assert subject.steps[-1] == "4"


@given(order=st.permutations([("a", number) for number in range(3)] + [("b", number) for number in range(3)]))
def test_O7_whatever_the_order_the_numbers_are_the_same(order: list[tuple[str, int]]) -> None:
    """Two tasks with three steps each have the same numbers in every interleaving, and each interleaving replays."""

    @orchestrator
    async def two(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def steps(name: str) -> None:
            for _ in range(3):
                await ctx.wait_for_external_event(name)
                await ctx.call_activity(echo, name)
                seen.append(name)

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(steps, "a")
            nursery.start_soon(steps, "b")
        return seen

    subject = started(two)
    for name, _ in order:
        subject.event(name)
        step = subject.steps[-1]
        assert subject.argument(step) == name
        assert step.startswith("1/" if name == "a" else "2/")
        subject.evict()
        subject.completes(step, name)
    assert sorted(subject.steps) == ["1/1", "1/2", "1/3", "2/1", "2/2", "2/3"]
    assert subject.output == [name for name, _ in order]


def test_O7_tasks_run_first_in_first_out() -> None:
    """Tasks begin in the order of ``start_soon``, after the block has come to its first await, and wake in order."""

    @orchestrator
    async def ordered(ctx: Context) -> list[str]:
        seen: list[str] = []
        shared = ctx.wait_for_external_event("go")

        async def one(name: str) -> None:
            seen.append(f"begin {name}")
            await shared
            seen.append(f"end {name}")

        async with ctx.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(one, name)
            seen.append("block")
        return seen

    subject = started(ordered)
    subject.event("go")
    assert subject.output == ["block", "begin a", "begin b", "begin c", "end a", "end b", "end c"]
