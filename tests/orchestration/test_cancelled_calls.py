"""What was called inside a scope, and single tasks that are cancelled (O7, O8). Every turn is replayed; see ``timing``."""

from __future__ import annotations

from typing import Any

import pytest
from perdure.orchestration import (
    DurableTask,
    OrchestrationContext,
    RuntimeStatus,
    TaskCancelled,
    orchestrator,
)
from perdure.orchestration.messages import CancelActivity, TellChild

from .helpers import Bench
from .timing import Timed, timed
from .work import WORK, Counter, add

Context = OrchestrationContext


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, leaf, *WORK), body, *arguments)


@orchestrator
async def leaf(ctx: Context) -> None:
    """A child that waits."""
    await ctx.wait_for_external_event("go")


# --- what was called inside


def test_O7_what_was_called_inside_is_cancelled() -> None:
    """With its scope: a timer is dropped, an activity cancelled, a child told; work from outside goes on."""

    @orchestrator
    async def calling(ctx: Context) -> int:
        outside = ctx.call_activity(add, 1, 1)
        with ctx.move_on_after(5):
            ctx.create_timer(1000)
            ctx.call_activity(add, 2, 2)
            ctx.call_sub_orchestrator(leaf, instance_id="kid")
            await outside
        return await outside

    subject = started(calling)
    subject.sent_since()
    subject.fire()
    sent = subject.sent_since()
    assert [effect.reply_to.task for effect in sent if isinstance(effect, CancelActivity)] == ["4"]
    assert [effect.instance_id for effect in sent if isinstance(effect, TellChild)] == ["kid"]
    assert not subject.timers
    assert subject.status is RuntimeStatus.RUNNING
    subject.completes("1", 2)
    assert subject.output == 2


def test_O7_work_called_inside_a_cancelled_scope_is_cancelled_too() -> None:
    """A timer set in a scope that has been cancelled already does not outlive the scope."""

    @orchestrator
    async def late(ctx: Context) -> None:
        with ctx.move_on_after(5):
            try:
                await ctx.wait_for_external_event("never")
            finally:
                await ctx.sleep(5000)
        await ctx.wait_for_external_event("go")

    subject = started(late)
    subject.fire()
    assert subject.status is RuntimeStatus.RUNNING
    assert not subject.timers, "the sleep in the finally was cut off, and its timer stayed"


def test_O8_a_timer_that_lost_goes_with_its_scope() -> None:
    """A timer that was set inside a scope and lost a race is dropped when the scope is left, not only at the end."""

    @orchestrator
    async def race(ctx: Context) -> None:
        with ctx.CancelScope():
            await ctx.when_any([ctx.wait_for_external_event("go"), ctx.create_timer(5000)])
        await ctx.wait_for_external_event("end")

    subject = started(race)
    subject.event("go")
    assert subject.status is RuntimeStatus.RUNNING
    assert not subject.timers


def test_O7_the_result_of_cancelled_work_is_dropped() -> None:
    """An entity call made inside still runs; its answer and that of a cancelled activity change nothing afterwards."""

    @orchestrator
    async def calling(ctx: Context) -> str:
        with ctx.move_on_after(5):
            activity_call = ctx.call_activity(add, 2, 2)
            await ctx.when_all([ctx.call_entity(Counter.at("a"), Counter.add, 1), activity_call])
        return await ctx.wait_for_external_event("go", str)

    subject = started(calling)
    answers = [subject.answer("2", 4), subject.answer("3", 1)]
    subject.fire()
    before = len(subject.journal)
    subject.run(3, *answers)
    assert len(subject.journal) == before, "a late answer reached the journal"
    subject.event("go", "fine")
    assert subject.output == "fine"


