"""Suspending, resuming, cancelling, terminating, replacing and restarting instances (O4, O12, O13, O16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub
from perdure.orchestration import (
    Cancelled,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    OrchestrationCanceled,
    OrchestrationContext,
    OrchestrationFailed,
    OrchestrationTerminated,
    RuntimeStatus,
    SubOrchestrationFailed,
    activity,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, Tally, everything, holder_of, hub_in, left_over, outcome, runtime_status, tally

Context = OrchestrationContext
Clock = trio.testing.MockClock


@orchestrator
async def gather(ctx: Context, count: int) -> list[int]:
    """So many numbers, in the order in which they came."""
    return [await ctx.wait_for_external_event("number", int) for _ in range(count)]


@orchestrator
async def careful(ctx: Context, then: str) -> str:
    """Wait; when cancelled, compensate, and then do as it is told."""
    try:
        await ctx.sleep(10_000)
    except Cancelled:
        await ctx.call_entity(Tally.at("compensated"), Tally.add, 1)
        match then:
            case "swallow":
                return "swallowed"
            case "fail":
                raise ValueError("instead") from None
            case "wait":
                await ctx.wait_for_external_event("never")
                return "never here"
            case _:
                raise
    return "slept"


@orchestrator
async def hold(ctx: Context, key: str) -> str:
    """Hold a lock until told."""
    async with ctx.lock_entities(Tally.at(key)):
        await ctx.wait_for_external_event("go")
    return "held"


@orchestrator
async def parent(ctx: Context, depth: int) -> str:
    """A chain of children, the last of which holds a lock."""
    if depth == 0:
        return await ctx.call_sub_orchestrator(hold, "a", instance_id="leaf")
    return await ctx.call_sub_orchestrator(parent, depth - 1, instance_id=f"child{depth}")


@orchestrator
async def nap(ctx: Context, seconds: float) -> str:
    """Sleep."""
    await ctx.sleep(seconds)
    return "slept"


@orchestrator
async def echo(ctx: Context, value: int) -> int:
    """At once."""
    return value


ALL: tuple[object, ...] = (gather, careful, hold, parent, nap, echo, Tally)
VERBS: list[tuple[str, Callable[[TaskHub, str], Awaitable[Any]]]] = [
    ("suspend", lambda hub, name: hub.suspend(name)),
    ("resume", lambda hub, name: hub.resume(name)),
    ("cancel", lambda hub, name: hub.cancel(name)),
    ("terminate", lambda hub, name: hub.terminate(name)),
    ("raise_event", lambda hub, name: hub.raise_event(name, "x")),
]
EACH_VERB = pytest.mark.parametrize("verb", [verb for _, verb in VERBS], ids=[name for name, _ in VERBS])


# --- O12


@CACHES
async def test_O12_while_suspended_everything_waits_in_order(cache: int, autojump_clock: Clock) -> None:
    """Events to a suspended instance change nothing before it is resumed, and are then read in their order."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(gather, 4)
        await instance.raise_event("number", 0)
        await hub.wait_idle()
        await instance.suspend("because")
        for number in (1, 2, 3):
            await instance.raise_event("number", number)
        await trio.sleep(1000)
        assert await runtime_status(instance) is RuntimeStatus.SUSPENDED
        await instance.resume()
        assert await instance.result() == [0, 1, 2, 3]


@CACHES
async def test_O12_a_timer_that_is_due_meanwhile_waits(cache: int, autojump_clock: Clock) -> None:
    """A timer whose time comes while the instance is suspended fires when it is resumed, neither before nor never."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(nap, 10.0)
        await hub.wait_idle()
        await instance.suspend()
        await trio.sleep(5000)
        assert await runtime_status(instance) is RuntimeStatus.SUSPENDED
        await instance.resume()
        assert await instance.result(timeout=1) == "slept"
    assert left_over(store) == {}


async def test_O12_twice_changes_nothing(autojump_clock: Clock) -> None:
    """Suspending twice needs one resume; resuming what is not suspended changes nothing."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(gather, 1)
        await hub.wait_idle()
        await instance.resume()
        assert await runtime_status(instance) is RuntimeStatus.RUNNING
        await instance.suspend()
        await hub.wait_idle()
        before = await instance.status()
        await trio.sleep(10)
        await instance.suspend()
        await hub.wait_idle()
        assert await instance.status() == before
        await instance.resume()
        await instance.raise_event("number", 5)
        assert await instance.result() == [5]


