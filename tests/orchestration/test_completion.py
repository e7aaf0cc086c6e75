"""How an execution ends (O10, O13): at once, once and for all, with what was left over counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from perdure.entities.messages import Answer, CallingTask, Failure, Success
from perdure.orchestration import (
    ActivityFailed,
    OrchestrationContext,
    OrchestrationTerminated,
    RuntimeStatus,
    SubOrchestrationFailed,
    orchestrator,
)
from perdure.orchestration.history import ExecutionEnded, ExecutionStarted
from perdure.orchestration.messages import EventRaised, Finished, TaskResult, TellChild, Terminate
from perdure.storage.errors import NotStorable

from .helpers import EXECUTION, Bench, Subject
from .work import WORK, Counter, add, echo

PARENT = CallingTask("parent", "0a" * 16, "7")


@orchestrator
async def child(ctx: OrchestrationContext) -> None:
    """Waits for ever."""
    await ctx.wait_for_external_event("never")


@orchestrator
async def leaving_work_behind(ctx: OrchestrationContext, how: str) -> str:
    """Ends while an activity, an entity call and a child are open, and two events are unread."""
    ctx.call_activity(echo, "open")
    ctx.call_entity(Counter.at("a"), Counter.add, 1)
    ctx.call_sub_orchestrator(child, instance_id="the child")
    await ctx.wait_for_external_event("end")
    if how == "fail":
        raise LookupError("as told")
    return how


def ending(how: str, parent: CallingTask | None = None) -> tuple[Subject, list[Any]]:
    """An instance that has ended in that way, and what its last turn sent."""
    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, how, parent=parent)
    subject.run(1, subject.raised("Unread", 1), subject.raised("Unread", 2))
    effects = subject.terminate("as told") if how == "terminate" else subject.event("end")
    return subject, effects


@pytest.mark.parametrize("how", ["return", "fail"])
def test_O10_open_work_is_detached(how: str) -> None:
    """An execution that returns or fails does not wait for its open work and does not stop it: it only says that it is done."""
    _, effects = ending(how)
    assert effects == [Finished()]


@pytest.mark.parametrize("how", ["return", "terminate"])
def test_O10_what_comes_after_the_end_is_dropped(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Late results, events, terminations and resumes change neither record nor journal, send nothing, and are logged."""
    caplog.set_level(logging.INFO, "perdure.orchestration")
    subject, _ = ending(how)
    journal, record = list(subject.journal), subject.stored_record
    assert isinstance(journal[-1], ExecutionEnded)

    late = [subject.answer("1", "late"), subject.raised("end"), Terminate("late")]
    for message in late:
        caplog.clear()
        assert subject.run(1, message) == []
        assert len(caplog.records) == 1
        assert "'instance'" in caplog.records[0].getMessage()
    assert subject.resume() == []

    assert subject.journal == journal
    assert subject.record == record
    assert not subject.machine.mailbox.inbox


def test_O16_what_comes_after_a_failure_waits_for_a_rewind() -> None:
    """Late results and events wait, and change nothing; terminations and resumes are dropped."""
    subject, _ = ending("fail")
    journal, record = list(subject.journal), subject.stored_record
    for message in (subject.answer("1", "late"), subject.raised("end"), Terminate("late")):
        assert subject.run(1, message) == []
    assert subject.resume() == []

    assert (subject.journal, subject.record) == (journal, record)
    assert [type(message) for _, message in subject.machine.mailbox.inbox] == [TaskResult, EventRaised]


@pytest.mark.parametrize("how", ["return", "fail", "terminate"])
def test_O10_unread_events_are_counted(how: str) -> None:
    """The record has the number of events that nobody took."""
    subject, _ = ending(how)
    assert subject.record.unread_events == 2


def test_O10_the_first_final_state_wins() -> None:
    """Of an end and a termination that arrive together, the one that comes first in the mailbox's order decides, for good."""
    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, "return")
    subject.event("end")
    assert subject.terminate() == []
    assert (subject.status, subject.output) == (RuntimeStatus.COMPLETED, "return")

    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, "return")
    subject.terminate("first")
    assert subject.event("end") == []
    assert subject.status is RuntimeStatus.TERMINATED


