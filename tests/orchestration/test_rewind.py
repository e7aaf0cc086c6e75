"""Rewinding an instance that failed (O16): what is taken out of its journal, what is asked for again, what is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from perdure.entities import EntityOperationFailed
from perdure.entities.failures import FailureDetails
from perdure.entities.messages import (
    Answer,
    CallingTask,
    DropSignal,
    Failure,
    LockRequest,
    Operation,
    SectionId,
    Send,
    SendLater,
    Success,
)
from perdure.orchestration import (
    ActivityFailed,
    OrchestrationContext,
    RetryPolicy,
    RuntimeStatus,
    SubOrchestrationFailed,
    orchestrator,
)
from perdure.orchestration.history import LockTaken, Rewound, TaskCompleted, TaskFailed
from perdure.orchestration.messages import (
    CancelActivity,
    DropTimer,
    OrchestrationEffect,
    Renewed,
    Rewind,
    RewindChild,
    SectionGranted,
    SetTimer,
    StartActivity,
    StartChild,
    TaskResult,
    TellChild,
    TimerDue,
)

from .helpers import EXECUTION, Bench, Subject
from .work import WORK, Counter, add, echo

Context = OrchestrationContext
BROKEN = ValueError("broken")
TWICE = RetryPolicy(2, 60)


@orchestrator
async def child(ctx: Context, number: int) -> int:
    """Asks an activity."""
    return await ctx.call_activity(add, number, 1)


@orchestrator
async def pipeline(ctx: Context) -> list[object]:
    """Three activities, one after another; after the second a status, a signal and an event."""
    results: list[object] = [await ctx.call_activity(echo, "first")]
    ctx.set_custom_status("first is done")
    ctx.signal_entity(Counter.at("a"), Counter.add, 1)
    results.append(await ctx.call_activity(echo, "second"))
    results.append(await ctx.wait_for_external_event("third"))
    return results


@orchestrator
async def detour(ctx: Context) -> str:
    """Goes another way around when the first one fails; then fails with what comes behind."""
    try:
        await ctx.call_entity(Counter.at("a"), Counter.add, 1)
        way = "a"
    except EntityOperationFailed:
        await ctx.call_entity(Counter.at("b"), Counter.add, 1)
        way = "b"
    await ctx.call_activity(echo, "behind")
    return way


@orchestrator
async def undoing(ctx: Context) -> str:
    """Undoes what it did when the next step fails, and fails then."""
    await ctx.call_activity(echo, "book")
    try:
        await ctx.call_activity(echo, "pay")
    except ActivityFailed as error:
        await ctx.call_activity(echo, "cancel the booking")
        raise LookupError("not paid") from error
    return "paid"


@orchestrator
async def collecting(ctx: Context) -> int:
    """Keeps failures for later, and raises something that does not lead back to them."""
    failed = 0
    for number in range(3):
        try:
            await ctx.call_activity(add, number, 0)
        except ActivityFailed:
            failed += 1
    if failed:
        raise LookupError(f"{failed} have failed")
    return failed


async def _all(ctx: Context) -> object:
    return await ctx.when_all([ctx.call_activity(add, number, 0) for number in range(3)])


async def _nursery(ctx: Context) -> object:
    async def one(number: int) -> None:
        await ctx.call_activity(add, number, 0)

    async with ctx.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, number)
    return [0, 1, 2]


def _signals(ctx: Context, number: int) -> None:
    ctx.cancel_signal(ctx.signal_entity(Counter.at("a"), Counter.add, number, deliver_at=3600.0))


TAKEN_BACK: dict[str, tuple[Callable[[Context, int], None], type, type]] = {
    "a delayed signal": (_signals, SendLater, DropSignal),
    "an activity": (lambda ctx, number: ctx.call_activity(add, number, 0).cancel(), StartActivity, CancelActivity),
    "a child": (lambda ctx, number: ctx.call_sub_orchestrator(child, number).cancel(), StartChild, TellChild),
    "a timer": (lambda ctx, number: ctx.create_timer(60.0 + number).cancel(), SetTimer, DropTimer),
}


async def _beside_a_failure(ctx: Context, go_on: Callable[[int], Awaitable[None]]) -> None:
    """Go on with how many failures another task has dealt with, which is another number after a rewind; and fail in any case."""
    failures = 0

    async def dealing_with_it() -> None:
        nonlocal failures
        try:
            await ctx.call_activity(echo, "x")
        except ActivityFailed:
            failures += 1

    async with ctx.open_nursery() as nursery:
        nursery.start_soon(dealing_with_it)
        await ctx.wait_for_external_event("go")
        await go_on(failures)
    raise LookupError("in any case")


@orchestrator
async def changing_its_mind(ctx: Context, what: str) -> None:
    """Asks for something that depends on whether another task has failed, takes it back, and fails in any case."""

    async def go_on(failures: int) -> None:
        TAKEN_BACK[what][0](ctx, failures)

    await _beside_a_failure(ctx, go_on)


@orchestrator
async def reminding(ctx: Context, later: float) -> None:
    """Reminds whom, and when, depends on whether another task has failed; and fails in any case."""

    async def go_on(failures: int) -> None:
        ctx.signal_entity(Counter.at(f"{failures} failures"), Counter.add, 1, deliver_at=3600.0 + later * failures)

    await _beside_a_failure(ctx, go_on)


@orchestrator
async def swapping(ctx: Context) -> None:
    """Its last step is an activity if another task has failed, else a delayed signal, which it takes back."""

    async def go_on(failures: int) -> None:
        if not failures:
            _signals(ctx, 1)
            return
        try:
            await ctx.call_activity(echo, "y")
        except ActivityFailed as error:
            if "that is it" in str(error):
                raise

    await _beside_a_failure(ctx, go_on)


GROUPS: dict[str, Callable[[Context], Awaitable[object]]] = {"all": _all, "nursery": _nursery}


@orchestrator
async def group(ctx: Context, how: str) -> object:
    """Three at once, in different ways."""
    return await GROUPS[how](ctx)


@orchestrator
async def stubborn(ctx: Context) -> object:
    """An activity with retries."""
    return await ctx.call_activity(echo.options(retry=TWICE), "x")


@orchestrator
async def several(ctx: Context) -> list[Any]:
    """A timer, a call, a child and an activity with retries, all at once; the activity at the end decides."""
    tasks: list[Any] = [
        ctx.create_timer(3600),
        ctx.call_entity(Counter.at("a"), Counter.add, 1),
        ctx.call_sub_orchestrator(child, 1, instance_id="the child"),
        ctx.call_activity(echo.options(retry=TWICE), "again"),
    ]
    await ctx.call_activity(echo, "decides")
    return await ctx.when_all(tasks[1:])


@orchestrator
async def family(ctx: Context) -> int:
    """A child's result."""
    return await ctx.call_sub_orchestrator(child, 1, instance_id="the child")


