"""Cancel scopes (O7): Trio's, in replay. Every turn of every test here is replayed as well; see ``timing``."""

from __future__ import annotations

from perdure.orchestration import (
    Cancelled,
    OrchestrationContext,
    RuntimeStatus,
    TooSlowError,
    orchestrator,
)
from perdure.orchestration.messages import SetTimer

from .helpers import BEGIN, SECOND, Bench
from .timing import Timed, timed
from .work import WORK, add

Context = OrchestrationContext


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, leaf, *WORK), body, *arguments)


@orchestrator
async def leaf(ctx: Context) -> None:
    """A child that waits."""
    await ctx.wait_for_external_event("go")


def test_O7_move_on_after_cuts_its_body_off() -> None:
    """When the limit has passed, the body's await raises, the scope absorbs that, and the code goes on after it."""

    @orchestrator
    async def limited(ctx: Context) -> list[bool]:
        with ctx.move_on_after(5) as scope:
            await ctx.wait_for_external_event("never")
            return []
        return [scope.cancel_called, scope.cancelled_caught]

    subject = started(limited)
    assert subject.due == ["1"]
    subject.fire()
    assert subject.output == [True, True]
    assert not subject.timers


def test_O7_a_body_that_is_quick_drops_the_limit() -> None:
    """A scope that is left in time was not cancelled, and its timer is dropped with the turn."""

    @orchestrator
    async def limited(ctx: Context) -> list[bool]:
        with ctx.move_on_after(5) as scope:
            await ctx.wait_for_external_event("go")
        seen = [scope.cancel_called, scope.cancelled_caught]
        await ctx.wait_for_external_event("end")
        return seen

    subject = started(limited)
    subject.event("go")
    assert not subject.timers
    subject.event("end")
    assert subject.output == [False, False]


def test_O7_fail_after_raises_a_timeout_error() -> None:
    """What comes out of a body that was cut off is TooSlowError, which is a TimeoutError and names the limit."""

    @orchestrator
    async def limited(ctx: Context) -> str:
        try:
            with ctx.fail_after(7):
                await ctx.sleep(100)
        except TimeoutError as error:
            return f"{type(error) is TooSlowError} {error}"
        return "not cut off"

    subject = started(limited)
    assert subject.fire() == "1"
    assert subject.output.startswith("True")
    assert "7" in subject.output
    assert not subject.timers, "the sleep that was cut off is still set"


def test_O7_fail_after_in_time_raises_nothing() -> None:
    """A body that is quick enough passes its result through ``fail_after``; its own TimeoutError too."""

    @orchestrator
    async def limited(ctx: Context) -> list[str]:
        seen: list[str] = []
        with ctx.fail_after(7):
            seen.append(await ctx.wait_for_external_event("go", str))
        try:
            with ctx.fail_after(7):
                raise TimeoutError("mine")
        except TimeoutError as error:
            seen.append(str(error))
        return seen

    subject = started(limited)
    subject.event("go", "quick")
    assert subject.output == ["quick", "mine"]
    assert not subject.timers


def test_O7_scopes_are_level_triggered() -> None:
    """Inside a cancelled scope each await raises again, also in ``finally`` and after the first was swallowed."""

    @orchestrator
    async def stubborn(ctx: Context) -> int:
        raised = 0
        with ctx.move_on_after(5) as scope:
            for _ in range(4):
                try:
                    await ctx.wait_for_external_event("never")
                except Cancelled:
                    raised += 1
        assert not scope.cancelled_caught, "nothing was left to absorb"
        return raised

    subject = started(stubborn)
    subject.fire()
    assert subject.output == 4


def test_O7_the_awaits_after_a_scope_work() -> None:
    """The cancellation ends with its scope."""

    @orchestrator
    async def after(ctx: Context) -> str:
        with ctx.move_on_after(5):
            await ctx.sleep(100)
        return await ctx.wait_for_external_event("go", str)

    subject = started(after)
    subject.fire()
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("go", "went on")
    assert subject.output == "went on"


def test_O7_a_cancelled_wait_consumes_no_event() -> None:
    """An event that arrives after the wait for it was cut off is for the next wait."""

    @orchestrator
    async def waits_again(ctx: Context) -> str:
        with ctx.move_on_after(5):
            await ctx.wait_for_external_event("go", str)
        await ctx.wait_for_external_event("next")
        return await ctx.wait_for_external_event("go", str)

    subject = started(waits_again)
    subject.fire()
    subject.event("go", "kept")
    subject.event("next")
    assert subject.output == "kept"


def test_O7_cancel_is_the_same_without_a_limit() -> None:
    """``scope.cancel()`` makes the next await inside raise; doing so again changes nothing; what is passed is not undone."""

    @orchestrator
    async def self_made(ctx: Context) -> list[str]:
        seen = ["before"]
        with ctx.CancelScope() as scope:
            scope.cancel()
            scope.cancel()
            seen.append("still running")
            await ctx.wait_for_external_event("never")
            seen.append("never here")
        seen.append(str(scope.cancelled_caught))
        return seen

    assert started(self_made).output == ["before", "still running", "True"]


