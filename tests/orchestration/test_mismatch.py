"""Code that no longer fits its journal (O3): the instance is suspended with both sides shown, loses nothing, and can go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
from perdure.entities.messages import LockRelease, SectionId, Send
from perdure.orchestration import OrchestrationContext, RetryPolicy, RuntimeStatus, orchestrator
from perdure.orchestration.history import ExecutionEnded
from perdure.orchestration.messages import Finished, StartActivity

from .helpers import EXECUTION, Bench, Subject
from .work import WORK, Counter, add, echo, shout

Code: TypeAlias = "Callable[[OrchestrationContext], Coroutine[Any, Any, object]]"

A, B = Counter.at("a"), Counter.at("b")


def bench_of(code: Code) -> Bench:
    """A bench whose orchestrator ``changing`` has that code."""
    return Bench(orchestrator(name="changing")(code), child, *WORK)


@orchestrator
async def child(ctx: OrchestrationContext) -> None:
    """A child."""


async def journaled(ctx: OrchestrationContext) -> object:
    """The code that the journal was made with: five steps, of which the first is awaited."""
    first = await ctx.call_activity(add, 1, 2)
    ctx.call_activity(echo, first)
    ctx.signal_entity(A, Counter.add, first)
    ctx.start(child, instance_id="its child")
    ctx.raise_event("other", "news", first)
    return await ctx.wait_for_external_event("end")


async def _beginning(ctx: OrchestrationContext, *, activity: Any = echo, argument: object = 3, entity: Any = A) -> None:
    await ctx.call_activity(add, 1, 2)
    ctx.call_activity(activity, argument)
    ctx.signal_entity(entity, Counter.add, 3)


async def another_activity(ctx: OrchestrationContext) -> None:
    """Step 2 names another activity."""
    await _beginning(ctx, activity=shout, argument="3")


async def other_arguments(ctx: OrchestrationContext) -> None:
    """Step 2 has another argument."""
    await _beginning(ctx, argument="three")


async def another_entity(ctx: OrchestrationContext) -> None:
    """Step 3 signals another entity."""
    await _beginning(ctx, entity=B)


async def another_kind(ctx: OrchestrationContext) -> None:
    """Step 3 calls instead of signalling."""
    await ctx.call_activity(add, 1, 2)
    ctx.call_activity(echo, 3)
    await ctx.call_entity(A, Counter.add, 3)


async def other_order(ctx: OrchestrationContext) -> None:
    """Steps 2 and 3 have changed places."""
    await ctx.call_activity(add, 1, 2)
    ctx.signal_entity(A, Counter.add, 3)
    ctx.call_activity(echo, 3)


async def another_child(ctx: OrchestrationContext) -> None:
    """Step 4 starts under another id."""
    await _beginning(ctx)
    ctx.start(child, instance_id="another id")


async def another_event(ctx: OrchestrationContext) -> None:
    """Step 5 raises another event."""
    await _beginning(ctx)
    ctx.start(child, instance_id="its child")
    ctx.raise_event("other", "olds", 3)


async def more_steps(ctx: OrchestrationContext) -> None:
    """Goes on where the journal has nothing more."""
    await _beginning(ctx)
    ctx.start(child, instance_id="its child")
    ctx.raise_event("other", "news", 3)
    ctx.call_activity(add, 5, 5)
    await ctx.wait_for_external_event("end")


async def fewer_steps(ctx: OrchestrationContext) -> None:
    """Waits before it has asked for everything."""
    await _beginning(ctx)
    await ctx.wait_for_external_event("end")


async def returns_early(ctx: OrchestrationContext) -> str:
    """Ends before it has asked for everything."""
    await _beginning(ctx)
    return "early"


async def raises_early(ctx: OrchestrationContext) -> None:
    """Fails before it has asked for everything."""
    await _beginning(ctx)
    raise ValueError("early")


async def does_nothing(ctx: OrchestrationContext) -> None:
    """Asks for nothing at all."""


CHANGES: list[tuple[Code, str, str, str]] = [
    (another_activity, "2", "call_activity 'echo'", "call_activity 'shout'"),
    (other_arguments, "2", "call_activity 'echo' with 2 bytes", "call_activity 'echo' with 7 bytes"),
    (another_entity, "3", "signal_entity @counter@a 'add'", "signal_entity @counter@b 'add'"),
    (another_kind, "3", "signal_entity @counter@a 'add'", "call_entity @counter@a 'add'"),
    (other_order, "2", "call_activity 'echo'", "signal_entity @counter@a 'add'"),
    (another_child, "4", "start 'child' as 'its child'", "start 'child' as 'another id'"),
    (another_event, "5", "raise_event 'news' to 'other'", "raise_event 'olds' to 'other'"),
    (more_steps, "6", "nothing", "call_activity 'add'"),
    (fewer_steps, "4", "start 'child' as 'its child'", "nothing"),
    (returns_early, "4", "start 'child' as 'its child'", "nothing"),
    (raises_early, "4", "start 'child' as 'its child'", "nothing"),
    (does_nothing, "1", "call_activity 'add'", "nothing"),
]


def stored() -> Subject:
    """An instance of the journaled code in the midst of its life, with two messages that wait in its mailbox."""
    subject = bench_of(journaled).subject("changing")
    subject.completes("1", 3)
    subject.machine.accept(subject.raised("end", "the end"))
    subject.machine.accept(subject.answer("2", 3))
    return subject


@pytest.mark.parametrize(("code", "step", "journal_says", "code_asks"), CHANGES, ids=[change[0].__name__ for change in CHANGES])
def test_O3_changed_code_suspends_and_shows_both_sides(code: Code, step: str, journal_says: str, code_asks: str) -> None:
    """The status is Suspended, and the failure names the step, what the journal says, and what the code asked for."""
    changed = stored().reopened(bench_of(code))
    assert changed.run() == []

    assert changed.status is RuntimeStatus.SUSPENDED
    failure = changed.record.failure
    assert failure is not None
    assert failure.type_name == "perdure.orchestration.errors.NondeterminismError"
    pattern = f"step {step}: .*the journal says {journal_says}.*the code asked for {code_asks}.*resume"
    assert re.search(pattern, failure.message), failure.message


@pytest.mark.parametrize("code", [change[0] for change in CHANGES], ids=[change[0].__name__ for change in CHANGES])
def test_O3_nothing_is_lost_and_mended_code_goes_on(code: Code) -> None:
    """The journal and the mailbox are as before; with the old code back and a resume, the instance ends as if nothing had been."""
    subject = stored()
    expected = subject.reopened()
    expected.run()

    changed = subject.reopened(bench_of(code))
    changed.run()
    assert changed.journal == subject.journal
    assert [message for _, message in changed.machine.mailbox.inbox] == [message for _, message in subject.machine.mailbox.inbox]

    mended = changed.reopened(bench_of(journaled))
    assert mended.run() == []
    assert mended.status is RuntimeStatus.SUSPENDED
    effects = mended.resume()
    assert not [effect for effect in effects if isinstance(effect, StartActivity | Send)], "nothing is sent twice"
    assert mended.output == expected.output == "the end"
    assert mended.record.failure is None


def test_O3_resuming_without_mending_suspends_again() -> None:
    """With the changed code still there a resume changes nothing, as often as it is tried."""
    changed = stored().reopened(bench_of(other_order))
    changed.run()
    before = list(changed.journal)
    for _ in range(3):
        assert changed.resume() == []
        assert changed.status is RuntimeStatus.SUSPENDED
        assert len(changed.machine.mailbox.inbox) == 2

    mended = changed.reopened(bench_of(journaled))
    mended.resume()
    assert mended.output == "the end"
    assert [entry for entry in before if entry not in mended.journal] == []


def test_O3_code_gets_no_further_after_a_mismatch() -> None:
    """Code that catches everything is stopped all the same: what it does next has no effect."""
    passed: list[str] = []

    async def catching(ctx: OrchestrationContext) -> str:
        for number in range(5):
            try:
                await ctx.call_activity(echo, number)
                passed.append("awaited")
            except BaseException as error:
                passed.append(type(error).__name__)
                if isinstance(error, GeneratorExit):
                    raise
        return "caught it"

    changed = stored().reopened(bench_of(catching))
    assert changed.run() == []
    assert changed.status is RuntimeStatus.SUSPENDED
    assert "awaited" not in passed
    assert changed.steps == ["1", "2", "3", "4", "5"]


def test_O3_a_mismatch_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR line with the reason; more messages for the suspended instance are kept without another line."""
    changed = stored().reopened(bench_of(other_order))
    changed.run()
    for _ in range(3):
        changed.machine.accept(changed.raised("more"))
        changed.run()

    lines = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 1
    assert "no longer fits the journal" in lines[0].getMessage()
    assert len(changed.machine.mailbox.inbox) == 5


