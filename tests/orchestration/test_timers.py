"""Timers of one orchestration (O8): numbers, times, races, and what is dropped when. Every turn is replayed; see ``timing``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import StartTimer
from perdure.orchestration.messages import TimerDue

from .helpers import EXECUTION, SECOND, Bench, time_of
from .timing import Timed, timed
from .work import WORK, add

Context = OrchestrationContext


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, *WORK), body, *arguments)


@orchestrator
async def nap(ctx: Context, seconds: float) -> float:
    """Sleep; how long that was by the context's time."""
    before = ctx.now
    await ctx.sleep(seconds)
    return (ctx.now - before) / timedelta(seconds=1)


@given(st.floats(0, 1e9))
def test_O8_a_timer_is_for_the_time_of_its_turn(seconds: float) -> None:
    """It is due the duration after the turn that set it, rounded up to a microsecond; by ``ctx.now`` it is never early."""
    subject = started(nap, seconds)
    (due,) = subject.timers.values()
    assert 0 <= due - subject.machine.now - seconds * SECOND < 1.5
    subject.fire()
    assert subject.output >= round(seconds, 6) - 1e-6


def test_O8_the_ways_to_say_it() -> None:
    """A duration in seconds, a timedelta and an aware datetime of any zone mean the same point in time."""

    @orchestrator
    async def four(ctx: Context) -> None:
        time = ctx.now + timedelta(hours=1)
        ctx.create_timer(3600)
        ctx.create_timer(timedelta(hours=1))
        ctx.create_timer(time)
        await ctx.when_any([ctx.sleep(3600), ctx.sleep_until(time)])

    subject = started(four)
    assert len(subject.timers) == 5
    assert set(subject.timers.values()) == {subject.machine.now + 3600 * SECOND}


BAD: list[tuple[str, Any, str]] = [
    ("create_timer", datetime(2040, 1, 1), "ValueError"),
    ("sleep_until", datetime(2040, 1, 1), "ValueError"),
    ("create_timer", -1, "ValueError"),
    ("sleep", float("nan"), "ValueError"),
    ("sleep", float("inf"), "ValueError"),
    ("sleep", timedelta(days=-1), "ValueError"),
    ("sleep", 1e12, "ValueError"),
    ("sleep", datetime(2040, 1, 1, tzinfo=UTC), "TypeError"),
    ("sleep_until", 10, "TypeError"),
    ("create_timer", "10", "TypeError"),
    ("create_timer", True, "TypeError"),
]


@pytest.mark.parametrize(("verb", "time", "error"), BAD, ids=str)
def test_O8_bad_times_are_refused_at_the_call(verb: str, time: Any, error: str) -> None:
    """The call raises, and takes no step number: the next step has the number that it would have had."""

    @orchestrator
    async def wrong(ctx: Context) -> str:
        try:
            getattr(ctx, verb)(time)
        except (ValueError, TypeError) as refused:
            await ctx.call_activity(add, 1, 1)
            return type(refused).__name__
        return "taken"

    subject = started(wrong)
    assert subject.steps == ["1"]
    subject.completes("1", 2)
    assert subject.output == error


def test_O8_a_point_in_time_that_has_passed() -> None:
    """Such a timer is set like any other, and is due at once; it does not finish within the turn."""

    @orchestrator
    async def late(ctx: Context) -> bool:
        timer = ctx.create_timer(datetime(2000, 1, 1, tzinfo=UTC))
        seen = timer.done
        await timer
        return seen

    subject = started(late)
    assert subject.status is RuntimeStatus.RUNNING
    subject.fire()
    assert subject.output is False


def test_O8_a_race_with_a_timer() -> None:
    """The loser's timer goes when the instance ends, in the same turn."""

    @orchestrator
    async def race(ctx: Context) -> str:
        event, limit = ctx.wait_for_external_event("ok"), ctx.create_timer(60)
        return "ok" if await ctx.when_any([event, limit]) is event else "late"

    subject = started(race)
    subject.event("ok")
    assert subject.output == "ok"
    assert not subject.timers
    other = started(race)
    other.fire()
    assert other.output == "late"


@pytest.mark.parametrize("how", ["fails", "terminated", "cancelled"])
def test_O8_however_it_ends_the_timers_go(how: str) -> None:
    """A failing, terminated or cancelled instance drops all its timers with its last turn, evicted or not."""

    @orchestrator
    async def several(ctx: Context) -> None:
        for seconds in (10, 20, 30):
            ctx.create_timer(seconds)
        await ctx.wait_for_external_event("fail")
        raise ValueError("failed")

    for evict in (False, True):
        subject = started(several)
        assert len(subject.timers) == 3
        if evict:
            subject.evict()
        match how:
            case "fails":
                subject.event("fail")
            case "terminated":
                subject.terminate()
            case _:
                subject.cancel()
        assert subject.machine.finished
        assert not subject.timers


def test_O8_a_timer_fires_once() -> None:
    """What comes late changes nothing: a second firing, that of a cancelled timer, or of another execution."""

    @orchestrator
    async def two(ctx: Context) -> str:
        cancelled = ctx.create_timer(5)
        await ctx.create_timer(10)
        cancelled.cancel()
        return await ctx.wait_for_external_event("go", str)

    subject = started(two)
    subject.run(3, TimerDue(EXECUTION, "2"))
    del subject.timers[EXECUTION, "2"]
    before = list(subject.journal)
    for message in (TimerDue(EXECUTION, "2"), TimerDue(EXECUTION, "1"), TimerDue("ee" * 16, "2"), TimerDue(EXECUTION, "99")):
        subject.run(3, message)
    assert subject.journal == before
    subject.event("go", "fine")
    assert subject.output == "fine"


@given(delays=st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_O8_the_time_of_the_journal(delays: list[int]) -> None:
    """Whatever the delays, each replay sets the same timers for the same times, and ``ctx.now`` after each is not before it."""

    @orchestrator
    async def one_after_another(ctx: Context, delays: list[int]) -> list[datetime]:
        seen: list[datetime] = []
        for delay in delays:
            await ctx.sleep(delay)
            seen.append(ctx.now)
        return seen

    subject = started(one_after_another, delays)
    due: list[int] = []
    for _ in delays:
        subject.evict()
        due.append(min(subject.timers.values()))
        subject.fire()
    assert [entry.fire_at for entry in subject.journal if isinstance(entry, StartTimer)] == due
    assert all(now >= time_of(time) for now, time in zip(subject.output, due, strict=True))
