"""Nurseries and cancellation (O7, O13): scopes around and inside, and instances that are cancelled. Every turn is replayed; see ``timing``."""

from __future__ import annotations

from typing import Any

import pytest
from perdure.orchestration import (
    Cancelled,
    Nursery,
    OrchestrationContext,
    RuntimeStatus,
    TooSlowError,
    orchestrator,
)

from .helpers import Bench
from .timing import Timed, timed
from .work import WORK

Context = OrchestrationContext


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, *WORK), body, *arguments)


# --- scopes around and inside


def test_O7_a_scope_around_a_nursery() -> None:
    """A limit around a nursery cuts the block and all its tasks off, and absorbs that; nothing of them stays."""

    @orchestrator
    async def limited(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def one(name: str) -> None:
            try:
                await ctx.sleep(1000)
            finally:
                seen.append(name)

        with ctx.move_on_after(5) as scope:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(one, "a")
                nursery.start_soon(one, "b")
                await ctx.wait_for_external_event("never")
        return [*seen, str(scope.cancelled_caught)]

    subject = started(limited)
    subject.fire()
    assert subject.output == ["a", "b", "True"]
    assert not subject.timers


@pytest.mark.parametrize("caught", [False, True])
def test_O7_cancelled_while_waiting_at_the_end_of_the_block(caught: bool) -> None:
    """A limit that passes while the block waits for its tasks cancels them; the block ends when they have ended."""

    @orchestrator
    async def limited(ctx: Context, caught: bool) -> list[str]:
        seen: list[str] = []

        async def one() -> None:
            try:
                await ctx.wait_for_external_event("never")
            except Cancelled:
                with ctx.CancelScope(shield=True):
                    await ctx.wait_for_external_event("cleaned")
                seen.append("cleaned")
                if not caught:
                    raise

        with ctx.move_on_after(5) as scope:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(one)
            seen.append("after the nursery")
            await ctx.wait_for_external_event("never")
        return [*seen, str(scope.cancelled_caught)]

    subject = started(limited, caught)
    subject.fire()
    assert subject.status is RuntimeStatus.RUNNING, "the block did not wait for the task that cleans up"
    subject.event("cleaned")
    assert subject.output == ["cleaned", *(["after the nursery"] if caught else []), "True"]


def test_O7_fail_after_around_a_nursery() -> None:
    """``fail_after`` around a nursery raises TooSlowError alone, in no group."""

    @orchestrator
    async def limited(ctx: Context) -> str:
        try:
            with ctx.fail_after(5):
                async with ctx.open_nursery() as nursery:
                    nursery.start_soon(waits, ctx)
        except TooSlowError:
            return "too slow"
        return "in time"

    subject = started(limited)
    subject.fire()
    assert subject.output == "too slow"


async def waits(ctx: Context) -> None:
    """Wait for ever."""
    await ctx.wait_for_external_event("never")


def test_O7_a_scope_inside_one_task_is_that_task_s() -> None:
    """A limit inside a task cuts only that task off; the others go on."""

    @orchestrator
    async def limited(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def hurried() -> None:
            with ctx.move_on_after(5):
                await ctx.sleep(1000)
            seen.append("moved on")

        async def patient() -> None:
            seen.append(await ctx.wait_for_external_event("go", str))

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(hurried)
            nursery.start_soon(patient)
        return seen

    subject = started(limited)
    subject.fire()
    subject.event("go", "went on")
    assert subject.output == ["moved on", "went on"]


def test_O7_the_scope_of_a_nursery() -> None:
    """``nursery.cancel_scope.cancel()`` cancels its block and all tasks, and the nursery absorbs that."""

    @orchestrator
    async def stopped(ctx: Context) -> list[bool]:
        async with ctx.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(waits, ctx)
            await ctx.wait_for_external_event("stop")
            nursery.cancel_scope.cancel()
        return [nursery.cancel_scope.cancelled_caught]

    subject = started(stopped)
    subject.event("stop")
    assert subject.output == [True]


def test_O7_a_task_starts_its_siblings() -> None:
    """A task may start others in the nursery that it belongs to, or that it was handed."""

    @orchestrator
    async def growing(ctx: Context) -> int:
        count = 0

        async def grow(nursery: Nursery, left: int) -> None:
            nonlocal count
            count += 1
            await ctx.wait_for_external_event("go")
            if left:
                nursery.start_soon(grow, nursery, left - 1)

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(grow, nursery, 3)
        return count

    subject = started(growing)
    for _ in range(4):
        assert subject.status is RuntimeStatus.RUNNING
        subject.event("go")
    assert subject.output == 4


def test_O7_a_closed_nursery_takes_no_task() -> None:
    """``start_soon`` after the block is refused, and so is what is no coroutine function."""

    @orchestrator
    async def wrong(ctx: Context) -> list[str]:
        seen: list[str] = []

        def plain() -> Any:
            return 1

        async with ctx.open_nursery() as nursery:
            try:
                nursery.start_soon(plain)
            except TypeError as error:
                seen.append(str(error))
        try:
            nursery.start_soon(waits, ctx)
        except RuntimeError as error:
            seen.append(str(error))
        return seen

    subject = started(wrong)
    assert "async def" in subject.output[0]
    assert "closed" in subject.output[1]


# --- the instance is cancelled


@pytest.mark.parametrize("block_waits", [False, True])
def test_O13_cancelling_an_instance_that_waits_in_a_nursery(block_waits: bool) -> None:
    """Cancelled is raised in the tasks, passes out of the nursery, and the instance ends Canceled, not as if nothing was."""

    @orchestrator
    async def waiting(ctx: Context, block_waits: bool) -> str:
        async with ctx.open_nursery() as nursery:
            nursery.start_soon(waits, ctx)
            nursery.start_soon(waits, ctx)
            if block_waits:
                await ctx.wait_for_external_event("never")
        return "went on as if nothing was"

    subject = started(waiting, block_waits)
    subject.cancel()
    assert subject.status is RuntimeStatus.CANCELED


def test_O13_a_task_that_swallows_the_cancellation() -> None:
    """If each task swallows the cancellation, the nursery and the instance go on."""

    @orchestrator
    async def waiting(ctx: Context) -> str:
        async def swallows() -> None:
            try:
                await ctx.wait_for_external_event("never")
            except Cancelled:
                await ctx.wait_for_external_event("cleaned")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(swallows)
        return "went on"

    subject = started(waiting)
    subject.cancel()
    subject.event("cleaned")
    assert subject.output == "went on"


def test_O11_continue_as_new_is_refused_in_a_nursery() -> None:
    """In the block and in a task, with an error that says so; after the nursery it is allowed."""

    @orchestrator
    async def renewing(ctx: Context, seen: list[str]) -> list[str]:
        async def child() -> None:
            try:
                ctx.continue_as_new(["never"])
            except RuntimeError as error:
                seen.append(f"task: {error}")

        if not seen:
            async with ctx.open_nursery() as nursery:
                nursery.start_soon(child)
                try:
                    ctx.continue_as_new(["never"])
                except RuntimeError as error:
                    seen.append(f"block: {error}")
            ctx.continue_as_new(seen)
        return seen

    subject = started(renewing, [])
    assert len(subject.output) == 2
    assert all("nursery" in line for line in subject.output)
