"""Critical sections in a whole hub: order, isolation, the rules inside, every way out, and what clients see (L1 to L4, L9)."""

from __future__ import annotations

import re
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio
from perdure.entities import EntityId, UnknownEntity
from perdure.hub import TaskHub
from perdure.orchestration import (
    Cancelled,
    LockRuleError,
    OrchestrationCanceled,
    OrchestrationContext,
    OrchestrationFailed,
    OrchestrationTerminated,
    TooSlowError,
    orchestrator,
)

from ..entities.on_hub import a_while, opened, until
from .lock_world import A, B, C, Counter, child, gates, hold, holders, leave, nothing, waiting, watched


@pytest.fixture(autouse=True)
def clean() -> None:
    gates.clear()


@orchestrator
async def hold_in_disorder(ctx: OrchestrationContext) -> None:
    """Lock three, named backwards and twice."""
    async with ctx.lock_entities(C, B, EntityId("COUNTER", "b"), A, C):
        await ctx.wait_for_external_event("then", str)


# --- L1, L9


async def test_L1_duplicates_and_order() -> None:
    """However a set is given, each entity is locked once, and those before the first that is taken are held meanwhile."""
    async with watched(hold_in_disorder) as hub:
        await hub.start(hold, "c", instance_id="first")
        await hub.start(hold_in_disorder, instance_id="second")
        assert await holders(hub, "abc") == ["second", "second", "first"]
        assert [await waiting(hub, key) for key in "abc"] == [(), (), ("second",)]
        assert (await hub.describe("second")).section == (A, B, C)
        await leave(hub, "first")
        assert await holders(hub, "abc") == ["second"] * 3
        await leave(hub, "second")


@orchestrator
async def lock_oddly(ctx: OrchestrationContext, what: str) -> str:
    """Ask for a set that is not allowed; the error."""
    untyped: Any = ctx
    sets: dict[str, tuple[Any, ...]] = {
        "none": (),
        "too many": tuple(Counter.at(str(number)) for number in range(1001)),
        "text": ("@counter@a",),
        "class": (Counter,),
        "unknown": (EntityId("nothing", "a"),),
    }
    try:
        untyped.lock_entities(*sets[what])
    except (ValueError, TypeError, UnknownEntity) as error:
        return f"{type(error).__name__} {error}"
    return "allowed"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("none", "ValueError.*at least one"), ("too many", r"ValueError.*1,?000.*1,?001"), ("text", "TypeError.*@counter@a"),
        ("class", "TypeError"), ("unknown", "UnknownEntity.*'nothing'"),
    ],
)  # fmt: skip
async def test_L1_sets_that_are_refused(what: str, error: str) -> None:
    """An empty set, more than a thousand entities, what is no id and unknown classes are refused, and the instance goes on."""
    async with watched(lock_oddly) as hub:
        found = await (await hub.start(lock_oddly, what)).result()
        assert re.match(error, found)


@orchestrator
async def lock_many(ctx: OrchestrationContext) -> int:
    """Lock a thousand."""
    async with ctx.lock_entities(*(Counter.at(str(number)) for number in range(1000))):
        return await ctx.call_entity(Counter.at("999"), Counter.add, 1)


async def test_L1_a_thousand_entities() -> None:
    """A thousand entities can be locked at once, and all of them are free afterwards."""
    async with opened(Counter, lock_many) as hub:
        assert await (await hub.start(lock_many)).result() == 1
        await hub.wait_idle()
        for number in range(0, 1000, 111):
            assert (await hub.describe(Counter.at(str(number)))).locked_by is None


async def test_L9_holder_waiters_and_queue() -> None:
    """A client is shown who holds an entity, who waits for it in which order, and which operations wait."""
    async with watched() as hub:
        for name in ("holder", "z", "m", "a"):
            await hub.start(hold, "a", instance_id=name)
            await hub.wait_idle()
            await hub.signal_entity(A, Counter.add, 1)
        await hub.wait_idle()
        description = await hub.describe(A)
        assert description.locked_by == "holder"
        assert description.waiting == ("z", "m", "a")
        assert description.queued == ("add",) * 4
        assert (description.entity_id, description.exists, description.running) == (A, True, None)
        for name in ("holder", "z", "m", "a"):
            assert await holders(hub, "a") == [name]
            await leave(hub, name)
        assert await hub.call_entity(A, Counter.get) == 4


# --- L2


