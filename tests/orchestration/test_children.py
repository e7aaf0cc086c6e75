"""Sub-orchestrations on a whole hub (O15): their ids, their failures, and what becomes of them without their parent."""

from __future__ import annotations

from typing import Any

import pytest
from perdure.orchestration import (
    InstanceExists,
    OrchestrationContext,
    OrchestrationFailed,
    OrchestrationTerminated,
    RuntimeStatus,
    SubOrchestrationFailed,
    orchestrator,
)
from perdure.orchestration.history import ExecutionStarted
from perdure.storage.memory_store import MemoryStore

from .hubs import dying, left_over, opened


@orchestrator
async def child(ctx: OrchestrationContext, number: int) -> int:
    """Waits for a word, unless the number is 0; fails if it is negative."""
    if number < 0:
        raise LookupError(f"number {number}")
    return number + (await ctx.wait_for_external_event("word", int) if number else 0)


@orchestrator
async def parent(ctx: OrchestrationContext, number: int, child_id: str | None) -> int:
    """Waits for its child."""
    return await ctx.call_sub_orchestrator(child, number, instance_id=child_id)


@orchestrator
async def leaving(ctx: OrchestrationContext, how: str) -> str:
    """Ends without waiting for its child."""
    ctx.call_sub_orchestrator(child, 1, instance_id="left behind")
    if how == "fail":
        raise ValueError("as told")
    return how


@orchestrator
async def own_child(ctx: OrchestrationContext) -> str:
    """Would be its own child."""
    try:
        await ctx.call_sub_orchestrator(child, 1, instance_id=ctx.instance_id)
    except SubOrchestrationFailed as error:
        return error.failure.type_name
    return "no failure"


@orchestrator
async def many(ctx: OrchestrationContext, count: int) -> int:
    """Children side by side."""
    return sum(await ctx.when_all([ctx.call_sub_orchestrator(parent, 0, None) for _ in range(count)]))


ALL = (child, parent, leaving, own_child, many)


async def failure_of(instance: Any) -> Any:
    """How an instance failed."""
    with pytest.raises(OrchestrationFailed) as raised:
        await instance.result()
    return raised.value.failure


async def test_O15_a_generated_id_holds_the_parents_execution() -> None:
    """So the children of two executions under one id differ, and a child knows its parent."""
    async with opened(ALL) as hub:
        for _ in range(2):
            instance = await hub.start(parent, 0, None, instance_id="x", if_exists="replace_finished")
            assert await instance.result() == 0
            execution = (await instance.status()).execution
            status = await hub.instance(f"{execution}:1").status()
            assert (status.parent_id, status.runtime_status) == ("x", RuntimeStatus.COMPLETED)


async def test_O15_the_id_of_a_running_instance_fails_the_call() -> None:
    """The call fails with InstanceExists at the await, does not hang, and the running instance is not touched."""
    async with opened(ALL) as hub:
        running = await hub.start(child, 1, instance_id="taken")
        failure = await failure_of(await hub.start(parent, 5, "taken"))
        assert failure.is_caused_by(SubOrchestrationFailed)
        assert failure.is_caused_by(InstanceExists)
        assert "'taken'" in failure.message
        await running.raise_event("word", 1)
        assert await running.result() == 2
        assert (await running.status()).parent_id is None


async def test_O15_ones_own_id_fails_the_call() -> None:
    """An orchestration that calls a child under its own id is told so, and can handle it."""
    async with opened(ALL) as hub:
        instance = await hub.start(own_child)
        assert "InstanceExists" in await instance.result()


async def test_O15_the_id_of_a_finished_instance_is_replaced() -> None:
    """Its result, its journal and its parent are the child's; whoever asks for the id gets the child."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        assert await (await hub.start(child, 0, instance_id="again")).result() == 0
        instance = await hub.start(parent, 3, "again", instance_id="x")
        await hub.wait_idle()
        await hub.raise_event("again", "word", 4)
        assert await instance.result() == 7
        status = await hub.instance("again").status()
        assert (status.output, status.parent_id) == (7, "x")
        history = await hub.instance("again").history()
        assert len([entry for entry in history if isinstance(entry, ExecutionStarted)]) == 1


async def test_O15_a_failure_is_raised_at_the_await() -> None:
    """With the child's exception as its cause, through several generations."""
    async with opened(ALL) as hub:
        failure = await failure_of(await hub.start(parent, -1, "bad"))
        assert failure.is_caused_by(SubOrchestrationFailed)
        assert failure.is_caused_by(LookupError)
        assert "number -1" in failure.message
        assert (await hub.instance("bad").status()).runtime_status is RuntimeStatus.FAILED


async def test_O15_a_terminated_child_fails_the_call() -> None:
    """The parent hears that it was terminated, and why."""
    async with opened(ALL) as hub:
        instance = await hub.start(parent, 1, "the child")
        await hub.wait_idle()
        await hub.terminate("the child", "no longer wanted")
        failure = await failure_of(instance)
        assert failure.is_caused_by(OrchestrationTerminated)
        assert "no longer wanted" in failure.message


@pytest.mark.parametrize("how", ["return", "fail"])
async def test_O10_a_child_outlives_a_parent_that_has_ended(how: str) -> None:
    """A parent that returns or fails without waiting leaves its child running; its result reaches nobody and stops nothing."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        instance = await hub.start(leaving, how, instance_id="x")
        await hub.wait_idle()
        before = await instance.status()
        assert before.runtime_status.final
        left = hub.instance("left behind")
        assert (await left.status()).runtime_status is RuntimeStatus.RUNNING
        await left.raise_event("word", 1)
        assert await left.result() == 2
        await hub.wait_idle()
        assert await instance.status() == before
        await instance.purge()  # what comes after a failure waits for a rewind until then
    assert left_over(store) == {}


async def test_O13_a_child_ends_with_a_terminated_parent() -> None:
    """Terminating the parent takes the child with it, for the same reason, and nothing is left waiting."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        instance = await hub.start(parent, 1, "the child")
        await hub.wait_idle()
        await instance.terminate("all of you")
        with pytest.raises(OrchestrationTerminated, match="all of you"):
            await hub.instance("the child").result()
        with pytest.raises(OrchestrationTerminated):
            await instance.result()
    assert left_over(store) == {}


async def test_O13_a_successor_under_the_childs_id_is_spared() -> None:
    """An instance that has taken a finished child's id since, and is nobody's child, is not terminated with the old parent."""
    async with opened(ALL) as hub:
        instance = await hub.start(leaving, "return")
        await hub.wait_idle()
        await hub.raise_event("left behind", "word", 1)
        successor = await hub.start(child, 1, instance_id="left behind", if_exists="replace_finished")
        other = await hub.start(parent, 1, "other child")
        await hub.wait_idle()
        await other.terminate()
        assert await instance.result() == "return"
        assert (await successor.status()).runtime_status is RuntimeStatus.RUNNING


async def test_O15_a_parent_and_its_child_survive_a_death() -> None:
    """Both wait when the process dies; the next one lets the child end and the parent hear of it."""
    store = MemoryStore()
    async with dying(ALL, store) as hub:
        await hub.start(parent, 1, "the child", instance_id="x")
        await hub.wait_idle()
    async with opened(ALL, store, cache_bytes=1) as hub:
        await hub.raise_event("the child", "word", 1)
        assert await hub.instance("x").result() == 2


async def test_O15_many_children_and_grandchildren() -> None:
    """Two hundred children with a child each are run to their end, and leave nothing waiting."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        assert await (await hub.start(many, 200)).result() == 0
        await hub.wait_idle()
    assert left_over(store) == {}
