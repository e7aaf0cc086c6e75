"""What orchestrators may ask for wrongly: each is a clear error at the call, takes no step number, and the instance goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from attrs import frozen
from perdure.entities import UnknownOperation
from perdure.hub.http_activity import HttpActivity
from perdure.orchestration import LockRuleError, OrchestrationContext, UnknownActivity, orchestrator
from perdure.storage.errors import NotStorable, ValueUnreadable

from .helpers import Bench
from .work import WORK, Counter, add, echo

A = Counter.at("a")
NAIVE = datetime(2040, 1, 1)
HALF = chr(0xD800)
Context: Any = OrchestrationContext
"""Not checked here: types are just what most of this gets wrong."""


@orchestrator
async def child(ctx: OrchestrationContext, number: int) -> int:
    """A child."""
    return number


async def coroutine_function() -> None:
    """No task, and no plain function either."""


def plain() -> None:
    """Not decorated."""


@frozen
class Refused:
    """A call that is refused."""

    call: Callable[[Any], object]
    error: type[Exception]
    says: str


TIMES = {
    "a timer for a naive time": Refused(lambda ctx: ctx.create_timer(NAIVE), ValueError, "naive.*aware datetime"),
    "sleeping until a naive time": Refused(lambda ctx: ctx.sleep_until(NAIVE), ValueError, "naive"),
    "sleeping for a negative time": Refused(lambda ctx: ctx.sleep(-1), ValueError, "0 or more seconds"),
    "a limit of nothing": Refused(lambda ctx: ctx.move_on_after(None), TypeError, r"not None; ctx\.CancelScope"),
    "a limit in words": Refused(lambda ctx: ctx.fail_after("a while"), TypeError, "number of seconds, not str"),
    "a limit that is no number": Refused(lambda ctx: ctx.fail_after(float("nan")), ValueError, "finite, not nan"),
    "a shield of another kind": Refused(lambda ctx: ctx.CancelScope(shield="no"), TypeError, "True or False, not str"),
    "a signal for a naive time": Refused(lambda ctx: ctx.signal_entity(A, Counter.add, 1, deliver_at=NAIVE), ValueError, "naive"),
    "a negative wait for locks": Refused(lambda ctx: ctx.lock_entities(A, wait_timeout=-1), ValueError, "0 or more seconds"),
}
TASKS = {
    "when_any of nothing": Refused(lambda ctx: ctx.when_any([]), ValueError, "would never finish"),
    "when_all of functions": Refused(lambda ctx: ctx.when_all([coroutine_function]), TypeError, "takes tasks.*not function"),
    "when_any of a value": Refused(lambda ctx: ctx.when_any([3]), TypeError, "takes tasks.*not int: 3"),
    "when_all of one task": Refused(
        lambda ctx: ctx.when_all(ctx.wait_for_external_event("x")), TypeError, "a list, or another iterable, of tasks"
    ),
    "when_any of None": Refused(lambda ctx: ctx.when_any(None), TypeError, "of tasks, not NoneType: None"),
    "a map without limit": Refused(lambda ctx: ctx.map(echo, [1], limit=0).send(None), ValueError, "1 or more, not 0"),
    "a map with a limit in words": Refused(lambda ctx: ctx.map(echo, [1], limit="x").send(None), ValueError, "not 'x'"),
}
CALLS = {
    "an activity that is an orchestrator": Refused(lambda ctx: ctx.call_activity(child, 1), TypeError, "@activity"),
    "an activity that is an entity": Refused(lambda ctx: ctx.call_activity(A), TypeError, "@activity"),
    "an activity that is not decorated": Refused(lambda ctx: ctx.call_activity(plain), TypeError, "@activity"),
    "an activity that nobody knows": Refused(lambda ctx: ctx.call_activity("ad"), UnknownActivity, "'ad'.*defined are: add"),
    "an argument too few": Refused(lambda ctx: ctx.call_activity(add, 1), NotStorable, r"1 of them.*2 are.*left, right"),
    "an argument of another type": Refused(lambda ctx: ctx.call_activity(add, 1, "x"), NotStorable, "'right': a str"),
    "retries as a number": Refused(lambda ctx: ctx.call_activity(echo.options(retry=3), 1), TypeError, "a RetryPolicy, such"),  # type: ignore[arg-type]
    "retries of a child as a number": Refused(lambda ctx: child.options(retry=3), TypeError, "a RetryPolicy, such"),  # type: ignore[arg-type]
    "retries of an entity as a number": Refused(
        lambda ctx: ctx.call_entity(A, Counter.add, 1, retry=3), TypeError, "a RetryPolicy, such"
    ),
    "retries of a request as a number": Refused(
        lambda ctx: ctx.call_http("GET", "https://x.example", retry=3), TypeError, "a RetryPolicy, such"
    ),
    "a relative URL": Refused(lambda ctx: ctx.call_http("GET", "/x"), ValueError, "http:// or https://"),
    "an entity by its key": Refused(lambda ctx: ctx.call_entity("a", "add", 1), TypeError, "takes an entity id.*not str: 'a'"),
    "an operation of nobody": Refused(lambda ctx: ctx.call_entity(A, "sub"), UnknownOperation, "'sub'; it has: add, delete"),
    "an operation that is none": Refused(lambda ctx: ctx.call_entity(A, None), TypeError, "an operation is a method"),
    "a signal to a class": Refused(lambda ctx: ctx.signal_entity(Counter, "add", 1), TypeError, "takes an entity id"),
    "a signal that was never sent": Refused(lambda ctx: ctx.cancel_signal("x"), ValueError, "'x' is no id of a delayed"),
    "no lock": Refused(lambda ctx: ctx.lock_entities(), ValueError, "at least one"),
    "a list of locks": Refused(lambda ctx: ctx.lock_entities([A]), TypeError, "takes an entity id"),
}
OTHERS = {
    "an event to an entity": Refused(lambda ctx: ctx.raise_event(A, "x"), TypeError, "instance id is a str, not EntityRef"),
    "an event without a name": Refused(lambda ctx: ctx.raise_event("i", ""), ValueError, "1 to 200 characters"),
    "a child under an entity's id": Refused(
        lambda ctx: ctx.call_sub_orchestrator(child, 1, instance_id=A), TypeError, "instance id is a str, not EntityRef"
    ),
    "a start under an entity's id": Refused(
        lambda ctx: ctx.start(child, 1, instance_id=A), TypeError, "instance id is a str, not EntityRef"
    ),
    "a start under an empty id": Refused(lambda ctx: ctx.start(child, 1, instance_id=""), ValueError, "cannot be empty"),
    "a child that is an entity": Refused(lambda ctx: ctx.call_sub_orchestrator(A, 1), TypeError, "@orchestrator"),
    "a start of an entity class": Refused(lambda ctx: ctx.start(Counter), TypeError, "@orchestrator"),
    "a child that is an activity": Refused(lambda ctx: ctx.call_sub_orchestrator(add, 1, 1), TypeError, "@orchestrator"),
    "an event that has no name": Refused(lambda ctx: ctx.wait_for_external_event(5), TypeError, "name is a str, not int: 5"),
    "events of a type that is none": Refused(lambda ctx: ctx.events("x", 5), NotStorable, "values of type 5"),
    "events without a name": Refused(lambda ctx: ctx.events(""), ValueError, "1 to 200 characters"),
    "a status that is too long": Refused(lambda ctx: ctx.set_custom_status("x" * 20_000), ValueError, "16384.*not 20003"),
    "a status that cannot be kept": Refused(lambda ctx: ctx.set_custom_status(object()), NotStorable, "custom status"),
    "a patch without a name": Refused(lambda ctx: ctx.patched(""), ValueError, "1 to 100 characters, not 0"),
    "a patch that has no name": Refused(lambda ctx: ctx.patched(5), TypeError, "name is a str, not int: 5"),
    "a patch of half a character": Refused(lambda ctx: ctx.patched(HALF), ValueError, "lone surrogate"),
    "renewal with too many arguments": Refused(lambda ctx: ctx.continue_as_new(1, 2), NotStorable, "2 of them"),
    "a query that is no function": Refused(lambda ctx: ctx.on_query("x", 5), TypeError, "'x' is a function or method, not 5"),
    "a query that waits": Refused(lambda ctx: ctx.on_query("x", coroutine_function), TypeError, "may not wait"),
}
REFUSED = {**TIMES, **TASKS, **CALLS, **OTHERS}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_a_clear_error_at_the_call(case: str) -> None:
    """The call says what was wrong; the next step has the number that it would have had, the code replays, and ends well."""
    refused = REFUSED[case]

    @orchestrator
    async def careless(ctx: OrchestrationContext, number: int = 0) -> object:
        with pytest.raises(refused.error, match=refused.says):
            refused.call(ctx)
        return await ctx.call_activity(echo, "went on")

    subject = Bench(careless, child, HttpActivity(None).activity, *WORK).subject(careless)
    assert subject.steps == ["1"]
    subject.evict()
    subject.completes("1", "went on")
    assert subject.output == "went on"


@pytest.mark.parametrize("version", [2, "", HALF, "x" * 101], ids=repr)
def test_a_bad_version_is_refused_by_the_decorator(version: Any) -> None:
    """It would be kept with each instance, so it is checked before there is one."""
    with pytest.raises((TypeError, ValueError), match=r"a version (is a str|has 1 to 100)|lone surrogate"):
        orchestrator(version=version)(child.function)


def test_O11_continue_as_new_is_refused_where_it_would_leave_something_behind() -> None:
    """In a critical section, in the block of a nursery and in a task of one it raises at the call, and the instance goes on."""

    @orchestrator
    async def careless(ctx: OrchestrationContext) -> list[str]:
        seen: list[str] = []

        async def task() -> None:
            try:
                ctx.continue_as_new()
            except RuntimeError as error:
                seen.append(f"task: {error}")

        async with ctx.open_nursery() as nursery:
            nursery.start_soon(task)
            try:
                ctx.continue_as_new()
            except RuntimeError as error:
                seen.append(f"block: {error}")
        async with ctx.lock_entities(A):
            try:
                ctx.continue_as_new()
            except LockRuleError as error:
                seen.append(f"section: {error}")
        return seen

    subject = Bench(careless, *WORK).subject(careless)
    subject.granted("2")
    block, task, section = subject.output
    assert block.startswith("block: continue_as_new is called inside a nursery")
    assert task.startswith("task: continue_as_new is called inside a nursery")
    assert section.startswith("section: continue_as_new is called")


def test_O9_events_of_the_wrong_type_are_refused_one_by_one() -> None:
    """Each wrong value raises at its wait, with the event's name and both types, and is consumed; the next right one is taken."""

    @orchestrator
    async def picky(ctx: OrchestrationContext) -> list[object]:
        seen: list[object] = []
        while len(seen) < 3:
            try:
                seen.append(await ctx.wait_for_external_event("n", int))
            except ValueUnreadable as error:
                seen.append(str(error))
        return seen

    subject = Bench(picky).subject(picky)
    for value in ("one", None, 3):
        subject.event("n", value)
    assert subject.output == [
        "event 'n': what is stored is a str ('one'), which does not fit int",
        "event 'n': what is stored is None, which does not fit int",
        3,
    ]
