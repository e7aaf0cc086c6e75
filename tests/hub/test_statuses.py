"""The statuses of instances (O17): which there are, how each is reached, and that a query finds what has it."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.orchestration.messages import StartExecution
from perdure.storage.memory_store import MemoryStore

from ..orchestration.helpers import EXECUTION, Bench, Subject
from .virtual import hub_in

Context = OrchestrationContext
Clock = trio.testing.MockClock


@orchestrator
async def told(ctx: Context, what: str) -> str:
    """Does as it is told: wait, fail, end."""
    if what == "wait":
        await ctx.wait_for_external_event("never")
    if what == "fail":
        raise ValueError("as told")
    return what


@orchestrator
async def renewing(ctx: Context, number: int) -> int:
    """One new execution."""
    if number == 0:
        ctx.continue_as_new(1)
    return number


async def _reach(hub: TaskHub, status: RuntimeStatus) -> None:
    """Make an instance of that status, with the status as its id."""
    options: dict[str, Any] = {"start_at": 1000.0} if status is RuntimeStatus.PENDING else {}
    what = {RuntimeStatus.COMPLETED: "end", RuntimeStatus.FAILED: "fail"}.get(status, "wait")
    instance = await hub.start(told, what, instance_id=status.value, **options)
    if status is RuntimeStatus.PENDING:
        return
    await hub.wait_idle()
    match status:
        case RuntimeStatus.SUSPENDED:
            await instance.suspend()
        case RuntimeStatus.CANCELED:
            await instance.cancel()
        case RuntimeStatus.TERMINATED:
            await instance.terminate()
        case _:
            pass


REACHED = [status for status in RuntimeStatus if status is not RuntimeStatus.CONTINUED_AS_NEW]


def test_O17_they_are_durable_functions_own() -> None:
    """There are these eight, and just the last four are final."""
    names = ["Pending", "Running", "Suspended", "ContinuedAsNew", "Completed", "Failed", "Canceled", "Terminated"]
    assert [status.value for status in RuntimeStatus] == names
    assert [status.value for status in RuntimeStatus if status.final] == names[4:]


async def test_O17_each_is_reached_shown_and_found(autojump_clock: Clock) -> None:
    """An instance in each status shows it, and a query for that status finds it alone; a restart of the hub changes none."""
    store = MemoryStore()
    async with hub_in(store, told) as hub:
        for status in REACHED:
            await _reach(hub, status)
        await hub.wait_idle()
    async with hub_in(store, told) as hub:
        for status in REACHED:
            assert (await hub.get_status(status.value)).runtime_status is status
            assert [item.instance_id for item in (await hub.query_instances(status=status)).items] == [status.value]


def test_O17_continued_as_new_is_between_two_executions() -> None:
    """From the end of one execution to the first turn of the next the status is ContinuedAsNew; with that turn Running or final."""
    subject = Subject(Bench(renewing))
    subject.create(renewing, 0)
    subject.machine.advance(subject.now, 1)
    assert subject.status is RuntimeStatus.CONTINUED_AS_NEW
    ((_, start),) = subject.machine.mailbox.inbox
    assert isinstance(start, StartExecution)
    assert start.execution != EXECUTION
    subject.run()
    assert subject.output == 1


@pytest.mark.parametrize("status", REACHED, ids=str)
async def test_O17_what_is_final_stays(status: RuntimeStatus, autojump_clock: Clock) -> None:
    """Whoever waits for a change of a final status is told at once; none of the others is taken for an end."""
    async with hub_in(MemoryStore(), told) as hub:
        await _reach(hub, status)
        await hub.wait_idle()
        if status.final:
            assert (await hub.wait_for_status_change(status.value)).runtime_status is status
            assert (await hub.get_status(status.value)).completed_at is not None
        else:
            assert (await hub.get_status(status.value)).completed_at is None
            with pytest.raises(TimeoutError):
                await hub.wait_for_result(status.value, timeout=10)