@orchestrator
async def locking(ctx: Context, inside: bool) -> None:
    """Fails inside or after a critical section."""
    async with ctx.lock_entities(Counter.at("a")):
        await ctx.call_entity(Counter.at("a"), Counter.add, 1)
        if inside:
            await ctx.call_activity(echo, "inside")
    await ctx.call_activity(echo, "after")


@orchestrator
async def waiting_for_a_lock(ctx: Context) -> None:
    """An activity beside a task that waits for a lock."""

    async def lock() -> None:
        async with ctx.lock_entities(Counter.at("a")):
            pass

    async with ctx.open_nursery() as nursery:
        nursery.start_soon(lock)
        await ctx.call_activity(echo, "beside")


ALL = (
    pipeline,
    detour,
    undoing,
    collecting,
    group,
    stubborn,
    several,
    family,
    child,
    locking,
    waiting_for_a_lock,
    changing_its_mind,
    reminding,
    swapping,
    *WORK,
)


def subject_of(orchestrator: Any, *arguments: Any, parent: CallingTask | None = None) -> Subject:
    """A started instance."""
    return Bench(*ALL).subject(orchestrator, *arguments, parent=parent)


def started(effects: list[OrchestrationEffect]) -> list[str]:
    """Where the activities answer that were started."""
    return [effect.reply_to.task for effect in effects if isinstance(effect, StartActivity)]


def failed(address: str, error: Exception = BROKEN) -> TaskResult:
    """The failure of an activity or call, at the address that it was given."""
    return TaskResult(EXECUTION, address, Failure(FailureDetails.from_exception(error)))