def test_O7_the_outer_scope_wins() -> None:
    """When the outer limit passes first, the outer scope absorbs, the inner one does not, and both timers are gone."""

    @orchestrator
    async def nested(ctx: Context) -> list[bool]:
        with ctx.move_on_after(5) as outer, ctx.move_on_after(50) as inner:
            await ctx.wait_for_external_event("never")
        return [outer.cancelled_caught, inner.cancelled_caught]

    subject = started(nested)
    assert subject.due == ["1", "2"]
    subject.fire()
    assert subject.output == [True, False]
    assert not subject.timers


def test_O7_the_inner_scope_alone() -> None:
    """When the inner limit passes first, the outer scope and what waits in it go on."""

    @orchestrator
    async def nested(ctx: Context) -> list[object]:
        with ctx.move_on_after(500) as outer:
            with ctx.move_on_after(5) as inner:
                await ctx.wait_for_external_event("never")
            value = await ctx.wait_for_external_event("go", str)
        return [outer.cancelled_caught, inner.cancelled_caught, value]

    subject = started(nested)
    subject.fire()
    subject.event("go", "on")
    assert subject.output == [False, True, "on"]
    assert not subject.timers


def test_O7_a_shield_keeps_the_outer_cancellation_away() -> None:
    """Inside a shield the awaits work after the outer limit has passed; the first one after the shield raises."""

    @orchestrator
    async def shielded(ctx: Context) -> list[object]:
        seen: list[object] = []
        with ctx.move_on_after(5) as outer:
            with ctx.CancelScope(shield=True):
                seen.append(await ctx.wait_for_external_event("go", str))
            await ctx.wait_for_external_event("never")
            seen.append("never here")
        seen.append(outer.cancelled_caught)
        return seen

    subject = started(shielded)
    subject.fire()
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("go", "worked")
    assert subject.output == ["worked", True]


def test_O7_a_shield_keeps_its_own_limit() -> None:
    """A shielded scope with a time limit is cancelled by that limit, also when the scope around it was cancelled before."""

    @orchestrator
    async def shielded(ctx: Context) -> list[bool]:
        with ctx.move_on_after(5) as outer, ctx.move_on_after(50, shield=True) as inner:
            await ctx.wait_for_external_event("never")
        return [outer.cancel_called, inner.cancelled_caught]

    subject = started(shielded)
    assert subject.fire() == "1"
    assert subject.due == ["2"], "the limit of the shielded scope is gone, so it would wait for ever"
    subject.fire()
    assert subject.output == [True, True]


def test_O7_cleaning_up_under_a_shield() -> None:
    """A ``finally`` that shields itself, with a limit, can await; this is how one cleans up in a cancelled scope."""

    @orchestrator
    async def cleaning(ctx: Context) -> list[int]:
        seen: list[int] = []
        with ctx.move_on_after(5):
            try:
                await ctx.wait_for_external_event("never")
            finally:
                with ctx.move_on_after(30, shield=True):
                    seen.append(await ctx.call_activity(add, 1, 2))
        return seen

    subject = started(cleaning)
    subject.fire()
    subject.completes("3", 3)
    assert subject.output == [3]
    assert not subject.timers


def test_O7_another_exception_passes() -> None:
    """An exception of the body passes through a cancelled scope unchanged."""

    @orchestrator
    async def failing(ctx: Context) -> str:
        try:
            with ctx.move_on_after(5) as scope:
                try:
                    await ctx.wait_for_external_event("never")
                except Cancelled:
                    raise ValueError("mine") from None
        except ValueError as error:
            return f"{error} {scope.cancelled_caught}"
        return "absorbed"

    subject = started(failing)
    subject.fire()
    assert subject.output == "mine False"


# --- how scopes may be used


def test_O7_a_scope_is_entered_once() -> None:
    """Entering a scope again is refused, and so is a duration that is none, at the line that gives it."""

    @orchestrator
    async def wrong(ctx: Context) -> list[str]:
        seen: list[str] = []
        scope = ctx.CancelScope()
        with scope:
            pass
        try:
            with scope:
                pass
        except RuntimeError as error:
            seen.append(str(error))
        for seconds in (-1, float("nan"), float("inf")):
            for make in (ctx.move_on_after, ctx.fail_after):
                try:
                    make(seconds)
                except ValueError:
                    seen.append("ValueError")
        return seen

    subject = started(wrong)
    assert "once" in subject.output[0]
    assert subject.output[1:] == ["ValueError"] * 6


def test_O7_a_limit_counts_from_entering() -> None:
    """The time of a scope begins when it is entered, not when it is made."""

    @orchestrator
    async def prepared(ctx: Context) -> str:
        scope = ctx.move_on_after(5)
        await ctx.wait_for_external_event("go")
        with scope:
            await ctx.sleep(1000)
        return "moved on"

    subject = started(prepared)
    assert not subject.timers
    subject.now = BEGIN + 100 * SECOND
    subject.event("go")
    limit = min(subject.timers.values())
    assert limit == subject.machine.now + 5 * SECOND
    subject.fire()
    assert subject.output == "moved on"


def test_O7_a_limit_of_zero_lets_the_body_run_to_its_first_await() -> None:
    """A limit of 0 seconds is allowed; the timer is set, and cuts the first await off."""

    @orchestrator
    async def hurried(ctx: Context) -> str:
        with ctx.move_on_after(0):
            await ctx.wait_for_external_event("never")
        return "over"

    subject = started(hurried)
    assert any(isinstance(effect, SetTimer) for effect in subject.sent)
    subject.fire()
    assert subject.output == "over"
