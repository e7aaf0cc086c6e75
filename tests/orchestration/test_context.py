"""What an orchestrator gets from its context instead of from the world (O2): time, ids, randomness, a log; and only there."""

from __future__ import annotations

import contextvars
import logging
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import DurableTask, OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import TurnStarted

from .helpers import BEGIN, SECOND, Bench, Subject, time_of
from .work import WORK, Counter, add, echo

# --- time


@given(st.lists(st.integers(-5 * SECOND, 5 * SECOND), min_size=1, max_size=8), st.booleans())
def test_O2_time_never_decreases(steps: list[int], evicted: bool) -> None:
    """Whatever the wall clock does, ``now`` is at least what it was before, in the journal too, and across evictions."""
    seen: list[datetime] = []

    @orchestrator
    async def watching(ctx: OrchestrationContext) -> None:
        seen.clear()
        seen.append(ctx.now)
        for _ in steps:
            await ctx.wait_for_external_event("tick")
            seen.append(ctx.now)

    subject = Bench(watching).subject(watching)
    highest = [subject.now]
    for step in steps:
        subject.now += step
        if evicted:
            subject = subject.reopened()
        highest.append(max(highest[-1], subject.now + SECOND))
        subject.event("tick")

    assert seen == [time_of(now) for now in highest]
    turns = [entry.at for entry in subject.journal if isinstance(entry, TurnStarted)]
    assert turns == sorted(turns)


def test_O2_time_is_aware_utc_and_stands_still_within_a_turn() -> None:
    """``now`` is the time of the turn in UTC, to the microsecond, and does not move while the code runs."""
    seen: list[datetime] = []

    @orchestrator
    async def looking(ctx: OrchestrationContext) -> None:
        seen.extend([ctx.now, ctx.now])

    subject = Subject(Bench(looking))
    subject.now = BEGIN + 123_456
    subject.create(looking)
    subject.run()

    assert seen == [datetime(2031, 5, 8, 9, 46, 41, 123_456, tzinfo=UTC)] * 2
    assert seen[0].utcoffset() == timedelta(0)


def test_O2_time_is_replayed() -> None:
    """A replay long afterwards sees the times of the first run, before each of its waits."""
    seen: list[datetime] = []

    @orchestrator
    async def looking(ctx: OrchestrationContext) -> None:
        seen.append(ctx.now)
        for number in range(3):
            await ctx.call_activity(add, number, 1)
            seen.append(ctx.now)

    subject = Bench(looking, *WORK).subject(looking)
    subject.completes("1", 1)
    subject.completes("2", 2)
    before = list(seen)
    seen.clear()
    later = subject.reopened()
    later.now += 86_400 * SECOND
    later.revive()
    assert seen == before

    later.completes("3", 3)
    assert seen[-1] - seen[0] > timedelta(days=1)


# --- ids and randomness


@orchestrator
async def rolling(ctx: OrchestrationContext) -> list[object]:
    """Random things, one after another, with waits in between."""
    drawn: list[object] = []
    for _ in range(3):
        drawn += [str(ctx.uuid4()), ctx.random.random(), ctx.random.choice("abcdef"), ctx.random.getrandbits(64)]
        drawn.append(await ctx.wait_for_external_event("next"))
    return drawn


def _rolled(execution: str, evicted: bool) -> list[object]:
    subject = Subject(Bench(rolling))
    subject.create(rolling, execution=execution)
    subject.run()
    for number in range(3):
        if evicted:
            subject.evict()
        subject.event("next", number)
    return subject.output


def test_O2_randomness_is_the_same_in_each_replay() -> None:
    """An execution that was evicted before each turn draws the same ids and numbers as one that stayed in memory."""
    assert _rolled("01" * 16, evicted=True) == _rolled("01" * 16, evicted=False)


def test_O2_randomness_differs_between_executions_and_within_one() -> None:
    """Two executions draw nothing in common, and one draws no id or number twice."""
    one, other = _rolled("01" * 16, evicted=False), _rolled("02" * 16, evicted=False)
    for place in (0, 1, 3):
        drawn = one[place::5] + other[place::5]
        assert len(set(drawn)) == len(drawn)


def test_O2_uuid4_is_a_random_uuid() -> None:
    """It has version 4 and the variant of RFC 4122."""
    seen: list[uuid.UUID] = []

    @orchestrator
    async def naming(ctx: OrchestrationContext) -> None:
        seen.extend(ctx.uuid4() for _ in range(50))

    Bench(naming).subject(naming)
    assert len(set(seen)) == 50
    assert {(each.version, each.variant) for each in seen} == {(4, uuid.RFC_4122)}


def test_O2_the_programs_own_randomness_is_left_alone() -> None:
    """Neither uses nor seeds the ``random`` module: its state is the same before and after."""
    before = random.getstate()
    _rolled("03" * 16, evicted=True)
    assert random.getstate() == before


# --- the log


@orchestrator
async def talking(ctx: OrchestrationContext) -> None:
    """Says where it is."""
    ctx.log.info("begins")
    for number in range(2):
        await ctx.call_activity(add, number, 0)
        ctx.log.warning("passed %d, replaying: %s", number, ctx.is_replaying)


