"""Scenarios of timers, scopes, nurseries, retries, patches and renewals."""

from __future__ import annotations

from datetime import timedelta

import trio
from perdure.entities import EntityOperationFailed
from perdure.orchestration import (
    ActivityFailed,
    Cancelled,
    OrchestrationContext,
    RetryPolicy,
    SubOrchestrationFailed,
    TaskCancelled,
    TooSlowError,
    activity,
    orchestrator,
)

from .scenarios import defined, plan, raising
from .virtual import Tally

Context = OrchestrationContext
defined(Tally)


# --- what they call


@defined
@activity
async def rest(seconds: float) -> float:
    """Take so long."""
    await trio.sleep(seconds)
    return seconds


@defined
@activity
async def never_good() -> int:
    """Fail."""
    raise ValueError("not good")


@defined
@orchestrator
async def waiting_child(ctx: Context, key: str) -> str:
    """Wait for ever; count when cancelled."""
    try:
        await ctx.wait_for_external_event("never")
    except Cancelled:
        await ctx.call_entity(Tally.at(key), Tally.add, 1)
        raise
    return "never here"


# --- scopes and timers


@plan(["first", "moved on", "True", "too slow", "cancelled", "60"])
@orchestrator
async def limits(ctx: Context) -> list[str]:
    """Time limits one after another, and a timer that is cancelled by hand."""
    begin = ctx.now
    seen = ["first"]
    with ctx.move_on_after(20) as scope:
        await ctx.wait_for_external_event("never")
    seen += ["moved on", str(scope.cancelled_caught)]
    try:
        with ctx.fail_after(timedelta(seconds=30)):
            await ctx.call_activity(rest, 5000.0)
    except TooSlowError:
        seen.append("too slow")
    timer = ctx.create_timer(100_000)
    timer.cancel()
    try:
        await timer
    except TaskCancelled:
        seen.append("cancelled")
    await ctx.sleep(10)
    return [*seen, str(round((ctx.now - begin).total_seconds()))]


@plan(["inner", "outer", "shielded 7"], raising("go", 7, at=40))
@orchestrator
async def nested_scopes(ctx: Context) -> list[str]:
    """Scopes in scopes, and a shield."""
    seen: list[str] = []
    with ctx.move_on_after(20) as outer:
        with ctx.move_on_after(10) as inner:
            await ctx.wait_for_external_event("never")
        seen += ["inner"] * inner.cancelled_caught
        try:
            await ctx.wait_for_external_event("never")
        finally:
            with ctx.CancelScope(shield=True):
                value = await ctx.wait_for_external_event("go", int)
    seen += ["outer"] * outer.cancelled_caught
    return [*seen, f"shielded {value}"]


@plan("went on", compensated=1, called=5)
@orchestrator
async def everything_inside(ctx: Context) -> str:
    """A scope is cancelled with an activity, a timer, a child, an entity call and a lock request inside."""
    with ctx.move_on_after(20):
        ctx.call_activity(rest, 5000.0)
        ctx.create_timer(5000)
        ctx.call_sub_orchestrator(waiting_child, "compensated")
        ctx.call_entity(Tally.at("called"), Tally.add, 5)
        await ctx.wait_for_external_event("never")
    await ctx.sleep(30)
    return "went on"


@plan("late", raising("ok", at=100))
@orchestrator
async def approval(ctx: Context) -> str:
    """A race that the timer wins."""
    event, limit = ctx.wait_for_external_event("ok"), ctx.create_timer(60)
    return "ok" if await ctx.when_any([event, limit]) is event else "late"


# --- nurseries


@plan(["c", "b", "a", "all"])
@orchestrator
async def concurrent(ctx: Context) -> list[str]:
    """Tasks of different length."""
    seen: list[str] = []

    async def one(name: str, seconds: float) -> None:
        await ctx.call_activity(rest, seconds)
        await ctx.sleep(seconds)
        seen.append(name)

    async with ctx.open_nursery() as nursery:
        for number, name in enumerate("abc"):
            nursery.start_soon(one, name, 30.0 - 10 * number)
    return [*seen, "all"]


