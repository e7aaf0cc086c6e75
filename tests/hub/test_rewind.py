"""Rewinding on a hub (O16): families, restarts, exactly-once effects, and batches that are still under way."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.orchestration import (
    CannotRewind,
    InstanceNotFound,
    OrchestrationContext,
    OrchestrationFailed,
    RuntimeStatus,
    activity,
    orchestrator,
)
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, Tally, hub_in, left_over, runtime_status

Context = OrchestrationContext
faults: Counter[str] = Counter()
"""How often the activity of a name is going to fail."""


@activity
async def flaky(name: str) -> str:
    """Fails as often as the test says."""
    if faults[name]:
        faults[name] -= 1
        raise OSError(f"{name} is down")
    return name


@orchestrator
async def family(ctx: Context, depth: int) -> list[str]:
    """A chain of children; every one asks an activity, and adds to a tally before and after."""
    await ctx.call_entity(Tally.at("before"), Tally.add, 1)
    found = [await ctx.call_activity(flaky, f"{depth}")]
    if depth:
        found += await ctx.call_sub_orchestrator(family, depth - 1, instance_id=f"child {depth}")
    await ctx.call_entity(Tally.at("after"), Tally.add, 1)
    return found


async def adding(ctx: Context) -> None:
    """Calls an entity; not in the scope of the nursery, whose cancellation would have the call made again."""
    with ctx.CancelScope(shield=True):
        await ctx.call_entity(Tally.at("t"), Tally.add, 1)


async def asking(ctx: Context, name: str) -> None:
    """Asks an activity."""
    await ctx.call_activity(flaky, name)


@orchestrator
async def plan(ctx: Context, steps: list[str]) -> int:
    """Calls, signals, and activities that may fail, alone and beside a call that is open meanwhile."""
    done = 0
    for number, step in enumerate(steps):
        match step:
            case "call":
                await ctx.call_entity(Tally.at("t"), Tally.add, 1)
            case "signal":
                ctx.signal_entity(Tally.at("t"), Tally.add, 1)
            case "beside":
                open_call = ctx.call_entity(Tally.at("t"), Tally.add, 1)
                await ctx.call_activity(flaky, f"{number}")
                await open_call
            case "nursery":
                async with ctx.open_nursery() as nursery:
                    nursery.start_soon(adding, ctx)
                    nursery.start_soon(asking, ctx, f"{number}")
            case "sleep":
                await ctx.sleep(60)
            case _:
                await ctx.call_activity(flaky, f"{number}")
        done += 1
    return done


ALL = (family, plan, flaky, Tally)


@pytest.fixture(autouse=True)
def _no_faults_left() -> None:
    faults.clear()


@CACHES
@pytest.mark.parametrize("restarting", [False, True])
async def test_O16_a_family_goes_on_where_it_failed(cache: int, restarting: bool, autojump_clock: object) -> None:
    """A rewind of the first goes down to the one that failed; all end well, and nothing that succeeded is done again."""
    store = MemoryStore()
    faults["2"] = 2
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        first = await hub.start(family, 3, instance_id="first")
        with pytest.raises(OrchestrationFailed, match="2 is down"):
            await first.result()
        await first.rewind()
        with pytest.raises(OrchestrationFailed, match="2 is down"):
            await first.result()
        if not restarting:
            await first.rewind("the service is back")
            assert await first.result() == ["3", "2", "1", "0"]
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        first = hub.instance("first")
        if restarting:
            await first.rewind("the service is back")
            assert await first.result() == ["3", "2", "1", "0"]
        for name in ("first", "child 3", "child 2", "child 1"):
            assert await runtime_status(hub.instance(name)) is RuntimeStatus.COMPLETED
        for name in ("before", "after"):
            tally = await hub.read_entity(Tally.at(name))
            assert tally is not None
            assert tally.value == 4, name


STEPS = st.lists(st.sampled_from(["call", "signal", "beside", "nursery", "sleep", "activity"]), min_size=1, max_size=7)


@settings(max_examples=25, deadline=None)
@given(STEPS, st.lists(st.integers(0, 2), min_size=7, max_size=7), st.sampled_from([64 << 20, 1]), st.booleans())
def test_O16_every_effect_is_there_once(steps: list[str], failing: list[int], cache: int, restarting: bool) -> None:
    """However often activities fail and the instance is rewound, each call and signal has one effect, and the result is right."""

    async def run() -> None:
        store = MemoryStore()
        faults.clear()
        faults.update({f"{number}": times for number, times in enumerate(failing)})
        async with hub_in(store, *ALL, cache_bytes=cache) as hub:
            await hub.start(plan, steps, instance_id="x")
        for _ in range(sum(failing) + 1):
            async with hub_in(store, *ALL, cache_bytes=cache) as hub:
                if await _ended_well(hub, len(steps)) or (not restarting and await _rewound(hub, sum(failing), len(steps))):
                    break
                await hub.rewind("x")
        else:
            raise AssertionError("it never ended well")
        async with hub_in(store, *ALL) as hub:
            await hub.wait_idle()
            tally = await hub.read_entity(Tally.at("t"))
            assert (0 if tally is None else tally.value) == sum(step in ("call", "signal", "beside", "nursery") for step in steps)
            assert left_over(store) == {}

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def _ended_well(hub: TaskHub, count: int) -> bool:
    try:
        assert await hub.instance("x").result() == count
    except OrchestrationFailed:
        return False
    return True


async def _rewound(hub: TaskHub, times: int, count: int) -> bool:
    for _ in range(times + 1):
        await hub.rewind("x")
        if await _ended_well(hub, count):
            return True
    return False


async def in_memory(hub: TaskHub, status: RuntimeStatus, faults_left: int) -> None:
    """Wait until the instance has come so far, whatever is on disk."""
    while faults["poke"] != faults_left or (await hub.describe("x")).runtime_status is not status:
        await trio.lowlevel.checkpoint()


@define
class Fragile(Entity):
    """Fails as often as the test says."""

    def poke(self) -> None:
        """May fail."""
        if faults["poke"]:
            faults["poke"] -= 1
            raise OSError("not yet")


@orchestrator
async def poking(ctx: Context) -> None:
    """Calls only, which need no commit between them."""
    await ctx.call_entity(Tally.at("t"), Tally.add, 1)
    await ctx.call_entity(Fragile.at(""), Fragile.poke)
    await ctx.call_entity(Tally.at("t"), Tally.add, 1)


async def test_O16_before_the_failure_is_on_disk() -> None:
    """An instance whose failure is not durable yet is rewound all the same, over the journal in the batches under way."""
    store = MemoryStore()
    faults["poke"] = 2
    async with hub_in(store, poking, Fragile, Tally) as hub, trio.open_nursery() as nursery:
        store.hold_commits(True)
        nursery.start_soon(partial(hub.start, poking, instance_id="x"))
        await trio.lowlevel.checkpoint()
        for left in (1, 0):
            await in_memory(hub, RuntimeStatus.FAILED, left)
            nursery.start_soon(hub.rewind, "x")
        await in_memory(hub, RuntimeStatus.COMPLETED, 0)
        assert not store.snapshot()[tables.HISTORY]
        store.hold_commits(False)
        await hub.wait_idle()  # whoever waits for the result is told of the failure once that is on disk
        assert await hub.instance("x").result() is None
    async with hub_in(store, poking, Fragile, Tally) as hub:
        tally = await hub.read_entity(Tally.at("t"))
        assert tally is not None
        assert tally.value == 2


async def test_O16_the_result_is_that_of_the_last_ending() -> None:
    """While the ending after a rewind is on its way to disk, nobody is told the one before it."""
    store = MemoryStore()
    faults["poke"] = 1
    results: list[object] = []
    async with hub_in(store, poking, Fragile, Tally) as hub, trio.open_nursery() as nursery:
        instance = await hub.start(poking, instance_id="x")
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        store.hold_commits(True)
        nursery.start_soon(instance.rewind)
        await in_memory(hub, RuntimeStatus.COMPLETED, 0)

        async def wait() -> None:
            try:
                results.append(await instance.result())
            except OrchestrationFailed as error:
                results.append(error)

        nursery.start_soon(wait)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        results.append("held")
        store.hold_commits(False)
    assert results == ["held", None]


async def test_O16_only_what_has_failed() -> None:
    """A rewind of what does not exist, runs, or ended otherwise is refused, and changes nothing."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        with pytest.raises(InstanceNotFound):
            await hub.rewind("nobody")
        done = await hub.start(plan, ["call"], instance_id="done")
        await done.result()
        running = await hub.start(plan, ["sleep"], instance_id="running")
        await hub.wait_idle()
        for instance, what in ((done, "Completed"), (running, "Running")):
            before = await instance.status()
            with pytest.raises(CannotRewind, match=what):
                await instance.rewind()
            assert await instance.status() == before


async def test_O16_the_mail_of_a_failed_instance_goes_with_it() -> None:
    """Answers that came after the failure are kept for a rewind, and purged with the instance."""
    store = MemoryStore()
    faults["0"] = 1
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(plan, ["beside"], instance_id="x")
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        await hub.wait_idle()
        await instance.purge()
        assert left_over(store) == {}
        with pytest.raises(InstanceNotFound):
            await instance.status()


@pytest.mark.parametrize("how", ["purged", "replaced"])
async def test_O16_a_child_that_goes_before_it_is_rewound(how: str) -> None:
    """A parent that waits for a child to be rewound is told when the child is purged or replaced before; it does not hang."""
    faults["0"] = 1
    async with hub_in(MemoryStore(), *ALL) as hub:
        parent = await hub.start(family, 1, instance_id="parent")
        with pytest.raises(OrchestrationFailed):
            await parent.result()
        hub.pause()
        await parent.rewind()
        if how == "purged":
            await hub.purge_instance("child 1")
        else:
            await hub.start(family, 0, instance_id="child 1", if_exists="replace")
        hub.unpause()
        await hub.wait_idle()
        failure = (await parent.status()).failure
        assert failure is not None
        assert "before it was rewound" in failure.message
