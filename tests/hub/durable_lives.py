"""Scenarios of what else may happen in the life of an instance: cancelled, rewound, asked, polled, of a version, with signals to come.

With those of ``durable_shapes`` they use every kind of journal entry.
"""

from __future__ import annotations

from contextlib import suppress

import httpx
from attrs import define
from perdure.entities import Entity, EntityOperationFailed
from perdure.hub import activity_context
from perdure.orchestration import (
    ActivityFailed,
    Cancelled,
    OrchestrationContext,
    RetryPolicy,
    SubOrchestrationFailed,
    activity,
    orchestrator,
)

from .durable_shapes import never_good, rest
from .scenarios import cancelling, defined, plan, raising, replacing, rewinding, signalling, suspending, terminating, updating
from .virtual import Tally

Context = OrchestrationContext


# --- what they call


@defined
@define
class Gate(Entity):
    """Something that fails until it is opened."""

    opened: bool = False

    def open(self) -> None:
        """Let pass from now on."""
        self.opened = True

    def enter(self, name: str) -> str:
        """Pass."""
        if not self.opened:
            raise PermissionError(f"{name} is before a closed gate")
        return name


@defined
@activity
async def breaking_off(items: int) -> int:
    """Work half of the items off, say so, and fail."""
    activity_context().heartbeat(items // 2)
    raise OSError(f"{items // 2} of {items}")


@defined
@activity
async def silent() -> None:
    """Say nothing, and never end."""
    await rest.function(1_000_000.0)


@defined
@orchestrator
async def entering(ctx: Context, name: str) -> str:
    """A child that fails until the gate is open."""
    return await ctx.call_entity(Gate.at("gate"), Gate.enter, name)


@defined
@orchestrator(version="2")
async def versioned_child(ctx: Context, text: str) -> str:
    """A child of a version."""
    return f"{text} by {ctx.version}"


def _answer(request: httpx.Request) -> httpx.Response:
    """A server that takes a job, and has done it when it is asked at another place."""
    if request.method == "POST":
        return httpx.Response(202, headers={"Location": "/jobs/7", "Retry-After": "3600"})
    return httpx.Response(200, text=f"{request.url.path} is done")


# --- ends, and beginnings after them


@plan(["cancelled", "slept after it", "1"], cancelling("enough", at=50), compensated=1)
@orchestrator
async def cancelled_and_swallowed(ctx: Context) -> list[str]:
    """It is cancelled, compensates, and goes on."""
    try:
        await ctx.call_activity(rest, 100_000.0)
    except Cancelled:
        count = await ctx.call_entity(Tally.at("compensated"), Tally.add, 1)
        await ctx.sleep(10)
        return ["cancelled", "slept after it", str(count)]
    return []


@plan(["parent", "child", "dealt with"], signalling(Gate.at("gate"), Gate.open, at=50), rewinding("the gate is open now", at=60))
@orchestrator
async def rewound(ctx: Context) -> list[str]:
    """It fails of an entity and of a child, and is rewound; what it dealt with stays as it was."""
    seen: list[str] = []
    try:
        await ctx.call_activity(never_good)
    except ActivityFailed:
        seen.append("dealt with")
    child = ctx.call_sub_orchestrator(entering, "child")
    return [*await ctx.when_all([ctx.call_entity(Gate.at("gate"), Gate.enter, "parent"), child]), *seen]


@plan(["first", "second"], raising("stop", at=30), raising("stop", at=60))
@orchestrator
async def generations(ctx: Context, seen: list[str] = []) -> list[str]:  # noqa: B006 - each execution decodes its own
    """A new execution with work of the old one open."""
    ctx.call_activity(rest, 100_000.0)
    ctx.call_entity(Tally.at("generations"), Tally.add, 0)
    await ctx.wait_for_external_event("stop")
    if not seen:
        ctx.continue_as_new(["first"])
    return [*seen, "second"]


@defined
@orchestrator
async def holder(ctx: Context, key: str) -> None:
    """Hold a lock for ever."""
    async with ctx.lock_entities(Tally.at(key)):
        await ctx.wait_for_external_event("never")


@defined
@orchestrator
async def over_a_holder(ctx: Context, key: str) -> None:
    """Wait for a child that holds a lock."""
    await ctx.call_sub_orchestrator(holder, key)


@plan(["stopped", "1"], terminating("stopped", instance_id="victim", at=20), held=1)
@orchestrator
async def terminated_below(ctx: Context) -> list[str]:
    """Its child is terminated, with the grandchild that holds a lock."""
    try:
        await ctx.call_sub_orchestrator(over_a_holder, "held", instance_id="victim")
    except SubOrchestrationFailed as error:
        reason = "stopped" if "stopped" in str(error) else str(error)
        return [reason, str(await ctx.call_entity(Tally.at("held"), Tally.add, 1))]
    return []


@plan(["replaced", "1"], replacing(versioned_child, "the other", instance_id="victim", at=20), held=1)
@orchestrator
async def replaced_below(ctx: Context) -> list[str]:
    """Its child is replaced by another execution, which is not the one that it waits for."""
    try:
        await ctx.call_sub_orchestrator(over_a_holder, "held", instance_id="victim")
    except SubOrchestrationFailed:
        return ["replaced", str(await ctx.call_entity(Tally.at("held"), Tally.add, 1))]
    return []


SUSPEND, RESUME = suspending(at=10, until=100)


@plan(["first", "after the resumption", "second"], SUSPEND, raising("go", "first", at=20), raising("go", "second", at=30), RESUME)
@orchestrator
async def suspended(ctx: Context) -> list[str]:
    """It is suspended while events come and a timer is due."""
    begin, timer = ctx.now, ctx.create_timer(50)
    seen = [await ctx.wait_for_external_event("go", str)]
    await timer
    seen.append("after the resumption" if (ctx.now - begin).total_seconds() >= 100 else "meanwhile")
    return [*seen, await ctx.wait_for_external_event("go", str)]


# --- asked from outside


@plan(
    {"pen": 3, "ink": 1},
    updating("Add", "pen", 2, answer=2, at=10),
    updating("add", "ink", 1, answer=1, at=20),
    updating("add", "pen", 1, answer=3, at=30),
    raising("check out", at=40),
    sold=4,
)
@orchestrator
async def cart(ctx: Context) -> dict[str, int]:
    """Updates that do something, beside the code that waits."""
    items: dict[str, int] = {}

    async def add(name: str, count: int) -> int:
        await ctx.call_entity(Tally.at("sold"), Tally.add, count)
        items[name] = items.get(name, 0) + count
        return items[name]

    def content() -> dict[str, int]:
        return items

    ctx.on_update("add", add)
    ctx.on_query("content", content)
    await ctx.wait_for_external_event("check out")
    return items


# --- activities


@plan(["4 of 8", "too long", "silent"])
@orchestrator
async def attempts_with_heartbeats(ctx: Context) -> list[object]:
    """Attempts that fail after a heartbeat, one that takes too long, and one that says nothing."""
    seen: list[object] = []
    try:
        await ctx.call_activity(breaking_off.options(retry=RetryPolicy(2, 60)), 8)
    except ActivityFailed as error:
        seen.append(error.failure.message)
    for text, limits in (("too long", {"timeout": 30.0}), ("silent", {"heartbeat_timeout": 30.0})):
        try:
            await ctx.call_activity(silent.options(**limits))
        except ActivityFailed as error:
            seen.append(text if error.failure.is_caused_by(TimeoutError) else str(error))
    return seen


@plan([200, "/jobs/7 is done"], options={"http_transport": httpx.MockTransport(_answer)})
@orchestrator
async def polling(ctx: Context) -> list[object]:
    """A request that is polled for an hour."""
    response = await ctx.call_http("POST", "https://api.example/jobs", content={"a": 1}, total_timeout=86_400)
    return [response.status_code, response.text]


# --- signals, versions, several ways at once


@plan("both sent", delayed=1)
@orchestrator
async def delayed_signals(ctx: Context) -> str:
    """A signal for later, and one that is cancelled."""
    target = Tally.at("delayed")
    ctx.signal_entity(target, Tally.add, 1, deliver_at=100)
    ctx.cancel_signal(ctx.signal_entity(target, Tally.add, 10, deliver_at=200))
    await ctx.sleep(500)
    return "both sent"


@plan(["child by 2", "None"])
@orchestrator
async def versions(ctx: Context) -> list[str]:
    """A child of a version, and one that nobody waits for."""
    ctx.start(versioned_child, "started", instance_id="started")
    return [await ctx.call_sub_orchestrator(versioned_child, "child"), str(ctx.version)]


@plan(["slow", "locked 1", "ValueError"], raising("go", at=20), steps=1)
@orchestrator
async def all_at_once(ctx: Context) -> list[str]:
    """A section, a child, retries and a race, each in a task of its own."""
    seen: dict[str, str] = {}

    async def locking() -> None:
        async with ctx.lock_entities(Tally.at("steps")):
            await ctx.wait_for_external_event("go")
            seen["a"] = f"locked {await ctx.call_entity(Tally.at('steps'), Tally.add, 1)}"

    async def refusing() -> None:
        try:
            await ctx.call_entity(Tally.at("other"), Tally.refuse, "no", retry=RetryPolicy(3, 10, coefficient=2))
        except EntityOperationFailed as error:
            seen["b"] = error.failure.type_name

    async def racing() -> None:
        slow, long = ctx.create_timer(30), ctx.call_sub_orchestrator(failing_late)
        seen["c"] = "slow" if await ctx.when_any([slow, long]) is slow else "long"
        with suppress(SubOrchestrationFailed):
            await long

    async with ctx.open_nursery() as nursery:
        for task in (locking, refusing, racing):
            nursery.start_soon(task)
    return [seen["c"], seen["a"], seen["b"]]


@defined
@orchestrator
async def failing_late(ctx: Context) -> None:
    """Fail after a minute."""
    await ctx.sleep(60)
    raise LookupError("too late")