def test_O7_cancelled_work_raises_task_cancelled() -> None:
    """Awaiting, after the scope, a task that was cancelled with it raises TaskCancelled, an ordinary exception."""

    @orchestrator
    async def calling(ctx: Context) -> list[str]:
        with ctx.move_on_after(5):
            inside = ctx.call_activity(add, 2, 2)
            await inside
        try:
            await inside
        except Exception as error:
            return [type(error).__name__, str(inside.done)]
        return []

    subject = started(calling)
    subject.fire()
    assert subject.output == ["TaskCancelled", "True"]


# --- task.cancel()


@pytest.mark.parametrize("kind", ["timer", "activity", "event", "when_all", "child"])
def test_O7_cancelling_one_task(kind: str) -> None:
    """A task that was cancelled is done; awaiting it raises TaskCancelled each time; cancelling it again changes nothing."""

    @orchestrator
    async def calling(ctx: Context, kind: str) -> list[str]:
        seen: list[str] = []
        task: DurableTask[Any]
        match kind:
            case "timer":
                task = ctx.create_timer(1000)
            case "activity":
                task = ctx.call_activity(add, 1, 2)
            case "event":
                task = ctx.wait_for_external_event("never")
            case "child":
                task = ctx.call_sub_orchestrator(leaf, instance_id="kid")
            case _:
                task = ctx.when_all([ctx.call_activity(add, 1, 2)])
        task.cancel()
        task.cancel()
        seen.append(str(task.done))
        for _ in range(2):
            try:
                await task
            except TaskCancelled as error:
                seen.append(type(error).__name__)
        await ctx.wait_for_external_event("go")
        return seen

    subject = started(calling, kind)
    assert not subject.timers
    cancelled = [effect for effect in subject.sent if isinstance(effect, CancelActivity | TellChild)]
    assert len(cancelled) == (kind in ("activity", "child"))
    subject.event("go")
    assert subject.output == ["True", "TaskCancelled", "TaskCancelled"]


def test_O7_cancelling_a_finished_task_changes_nothing() -> None:
    """The result of a task that has finished stays."""

    @orchestrator
    async def calling(ctx: Context) -> int:
        call = ctx.call_activity(add, 1, 2)
        await call
        call.cancel()
        return await call

    subject = started(calling)
    subject.completes("1", 3)
    assert subject.output == 3


@pytest.mark.parametrize("combined", [False, True])
def test_O7_a_wait_that_was_cancelled_while_awaited_eats_no_event(combined: bool) -> None:
    """A wait that another task cancels, awaited directly or in a combinator, takes no later event from the others."""

    @orchestrator
    async def racing(ctx: Context, combined: bool) -> list[str]:
        seen: list[str] = []
        wait = ctx.wait_for_external_event("go", str)

        async def waiter() -> None:
            try:
                await (ctx.when_all([wait]) if combined else wait)
            except Exception:  # that it is TaskCancelled is another test's business
                seen.append("cancelled")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(waiter)
            await ctx.wait_for_external_event("next")
            wait.cancel()
        await ctx.wait_for_external_event("next")
        seen.append(await ctx.wait_for_external_event("go", str))
        return seen

    subject = started(racing, combined)
    subject.event("next")
    subject.event("go", "for the other one")
    subject.event("next")
    assert subject.status is RuntimeStatus.COMPLETED, "the event was lost"
    assert subject.output == ["cancelled", "for the other one"]


def test_O8_a_timer_that_somebody_still_awaits_stays() -> None:
    """A timer that was set inside a scope, and that another task awaits when the scope is left, has not lost: it fires."""

    @orchestrator
    async def shared(ctx: Context) -> str:
        seen: list[str] = []

        async def waiter(timer: DurableTask[None]) -> None:
            await timer
            seen.append("fired")

        async with ctx.open_nursery() as nursery:
            with ctx.CancelScope():
                nursery.start_soon(waiter, ctx.create_timer(50))
                await ctx.wait_for_external_event("go")
        return seen[0]

    subject = started(shared)
    subject.event("go")
    assert len(subject.timers) == 1
    subject.fire()
    assert subject.output == "fired"
