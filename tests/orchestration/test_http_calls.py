"""``ctx.call_http`` by hand: the test is the server and the clock. What is journaled, how it is numbered, how it ends.

After whatever happens, the journal is replayed by a fresh machine, which must ask for just the same (see :mod:`.timing`).
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import (
    ActivityFailed,
    HttpError,
    HttpHeaders,
    HttpResponse,
    OrchestrationContext,
    RetryPolicy,
    TaskCancelled,
    TooSlowError,
    activity,
    orchestrator,
)
from perdure.orchestration.history import CancelWork, ScheduleActivity, StartTimer
from perdure.orchestration.http_defaults import HTTP_ACTIVITY
from perdure.orchestration.http_message import HttpRequest
from perdure.orchestration.messages import CancelActivity, DropTimer
from perdure.orchestration.retry import step_and_attempt

from .helpers import SECOND, Bench
from .timing import Timed, timed
from .work import WORK, add

Context = OrchestrationContext
URL = "https://api.example/jobs"


@activity(name=HTTP_ACTIVITY)
async def sends(request: HttpRequest) -> HttpResponse:
    """Answered by the tests."""
    raise AssertionError(request)


def accepted(location: str | None = "/jobs/7", **headers: str) -> HttpResponse:
    fields = [*headers.items(), *([] if location is None else [("Location", location)])]
    return HttpResponse(202, HttpHeaders(tuple(fields)), b"", URL)


def done(status: int = 200) -> HttpResponse:
    return HttpResponse(status, HttpHeaders(), b"all", URL)


def started(code: Any) -> Timed:
    """An instance of that code that has run up to its first wait."""
    return timed(Bench(code, sends, *WORK), code)


def calling(**options: Any) -> Any:
    """An orchestrator that makes one call; it returns the status, or how the call failed."""

    @orchestrator
    async def calls(ctx: Context) -> str:
        try:
            response = await ctx.call_http("POST", f"{URL}?key=swordfish", **options)
        except ActivityFailed as error:
            too_slow = error.failure.is_caused_by(TooSlowError)
            return f"{error} {'too slow' if too_slow else ''}"
        return f"{response.status_code} {response.text} {response.url}"

    return calls


def work_of(subject: Timed) -> list[str]:
    """The journaled requests and waits, by number."""
    return [entry.id for entry in subject.journal if isinstance(entry, ScheduleActivity | StartTimer)]


def waits_of(subject: Timed) -> list[int]:
    """How long each timer waits from the turn that set it, whole seconds."""
    found: list[int] = []
    turn = 0
    for entry in subject.journal:
        turn = getattr(entry, "at", turn)
        if isinstance(entry, StartTimer):
            found.append((entry.fire_at - turn) // SECOND)
    return found


def request_of(subject: Timed, step: str) -> HttpRequest:
    return subject.argument(step)


# --- polling


@pytest.mark.parametrize("polls", [0, 1, 2, 9, 12])
def test_O1_polls_until_another_status(polls: int) -> None:
    """Each poll is an activity after a timer, under its own number; the first answer that is no 202 is the result."""
    subject = started(calling())
    numbers = ["1", *(f"1p{number}" for number in range(1, polls + 1))]
    for number in numbers[:-1]:
        subject.completes(number, accepted(**{"Retry-After": "600"}))
        subject.evict()
        subject.fire()
    subject.completes(numbers[-1], done(404))
    assert subject.output == f"404 all {URL}"
    assert work_of(subject) == ["1", *(each for number in numbers[1:] for each in (f"{number}w1", number))]
    assert waits_of(subject) == [600] * polls
    assert not subject.timers


def test_the_numbers_of_polls_are_read_like_others() -> None:
    """The attempts of a poll belong to the poll, which is a step of its own to whoever reads numbers: it has its own key."""
    assert step_and_attempt("3p1") == ("3p1", 1)
    assert step_and_attempt("4/1p12r3") == ("4/1p12", 3)


def test_what_is_sent() -> None:
    """The request holds what was given; the poll is a GET on the place, with the headers and without the body."""
    subject = started(calling(content={"a": 1}, headers={"Authorization": "k"}, timeout=7, response_bytes_max=5))
    first = request_of(subject, "1")
    assert (first.method, first.url, first.content) == ("POST", f"{URL}?key=swordfish", b'{"a":1}')
    subject.completes("1", accepted("7"))
    subject.fire()
    poll = request_of(subject, "1p1")
    assert (poll.method, poll.url, poll.content) == ("GET", "https://api.example/7", None)
    assert poll.headers.fields == (("Authorization", "k"),)
    assert poll.response_bytes_max == 5
    assert {action.timeout for action in subject.actions if isinstance(action, ScheduleActivity)} == {7}


def test_without_the_pattern_a_202_is_the_answer() -> None:
    """With ``asynchronous_pattern=False`` nothing is polled."""
    subject = started(calling(asynchronous_pattern=False))
    subject.completes("1", accepted())
    assert subject.output.startswith("202 ")
    assert work_of(subject) == ["1"]


def test_a_202_without_a_place_is_the_answer() -> None:
    """There is nothing to poll."""
    subject = started(calling())
    subject.completes("1", accepted(None))
    assert subject.output.startswith("202 ")


def test_a_poll_without_a_place_goes_on_where_it_was() -> None:
    """A 202 of a poll that names no place means the same place again, however often."""
    subject = started(calling())
    subject.completes("1", accepted("/jobs/7"))
    for number in ("1p1", "1p2"):
        subject.fire()
        subject.completes(number, accepted(None))
    subject.fire()
    assert request_of(subject, "1p3") == request_of(subject, "1p1")


def test_an_impossible_place_is_a_failure() -> None:
    """A 202 that names no http place fails the call, with the reason."""
    subject = started(calling())
    subject.completes("1", accepted("ftp://api.example/7"))
    assert "HttpError" in subject.output
    assert "ftp://api.example/7" in subject.output


# --- failures, and attempts


def test_O5_a_failure_names_the_place() -> None:
    """The error says what was called, without the query, which may hold secrets."""
    subject = started(calling())
    subject.fails("1", ConnectionError("no route"))
    assert "activity 'POST https://api.example/jobs' failed with ConnectionError: no route" in subject.output
    assert "swordfish" not in subject.output


def test_O14_each_request_has_its_own_attempts() -> None:
    """Failures are tried again by the policy, also those of a poll, and each poll counts from one."""
    subject = started(calling(retry=RetryPolicy(2, 10)))
    subject.fails("1", ConnectionError("no"))
    subject.fire()
    subject.completes("1r2", accepted())
    subject.fire()
    subject.fails("1p1", ConnectionError("no"))
    subject.evict()
    subject.fire()
    subject.completes("1p1r2", accepted())
    subject.fire()
    subject.fails("1p2", ConnectionError("no"))
    subject.fire()
    subject.fails("1p2r2", ConnectionError("never"))
    assert "ConnectionError: never" in subject.output
    assert work_of(subject) == ["1", "1w2", "1r2", "1p1w1", "1p1", "1p1w2", "1p1r2", "1p2w1", "1p2", "1p2w2", "1p2r2"]


def test_O14_an_error_status_is_no_failure() -> None:
    """A policy has nothing to do with an answer of 503."""
    subject = started(calling(retry=RetryPolicy(2, 10)))
    subject.completes("1", done(503))
    assert subject.output.startswith("503 ")


def test_O10_a_failure_that_nobody_awaits_is_seen_once() -> None:
    """A call that is given up by its code and fails is counted among the failures that nobody awaited."""

    @orchestrator
    async def careless(ctx: Context) -> None:
        ctx.call_http("GET", URL, retry=RetryPolicy(2, 1))
        await ctx.sleep(100)

    subject = started(careless)
    subject.fails("1", ConnectionError("first"))
    subject.fire()
    subject.fails("1r2", ConnectionError("second"))
    subject.fire()
    assert [failure.message for failure in subject.record.unawaited_failures] == ["second"]


# --- the limit of the whole


def test_O8_the_total_timeout_ends_a_wait() -> None:
    """When the time is up the wait between two polls is forgotten, and the call fails at that moment."""
    subject = started(calling(total_timeout=timedelta(seconds=100)))
    subject.completes("1", accepted(**{"Retry-After": "3600"}))
    assert subject.due == ["1t", "1p1w1"]
    assert subject.fire() == "1t"
    assert subject.output.endswith("too slow")
    assert "total timeout of 100 s" in subject.output
    assert not subject.timers


def test_O8_the_total_timeout_ends_a_request() -> None:
    """A request that is under way when the time is up is cancelled."""
    subject = started(calling(total_timeout=100))
    subject.sent_since()
    subject.fire()
    assert subject.output.endswith("too slow")
    assert any(isinstance(effect, CancelActivity) for effect in subject.sent_since())


def test_O8_the_total_timeout_is_forgotten() -> None:
    """A call that ends in time, well or not, leaves no timer; and one without a limit sets none."""
    for end in (lambda subject: subject.completes("1", done()), lambda subject: subject.fails("1", ValueError("no"))):
        subject = started(calling(total_timeout=100))
        assert subject.due == ["1t"]
        end(subject)
        assert not subject.timers
    assert work_of(started(calling())) == ["1"]


# --- a task like others


def test_O7_a_cancelled_call_ends_its_request_and_its_wait() -> None:
    """``cancel()`` cancels the request or the wait that is under way, and the limit; awaiting the task then says so."""

    @orchestrator
    async def cancels(ctx: Context) -> str:
        task = ctx.call_http("GET", URL, total_timeout=1000)
        await ctx.wait_for_external_event("enough")
        task.cancel()
        try:
            await task
        except TaskCancelled:
            return "cancelled"
        return "not cancelled"

    for polling in (False, True):
        subject = started(cancels)
        if polling:
            subject.completes("1", accepted())
        subject.sent_since()
        subject.event("enough")
        assert subject.output == "cancelled"
        kinds = {type(effect) for effect in subject.sent_since()}
        assert kinds >= ({DropTimer} if polling else {DropTimer, CancelActivity})
        assert {entry.task for entry in subject.journal if isinstance(entry, CancelWork)} == {"1t", "1p1w1" if polling else "1"}
        assert not subject.timers


def test_O7_a_scope_cancels_what_was_called_in_it() -> None:
    """A scope whose time is up takes the call, its wait and its limit along; one called in a cancelled scope is cancelled at once."""

    @orchestrator
    async def scoped(ctx: Context) -> str:
        with ctx.move_on_after(10) as scope:
            await ctx.call_http("GET", URL, total_timeout=1000)
        with ctx.CancelScope() as cancelled:
            cancelled.cancel()
            task = ctx.call_http("GET", URL, total_timeout=1000)
        try:
            await task
        except TaskCancelled:
            await ctx.wait_for_external_event("go")
            return f"cancelled {scope.cancelled_caught}"
        return "not cancelled"

    subject = started(scoped)
    subject.completes("2", accepted())
    assert subject.due == ["1", "2p1w1", "2t"]
    subject.fire()
    assert not subject.timers
    assert work_of(subject) == ["1", "2t", "2", "2p1w1", "3t", "3"]
    subject.event("go")
    assert subject.output == "cancelled True"


def test_O6_calls_in_combinators() -> None:
    """Calls run side by side with other work, in when_all and when_any, and steps around them keep their numbers."""

    @orchestrator
    async def both(ctx: Context) -> list[int]:
        first, second = ctx.call_http("GET", URL), ctx.call_http("GET", URL)
        third = ctx.call_activity(add, 1, 1)
        assert await ctx.when_any([first, second]) is second
        answers = await ctx.when_all([first, second])
        return [answers[0].status_code, answers[1].status_code, await third]

    subject = started(both)
    assert work_of(subject) == ["1", "2", "3"]
    subject.completes("1", accepted())
    subject.completes("2", done(201))
    subject.completes("3", 2)
    subject.fire()
    subject.completes("1p1", done(200))
    assert subject.output == [200, 201, 2]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"timeout": -1}, ValueError, "0 or more"),
        ({"total_timeout": float("nan")}, ValueError, "finite"),
        ({"timeout": "5"}, TypeError, "number of seconds"),
        ({"headers": {"a": "\n"}}, ValueError, "header 'a'"),
        ({"content": object()}, TypeError, "JSON"),
    ],
)
def test_misuse_is_refused_at_the_call(options: dict[str, Any], error: type[Exception], said: str) -> None:
    """What is wrong is raised by the call itself, which has then asked for nothing; the code may go on."""

    @orchestrator
    async def wrong(ctx: Context) -> int:
        with pytest.raises(error, match=said):
            ctx.call_http("GET", URL, **options)
        return await ctx.call_activity(add, 1, 1)

    subject = started(wrong)
    assert subject.steps == ["1"]
    subject.completes("1", 2)
    assert subject.output == 2


@given(seed=st.integers(0, 2**32))
def test_O1_whatever_happens_a_replay_fits(seed: int) -> None:
    """For any order of answers, failures, timers, evictions and restarts, each replay fits, and the end leaves nothing behind."""
    dice = random.Random(seed)
    subject: Timed = started(calling(retry=RetryPolicy(3, 5, jitter=0.5), total_timeout=dice.choice([50, 500, 50_000])))
    for _ in range(40):
        if subject.machine.finished:
            break
        kernel = subject.machine.kernel
        assert kernel is not None
        requests = [number for number, work in kernel.open.items() if isinstance(work, ScheduleActivity)]
        match dice.randrange(6):
            case 0 if requests:
                subject.fails(requests[0], HttpError("no"))
            case 1 if requests:
                subject.completes(requests[0], done())
            case 2 | 3 if requests:
                headers = {"Retry-After": str(dice.randrange(300))}
                subject.completes(requests[0], accepted(dice.choice(["/jobs/8", "https://b.example", None]), **headers))
            case 4:
                subject.evict()
            case _ if subject.timers:
                subject.fire()
            case _:
                pass
    if subject.machine.finished:
        assert not subject.timers
        assert subject.output


def test_O19_a_call_from_code_that_is_dropped_is_none() -> None:
    """A call from a ``finally`` that runs since the code leaves memory asks for nothing."""
    closed: list[str] = []

    @orchestrator
    async def clings(ctx: Context) -> None:
        try:
            await ctx.wait_for_external_event("go")
        finally:
            closed.append("called")
            await ctx.call_http("DELETE", URL, total_timeout=10)

    subject = started(clings)
    subject.evict()
    assert closed
    assert subject.steps == []
    subject.event("go")
    assert work_of(subject) == ["1t", "1"]