async def locking(ctx: OrchestrationContext) -> None:
    """Holds two locks while it waits."""
    async with ctx.lock_entities(A, B):
        await ctx.call_activity(add, 1, 1)
    await ctx.call_activity(echo, "after")


async def locking_no_more(ctx: OrchestrationContext) -> None:
    """Has lost its critical section."""
    await ctx.call_activity(add, 1, 1)


@pytest.mark.parametrize("granted", [True, False], ids=["held", "asked for"])
def test_L5_terminating_a_suspended_instance_releases_its_locks(granted: bool) -> None:
    """The turn that terminates it sends the release of its section, though its code cannot be run any more."""
    subject = bench_of(locking).subject("changing")
    if granted:
        subject.granted("1")
    changed = subject.reopened(bench_of(locking_no_more))
    changed.revive()
    assert changed.status is RuntimeStatus.SUSPENDED

    effects = changed.terminate("given up")
    assert changed.status is RuntimeStatus.TERMINATED
    assert Send(A, LockRelease(SectionId("instance", EXECUTION, "1"))) in effects
    assert Finished() in effects
    assert isinstance(changed.journal[-1], ExecutionEnded)


def test_L5_a_section_that_was_left_is_not_released_again() -> None:
    """Terminating a suspended instance whose sections were all left sends no release."""
    subject = bench_of(locking).subject("changing")
    subject.granted("1")
    subject.completes("2", 2)
    changed = subject.reopened(bench_of(locking_no_more))
    changed.revive()

    assert changed.terminate() == [Finished()]


def test_O3_arguments_are_not_shown_in_clear() -> None:
    """The error shows how long arguments are, and no text of theirs that is longer than a few bytes."""

    async def secret(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(echo, "swordfish " * 20)

    async def other(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(echo, "guess " * 20)

    changed = bench_of(secret).subject("changing").reopened(bench_of(other))
    changed.revive()
    assert changed.record.failure is not None
    assert "swordfish" not in str(changed.record.failure)
    assert "bytes of arguments" in changed.record.failure.message


def test_O3_a_changed_policy_under_a_waiting_attempt_suspends() -> None:
    """A step that follows by itself differs from the journal, here the wait before an attempt: the instance is suspended too."""

    def retrying(interval: float) -> Code:
        async def code(ctx: OrchestrationContext) -> None:
            await ctx.call_activity(add.options(retry=RetryPolicy(3, interval)), 1, 2)

        return code

    subject = bench_of(retrying(10)).subject("changing")
    subject.fails("1", ValueError("no"))
    changed = subject.reopened(bench_of(retrying(20)))
    changed.revive()

    assert changed.status is RuntimeStatus.SUSPENDED
    assert "at step 1w2" in str(changed.record.failure)