@plan(["cancelled b", "ValueError boom"], raising("go", at=15))
@orchestrator
async def failing_nursery(ctx: Context) -> list[str]:
    """One task fails, the other one is cancelled."""
    seen: list[str] = []

    async def patient(name: str) -> None:
        try:
            await ctx.call_activity(rest, 5000.0)
        except Cancelled:
            seen.append(f"cancelled {name}")
            raise

    async def breaks() -> None:
        await ctx.wait_for_external_event("go")
        raise ValueError("boom")

    try:
        async with ctx.open_nursery() as nursery:
            nursery.start_soon(breaks)
            nursery.start_soon(patient, "b")
    except* ValueError as group:
        seen += [f"{type(error).__name__} {error}" for error in group.exceptions]
    return seen


@plan(["x 1", "y 1", "x 2", "y 2"], x=3, y=3)
@orchestrator
async def sections_beside_each_other(ctx: Context) -> list[str]:
    """Tasks that want sections: one at a time, first come, first served."""
    seen: list[str] = []

    async def twice(key: str) -> None:
        for number in (1, 2):
            async with ctx.lock_entities(Tally.at(key)):
                await ctx.call_entity(Tally.at(key), Tally.add, number)
                await ctx.sleep(5)
                seen.append(f"{key} {number}")

    async with ctx.open_nursery() as nursery:
        nursery.start_soon(twice, "x")
        nursery.start_soon(twice, "y")
    return seen


@plan([0.0, 3.0, 6.0, 9.0, 12.0])
@orchestrator
async def mapped(ctx: Context) -> list[float]:
    """Bounded fan-out."""
    return await ctx.map(rest, [3.0 * number for number in range(5)], limit=2)


# --- retries


@plan(["0.0", "not good", "3 refusals"])
@orchestrator
async def retried(ctx: Context) -> list[str]:
    """Activities and entity calls that are retried."""
    policy = RetryPolicy(3, 10, coefficient=2, jitter=0.3)
    seen = [str(await ctx.call_activity(rest.options(retry=policy), 0.0))]
    try:
        await ctx.call_activity(never_good.options(retry=policy))
    except ActivityFailed as error:
        seen.append(error.failure.message)
    try:
        await ctx.call_entity(Tally.at("t"), Tally.refuse, "3 refusals", retry=policy)
    except EntityOperationFailed as error:
        seen.append(error.failure.message)
    return seen


@plan("failed as it should")
@orchestrator
async def retried_child(ctx: Context) -> str:
    """A child that fails three times."""
    try:
        await ctx.call_sub_orchestrator(always_failing.options(retry=RetryPolicy(3, 10)), instance_id="kid")
    except SubOrchestrationFailed as error:
        return error.failure.message
    return "no failure"


@defined
@orchestrator
async def always_failing(ctx: Context) -> None:
    """Fail after a while."""
    await ctx.sleep(5)
    raise ValueError("failed as it should")


# --- events, renewals, patches


@plan([1, 2, 3], raising("n", 1, at=10), raising("N", 2, at=20), raising("n", 3, at=30), raising("n", 0, at=40))
@orchestrator
async def stream(ctx: Context) -> list[int]:
    """An iterator over events."""
    seen: list[int] = []
    async for number in ctx.events("n", int):
        if not number:
            break
        seen.append(number)
    return seen


@plan([1, 2, 3], raising("n", 1, at=10), raising("n", 2, at=20), raising("n", 3, at=30))
@orchestrator
async def renewed(ctx: Context, seen: list[int] = []) -> list[int]:  # noqa: B006 - each execution decodes its own
    """One event an execution, with a timer beside it."""
    if len(seen) < 3:
        ctx.create_timer(5000)
        ctx.continue_as_new([*seen, await ctx.wait_for_external_event("n", int)])
    return seen


@plan(["True", "5.0", "True"])
@orchestrator
async def patched(ctx: Context) -> list[str]:
    """A patch that all executions have."""
    seen = [str(ctx.patched("one"))]
    seen.append(str(await ctx.call_activity(rest, 5.0)))
    return [*seen, str(ctx.patched("one"))]