def test_O2_the_log_is_silent_in_a_replay(caplog: pytest.LogCaptureFixture) -> None:
    """Each line comes out once, with the instance's id, though the code is run again after each eviction."""
    caplog.set_level(logging.INFO, "perdure.orchestration")
    subject = Bench(talking, *WORK).subject(talking)
    for step in ("1", "2"):
        subject.evict()
        subject.completes(step, 0)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "[instance] begins"),
        ("WARNING", "[instance] passed 0, replaying: False"),
        ("WARNING", "[instance] passed 1, replaying: False"),
    ]
    assert {record.name for record in caplog.records} == {"perdure.orchestration.talking"}


def test_O2_is_replaying_tells_the_truth() -> None:
    """True while old steps are passed again, false from the first new one on."""
    seen: list[bool] = []

    @orchestrator
    async def asking(ctx: OrchestrationContext) -> None:
        seen.clear()
        for number in range(3):
            seen.append(ctx.is_replaying)
            await ctx.call_activity(add, number, 0)
        seen.append(ctx.is_replaying)

    subject = Bench(asking, *WORK).subject(asking)
    subject.completes("1", 0)
    subject.completes("2", 0)
    assert seen == [False, False, False]

    subject.evict()
    assert seen == [True, True, True]

    subject.completes("3", 0)
    assert seen == [True, True, True, False]


def test_O1_what_it_is_called() -> None:
    """The context knows the instance, the orchestrator and its version; without a parent ``parent_id`` is ``None``."""
    seen: list[object] = []

    @orchestrator(name="known-as", version="2.1")
    async def looking(ctx: OrchestrationContext) -> None:
        seen.extend([ctx.instance_id, ctx.name, ctx.version, ctx.parent_id])

    Bench(looking).subject(looking)
    assert seen == ["instance", "known-as", "2.1", None]


# --- context variables


colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def test_O2_context_variables_stay_within_their_execution() -> None:
    """What code sets is there after its waits, in no other instance, not in the program, and not in its own replay before it is set."""
    seen: list[tuple[str, str]] = []

    @orchestrator
    async def painting(ctx: OrchestrationContext, paint: str) -> None:
        before = colour.get()
        colour.set(paint)
        await ctx.wait_for_external_event("dry")
        seen.append((before, colour.get()))

    colour.set("of the program")
    bench = Bench(painting)
    red, blue = bench.subject(painting, "red"), bench.subject(painting, "blue")
    red.evict()
    blue.event("dry")
    red.event("dry")
    assert seen == [("none", "blue"), ("none", "red")]
    assert colour.get() == "of the program"


# --- outside of the code

Use = Callable[[OrchestrationContext, "DurableTask[Any]", "DurableTask[Any]"], object]
USES: dict[str, Use] = {
    "call_activity": lambda ctx, _, __: ctx.call_activity(add, 1, 1),
    "call_entity": lambda ctx, _, __: ctx.call_entity(Counter.at("x"), Counter.add, 1),
    "signal_entity": lambda ctx, _, __: ctx.signal_entity(Counter.at("x"), Counter.add, 1),
    "call_sub_orchestrator": lambda ctx, _, __: ctx.call_sub_orchestrator(rolling),
    "start": lambda ctx, _, __: ctx.start(rolling),
    "raise_event": lambda ctx, _, __: ctx.raise_event("other", "x"),
    "wait_for_external_event": lambda ctx, _, __: ctx.wait_for_external_event("x"),
    "set_custom_status": lambda ctx, _, __: ctx.set_custom_status("x"),
    "uuid4": lambda ctx, _, __: ctx.uuid4(),
    "random": lambda ctx, _, __: ctx.random.random(),
    "await a task": lambda _, task, __: task.__await__().send(None),
    "done of a wait": lambda _, __, wait: wait.done,
    "cancel a task": lambda _, task, __: task.cancel(),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("when", ["while it waits", "after the end", "after eviction"])
def test_O2_a_context_is_refused_outside_of_its_code(use: Use, when: str) -> None:
    """An activity, a callback or another task that got hold of the context is refused, and the instance is not changed by it."""
    leaked: list[tuple[OrchestrationContext, DurableTask[Any], DurableTask[Any]]] = []

    @orchestrator
    async def leaking(ctx: OrchestrationContext) -> list[object]:
        task, wait = ctx.call_activity(echo, 1), ctx.wait_for_external_event("x")
        leaked.append((ctx, task, wait))
        await task
        return [str(ctx.uuid4()), await ctx.wait_for_external_event("x")]

    bench = Bench(leaking, rolling, *WORK)
    expected = bench.subject(leaking)
    expected.completes("1")
    expected.event("x", "event")

    subject = bench.subject(leaking)
    subject.event("x", "event")
    leaked_from = leaked[-1]
    if when == "after eviction":
        subject.evict()
    elif when == "after the end":
        subject.completes("1")
    with pytest.raises(RuntimeError, match="'instance'"):
        use(*leaked_from)
    if when != "after the end":
        subject.completes("1")

    assert subject.status is RuntimeStatus.COMPLETED
    assert subject.output == expected.output
    assert subject.steps == ["1"]
