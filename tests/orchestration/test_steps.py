"""Steps of an orchestration (O1): their numbers, their order, and that each is asked for once."""

from __future__ import annotations

import pytest
from perdure.entities.messages import CallingTask, Operation, Send
from perdure.orchestration import ActivityFailed, DurableTask, OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import (
    CallChild,
    CallEntity,
    ScheduleActivity,
    SendEvent,
    SignalEntity,
    StartOrchestration,
    TaskCompleted,
)
from perdure.orchestration.messages import StartActivity, StartChild
from perdure.storage.errors import NotStorable

from .helpers import Bench, Subject, without_turns
from .work import WORK, Counter, add, echo, shout


@orchestrator
async def nothing(ctx: OrchestrationContext) -> None:
    """Ends at once."""


@orchestrator
async def one_of_each(ctx: OrchestrationContext) -> None:
    """Asks for everything that has a number, and waits for an event, which has none."""
    ctx.call_activity(add, 1, 2)
    ctx.call_entity(Counter.at("a"), Counter.add, 1)
    ctx.signal_entity(Counter.at("b"), Counter.add, 1)
    ctx.wait_for_external_event("no number")
    ctx.call_sub_orchestrator(nothing)
    ctx.start(nothing)
    ctx.raise_event("other", "news", None)
    await ctx.wait_for_external_event("go")


@orchestrator
async def sequence(ctx: OrchestrationContext, count: int) -> int:
    """Adds one again and again."""
    total = 0
    for _ in range(count):
        total = await ctx.call_activity(add, total, 1)
    return total


def test_O1_steps_are_numbered_in_the_order_of_the_calls() -> None:
    """Every verb that asks for something takes the next number, from 1 on; waits for events take none."""
    subject = Bench(one_of_each, nothing, *WORK).subject(one_of_each)

    kinds = [(action.id, type(action)) for action in subject.actions]
    assert kinds == [
        ("1", ScheduleActivity),
        ("2", CallEntity),
        ("3", SignalEntity),
        ("4", CallChild),
        ("5", StartOrchestration),
        ("6", SendEvent),
    ]


def test_O1_a_call_asks_at_once() -> None:
    """The work is asked for by the call, not by the await: both activities are scheduled before the first is awaited."""

    @orchestrator
    async def two(ctx: OrchestrationContext) -> list[int]:
        first, second = ctx.call_activity(add, 1, 1), ctx.call_activity(add, 2, 2)
        return [await second, await first]

    subject = Bench(two, *WORK).subject(two)
    assert subject.steps == ["1", "2"]

    subject.completes("1", 2)
    subject.completes("2", 4)
    assert subject.output == [4, 2]


def test_O1_a_refused_call_takes_no_number() -> None:
    """A call with a wrong number of arguments, or a value that cannot be kept, leaves the numbers of the others as they are."""

    @orchestrator
    async def careless(ctx: OrchestrationContext) -> int:
        with pytest.raises(TypeError):
            ctx.call_activity(add, 1)  # type: ignore[call-arg, arg-type]
        with pytest.raises(NotStorable, match="surrogate"):
            ctx.call_activity(shout, "\ud800")
        return await ctx.call_activity(add, 1, 2)

    assert Bench(careless, *WORK).subject(careless).steps == ["1"]


def test_O1_a_finished_step_is_answered_from_the_journal() -> None:
    """After each eviction the code is run again from the start, asks for nothing twice, and gets what the steps returned."""
    subject = Bench(sequence, *WORK).subject(sequence, 4)
    for step in range(1, 5):
        subject.evict()
        assert subject.take() == []
        effects = subject.completes(str(step), 10 * step)
        assert [effect.reply_to.task for effect in effects if isinstance(effect, StartActivity)] == [str(step + 1)][: 4 - step]

    assert subject.output == 40
    assert [subject.argument(step) for step in subject.steps] == [0, 10, 20, 30]


def test_O1_code_in_memory_is_continued() -> None:
    """As long as it is in memory the code is not run again: 50 steps begin it once, and each is passed once."""
    passed: list[int] = []

    @orchestrator
    async def counted(ctx: OrchestrationContext) -> None:
        passed.append(0)
        for step in range(1, 51):
            await ctx.call_activity(add, step, 0)
            passed.append(step)

    subject = Bench(counted, *WORK).subject(counted)
    for step in range(1, 51):
        subject.completes(str(step), step)

    assert subject.status is RuntimeStatus.COMPLETED
    assert passed == list(range(51))