def test_O10_an_unawaited_failure_is_shown_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that nobody awaited is in the record and in a WARNING; awaited and combined ones are not."""

    @orchestrator
    async def careless(ctx: OrchestrationContext) -> str:
        forgotten, awaited, combined, raced, second = (ctx.call_activity(echo, number) for number in range(5))
        with pytest.raises(ActivityFailed):
            await awaited
        with pytest.raises(ActivityFailed):
            await ctx.when_all([combined, second])
        winner = await ctx.when_any([raced, forgotten])
        await ctx.wait_for_external_event("end")
        return str(winner.id)

    subject = Bench(careless, *WORK).subject(careless)
    subject.fails("2", ValueError("awaited"))
    subject.fails("3", ValueError("combined"))
    subject.fails("5", ValueError("combined too"))
    subject.fails("4", ValueError("raced"))
    subject.fails("1", ValueError("forgotten"))
    subject.evict()
    subject.event("end")

    assert subject.output == "4"
    assert sorted(each.message for each in subject.record.unawaited_failures) == ["forgotten", "raced"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "forgotten" in "".join(warnings)


class Unspeakable(Exception):
    """Cannot be described."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    @property
    def failure(self) -> str:
        """Is none."""
        raise RuntimeError("no details")


@pytest.mark.parametrize(
    ("error", "type_name"),
    [
        (ValueError("x"), "ValueError"),
        (KeyboardInterrupt("x"), "KeyboardInterrupt"),
        (SystemExit("x"), "SystemExit"),
        (GeneratorExit("x"), "GeneratorExit"),
        (StopAsyncIteration("x"), "RuntimeError"),
        (StopIteration("x"), "RuntimeError"),
        (ExceptionGroup("x", [KeyError("a"), ValueError("b")]), "ExceptionGroup"),
        (Unspeakable(), Unspeakable.__module__ + ".Unspeakable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_O10_whatever_is_raised_fails_the_instance_alone(error: BaseException, type_name: str) -> None:
    """An orchestrator that raises, be it SystemExit, has failed with that; nothing is raised into the hub."""

    @orchestrator
    async def raising(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(add, 1, 1)
        raise error

    subject = Bench(raising, *WORK).subject(raising)
    assert subject.completes("1", 2) == [Finished()]
    assert subject.failure.type_name in (type_name, type(error).__name__)
    assert subject.failure.is_caused_by(type(error))


def test_O10_even_what_python_cannot_format_is_only_a_failure() -> None:
    """An exception that Python's own traceback module cannot format fails its instance like any other."""

    @orchestrator
    async def raising(ctx: OrchestrationContext) -> None:
        error = SyntaxError("x", ("file", 1, 1, "text"))
        error.text = 5  # type: ignore[assignment]
        raise error

    subject, escaped = None, ""
    try:  # not left to pytest, which could not format it either
        subject = Bench(raising).subject(raising)
    except Exception as error:
        escaped = type(error).__name__
    assert escaped == ""
    assert subject is not None
    assert subject.failure.is_caused_by(SyntaxError)


def test_O10_a_failure_keeps_its_causes_and_members() -> None:
    """The chain from the orchestrator's exception to the activity's is there, and groups answer for their members."""

    @orchestrator
    async def wrapping(ctx: OrchestrationContext) -> None:
        try:
            await ctx.call_activity(add, 1, 1)
        except ActivityFailed as error:
            raise ExceptionGroup("several", [KeyError("k"), RuntimeError("w")]) from error

    subject = Bench(wrapping, *WORK).subject(wrapping)
    subject.fails("1", FileNotFoundError("gone"))
    failure = subject.failure
    assert [member.type_name for member in failure.members] == ["KeyError", "RuntimeError"]
    for kind in (ExceptionGroup, KeyError, LookupError, ActivityFailed, FileNotFoundError, OSError):
        assert failure.is_caused_by(kind)
    assert not failure.is_caused_by(ZeroDivisionError)


def test_O10_a_result_that_cannot_be_kept_is_a_failure() -> None:
    """An orchestrator that returns what its annotation or the storage does not allow has failed with NotStorable."""

    @orchestrator
    async def wrong(ctx: OrchestrationContext) -> int:
        return "text"  # type: ignore[return-value]

    subject = Bench(wrong).subject(wrong)
    assert subject.failure.is_caused_by(NotStorable)


def test_O10_arguments_that_no_longer_fit_are_a_failure() -> None:
    """A start whose arguments the present code cannot take fails the instance and nothing else."""

    @orchestrator(name="changing")
    async def before(ctx: OrchestrationContext, number: str) -> str:
        return number

    @orchestrator(name="changing")
    async def after(ctx: OrchestrationContext, number: int) -> int:
        return number

    subject = Subject(Bench(before))
    subject.create(before, "twelve")
    changed = subject.reopened(Bench(after))
    assert changed.run() == [Finished()]
    assert changed.status is RuntimeStatus.FAILED


# --- who is told


def test_O15_the_parent_is_told_how_it_ended() -> None:
    """A child's last turn answers the parent's task: with the result, the failure, or that it was terminated."""
    subject, effects = ending("return", PARENT)
    value = subject.bench.registry.orchestrator("leaving_work_behind").result.encode("return")
    assert effects == [Answer(PARENT, Success(value)), Finished()]

    _, effects = ending("fail", PARENT)
    assert isinstance(effects[0].outcome, Failure)
    assert effects[0].outcome.failure.is_caused_by(LookupError)

    _, effects = ending("terminate", PARENT)
    outcome = next(effect.outcome for effect in effects if isinstance(effect, Answer))
    assert isinstance(outcome, Failure)
    assert outcome.failure.is_caused_by(OrchestrationTerminated)
    assert "as told" in outcome.failure.message


# --- terminate


def test_O13_terminating_ends_at_once_with_the_reason() -> None:
    """The status is Terminated, the reason is the output, the code runs no further, and the time of the end is noted."""
    subject, _ = ending("terminate")
    record = subject.record
    assert record.status is RuntimeStatus.TERMINATED
    assert record.output == subject.bench.registry.values.codec(str).encode("as told")
    assert record.completed_at == subject.now
    assert subject.machine.kernel is None


def test_O13_terminating_takes_the_children_too() -> None:
    """Open children are told to terminate with the same reason; with ``recursive=False`` they go on."""
    _, effects = ending("terminate")
    told = TellChild("the child", CallingTask("instance", EXECUTION, "3"), Terminate("as told"))
    assert effects == [told, Finished()]

    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, "return")
    assert subject.terminate("alone", recursive=False) == [Finished()]


def test_O13_a_finished_child_is_not_told() -> None:
    """Only children that have not answered are told."""
    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, "return")
    subject.fails("3", SubOrchestrationFailed("child", ending("fail")[0].failure))
    assert subject.terminate() == [Finished()]


def test_O13_terminating_before_the_first_turn() -> None:
    """A Pending instance is terminated without its code having run, and its start is dropped."""
    ran: list[bool] = []

    @orchestrator
    async def never(ctx: OrchestrationContext) -> None:
        ran.append(True)

    subject = Subject(Bench(never))
    subject.create(never)
    assert subject.terminate("at once") == [Finished()]
    assert subject.status is RuntimeStatus.TERMINATED
    assert ran == []
    assert not subject.machine.mailbox.inbox


def test_O13_termination_overtakes_what_waits() -> None:
    """A termination is worked off before the messages that wait; they are dropped and not applied."""
    subject = Bench(leaving_work_behind, child, *WORK).subject(leaving_work_behind, "return")
    for _ in range(5):
        subject.machine.accept(subject.raised("Unread"))
    subject.machine.accept(subject.raised("end"))
    subject.terminate()
    assert subject.status is RuntimeStatus.TERMINATED
    assert not subject.machine.mailbox.inbox


def test_O4_a_new_execution_in_place_of_a_finished_one() -> None:
    """It has its own execution id, journal, result and randomness; answers to the old execution do not reach it."""
    subject, _ = ending("return")
    old = subject.answer("1", "for the old execution")
    subject.create(leaving_work_behind, "again", execution="bb" * 16)
    subject.run()
    assert (subject.status, subject.record.execution) == (RuntimeStatus.RUNNING, "bb" * 16)
    assert (subject.record.output, subject.record.unread_events) == (None, 0)
    before = list(subject.journal)

    assert subject.run(1, old) == []
    assert subject.journal == before
    subject.event("end")
    assert subject.output == "again"


def test_O4_only_the_last_start_of_a_pending_instance_runs() -> None:
    """A start that is replaced before its turn is dropped: the code runs once, with the new arguments."""
    subject = Subject(Bench(leaving_work_behind, child, *WORK))
    subject.create(leaving_work_behind, "first", execution="aa" * 16)
    subject.create(leaving_work_behind, "second", execution="bb" * 16)
    subject.run()
    subject.event("end")
    assert subject.output == "second"
    assert len([entry for entry in subject.journal if isinstance(entry, ExecutionStarted)]) == 1
