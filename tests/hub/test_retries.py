"""Retries and time limits of attempts on a whole hub (O14, O5)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from perdure.entities import EntityOperationFailed
from perdure.hub import activity_context
from perdure.orchestration import (
    ActivityFailed,
    FailureDetails,
    OrchestrationContext,
    OrchestrationFailed,
    RetryPolicy,
    RuntimeStatus,
    SubOrchestrationFailed,
    activity,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, Tally, holder_of, hub_in, left_over, runtime_status

Context = OrchestrationContext
Clock = trio.testing.MockClock


@define
class Attempts:
    """What was tried: virtual time, attempt and idempotency key of each start."""

    seen: list[tuple[float, int, str]]
    good: int = 1_000_000

    @property
    def times(self) -> list[float]:
        """When each attempt began."""
        return [round(time, 3) for time, _, _ in self.seen]


def trying(attempts: Attempts, **options: Any) -> Any:
    """An activity that notes each attempt and succeeds with the ``good``-th."""

    @activity(**options)
    async def attempt() -> str:
        context = activity_context()
        attempts.seen.append((trio.current_time(), context.attempt, context.idempotency_key))
        if len(attempts.seen) < attempts.good:
            raise ValueError(f"attempt {len(attempts.seen)}")
        return f"good at {len(attempts.seen)}"

    return attempt


async def tried(store: MemoryStore, cache: int, attempts: Attempts, **options: Any) -> str:
    """Call the activity once in an orchestration; its result, or how it failed."""
    attempt = trying(attempts, **options)

    @orchestrator
    async def calls(ctx: Context) -> str:
        try:
            return await ctx.call_activity(attempt)
        except ActivityFailed as error:
            return f"failed with {error.failure.message}"

    async with hub_in(store, attempt, calls, cache_bytes=cache) as hub:
        result = await (await hub.start(calls)).result()
        await hub.wait_idle()
    assert left_over(store) == {}
    return result


@CACHES
async def test_O14_the_waits_grow(cache: int, autojump_clock: Clock) -> None:
    """Attempts wait first_interval, times the coefficient each time; all have one idempotency key; they are numbered from 1."""
    attempts = Attempts([], good=5)
    policy = RetryPolicy(6, 10, coefficient=2)
    assert await tried(MemoryStore(), cache, attempts, retry=policy) == "good at 5"
    assert attempts.times == [0, 10, 30, 70, 150]
    assert [number for _, number, _ in attempts.seen] == [1, 2, 3, 4, 5]
    assert len({key for _, _, key in attempts.seen}) == 1


@CACHES
async def test_O14_the_last_failure_counts(cache: int, autojump_clock: Clock) -> None:
    """When the attempts are used up the last failure is raised at once: there is no wait after the last attempt."""
    attempts = Attempts([])
    result = await tried(MemoryStore(), cache, attempts, retry=RetryPolicy(3, 10))
    assert result == "failed with attempt 3"
    assert attempts.times == [0, 10, 20]
    assert trio.current_time() < 21


async def test_O14_max_interval(autojump_clock: Clock) -> None:
    """No wait is longer than max_interval."""
    attempts = Attempts([])
    await tried(MemoryStore(), 1, attempts, retry=RetryPolicy(6, 10, coefficient=3, max_interval=50))
    assert attempts.times == [0, 10, 40, 90, 140, 190]


async def test_O14_retry_timeout(autojump_clock: Clock) -> None:
    """No attempt begins when more orchestration time than retry_timeout, waits included, would have passed since the call."""
    attempts = Attempts([])
    result = await tried(MemoryStore(), 1, attempts, retry=RetryPolicy(100, 10, retry_timeout=35))
    assert attempts.times == [0, 10, 20, 30]
    assert result == "failed with attempt 4"


async def test_O14_retry_if(autojump_clock: Clock) -> None:
    """The predicate sees the failure, and ends the retrying with ``False``."""
    asked: list[str] = []

    def transient(failure: FailureDetails) -> bool:
        asked.append(failure.message)
        return failure.is_caused_by(ValueError) and failure.message != "attempt 3"

    attempts = Attempts([])
    result = await tried(MemoryStore(), 64 << 20, attempts, retry=RetryPolicy(100, 10, retry_if=transient))
    assert result == "failed with attempt 3"
    assert asked == ["attempt 1", "attempt 2", "attempt 3"]


async def test_O14_a_predicate_that_raises(autojump_clock: Clock) -> None:
    """A predicate with a fault is the fault of its instance, which fails or is suspended; the hub goes on."""

    def faulty(failure: FailureDetails) -> bool:
        raise KeyError("predicate")

    attempt = trying(Attempts([]), retry=RetryPolicy(3, 10, retry_if=faulty))

    @orchestrator
    async def calls(ctx: Context) -> str:
        return await ctx.call_activity(attempt)

    @orchestrator
    async def bystander(ctx: Context) -> str:
        await ctx.sleep(1)
        return "unharmed"

    async with hub_in(MemoryStore(), attempt, calls, bystander) as hub:
        instance = await hub.start(calls)
        await trio.sleep(100)
        assert await (await hub.start(bystander)).result() == "unharmed"
        assert await runtime_status(instance) in (RuntimeStatus.FAILED, RuntimeStatus.SUSPENDED)


async def test_O14_huge_coefficients(autojump_clock: Clock) -> None:
    """With coefficient 10, attempts beyond the 309th, whose waits are no numbers any more, begin as the cap says."""
    attempts = Attempts([], good=400)
    policy = RetryPolicy(10_000, 1, coefficient=10, max_interval=1)
    assert await tried(MemoryStore(), 64 << 20, attempts, retry=policy) == "good at 400"
    assert attempts.times == list(range(400))


@CACHES
async def test_O14_jitter_is_within_bounds_and_the_same_in_each_replay(cache: int, autojump_clock: Clock) -> None:
    """Each wait is the interval times a factor from [1 - jitter, 1], and replays do not change it."""
    attempts = Attempts([], good=8)
    assert await tried(MemoryStore(), cache, attempts, retry=RetryPolicy(8, 100, jitter=0.5)) == "good at 8"
    waits = [later - earlier for earlier, later in zip(attempts.times, attempts.times[1:], strict=False)]
    assert all(49.99 <= wait <= 100.01 for wait in waits)
    assert len(set(waits)) > 1, "no jitter"


async def test_O14_a_call_overrides_the_definition(autojump_clock: Clock) -> None:
    """``options(retry=...)`` counts for one call; ``options(retry=None)`` switches retrying off."""
    attempts = Attempts([])
    attempt = trying(attempts, retry=RetryPolicy(5, 10))

    @orchestrator
    async def calls(ctx: Context, number: int) -> str:
        chosen = [attempt, attempt.options(retry=RetryPolicy(2, 10)), attempt.options(retry=None)][number]
        return await ctx.call_activity(chosen)

    async with hub_in(MemoryStore(), attempt, calls) as hub:
        for number, count in enumerate([5, 2, 1]):
            attempts.seen.clear()
            with pytest.raises(OrchestrationFailed):
                await (await hub.start(calls, number)).result()
            assert len(attempts.seen) == count


async def test_O14_across_restarts(autojump_clock: Clock) -> None:
    """A hub that is closed between two attempts, or while one waits, changes neither their times nor the key."""
    attempts = Attempts([], good=4)
    attempt = trying(attempts, retry=RetryPolicy(5, 100))

    @orchestrator
    async def calls(ctx: Context) -> str:
        return await ctx.call_activity(attempt)

    store = MemoryStore()
    async with hub_in(store, attempt, calls) as hub:
        await hub.start(calls, instance_id="c")
        await trio.sleep(50)
    for _ in range(5):
        async with hub_in(store, attempt, calls) as hub:
            await trio.sleep(40)
    async with hub_in(store, attempt, calls) as hub:
        assert await hub.instance("c").result() == "good at 4"
    assert attempts.times == [0, 100, 200, 300]
    assert len({key for _, _, key in attempts.seen}) == 1


@CACHES
async def test_O14_the_steps_around_keep_their_numbers(cache: int, autojump_clock: Clock) -> None:
    """Retries take no step numbers: work that is called while retries go on beside it replays."""
    attempts = Attempts([], good=4)
    attempt = trying(attempts, retry=RetryPolicy(5, 10))

    @orchestrator
    async def calls(ctx: Context) -> list[str]:
        retried = ctx.call_activity(attempt)
        seen: list[str] = []
        for _ in range(6):
            await ctx.sleep(7)
            seen.append("tick")
        return [*seen, await retried]

    async with hub_in(MemoryStore(), attempt, calls, cache_bytes=cache) as hub:
        assert await (await hub.start(calls)).result() == ["tick"] * 6 + ["good at 4"]


# --- entities and children


@CACHES
@pytest.mark.parametrize("locked", [False, True])
async def test_O14_entity_calls(locked: bool, cache: int, autojump_clock: Clock) -> None:
    """A call of an entity is retried, outside and inside of a critical section, and counts as one pending call there."""

    @orchestrator
    async def calls(ctx: Context, locked: bool) -> list[str]:
        seen: list[str] = []
        ref = Tally.at("t")
        policy = RetryPolicy(3, 10)

        async def call() -> None:
            try:
                await ctx.call_entity(ref, Tally.refuse, "never", retry=policy)
            except EntityOperationFailed as error:
                seen.append(error.failure.message)

        before = ctx.now
        if locked:
            async with ctx.lock_entities(ref):
                await call()
                await ctx.call_entity(ref, Tally.add, 1)
        else:
            await call()
        return [*seen, str(round((ctx.now - before).total_seconds()))]

    async with hub_in(MemoryStore(), Tally, calls, cache_bytes=cache) as hub:
        assert await (await hub.start(calls, locked)).result() == ["never", "20"]
        await hub.wait_idle()
        assert await holder_of(hub, "t") is None


@CACHES
async def test_O15_retried_children_keep_their_id(cache: int, autojump_clock: Clock) -> None:
    """Each attempt of a child runs under the same id, and replaces the one that failed."""
    begun: list[tuple[str, float]] = []

    @activity
    async def note(instance_id: str) -> int:
        begun.append((instance_id, trio.current_time()))
        return len(begun)

    @orchestrator
    async def child(ctx: Context) -> str:
        if await ctx.call_activity(note, ctx.instance_id) < 3:
            raise ValueError("again")
        return "third"

    @orchestrator
    async def parent(ctx: Context, chosen: str | None) -> str:
        return await ctx.call_sub_orchestrator(child.options(retry=RetryPolicy(3, 10)), instance_id=chosen)

    for chosen in ("kid", None):
        begun.clear()
        async with hub_in(MemoryStore(), note, child, parent, cache_bytes=cache) as hub:
            base = trio.current_time()
            assert await (await hub.start(parent, chosen)).result() == "third"
        assert len({name for name, _ in begun}) == 1
        assert [round(time - base) for _, time in begun] == [0, 10, 20]


async def test_O15_a_child_that_never_succeeds(autojump_clock: Clock) -> None:
    """The last attempt's failure is raised at the parent's await."""

    @orchestrator
    async def child(ctx: Context) -> None:
        raise ValueError("always")

    @orchestrator
    async def parent(ctx: Context) -> str:
        try:
            await ctx.call_sub_orchestrator(child.options(retry=RetryPolicy(2, 10)))
        except SubOrchestrationFailed as error:
            return str(error.failure.is_caused_by(ValueError))
        return "no failure"

    async with hub_in(MemoryStore(), child, parent) as hub:
        assert await (await hub.start(parent)).result() == "True"
