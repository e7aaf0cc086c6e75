"""Races (O10, O12, O13, L5): terminate, resume, a result and an event, in every order and in every division into batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import pytest
from perdure.entities.messages import Answer, CallingTask, Failure, Send, Success
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import ExecutionEnded
from perdure.orchestration.messages import Finished, OrchestrationEffect, OrchestrationMessage, Resume, Suspend, Terminate

from .helpers import Bench, Subject
from .work import WORK, Counter, echo

ORDERS = list(itertools.permutations(("terminate", "resume", "result", "event")))
PARENT = CallingTask("parent", "11" * 16, "7")
LOCKED = Counter.at("locked")


@orchestrator
async def waiting(ctx: OrchestrationContext) -> list[object]:
    """Holds a lock, and needs a result and an event to end."""
    async with ctx.lock_entities(LOCKED):
        return await ctx.when_all([ctx.call_activity(echo, 1), ctx.wait_for_external_event("go")])


def suspended() -> Subject:
    """An instance that was suspended while it waited for both."""
    subject = Subject(Bench(waiting, *WORK))
    subject.create(waiting, parent=PARENT)
    subject.run()
    subject.granted("1")
    subject.run(3, Suspend("wait"))
    assert subject.status is RuntimeStatus.SUSPENDED
    return subject


def batches(order: tuple[str, ...]) -> Iterator[list[tuple[str, ...]]]:
    """All divisions of an order into batches."""
    for cuts in itertools.product((False, True), repeat=len(order) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(order)]
        yield [order[begin:end] for begin, end in itertools.pairwise(places)]


def expected(division: list[tuple[str, ...]]) -> tuple[RuntimeStatus, int]:
    """How it must end, and with how many unread events: by the batch before the termination, or with the termination.

    A termination overtakes what came in its own batch (O13); a suspended instance takes nothing else (O12).
    """
    before: set[str] = set()
    for batch in division:
        if "terminate" in batch:
            return RuntimeStatus.TERMINATED, int("event" in {*before, *batch} and not {"event", "resume"} <= before)
        before.update(batch)
        if before == {"resume", "result", "event"}:
            return RuntimeStatus.COMPLETED, 0
    raise AssertionError("every order has a termination")


@pytest.mark.parametrize("evicting", [False, True], ids=["live", "evicted"])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_O10_the_first_end_wins_in_every_order(order: tuple[str, ...], evicting: bool) -> None:
    """It ends once, as the rules say; its lock is released once, its parent is told once, and what comes later changes nothing."""
    for division in batches(order):
        subject = suspended()
        messages: dict[str, OrchestrationMessage] = {
            "terminate": Terminate("stop"),
            "resume": Resume(None),
            "result": subject.answer("2", 1),
            "event": subject.raised("GO", 2),
        }
        effects: list[OrchestrationEffect] = []
        final = b""
        for batch in division:
            if evicting and not subject.machine.finished:
                subject.evict()
            effects += subject.run(10, *(messages[verb] for verb in batch))
            if subject.machine.finished:
                final = final or msgspec.msgpack.encode(subject.record)
        status, unread = expected(division)
        assert subject.status is status, division
        assert msgspec.msgpack.encode(subject.record) == final, "something came after the end"
        assert len([entry for entry in subject.journal if isinstance(entry, ExecutionEnded)]) == 1
        assert [type(effect) for effect in effects].count(Finished) == 1
        assert len([effect for effect in effects if isinstance(effect, Send) and effect.target == LOCKED]) == 1
        (told,) = [effect.outcome for effect in effects if isinstance(effect, Answer)]
        if status is RuntimeStatus.COMPLETED:
            assert subject.output == [1, 2]
            assert isinstance(told, Success)
        else:
            assert subject.record.unread_events == unread, division
            assert isinstance(told, Failure)
            assert "stop" in told.failure.message


def test_the_divisions_are_complete() -> None:
    """24 orders in 8 divisions each, and both ends are among them."""
    ends = [expected(division)[0] for order in ORDERS for division in batches(order)]
    assert len(ends) == 24 * 8
    assert ends.count(RuntimeStatus.COMPLETED) == 6 * 4