def due(address: str) -> TimerDue:
    """A timer's time has come."""
    return TimerDue(EXECUTION, address)


def answer(subject: Subject, address: str, value: object) -> TaskResult:
    """The answer to an activity or call, at the address that it was given."""
    return TaskResult(subject.record.execution, address, Success(subject.bench.registry.values.codec(object).encode(value)))


def check_replays(subject: Subject) -> None:
    """The journal fits the code, now and after a restart."""
    before, record = list(subject.journal), subject.stored_record
    again = subject.reopened()
    again.revive()
    assert again.record == record
    assert again.journal == before


def test_O16_what_failed_is_asked_for_again_and_what_succeeded_is_kept() -> None:
    """Only the failed activity is started anew, nothing is sent twice, and the instance goes on to its result."""
    subject = subject_of(pipeline)
    subject.completes("1", "one")
    subject.fails("3", BROKEN)
    assert subject.status is RuntimeStatus.FAILED

    effects = subject.rewind("the service is back")
    assert subject.status is RuntimeStatus.RUNNING
    assert [type(effect) for effect in effects] == [Renewed, StartActivity]
    assert started(effects) == ["3@1"]
    assert subject.record.failure is None
    assert subject.record.completed_at is None
    assert Rewound("the service is back", ("3",)) in subject.journal
    assert not [entry for entry in subject.journal if isinstance(entry, TaskFailed)]
    check_replays(subject)

    subject.run(1, answer(subject, "3@1", "two"))
    subject.event("third", "three")
    assert subject.output == ["one", "two", "three"]
    check_replays(subject)


@pytest.mark.parametrize("what", TAKEN_BACK)
def test_O16_what_is_asked_for_differently_is_taken_back_again(what: str) -> None:
    """Code that asks for something else than before, and takes that back as before: the new asking is taken back too."""
    subject = subject_of(changing_its_mind, what)
    subject.fails("1/1", BROKEN)
    subject.event("go")
    assert subject.status is RuntimeStatus.FAILED

    effects = subject.rewind()
    assert subject.status is RuntimeStatus.RUNNING
    assert "1/1@1" in started(effects)
    asked, taken_back = effects[-2:]
    assert (type(asked), type(taken_back)) == TAKEN_BACK[what][1:]
    assert named(taken_back) == named(asked)
    check_replays(subject)


@pytest.mark.parametrize("later", [0.0, 1.0], ids=["at the same time", "at another time"])
def test_O16_a_delayed_signal_that_is_asked_for_differently_takes_the_place_of_the_old_one(later: float) -> None:
    """The old one is withdrawn, if it has not been delivered, before the new one is sent."""
    subject = subject_of(reminding, later)
    subject.fails("1/1", BROKEN)
    (old,) = (effect for effect in subject.event("go") if isinstance(effect, SendLater))
    assert subject.status is RuntimeStatus.FAILED

    effects = subject.rewind()
    assert [type(effect) for effect in effects] == [Renewed, DropSignal, StartActivity, SendLater]
    new = effects[-1]
    assert effects[1] == DropSignal(old.signal_id)
    assert isinstance(new, SendLater)
    assert (new.target, old.target) == (Counter.at("0 failures"), Counter.at("1 failures"))
    assert (new.signal_id == old.signal_id) == (not later)
    check_replays(subject)


def test_O16_a_step_that_was_an_activity_and_becomes_a_delayed_signal_is_taken_back_all_the_same() -> None:
    """What a step was in an earlier generation says nothing about the id of the signal that it sends now."""
    subject = subject_of(swapping)
    subject.fails("1/1", BROKEN)
    subject.event("go")
    subject.run(1, failed("2", ValueError("and that is it")))
    assert started(subject.rewind()) == ["2@1"]
    subject.run(1, failed("2@1", ValueError("go on")))
    assert subject.status is RuntimeStatus.FAILED

    sent, dropped = subject.rewind()[-2:]
    assert isinstance(sent, SendLater)
    assert dropped == DropSignal(sent.signal_id)
    check_replays(subject)