@CACHES
@pytest.mark.parametrize("restarted", [False, True])
async def test_O12_suspended_before_it_began(restarted: bool, cache: int, autojump_clock: Clock) -> None:
    """An instance that is suspended while it is still Pending begins when it is resumed, in this hub or the next."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        hub.pause()
        await hub.start(gather, 1, instance_id="g")
        await hub.suspend("g")
        hub.unpause()
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.SUSPENDED
        await hub.raise_event("g", "number", 7)
        if not restarted:
            await hub.resume("g")
            assert await hub.instance("g").result() == [7]
    if restarted:
        async with hub_in(store, *ALL, cache_bytes=cache) as hub:
            await hub.resume("g")
            assert await hub.instance("g").result() == [7]


async def test_O12_a_suspension_outlives_the_hub(autojump_clock: Clock) -> None:
    """A suspended instance is suspended after a restart, keeps what was queued, and goes on when it is resumed."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        instance = await hub.start(gather, 2, instance_id="g")
        await hub.wait_idle()
        await instance.suspend()
        await instance.raise_event("number", 1)
    async with hub_in(store, *ALL) as hub:
        await hub.raise_event("g", "number", 2)
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.SUSPENDED
        await hub.resume("g")
        assert await hub.instance("g").result() == [1, 2]


async def test_O12_a_suspended_holder_keeps_its_lock(autojump_clock: Clock) -> None:
    """A suspended instance is alive: its lock is not taken away (L8)."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(hold, "a", instance_id="h")
        await hub.wait_idle()
        await instance.suspend()
        await instance.raise_event("go")
        await hub.wait_idle()
        assert await holder_of(hub, "a") == "h"
        await instance.resume()
        assert await instance.result() == "held"


# --- O13, cancel


@CACHES
@pytest.mark.parametrize(
    ("then", "status", "result"),
    [
        ("raise", RuntimeStatus.CANCELED, "OrchestrationCanceled"),
        ("swallow", RuntimeStatus.COMPLETED, "swallowed"),
        ("fail", RuntimeStatus.FAILED, "OrchestrationFailed"),
    ],
)
async def test_O13_cancel(cache: int, then: str, status: RuntimeStatus, result: str, autojump_clock: Clock) -> None:
    """Cancelled is raised at the await, compensation runs, and how the code ends decides the status; no timer stays."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(careful, then)
        await hub.wait_idle()
        await instance.cancel("enough")
        assert await outcome(instance) == result
        assert await runtime_status(instance) is status
        assert await tally(hub, "compensated") == 1
        assert trio.current_time() < 10_000
        await hub.wait_idle()
    assert left_over(store) == {}


async def test_O13_a_second_cancel_raises_again(autojump_clock: Clock) -> None:
    """While it compensates the awaits work; a second cancel interrupts them again, once."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=1) as hub:
        instance = await hub.start(careful, "wait")
        await hub.wait_idle()
        await instance.cancel()
        await trio.sleep(100)
        assert await runtime_status(instance) is RuntimeStatus.RUNNING
        assert await tally(hub, "compensated") == 1
        await instance.cancel()
        with pytest.raises(OrchestrationCanceled):
            await instance.result()


async def test_O13_cancelling_a_pending_instance(autojump_clock: Clock) -> None:
    """One that has not begun ends Canceled and never runs."""
    ran: list[str] = []

    @orchestrator
    async def runs(ctx: Context) -> None:
        ran.append("ran")

    async with hub_in(MemoryStore(), runs) as hub:
        hub.pause()
        instance = await hub.start(runs)
        await instance.cancel()
        hub.unpause()
        assert await outcome(instance) == "OrchestrationCanceled"
        await hub.wait_idle()
        assert not ran


async def test_O13_cancelling_a_suspended_instance_resumes_it(autojump_clock: Clock) -> None:
    """Compensation runs at once, without a resume."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=1) as hub:
        instance = await hub.start(careful, "raise")
        await hub.wait_idle()
        await instance.suspend()
        await hub.wait_idle()
        await instance.cancel()
        assert await outcome(instance) == "OrchestrationCanceled"
        assert await tally(hub, "compensated") == 1


async def test_O13_cancelling_what_was_suspended_before_it_began(autojump_clock: Clock) -> None:
    """An instance that was suspended while Pending, and is then cancelled, ends Canceled."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        hub.pause()
        instance = await hub.start(careful, "raise")
        await instance.suspend()
        hub.unpause()
        await hub.wait_idle()
        await instance.cancel()
        await hub.wait_idle()
        assert await runtime_status(instance) is RuntimeStatus.CANCELED


async def test_O13_a_cancelled_holder_releases(autojump_clock: Clock) -> None:
    """A section that is left by cancellation releases its locks (L4), and a waiting request is withdrawn."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        first = await hub.start(hold, "a", instance_id="1")
        await hub.wait_idle()
        second = await hub.start(hold, "a", instance_id="2")
        await hub.wait_idle()
        await second.cancel()
        assert await outcome(second) == "OrchestrationCanceled"
        await first.cancel()
        assert await outcome(first) == "OrchestrationCanceled"
        await hub.wait_idle()
        assert await holder_of(hub, "a") is None


