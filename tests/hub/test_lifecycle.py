"""Suspending, resuming, cancelling, terminating, replacing and restarting instances (O4, O12, O13, O16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub
from perdure.orchestration import (
    InstanceFinished,
    InstanceNotFound,
    OrchestrationCanceled,
    OrchestrationTerminated,
    RuntimeStatus,
    SubOrchestrationFailed,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from .lives import Clock, Context, careful, echo, gather, hold, nap, parent
from .virtual import CACHES, Tally, holder_of, hub_in, left_over, outcome, runtime_status, tally

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
