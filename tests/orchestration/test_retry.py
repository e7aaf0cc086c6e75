"""Retry policies (O14): when the next attempt begins, for every policy; and how attempts are numbered in the journal."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities.messages import Failure
from perdure.entities.times import LATEST
from perdure.orchestration import ActivityFailed, FailureDetails, OrchestrationContext, RetryPolicy, orchestrator
from perdure.orchestration.history import CallChild, ScheduleActivity, StartTimer
from perdure.orchestration.messages import SetTimer, TaskResult, TimerDue
from perdure.orchestration.retry import attempt_id, step_and_attempt

from .helpers import EXECUTION, SECOND, Bench
from .timing import timed
from .work import WORK, add

Context = OrchestrationContext
NOW = 1_900_000_000 * SECOND
FAILURE = FailureDetails.from_exception(ValueError("no"))
INTERVALS = st.floats(0, 100_000)


def waits(policy: RetryPolicy, *, called_at: int = NOW, seed: str = "s") -> list[float]:
    """The waits of a policy if every attempt fails at once, seconds; at most 200."""
    found: list[float] = []
    now = called_at
    for attempt in range(1, 200):
        begin = policy.next_attempt_at(attempt, FAILURE, called_at, now, f"{seed}{attempt}")
        if begin is None:
            break
        found.append((begin - now) / SECOND)
        now = begin
    return found


# --- when


@given(attempts=st.integers(1, 20), first=INTERVALS, coefficient=st.floats(1, 3), longest=st.none() | INTERVALS)
def test_O14_the_wait_before_each_attempt(attempts: int, first: float, coefficient: float, longest: float | None) -> None:
    """Attempt n+1 waits first_interval * coefficient**(n-1), at most max_interval; there are as many as allowed."""
    policy = RetryPolicy(attempts, first, coefficient=coefficient, max_interval=longest)
    found = waits(policy)
    assert len(found) == attempts - 1
    for number, wait in enumerate(found):
        exact = min(policy.first_interval * coefficient**number, math.inf if longest is None else policy.max_interval or 0.0)
        if exact < 1e10:
            assert wait == pytest.approx(exact, abs=0.001)


@given(first=INTERVALS, jitter=st.floats(0, 1), seed=st.text())
def test_O14_jitter_shortens_within_its_bounds(first: float, jitter: float, seed: str) -> None:
    """With jitter each wait is between (1 - jitter) and 1 times what it would be, and the same for the same seed."""
    plain, shaken = waits(RetryPolicy(10, first)), waits(RetryPolicy(10, first, jitter=jitter), seed=seed)
    for exact, wait in zip(plain, shaken, strict=True):
        assert exact * (1 - jitter) - 0.001 <= wait <= exact + 0.001
    assert waits(RetryPolicy(10, first, jitter=jitter), seed=seed) == shaken


def test_O14_jitter_differs_between_attempts() -> None:
    """Attempts do not share one factor, and neither do different seeds."""
    policy = RetryPolicy(10, 1000, jitter=1)
    assert len(set(waits(policy))) > 5
    assert waits(policy, seed="a") != waits(policy, seed="b")


@given(limit=st.floats(0, 1000), interval=st.floats(0.1, 100))
def test_O14_no_attempt_begins_after_the_timeout(limit: float, interval: float) -> None:
    """The sum of all waits stays within retry_timeout, and one more would not."""
    found = waits(RetryPolicy(150, interval, retry_timeout=limit))
    assert sum(found) <= limit + 0.001
    assert sum(found) + interval > limit - 0.001 or len(found) == 149


def test_O14_the_timeout_counts_the_running_time_too() -> None:
    """An attempt that took long uses up retry_timeout as well."""
    policy = RetryPolicy(10, 10, retry_timeout=100)
    assert policy.next_attempt_at(1, FAILURE, NOW, NOW + 90 * SECOND, "") == NOW + 100 * SECOND
    assert policy.next_attempt_at(1, FAILURE, NOW, NOW + 91 * SECOND, "") is None


@pytest.mark.parametrize("failed", [1, 2, 308, 309, 310, 1024, 9_999])
def test_O14_nothing_overflows(failed: int) -> None:
    """Coefficient 10 and 10,000 attempts: the wait grows to the latest time there is, and no further."""
    policy = RetryPolicy(10_000, 1, coefficient=10)
    begin = policy.next_attempt_at(failed, FAILURE, NOW, NOW, "")
    assert begin is not None
    assert NOW < begin <= LATEST
    capped = RetryPolicy(10_000, 1, coefficient=10, max_interval=60, jitter=0.5)
    assert (capped.next_attempt_at(failed, FAILURE, NOW, NOW, "") or 0) <= NOW + 60 * SECOND


def test_O14_no_wait_is_no_wait_for_ever() -> None:
    """A first interval of 0 stays 0, whatever the coefficient and the number of attempts."""
    policy = RetryPolicy(10_000, 0, coefficient=10)
    assert policy.next_attempt_at(400, FAILURE, NOW, NOW, "") == NOW


def test_O14_the_predicate_is_asked_with_the_failure() -> None:
    """``False`` ends it; and it is not asked when the attempts are used up."""
    asked: list[FailureDetails] = []

    def never(failure: FailureDetails) -> bool:
        asked.append(failure)
        return False

    policy = RetryPolicy(2, 10, retry_if=never)
    assert policy.next_attempt_at(1, FAILURE, NOW, NOW, "") is None
    assert asked == [FAILURE]
    assert policy.next_attempt_at(2, FAILURE, NOW, NOW, "") is None
    assert asked == [FAILURE]


def test_durations_are_seconds_or_timedeltas() -> None:
    """Both say the same."""
    assert RetryPolicy(3, timedelta(seconds=10), max_interval=timedelta(minutes=1)) == RetryPolicy(3, 10, max_interval=60)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_attempts": 0}, "max_attempts"),
    ({"max_attempts": -1}, "max_attempts"),
    ({"max_attempts": True}, "max_attempts"),
    ({"max_attempts": 2.5}, "max_attempts"),
    ({"first_interval": -1}, "0 or more"),
    ({"first_interval": float("nan")}, "0 or more"),
    ({"coefficient": 0.5}, "coefficient"),
    ({"coefficient": float("inf")}, "coefficient"),
    ({"coefficient": float("nan")}, "coefficient"),
    ({"jitter": -0.1}, "jitter"),
    ({"jitter": 1.1}, "jitter"),
    ({"jitter": float("nan")}, "jitter"),
    ({"max_interval": -1}, "0 or more"),
    ({"retry_timeout": float("inf")}, "0 or more"),
]


@pytest.mark.parametrize(("bad", "named"), BAD, ids=str)
def test_bad_values_are_refused(bad: dict[str, Any], named: str) -> None:
    """Each value out of range is a ValueError that names what is wrong."""
    with pytest.raises(ValueError, match=named):
        RetryPolicy(**{"max_attempts": 3, "first_interval": 1, **bad})


# --- numbers in the journal


@orchestrator
async def child(ctx: Context) -> None:
    """Never answered by itself."""
    await ctx.wait_for_external_event("never")


def test_O14_attempts_stay_under_their_step() -> None:
    """Attempts and waits carry the number of their step, so the steps around them keep theirs."""

    @orchestrator
    async def calls(ctx: Context) -> int:
        first = ctx.call_activity(add.options(retry=RetryPolicy(3, 10)), 1, 1)
        second = ctx.call_activity(add, 2, 2)
        return sum(await ctx.when_all([first, second]))

    subject = timed(Bench(calls, *WORK), calls)
    subject.fails("1", ValueError("no"))
    subject.completes("2", 4)
    subject.fire()
    retry = [entry.id for entry in subject.journal if isinstance(entry, ScheduleActivity | StartTimer)]
    assert retry == ["1", "2", "1w2", "1r2"]
    assert step_and_attempt("1r2") == ("1", 2)
    assert step_and_attempt("4/1") == ("4/1", 1)
    subject.evict()
    subject.fails("1r2", ValueError("no"))
    subject.fire()
    subject.completes("1r3", 2)
    assert subject.output == 6
    assert not subject.timers


def test_O14_no_timer_after_the_last_attempt() -> None:
    """The last failure is raised in the turn in which it arrives."""

    @orchestrator
    async def calls(ctx: Context) -> str:
        try:
            await ctx.call_activity(add.options(retry=RetryPolicy(2, 10)), 1, 1)
        except ActivityFailed as error:
            return error.failure.message
        return "no failure"

    subject = timed(Bench(calls, *WORK), calls)
    subject.fails("1", ValueError("first"))
    subject.fire()
    subject.fails("1r2", ValueError("second"))
    assert subject.output == "second"
    assert not subject.timers


def test_O14_ten_thousand_attempts() -> None:
    """With coefficient 10 all 10,000 attempts are made, none waits longer than the cap, and the last failure is raised."""

    @orchestrator
    async def calls(ctx: Context) -> str:
        policy = RetryPolicy(10_000, 1, coefficient=10, max_interval=60)
        try:
            await ctx.call_activity(add.options(retry=policy), 1, 1)
        except ActivityFailed as error:
            return error.failure.message
        return "no failure"

    subject = Bench(calls, *WORK).subject(calls)
    failure = Failure(FAILURE)
    for attempt in range(1, 10_000):
        effects = subject.run(3, TaskResult(EXECUTION, attempt_id("1", attempt), failure))
        (timer,) = [effect for effect in effects if isinstance(effect, SetTimer)]
        assert timer.fire_at <= subject.machine.now + 60 * SECOND
        subject.run(3, TimerDue(EXECUTION, timer.task))
    subject.run(3, TaskResult(EXECUTION, "1r10000", Failure(FailureDetails("ValueError", "the last"))))
    assert subject.output == "the last"
    assert len([entry for entry in subject.journal if isinstance(entry, ScheduleActivity)]) == 10_000
    assert len([entry for entry in subject.journal if isinstance(entry, StartTimer)]) == 9_999


def test_O14_a_replay_draws_the_same_jitter() -> None:
    """Evicted between all attempts, the timers are those of a run that was not."""

    @orchestrator
    async def calls(ctx: Context) -> int:
        return await ctx.call_activity(add.options(retry=RetryPolicy(6, 100, jitter=1)), 1, 1)

    timers: list[list[int]] = []
    for evict in (False, True):
        subject = timed(Bench(calls, *WORK), calls)
        for attempt in range(1, 6):
            if evict:
                subject.evict()
            subject.fails("1" if attempt == 1 else f"1r{attempt}", ValueError("no"))
            subject.fire()
        timers.append([entry.fire_at for entry in subject.journal if isinstance(entry, StartTimer)])
    assert timers[0] == timers[1]
    assert len(timers[0]) == 5


def test_O15_a_retried_child_keeps_its_id() -> None:
    """Each attempt asks for the same child id, given or generated."""

    @orchestrator
    async def calls(ctx: Context) -> None:
        await ctx.call_sub_orchestrator(child.options(retry=RetryPolicy(3, 10)))

    subject = timed(Bench(calls, child, *WORK), calls)
    subject.fails("1", ValueError("no"))
    subject.fire()
    children = [entry for entry in subject.journal if isinstance(entry, CallChild)]
    assert [entry.id for entry in children] == ["1", "1r2"]
    assert len({entry.instance_id for entry in children}) == 1


def test_O10_a_retried_failure_that_nobody_awaits() -> None:
    """Only the last failure counts as unawaited, once; the failures that were retried do not."""

    @orchestrator
    async def calls(ctx: Context) -> None:
        ctx.call_activity(add.options(retry=RetryPolicy(2, 10)), 1, 1)
        await ctx.wait_for_external_event("go")

    subject = timed(Bench(calls, *WORK), calls)
    subject.fails("1", ValueError("first"))
    subject.fire()
    subject.fails("1r2", ValueError("second"))
    subject.event("go")
    assert [failure.message for failure in subject.record.unawaited_failures] == ["second"]