async def test_O13_a_cancelled_instance_tells_its_parent(autojump_clock: Clock) -> None:
    """The parent's await raises SubOrchestrationFailed, whose failure is OrchestrationCanceled."""

    @orchestrator
    async def asks(ctx: Context) -> str:
        try:
            return await ctx.call_sub_orchestrator(nap, 1000.0, instance_id="kid")
        except SubOrchestrationFailed as error:
            return f"{error.failure.is_caused_by(OrchestrationCanceled)}"

    async with hub_in(MemoryStore(), asks, *ALL) as hub:
        instance = await hub.start(asks)
        await hub.wait_idle()
        await hub.cancel("kid")
        assert await instance.result() == "True"


# --- O13, terminate


@CACHES
async def test_O13_terminate_is_recursive(cache: int, autojump_clock: Clock) -> None:
    """Termination ends the instance and its children of all generations at once, with the reason; locks are free."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=cache) as hub:
        instance = await hub.start(parent, 3, instance_id="top")
        await hub.wait_idle()
        assert await holder_of(hub, "a") == "leaf"
        await instance.terminate("stop it")
        with pytest.raises(OrchestrationTerminated, match="stop it"):
            await instance.result()
        await hub.wait_idle()
        for name in ("top", "child3", "child2", "child1", "leaf"):
            status = await hub.instance(name).status()
            assert (status.runtime_status, status.output) == (RuntimeStatus.TERMINATED, "stop it"), name
        assert await holder_of(hub, "a") is None
    assert left_over(store) == {}


async def test_O13_terminate_alone(autojump_clock: Clock) -> None:
    """With ``recursive=False`` the children go on."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(parent, 0)
        await hub.wait_idle()
        terminate: Any = instance.terminate
        await terminate("alone", recursive=False)
        assert await outcome(instance) == "OrchestrationTerminated"
        await hub.raise_event("leaf", "go")
        assert await hub.instance("leaf").result() == "held"


async def test_O13_terminating_a_suspended_instance(autojump_clock: Clock) -> None:
    """A suspended instance is ended too, and its timers go."""
    store = MemoryStore()
    async with hub_in(store, *ALL, cache_bytes=1) as hub:
        instance = await hub.start(nap, 1000.0)
        await hub.wait_idle()
        await instance.suspend()
        await hub.wait_idle()
        await instance.terminate()
        assert await outcome(instance) == "OrchestrationTerminated"
    assert left_over(store) == {}


@EACH_VERB
async def test_O13_verbs_on_the_finished_and_the_unknown(
    verb: Callable[[TaskHub, str], Awaitable[Any]], autojump_clock: Clock
) -> None:
    """On a finished instance a verb raises InstanceFinished, on an unknown one InstanceNotFound; nothing changes."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(echo, 1, instance_id="done")
        await instance.result()
        before = await instance.status()
        with pytest.raises(InstanceFinished):
            await verb(hub, "done")
        with pytest.raises(InstanceNotFound):
            await verb(hub, "unknown")
        await hub.wait_idle()
        assert await instance.status() == before


# --- O4, replace


@CACHES
async def test_O4_replace(cache: int, autojump_clock: Clock) -> None:
    """Replacing ends the running execution and its children, frees their locks, tells who waits, and starts the new one."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
        old = await hub.start(parent, 1, instance_id="top")
        await hub.wait_idle()
        told: list[Any] = []

        async def wait() -> None:
            told.append(await outcome(old))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await hub.start(echo, 5, instance_id="top", if_exists="replace")
        assert told == ["OrchestrationTerminated"]
        assert await hub.instance("top").result() == 5
        await hub.wait_idle()
        assert await runtime_status(hub.instance("child1")) is RuntimeStatus.TERMINATED
        assert await runtime_status(hub.instance("leaf")) is RuntimeStatus.TERMINATED
        assert await holder_of(hub, "a") is None


@CACHES
@pytest.mark.parametrize("how", ["suspended", "paused"])
async def test_O4_replace_drops_unread_events(how: str, cache: int, autojump_clock: Clock) -> None:
    """Events that the old execution had not taken are no event of the new one's; the hub goes on."""
    async with hub_in(MemoryStore(), *ALL, cache_bytes=cache) as hub:
        old = await hub.start(gather, 5, instance_id="g")
        await old.raise_event("other", 0)
        await hub.wait_idle()
        if how == "suspended":
            await old.suspend()
        else:
            hub.pause()
        await old.raise_event("number", 1)
        await old.raise_event("number", 2)
        await hub.start(gather, 1, instance_id="g", if_exists="replace")
        hub.unpause()
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.RUNNING
        await hub.raise_event("g", "number", 9)
        assert await hub.instance("g").result() == [9]
        assert (await hub.instance("g").status()).unread_events == 0


