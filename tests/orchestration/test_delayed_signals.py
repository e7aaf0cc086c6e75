"""Delayed signals as steps of an orchestration (E10, O2, O3): journaled, replayed with the same ids, compared."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from perdure.entities.delayed import parts_of
from perdure.entities.messages import DropSignal, Send, SendLater
from perdure.orchestration import LockRuleError, OrchestrationContext, RuntimeStatus, orchestrator

from .helpers import BEGIN, EXECUTION, SECOND, Bench, Subject
from .work import WORK, Counter

Context = OrchestrationContext
A = Counter.at("a")
DELAY = 60


async def plan(ctx: Context) -> list[str]:
    """Two signals for later and one for now; cancel the second; their ids."""
    first = ctx.signal_entity(A, Counter.add, 1, deliver_at=DELAY)
    second = ctx.signal_entity(A, "add", 2, deliver_at=ctx.now + timedelta(seconds=DELAY))
    ctx.signal_entity(A, Counter.add, 3)
    await ctx.wait_for_external_event("go")
    ctx.cancel_signal(second)
    return [first, second]


def bench_of(code: Callable[[Context], Coroutine[Any, Any, object]]) -> Bench:
    """A bench whose orchestrator ``plan`` has that code."""
    return Bench(orchestrator(name="plan")(code), *WORK)


def test_E10_the_ids_are_the_same_in_each_replay() -> None:
    """What is sent, and what the code is told, has the same ids live, replayed and in another process; nothing is sent twice."""
    subject = Subject(bench_of(plan))
    subject.create("plan")
    first, second, now = subject.run()
    assert isinstance(first, SendLater)
    assert isinstance(second, SendLater)
    assert isinstance(now, Send)
    assert first.signal_id != second.signal_id
    assert parts_of(first.signal_id)[0] == parts_of(second.signal_id)[0] == BEGIN + (DELAY + 1) * SECOND
    subject.evict()
    assert subject.take() == []
    assert subject.reopened().event("go")[0] == DropSignal(second.signal_id)
    subject.revive()
    subject.event("go")
    assert subject.output == [first.signal_id, second.signal_id]


def test_E10_each_execution_has_ids_of_its_own() -> None:
    """The same step at the same time has another id in another execution."""
    ids: set[str] = set()
    for execution in (EXECUTION, "11ff" * 8):
        subject = bench_of(plan).subject("plan", execution=execution)
        subject.event("go")
        ids.update(subject.output)
    assert len(ids) == 4


async def later(ctx: Context) -> None:
    """The first signal is for a later time."""
    ctx.signal_entity(A, Counter.add, 1, deliver_at=DELAY + 1)


async def at_once(ctx: Context) -> None:
    """The first signal is for now."""
    ctx.signal_entity(A, Counter.add, 1)


async def cancel_another(ctx: Context) -> None:
    """Another signal is cancelled."""
    first = ctx.signal_entity(A, Counter.add, 1, deliver_at=DELAY)
    ctx.signal_entity(A, "add", 2, deliver_at=DELAY)
    ctx.signal_entity(A, Counter.add, 3)
    await ctx.wait_for_external_event("go")
    ctx.cancel_signal(first)
    await ctx.wait_for_external_event("end")


@pytest.mark.parametrize(
    ("code", "shown"),
    [(later, "signal_entity @counter@a 'add' for 2"), (at_once, "for 2"), (cancel_another, "cancel_signal")],
)
def test_O3_another_time_or_another_signal_is_a_mismatch(
    code: Callable[[Context], Coroutine[Any, Any, object]], shown: str
) -> None:
    """Code that sends for another time, or cancels another signal, than its journal says is suspended, with both sides shown."""

    async def journaled(ctx: Context) -> None:
        await plan(ctx)
        await ctx.wait_for_external_event("end")

    subject = bench_of(journaled).subject("plan")
    subject.event("go")
    changed = subject.reopened(bench_of(code))
    changed.event("end")
    assert changed.status is RuntimeStatus.SUSPENDED
    assert changed.record.failure is not None
    assert shown in changed.record.failure.message


async def signal_inside(ctx: Context) -> str:
    """Send signals for later inside a critical section; the error."""
    async with ctx.lock_entities(A):
        ctx.signal_entity(Counter.at("free"), Counter.add, 1, deliver_at=DELAY)
        try:
            ctx.signal_entity(A, Counter.add, 1, deliver_at=DELAY)
        except LockRuleError as error:
            return str(error)
    return "sent"


def test_L3_a_delayed_signal_to_a_locked_entity_is_refused() -> None:
    """Inside a section a signal for later is refused like any other if the section locks its entity, and allowed if not."""
    subject = bench_of(signal_inside).subject("plan")
    subject.granted("1")
    assert "@counter@a" in subject.output
