"""Critical sections and nurseries together (L3, L4, L7): who is inside, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import EntityId
from perdure.orchestration import LockRuleError, OrchestrationContext, RuntimeStatus, TooSlowError, orchestrator
from perdure.orchestration.history import CallEntity, LockEntities, ReleaseLocks

from .helpers import Bench
from .timing import Timed, timed
from .work import WORK, Counter, add

Context = OrchestrationContext
A, B, C = (Counter.at(key) for key in "abc")


@orchestrator
async def leaf(ctx: Context) -> None:
    """A child."""


def started(body: object, *arguments: object) -> Timed:
    """A started instance of an orchestrator."""
    return timed(Bench(body, leaf, *WORK), body, *arguments)


def open_requests(subject: Timed) -> list[str]:
    """The steps of the lock requests that were sent and not released, in order."""
    released = {entry.section for entry in subject.journal if isinstance(entry, ReleaseLocks)}
    return [entry.id for entry in subject.journal if isinstance(entry, LockEntities) and entry.id not in released]


def test_L3_another_task_waits_for_the_section() -> None:
    """Two tasks that want sections, even of different entities, have them one after the other, first come, first served."""

    @orchestrator
    async def two(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def section(name: str, ref: EntityId) -> None:
            async with ctx.lock_entities(ref):
                seen.append(f"in {name}")
                await ctx.wait_for_external_event(name)
            seen.append(f"out {name}")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(section, "first", B)
            nursery.start_soon(section, "second", A)
        return seen

    subject = started(two)
    assert open_requests(subject) == ["1/1"], "the second request was sent while the first section is asked for"
    subject.granted("1/1")
    assert open_requests(subject) == ["1/1"]
    subject.event("first")
    assert open_requests(subject) == ["2/1"]
    subject.granted("2/1")
    subject.event("second")
    assert subject.output == ["in first", "out first", "in second", "out second"]


@given(order=st.permutations(range(4)))
def test_L3_one_section_at_a_time(order: list[int]) -> None:
    """However many tasks want sections, at most one is asked for or open, and all get their turn in the order of asking."""

    @orchestrator
    async def many(ctx: Context, order: list[int]) -> list[int]:
        seen: list[int] = []

        async def section(number: int) -> None:
            await ctx.wait_for_external_event(f"ask {number}")
            async with ctx.lock_entities(A):
                seen.append(number)
                await ctx.wait_for_external_event("leave")

        async with ctx.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(section, number)
        return seen

    subject = started(many, order)
    for number in order:
        subject.event(f"ask {number}")
        assert len(open_requests(subject)) == 1
    for _ in order:
        subject.evict()
        (step,) = open_requests(subject)
        subject.granted(step)
        subject.event("leave")
        assert len(open_requests(subject)) <= 1
    assert subject.output == order


def test_L3_a_task_outside_is_not_bound_by_the_rules() -> None:
    """While one task is inside, another one may call any entity, start children and signal what is locked."""

    @orchestrator
    async def beside(ctx: Context) -> str:
        async def outside() -> None:
            await ctx.wait_for_external_event("go")
            ctx.signal_entity(A, Counter.add, 1)
            ctx.call_sub_orchestrator(leaf, instance_id="kid")
            await ctx.call_entity(B, Counter.add, 1)

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(outside)
            async with ctx.lock_entities(A):
                await ctx.wait_for_external_event("leave")
        return "fine"

    subject = started(beside)
    subject.granted("2")
    subject.event("go")
    call = next(entry for entry in subject.journal if isinstance(entry, CallEntity))
    assert call.section is None, "the call of another task carries the section"
    subject.completes(call.id, 1)
    subject.event("leave")
    assert subject.output == "fine"


def test_L3_a_nursery_opened_inside_is_inside() -> None:
    """Tasks of a nursery that was opened in a section call the locked entities with its id, and are bound by its rules."""

    @orchestrator
    async def inside(ctx: Context) -> list[str]:
        refused: list[str] = []

        async def rules() -> None:
            attempts: list[Callable[[], Any]] = [
                lambda: ctx.call_entity(B, Counter.add, 1),
                lambda: ctx.signal_entity(A, Counter.add, 1),
                lambda: ctx.call_sub_orchestrator(leaf),
                lambda: ctx.lock_entities(B),
            ]
            for attempt in attempts:
                try:
                    attempt()
                except LockRuleError as error:
                    refused.append(str(error))
            ctx.signal_entity(B, Counter.add, 1)
            await ctx.call_activity(add, 1, 1)

        async def call() -> None:
            await ctx.call_entity(A, Counter.add, 1)

        async with ctx.lock_entities(A), ctx.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(rules)
        return refused

    subject = started(inside)
    subject.granted("1")
    call = next(entry for entry in subject.journal if isinstance(entry, CallEntity))
    assert (call.id, call.section) == ("2/1", "1")
    subject.completes("2/1", 1)
    subject.completes("3/2", 2)
    assert len(subject.output) == 4
    assert all("Rule" in line for line in subject.output)


def test_L3_one_pending_call_for_all_tasks_of_the_section() -> None:
    """Two tasks inside cannot have a call to the same locked entity pending at a time, but to different ones they can."""

    @orchestrator
    async def inside(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def call(ref: Any) -> None:
            try:
                await ctx.call_entity(ref, Counter.add, 1)
                seen.append(f"called {ref.key}")
            except LockRuleError:
                seen.append(f"refused {ref.key}")

        async with ctx.lock_entities(A, B), ctx.open_nursery() as nursery:
            for ref in (A, B, A):
                nursery.start_soon(call, ref)
        return seen

    subject = started(inside)
    subject.granted("1")
    subject.completes("3/1", 1)
    subject.completes("2/1", 1)
    assert subject.output == ["refused a", "called b", "called a"]


def test_L3_a_task_started_inside_in_an_outer_nursery_is_outside() -> None:
    """What counts is where the nursery was opened: a task of an outer one is outside, whoever starts it."""

    @orchestrator
    async def outer(ctx: Context) -> str:
        async def call() -> None:
            await ctx.call_entity(B, Counter.add, 1)

        async with ctx.open_nursery() as nursery, ctx.lock_entities(A):
            nursery.start_soon(call)
            await ctx.wait_for_external_event("leave")
        return "fine"

    subject = started(outer)
    subject.granted("1")
    call = next(entry for entry in subject.journal if isinstance(entry, CallEntity))
    assert call.section is None
    subject.event("leave")
    subject.completes(call.id, 1)
    assert subject.output == "fine"


# --- leaving


@pytest.mark.parametrize("how", ["failure", "scope", "cancel"])
def test_L4_the_locks_go_however_the_section_is_left(how: str) -> None:
    """A sibling's failure, a scope, or a cancelled instance releases the open section, and the waiting one asks for nothing."""

    @orchestrator
    async def two(ctx: Context) -> str:
        async def section(ref: EntityId) -> None:
            async with ctx.lock_entities(ref):
                await ctx.wait_for_external_event("never")

        async def breaks() -> None:
            await ctx.wait_for_external_event("break")
            raise ValueError("boom")

        try:
            with ctx.move_on_after(20):
                async with ctx.open_nursery() as nursery:
                    nursery.start_soon(section, A)
                    nursery.start_soon(section, B)
                    nursery.start_soon(breaks)
        except* ValueError:
            pass
        await ctx.wait_for_external_event("end")
        return "went on"

    subject = started(two)
    (step,) = open_requests(subject)
    subject.granted(step)
    match how:
        case "failure":
            subject.event("break")
        case "scope":
            subject.fire()
        case _:
            subject.cancel()
    assert open_requests(subject) == []
    assert len([entry for entry in subject.journal if isinstance(entry, LockEntities)]) == 1
    assert not subject.timers or how == "cancel"