@pytest.mark.parametrize("earlier", ["suspend", "cancel", "resume", "terminate"])
async def test_O4_replace_while_another_verb_waits(earlier: str, autojump_clock: Clock) -> None:
    """A verb that was accepted for the old execution, and not worked off yet, does nothing to the new one."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        await hub.start(hold, "a", instance_id="g")
        await hub.wait_idle()
        hub.pause()
        await getattr(hub, earlier)("g")
        await hub.start(gather, 1, instance_id="g", if_exists="replace")
        hub.unpause()
        await hub.wait_idle()
        assert await runtime_status(hub.instance("g")) is RuntimeStatus.RUNNING
        assert await holder_of(hub, "a") is None
        await hub.raise_event("g", "number", 9)
        assert await hub.instance("g").result() == [9]


async def test_O4_replacing_a_pending_instance(autojump_clock: Clock) -> None:
    """An instance that has not begun is replaced like a running one; only the new one runs."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        hub.pause()
        await hub.start(echo, 1, instance_id="e")
        await hub.start(echo, 2, instance_id="e", if_exists="replace")
        await hub.start(echo, 3, instance_id="e", if_exists="replace")
        hub.unpause()
        assert await hub.instance("e").result() == 3


async def test_O4_late_results_of_the_old_execution_are_dropped(autojump_clock: Clock) -> None:
    """An activity of the replaced execution that ends later does not answer the same step of the new one."""

    @activity
    async def slow(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    @orchestrator
    async def calls(ctx: Context, seconds: float) -> float:
        return await ctx.call_activity(slow, seconds)

    async with hub_in(MemoryStore(), slow, calls) as hub:
        await hub.start(calls, 10.0, instance_id="c")
        await trio.sleep(1)
        await hub.start(calls, 100.0, instance_id="c", if_exists="replace")
        assert await hub.instance("c").result() == 100.0


# --- O16, restart


async def test_O16_restart(autojump_clock: Clock) -> None:
    """A restart runs the same orchestrator with the same input, under a new id or its own, which must have finished."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        instance = await hub.start(echo, 4, instance_id="e", tags={"a": "b"})
        await instance.result()
        first = await instance.status()
        other = await instance.restart()
        assert other.id != "e"
        assert await other.result() == 4
        assert (await other.status()).tags == {"a": "b"}
        same = await instance.restart(new_id=False)
        assert same.id == "e"
        assert await same.result() == 4
        assert (await same.status()).execution != first.execution
        running = await hub.start(gather, 1, instance_id="g")
        with pytest.raises(InstanceExists):
            await running.restart(new_id=False)
        twin = await running.restart()
        await twin.raise_event("number", 3)
        assert await twin.result() == [3]
        assert await runtime_status(running) is RuntimeStatus.RUNNING
        with pytest.raises(InstanceNotFound):
            await hub.restart("unknown")


async def test_O16_restart_of_a_failed_instance(autojump_clock: Clock) -> None:
    """A failed instance that is restarted under its own id has neither the old failure nor the old custom status."""
    broken = True

    @orchestrator
    async def fragile(ctx: Context) -> str:
        if broken:
            ctx.set_custom_status("about to fail")
            raise ValueError("broken")
        return "fine"

    async with hub_in(MemoryStore(), fragile) as hub:
        instance = await hub.start(fragile)
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        broken = False
        assert await (await instance.restart(new_id=False)).result() == "fine"
        status = await instance.status()
        assert (status.failure, status.custom_status) == (None, None)


async def test_O16_nothing_is_left_after_a_purge(autojump_clock: Clock) -> None:
    """After all of this a purge of every instance leaves no record of them."""
    store = MemoryStore()
    async with hub_in(store, *ALL) as hub:
        top = await hub.start(parent, 2, instance_id="top", request_id="r", tags={"x": "y"})
        await hub.wait_idle()
        await top.terminate()
        await hub.wait_idle()
        for name in ("n", "g"):
            instance = await hub.start(nap, 1000.0, instance_id=name, request_id=f"request {name}")
            await instance.suspend()
            await instance.raise_event("x")
            await instance.purge(force=True)
        assert await hub.purge() == 4
        assert (await hub.query_instances()).items == []
        await hub.wait_idle()
    assert everything(store) == {}