def named(effect: Any) -> object:
    """What says which signal, activity, child or timer an effect is about."""
    if isinstance(effect, StartChild):
        return effect.message.parent
    if isinstance(effect, SetTimer | DropTimer):
        return effect.execution, effect.task, effect.fire_at
    return next(getattr(effect, name) for name in ("signal_id", "reply_to", "parent") if hasattr(effect, name))


def test_O16_an_answer_from_before_is_not_taken_for_one_from_after() -> None:
    """What answers the first asking of a step that is asked for again is dropped."""
    subject = subject_of(pipeline)
    subject.completes("1", "one")
    subject.fails("3", BROKEN)
    subject.rewind()

    assert subject.run(1, answer(subject, "3", "late")) == []
    assert [entry.task for entry in subject.journal if isinstance(entry, TaskCompleted)] == ["1"]


def test_O16_each_rewind_begins_a_generation() -> None:
    """It may fail again, and be rewound again; only the last asking is answered."""
    subject = subject_of(pipeline)
    for generation in range(1, 4):
        subject.run(1, failed("1" if generation == 1 else f"1@{generation - 1}"))
        assert subject.status is RuntimeStatus.FAILED
        assert started(subject.rewind()) == [f"1@{generation}"]
        check_replays(subject)
    assert subject.run(1, answer(subject, "1@2", "late")) == []
    assert started(subject.run(1, answer(subject, "1@3", "one"))) == ["3@3"]


def test_O16_a_failure_that_was_dealt_with_stays() -> None:
    """The way around a failed call is not gone twice: the call's failure is kept, and only what ended the instance is asked again."""
    subject = subject_of(detour)
    subject.fails("1", BROKEN)
    subject.completes("2", 1)
    subject.fails("3", BROKEN)
    assert subject.status is RuntimeStatus.FAILED

    effects = subject.rewind()
    assert started(effects) == ["3@1"]
    assert not [effect for effect in effects if isinstance(effect, Send)]
    subject.run(1, answer(subject, "3@1", None))
    assert subject.output == "b"


def test_O16_what_followed_from_the_failure_is_taken_out() -> None:
    """The compensation of a failed step is no longer in the journal, and is done anew if the step fails again."""
    subject = subject_of(undoing)
    subject.completes("1")
    subject.fails("2", BROKEN)
    subject.completes("3")
    assert subject.failure.type_name == "LookupError"

    assert started(subject.rewind()) == ["2@1"]
    assert subject.steps == ["1", "2"]
    check_replays(subject)
    effects = subject.run(1, failed("2@1"))
    assert started(effects) == ["3@1"]
    assert subject.run(1, answer(subject, "3", "late")) == []
    check_replays(subject)


def test_O16_if_nothing_leads_to_a_step_all_that_failed_are_asked_again() -> None:
    """Code that keeps failures, and raises something of its own at the end, gets new answers to all of them."""
    subject = subject_of(collecting)
    subject.fails("1", BROKEN)
    subject.completes("2", 1)
    subject.fails("3", BROKEN)
    assert subject.failure.message == "2 have failed"

    assert started(subject.rewind()) == ["1@1"]
    assert started(subject.run(1, answer(subject, "1@1", 0))) == ["2@1"], "what comes after the failed step is asked in order"
    check_replays(subject)


@pytest.mark.parametrize("how", GROUPS)
def test_O16_all_of_a_group_that_failed_are_asked_again(how: str) -> None:
    """Every failure of when_all or of a nursery is taken out, not only the first, and what the nursery cancelled is asked again."""
    subject = subject_of(group, how)
    steps = subject.steps
    subject.completes(steps[0], 0)
    for step in steps[1:]:
        subject.fails(step, BROKEN)
    assert subject.status is RuntimeStatus.FAILED

    effects = subject.rewind()
    assert started(effects) == [f"{step}@1" for step in steps[1:]]
    check_replays(subject)
    for step, value in zip(steps[1:], (1, 2), strict=True):
        subject.run(1, answer(subject, f"{step}@1", value))
    assert subject.output == [0, 1, 2]