def test_L4_a_cancelled_request_lets_the_next_one_ask() -> None:
    """A task that is cancelled while it waits for its turn, or for its locks, does not hold up the tasks behind it."""

    @orchestrator
    async def three(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def section(name: str, seconds: float) -> None:
            with ctx.move_on_after(seconds):
                async with ctx.lock_entities(A):
                    seen.append(name)
                    await ctx.wait_for_external_event("leave")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(section, "first", 100)
            nursery.start_soon(section, "second", 10)
            nursery.start_soon(section, "third", 1000)
        return seen

    subject = started(three)
    (first,) = open_requests(subject)
    subject.fire()  # the second one, which waits for its turn
    assert open_requests(subject) == [first]
    subject.fire()  # the first one, which waits for its locks
    (third,) = open_requests(subject)
    subject.granted(third)
    subject.event("leave")
    assert subject.output == ["third"]
    assert not subject.timers


def test_L7_the_limit_counts_waiting_for_the_turn() -> None:
    """``wait_timeout`` limits the wait for another task's section as well, and nothing was asked for then."""

    @orchestrator
    async def two(ctx: Context) -> list[str]:
        seen: list[str] = []

        async def first() -> None:
            async with ctx.lock_entities(A):
                await ctx.wait_for_external_event("leave")

        async def second() -> None:
            try:
                async with ctx.lock_entities(B, wait_timeout=10):
                    seen.append("never here")
            except TooSlowError:
                seen.append("too slow")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(second)
        return seen

    subject = started(two)
    subject.granted("1/1")
    subject.fire()
    subject.event("leave")
    assert subject.output == ["too slow"]
    assert [entry.id for entry in subject.journal if isinstance(entry, LockEntities)] == ["1/1"]


def test_L7_the_locks_arrive_in_time() -> None:
    """Then the limit's timer is gone at once, and the section is like any other."""

    @orchestrator
    async def one(ctx: Context) -> str:
        async with ctx.lock_entities(A, wait_timeout=10):
            await ctx.wait_for_external_event("leave")
        return "in peace"

    subject = started(one)
    assert len(subject.timers) == 1
    (step,) = open_requests(subject)
    subject.granted(step)
    assert not subject.timers
    subject.event("leave")
    assert subject.output == "in peace"
    assert open_requests(subject) == []


def test_L7_too_slow_withdraws_and_leaves_the_task_outside() -> None:
    """After TooSlowError the task is outside: it may call children, and ask for a section again."""

    @orchestrator
    async def again(ctx: Context) -> str:
        try:
            async with ctx.lock_entities(A, wait_timeout=10):
                return "never here"
        except TooSlowError:
            pass
        await ctx.call_sub_orchestrator(leaf, instance_id="kid")
        async with ctx.lock_entities(A):
            return "the second time"

    subject = started(again)
    subject.fire()
    assert open_requests(subject) == []
    subject.completes(next(step for step in subject.steps if "kid" in repr(subject.action(step))), None)
    (step,) = open_requests(subject)
    subject.granted(step)
    assert subject.output == "the second time"


def test_L5_a_late_grant_is_handed_back() -> None:
    """A grant that crosses with the withdrawal does not open the section that was given up."""

    @orchestrator
    async def gives_up(ctx: Context) -> str:
        with ctx.move_on_after(10):
            async with ctx.lock_entities(A):
                return "never here"
        await ctx.wait_for_external_event("end")
        return "went on"

    subject = started(gives_up)
    (step,) = open_requests(subject)
    subject.fire()
    before = len(subject.journal)
    subject.granted(step)
    assert len(subject.journal) == before
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("end")
    assert subject.output == "went on"