async def test_L2_everybody_else_waits() -> None:
    """Calls and signals to a locked entity wait and then run in order of arrival; readers and other entities do not wait."""
    async with watched() as hub, trio.open_nursery() as nursery:
        await hub.start(hold, "a", instance_id="holder")
        await hub.wait_idle()
        results: list[Any] = []

        async def call() -> None:
            results.append(await hub.call_entity(A, Counter.see, "call"))

        await hub.signal_entity(A, Counter.see, "signal")
        nursery.start_soon(call)
        await a_while()
        assert results == []
        read = await hub.read_entity(A)
        assert read is not None
        assert read.seen == ["holder"]
        assert await hub.call_entity(B, Counter.see, "free") == ["free"]
        await leave(hub, "holder")
        await until(lambda: results)
        assert results == [["holder", "signal", "call"]]


@orchestrator
async def increment(ctx: OrchestrationContext, keys: str, rounds: int) -> int:
    """Lock random subsets again and again, and add 1 to each by reading and writing; how many additions."""
    additions = 0
    for _ in range(rounds):
        chosen = [Counter.at(key) for key in ctx.random.sample(keys, ctx.random.randint(1, 4))]
        async with ctx.lock_entities(*chosen):
            for ref in chosen:
                value = await ctx.call_entity(ref, Counter.get)
                await ctx.call_entity(ref, Counter.set, value + 1)
                additions += 1
    return additions


@pytest.mark.parametrize("cache_bytes", [1, 64_000_000])
async def test_L_twenty_orchestrations(cache_bytes: int) -> None:
    """Twenty orchestrations lock random subsets of ten entities: none gets stuck, and no addition is lost.

    So it is in plenty of memory and in next to none, where everybody is evicted and replayed all the time.
    """
    async with watched(increment, cache_bytes=cache_bytes) as hub:
        instances = [await hub.start(increment, "0123456789", 5) for _ in range(20)]
        for number in range(30):
            await hub.signal_entity(Counter.at(str(number % 10)), Counter.add, 1)
        additions = sum([await instance.result() for instance in instances])
        values = [await hub.call_entity(Counter.at(str(number)), Counter.get) for number in range(10)]
        assert sum(values) == additions + 30
        assert additions >= 100


FOREVER = 10**6
"""Rounds of those that only end when they are ended."""


@pytest.mark.parametrize("seed", range(4))
async def test_L_owners_that_are_ended_at_random(seed: int) -> None:
    """While half of twenty owners are terminated or cancelled at random moments, the others finish, and no lock is left."""
    random = Random(seed)
    async with watched(increment) as hub:
        doomed = random.sample(range(20), 10)
        for number in range(20):
            await hub.start(increment, "0123456789", FOREVER if number in doomed else 5, instance_id=str(number))
        for number in doomed:
            for _ in range(random.randint(0, 10)):
                await trio.lowlevel.checkpoint()
            await random.choice([hub.terminate, hub.cancel])(str(number))
        for number in range(20):
            await until_final(hub, str(number))
        for number in range(10):
            await hub.call_entity(Counter.at(str(number)), Counter.add, 1)


async def until_final(hub: TaskHub, instance_id: str) -> None:
    """Wait for the end of an instance, whichever it is."""
    with suppress(OrchestrationTerminated, OrchestrationCanceled):
        await hub.instance(instance_id).result()


# --- L3


@orchestrator
async def break_rule(ctx: OrchestrationContext, what: str) -> str:
    """Break a rule inside a section, then go on by the rules; what was said."""
    said = "nothing"
    async with ctx.lock_entities(A, B):
        pending = ctx.call_entity(A, Counter.add, 1)
        try:
            match what:
                case "call":
                    ctx.call_entity(C, Counter.add, 1)
                case "signal":
                    ctx.signal_entity(B, Counter.add, 1)
                case "section":
                    async with ctx.lock_entities(C):
                        pass
                case "same section":
                    async with ctx.lock_entities(A):
                        pass
                case "child":
                    ctx.call_sub_orchestrator(child)
                case "again":
                    ctx.continue_as_new("nothing")
                case "second call":
                    ctx.call_entity(A, Counter.add, 1)
                case _:
                    raise AssertionError(what)
        except LockRuleError as error:
            said = str(error)
        assert await pending == 1
        await ctx.call_entity(B, Counter.see, "went on")
    async with ctx.lock_entities(C):
        await ctx.call_entity(C, Counter.see, "another section")
    return said


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        ("call", "@counter@c"), ("signal", "@counter@b"), ("section", "second section"), ("same section", "second section"),
        ("child", "sub-orchestration"), ("again", "continue_as_new"), ("second call", "pending call"),
    ],
)  # fmt: skip
async def test_L3_what_is_refused_inside(what: str, rule: str) -> None:
    """Each thing that a section forbids is a LockRuleError that names the rule; nothing was sent, and the instance can go on."""
    async with watched(break_rule) as hub:
        said = await (await hub.start(break_rule, what)).result()
        assert "Rule: " in said
        assert rule in said
        assert await hub.read_entity(B) == Counter(0, ["went on"])
        assert await hub.read_entity(C) == Counter(0, ["another section"])