def test_O16_retries_begin_anew() -> None:
    """A step whose attempts are used up gets all of them again, and none of its old attempts is heard of."""
    subject = subject_of(stubborn)
    subject.fails("1", BROKEN)
    subject.run(1, due("1w2"))
    subject.fails("1r2", BROKEN)
    assert subject.status is RuntimeStatus.FAILED

    assert started(subject.rewind()) == ["1@1"]
    assert subject.steps == ["1"]
    effects = subject.run(1, failed("1@1"))
    assert [effect.task for effect in effects if isinstance(effect, SetTimer)] == ["1w2@1"]
    subject.run(1, due("1w2@1"))
    assert subject.run(1, answer(subject, "1r2", "late")) == []
    subject.run(1, answer(subject, "1r2@1", "x"))
    assert subject.output == "x"
    check_replays(subject)


def test_O16_what_was_open_is_still_open() -> None:
    """Work that had no answer is not asked for twice: its answer counts, whether it comes before the rewind or after it."""
    subject = subject_of(several)
    subject.fails("4", BROKEN)
    subject.fails("5", BROKEN)
    assert subject.status is RuntimeStatus.FAILED
    assert subject.run(1, answer(subject, "2", 1)) == [], "the mail of an instance that has failed waits"
    subject = subject.reopened()

    effects = subject.rewind()
    timers = [(effect.task, effect.fire_at) for effect in effects if isinstance(effect, SetTimer)]
    assert [task for task, _ in timers] == ["1@1", "4w2@1"]
    assert started(effects) == ["5@1"]
    assert not [effect for effect in effects if isinstance(effect, Send | StartChild | RewindChild)]
    subject.run(1, answer(subject, "3", 2))
    subject.run(1, due("4w2@1"))
    subject.run(1, answer(subject, "4r2@1", "at last"))
    subject.run(1, answer(subject, "5@1", None))
    assert subject.output == [1, 2, "at last"]
    check_replays(subject)


def test_O16_a_failure_that_came_after_the_end_is_taken_out_too() -> None:
    """Work that failed when the instance had failed already is asked for again."""
    subject = subject_of(several)
    subject.fails("5", BROKEN)
    subject.fails("2", BROKEN)
    effects = subject.rewind()
    assert started(effects) == ["5@1"]
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    assert [message.reply_to for message in sent if isinstance(message, Operation)] == [CallingTask("instance", EXECUTION, "2@1")]


def test_O16_events_are_kept() -> None:
    """Events that nobody took before the failure are there after the rewind."""
    subject = subject_of(pipeline)
    subject.event("third", "early")
    subject.fails("1", BROKEN)
    assert subject.record.unread_events == 1

    subject.rewind()
    assert subject.record.unread_events == 0
    subject.run(1, answer(subject, "1@1", "one"))
    subject.run(1, answer(subject, "3@1", "two"))
    assert subject.output == ["one", "two", "early"]


def test_O16_a_child_that_failed_is_rewound() -> None:
    """The child is told, with the place where it answers now; its old answer is dropped, the new one counts."""
    subject = subject_of(family)
    subject.fails("1", BROKEN)
    assert subject.failure.is_caused_by(SubOrchestrationFailed)

    effects = subject.rewind("again")
    (told,) = (effect for effect in effects if isinstance(effect, RewindChild))
    new = CallingTask("instance", EXECUTION, "1@1")
    assert (told.instance_id, told.former, told.reason, told.message.parent) == (
        "the child", CallingTask("instance", EXECUTION, "1"), "again", new,
    )  # fmt: skip

    failed = subject_of(child, 1, parent=told.former)
    failed.fails("1", BROKEN)
    effects = failed.run(1, Rewind("again", new))
    assert started(effects) == ["1@1"]
    effects = failed.run(1, answer(failed, "1@1", 2))
    assert [effect.reply_to for effect in effects if isinstance(effect, Answer)] == [new]
    assert subject.run(1, answer(subject, "1", 7)) == []
    subject.run(1, answer(subject, "1@1", 2))
    assert subject.output == 2


@pytest.mark.parametrize("finished", [False, True])
def test_O16_a_child_that_did_not_fail_answers_at_the_new_place(finished: bool) -> None:
    """A child that goes on, or has finished meanwhile, answers where the rewound parent waits now."""
    new = CallingTask("instance", EXECUTION, "1@1")
    subject = subject_of(child, 1, parent=CallingTask("instance", EXECUTION, "1"))
    effects: list[OrchestrationEffect] = []
    if finished:
        subject.completes("1", 2)
        effects += subject.run(1, Rewind(None, new))
    else:
        subject.run(1, Rewind(None, new))
        effects += subject.completes("1", 2)
    assert [effect.reply_to for effect in effects if isinstance(effect, Answer)] == [new]


