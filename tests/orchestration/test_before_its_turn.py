"""An execution that has not had its first event has no journal: nobody reads it back, so nobody would know where it goes on."""

from __future__ import annotations

import pytest
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.history import ExecutionStarted, TurnStarted
from perdure.orchestration.messages import OrchestrationMessage, Resume, Suspend

from .helpers import BEGIN, Bench, Subject


@orchestrator
async def count(ctx: OrchestrationContext, number: int) -> int:
    """Continue as new until 0."""
    if number:
        ctx.continue_as_new(number - 1)
    return number


@pytest.mark.parametrize("before", [[Suspend(None)], [Resume(None)], [Suspend(None), Resume(None)]], ids=str)
def test_O12_what_comes_before_the_first_turn_is_not_journaled(before: list[OrchestrationMessage]) -> None:
    """Suspending and resuming an instance that is pending leaves its journal empty; it then begins with its start."""
    subject = Subject(Bench(count))
    subject.create(count, 0)
    machine = subject.machine
    for message in before:
        machine.accept(message)
        machine.advance(BEGIN, 1)
    assert machine.journal == []

    subject.run(3, Resume(None))
    assert [type(entry) for entry in subject.journal][:2] == [TurnStarted, ExecutionStarted]
    assert subject.record.status is RuntimeStatus.COMPLETED


def test_O11_a_new_execution_begins_with_its_own_turn() -> None:
    """Between continue-as-new and the first turn of the new execution the journal is empty, and then holds that turn's time."""
    subject = Subject(Bench(count))
    subject.create(count, 1)
    machine = subject.machine
    machine.advance(BEGIN, 1)
    assert (machine.record and machine.record.status, machine.journal) == (RuntimeStatus.CONTINUED_AS_NEW, [])

    machine.advance(BEGIN + 5, 1)
    assert machine.journal[0] == TurnStarted(BEGIN + 5)
    assert isinstance(machine.journal[1], ExecutionStarted)