@orchestrator
async def keep_rules(ctx: OrchestrationContext) -> list[int]:
    """Do inside a section everything that is allowed."""
    before = ctx.call_sub_orchestrator(child)
    results = []
    async with ctx.lock_entities(A, B):
        calls = [ctx.call_entity(A, Counter.add, 1), ctx.call_entity(B, Counter.add, 2)]
        ctx.signal_entity(C, Counter.add, 3)
        ctx.start(child, instance_id="started")
        results += [await call for call in calls]
        results.append(await ctx.call_entity(A, Counter.add, 10))
        results.append(await ctx.call_activity(nothing))
        await ctx.sleep(0)
        results.append(await before)
        results.append(await ctx.wait_for_external_event("go", int))
    return results


async def test_L3_what_is_allowed_inside() -> None:
    """Calls to locked entities, signals to others, activities, timers, events, starts, and awaiting an earlier child are allowed."""
    async with watched(keep_rules) as hub:
        instance = await hub.start(keep_rules)
        await instance.raise_event("go", 9)
        assert await instance.result() == [1, 2, 11, 7, 8, 9]
        assert await hub.call_entity(C, Counter.get) == 3
        assert await hub.instance("started").result() == 8


# --- L4


@pytest.mark.parametrize("then", ["leave", "return", "fail"])
async def test_L4_every_way_out_releases(then: str) -> None:
    """Left normally, by return or by an exception, all locks of the set fall, and the next one has its turn."""
    async with watched() as hub:
        await hub.start(hold, "abc", instance_id="first")
        await hub.start(hold, "cab", instance_id="second")
        assert await holders(hub, "abc") == ["first"] * 3
        await hub.raise_event("first", "then", then)
        assert await holders(hub, "abc") == ["second"] * 3
        if then == "fail":
            with pytest.raises(OrchestrationFailed, match="inside"):
                await hub.instance("first").result()
        else:
            assert await hub.instance("first").result() == {"leave": "left", "return": "from inside"}[then]
        await leave(hub, "second")


@orchestrator
async def go_on(ctx: OrchestrationContext, how: str) -> str:
    """Get out of a section, or of the wait for one, by an exception, and then wait for an event."""
    try:
        match how:
            case "body":
                async with ctx.lock_entities(A, B):
                    raise ValueError("inside")
            case "cancelled body":
                async with ctx.lock_entities(A, B):
                    await ctx.wait_for_external_event("never")
            case "time limit":
                async with ctx.lock_entities(A, B, wait_timeout=0):
                    return "not reached"
            case _:
                async with ctx.lock_entities(A, B):
                    return "not reached"
    except (ValueError, TooSlowError, Cancelled) as error:
        await ctx.wait_for_external_event("then")
        return type(error).__name__
    return "not reached"


@pytest.mark.parametrize(
    ("how", "error", "first"),
    [
        ("body", "ValueError", None),
        ("cancelled body", "Cancelled", None),
        ("time limit", "TooSlowError", "b"),
        ("wait", "Cancelled", "b"),
    ],
)
async def test_L4_an_owner_that_goes_on_has_let_go(how: str, error: str, first: str | None) -> None:
    """An owner that was thrown out of its section, or out of the wait for it, and goes on, holds and wants nothing."""
    async with watched(go_on) as hub:
        if first is not None:
            await hub.start(hold, first, instance_id="first")
            await hub.wait_idle()
        await hub.start(go_on, how, instance_id="owner")
        await hub.wait_idle()
        if error == "Cancelled":
            assert (await holders(hub, "a")) == ["owner"]
            await hub.cancel("owner")
        assert await holders(hub, "ab") == [None, None if first is None else "first"]
        assert await waiting(hub, "b") == ()
        assert not (await hub.get_status("owner")).runtime_status.final
        await hub.raise_event("owner", "then")
        assert await hub.instance("owner").result() == error
        if first is not None:
            await leave(hub, "first")


async def test_L4_a_section_with_a_pending_call() -> None:
    """Left with a call pending, a section frees the others at once, and that entity when the call has ended; its effect stays."""
    async with watched() as hub:
        await hub.start(hold, "ab", instance_id="first")
        await hub.wait_idle()
        await hub.raise_event("first", "then", "call and leave")
        assert await hub.instance("first").result() == "left"
        await hub.start(hold, "b", instance_id="second")
        await hub.start(hold, "a", instance_id="third")
        await until(lambda: "pending" in gates)
        await a_while()
        assert (await hub.describe(A)).locked_by == "first"
        assert (await hub.describe(B)).locked_by == "second"
        gates["pending"].set()
        assert await holders(hub, "ab") == ["third", "second"]
        await leave(hub, "second")
        await leave(hub, "third")
        assert (await hub.call_entity(A, Counter.see, "end")) == ["first", "pending", "third", "end"]