def test_O16_not_into_a_critical_section() -> None:
    """An instance that failed inside a section is not rewound, and nothing of it changes; its parent is told so."""
    parent = CallingTask("parent", "0a" * 16, "7")
    subject = subject_of(locking, True, parent=parent)
    subject.granted("1")
    subject.completes("2", 1)
    subject.fails("3", BROKEN)
    assert subject.status is RuntimeStatus.FAILED
    journal, record = list(subject.journal), subject.stored_record

    refusal = subject.refusal()
    assert refusal is not None
    assert "critical section of step 1" in refusal
    assert (subject.take(), subject.journal, subject.record) == ([], journal, record)

    effects = subject.run(1, Rewind(None, CallingTask("parent", "0a" * 16, "7@1")))
    (told,) = (effect for effect in effects if isinstance(effect, Answer))
    assert isinstance(told.outcome, Failure)
    assert "cannot be rewound" in told.outcome.failure.message


def test_O16_behind_a_critical_section() -> None:
    """A section that was left before the failure is not entered again."""
    subject = subject_of(locking, False)
    subject.granted("1")
    subject.completes("2", 1)
    subject.fails("4", BROKEN)
    effects = subject.rewind()
    assert [type(effect) for effect in effects] == [Renewed, StartActivity]
    subject.run(1, answer(subject, "4@1", None))
    assert subject.status is RuntimeStatus.COMPLETED


def test_O16_a_lock_that_was_waited_for_is_asked_for_again() -> None:
    """The withdrawn request is sent anew as another section; a late grant of the old one goes back, the new one counts."""
    subject = subject_of(waiting_for_a_lock)
    lock = next(action.id for action in subject.actions if action.id.endswith("/1"))
    subject.fails("2", BROKEN)
    assert subject.status is RuntimeStatus.FAILED
    names = (("counter", "a"),)

    effects = subject.rewind()
    (asked,) = (effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, LockRequest))
    assert asked.section == SectionId("instance", EXECUTION, f"{lock}@1")
    (back,) = subject.run(1, SectionGranted(SectionId("instance", EXECUTION, lock), names))
    assert isinstance(back, Send)
    assert not [entry for entry in subject.journal if isinstance(entry, LockTaken)]
    (release,) = subject.run(1, SectionGranted(asked.section, names))
    assert isinstance(release, Send)
    assert release.message.section == asked.section
    subject.run(1, answer(subject, "2@1", None))
    assert subject.status is RuntimeStatus.COMPLETED


def test_O16_mended_code_is_asked_first() -> None:
    """If the code does not fail any more with the very same answers, nothing is asked for again."""
    fault = [True]

    @orchestrator
    async def mended(ctx: Context) -> str:
        try:
            await ctx.call_activity(echo, "x")
        except ActivityFailed:
            if fault:
                raise LookupError("not thought of") from None
            return "without"
        return "with"

    subject = Bench(mended, *WORK).subject(mended)
    subject.fails("1", BROKEN)
    assert subject.status is RuntimeStatus.FAILED
    fault.clear()
    subject.rewind()
    assert subject.output == "without"


def test_O16_what_fails_by_itself_fails_again() -> None:
    """Code with a fault of its own fails again at once, and stays rewindable."""
    subject = subject_of(group, "no such way")
    assert subject.status is RuntimeStatus.FAILED
    subject.rewind()
    assert subject.failure.type_name == "KeyError"
    assert subject.refusal() is None


def test_O16_a_rewound_start_is_the_same_execution() -> None:
    """Ids and random numbers are those of before: the execution is the same."""

    @orchestrator
    async def drawing(ctx: Context) -> str:
        drawn = str(ctx.uuid4())
        await ctx.call_activity(echo, drawn)
        return drawn

    subject = Bench(drawing, *WORK).subject(drawing)
    drawn = subject.argument("1")
    subject.fails("1", BROKEN)
    subject.rewind()
    subject.run(1, answer(subject, "1@1", None))
    assert subject.output == drawn