def test_O1_answers_are_worked_off_first_in_first_out() -> None:
    """Results that are waiting together are taken in the order of their arrival, whatever the order of the calls."""

    @orchestrator
    async def racing(ctx: OrchestrationContext) -> list[int]:
        order: list[int] = []
        pending: list[DurableTask[int]] = [ctx.call_activity(add, number, 0) for number in range(4)]
        while pending:
            winner = await ctx.when_any(pending)
            order.append(winner.result)
            pending.remove(winner)
        return order

    subject = Bench(racing, *WORK).subject(racing)
    subject.run(100, *[subject.answer(step, int(step)) for step in ("3", "1", "4", "2")])
    assert subject.output == [3, 1, 4, 2]


def test_O1_the_turns_budget_changes_nothing() -> None:
    """Messages that are worked off in one turn or each in its own give the same journal but for the marks of turns."""

    @orchestrator
    async def summing(ctx: OrchestrationContext) -> int:
        total = 0
        for _ in range(6):
            total = await ctx.call_activity(add, total, await ctx.wait_for_external_event("number", int))
        return total

    journals: list[list[object]] = []
    for budget in (1, 2, 100):
        bench = Bench(summing, *WORK)
        subject = bench.subject(summing)
        subject.run(budget, *[subject.raised("number", number) for number in range(6)])
        for step in range(1, 7):
            subject.completes(str(step), step)
        assert subject.output == 6
        journals.append(list(without_turns(subject.journal)))

    assert journals[0] == journals[1] == journals[2]


def test_O1_a_step_may_be_awaited_again() -> None:
    """A finished task gives the same value, or a failure of the same kind, each time that it is awaited or asked."""

    @orchestrator
    async def curious(ctx: OrchestrationContext) -> list[int]:
        good, bad = ctx.call_activity(add, 1, 1), ctx.call_activity(echo, None)
        seen = [await good, await good, good.result]
        for _ in range(2):
            with pytest.raises(ActivityFailed, match="no luck"):
                await bad
        with pytest.raises(ActivityFailed, match="no luck"):
            _ = bad.result
        return seen

    subject = Bench(curious, *WORK).subject(curious)
    subject.completes("1", 2)
    subject.fails("2", ValueError("no luck"))
    assert subject.output == [2, 2, 2]


def test_O1_an_unfinished_tasks_result_is_refused() -> None:
    """``result`` of a task that has not finished raises at once and says to await it; ``done`` says so before."""

    @orchestrator
    async def hasty(ctx: OrchestrationContext) -> None:
        task = ctx.call_activity(add, 1, 1)
        assert not task.done
        with pytest.raises(RuntimeError, match="await"):
            _ = task.result
        await task
        assert task.done

    subject = Bench(hasty, *WORK).subject(hasty)
    subject.completes("1", 2)
    assert subject.status is RuntimeStatus.COMPLETED


def test_O1_a_failure_carries_what_is_known_of_it() -> None:
    """The failure raised at an await names the activity, the exception's type and text, and answers ``is_caused_by``."""
    caught: list[ActivityFailed] = []

    @orchestrator
    async def trying(ctx: OrchestrationContext) -> None:
        try:
            await ctx.call_activity(echo, "x")
        except ActivityFailed as error:
            caught.append(error)

    Bench(trying, *WORK).subject(trying).fails("1", FileNotFoundError("gone"))

    (error,) = caught
    assert error.name == "echo"
    assert (error.failure.type_name, error.failure.message) == ("FileNotFoundError", "gone")
    assert error.failure.is_caused_by(OSError)
    assert not error.failure.is_caused_by(KeyError)


def test_O1_what_is_sent_names_the_step_and_the_execution() -> None:
    """Work is sent with the instance, its execution and the number of the step, so that its answer finds the step."""
    subject = Subject(Bench(one_of_each, nothing, *WORK))
    subject.create(one_of_each, execution="ab" * 16)
    callers: list[object] = []
    for effect in subject.run():
        match effect:
            case StartActivity():
                callers.append(effect.reply_to)
            case StartChild():
                callers.append(effect.message.parent)
            case Send(message=Operation(reply_to=caller)):
                callers.append(caller)
            case _:
                pass

    one, two, four = (CallingTask("instance", "ab" * 16, step) for step in "124")
    assert callers == [one, two, None, four]


def test_O5_an_answer_counts_once() -> None:
    """A second answer to a step, and one of another execution, change neither the journal nor the result."""
    subject = Bench(sequence, *WORK).subject(sequence, 2)
    subject.completes("1", 7)
    before = list(subject.journal)

    assert subject.completes("1", 99) == []
    assert subject.journal == before

    subject.completes("2", 8)
    assert subject.output == 8
    assert next(entry for entry in subject.journal if isinstance(entry, TaskCompleted)).value == b"\x07"
