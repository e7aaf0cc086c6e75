"""Races on a whole hub (O10, O12, O13): what clients send to a hub that is paused is worked off in one batch, in every order."""

from __future__ import annotations

import itertools

import pytest
import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, OrchestrationTerminated, RuntimeStatus, activity, orchestrator
from perdure.orchestration.history import ExecutionEnded
from perdure.storage.memory_store import MemoryStore

from .helpers import until
from .virtual import CACHES, Tally, left_over

Context = OrchestrationContext
ORDERS = list(itertools.permutations(("terminate", "resume", "result", "event")))


@CACHES
@pytest.mark.parametrize("terminating", [True, False], ids=["terminated", "not"])
async def test_O13_in_one_batch_in_every_order(cache: int, terminating: bool) -> None:
    """Sent before the next turn, in whatever order: a termination wins; without one all count. The lock is free, nothing is left."""
    gates = {order: trio.Event() for order in ORDERS}

    @activity
    async def gated(number: int) -> int:
        await gates[ORDERS[number]].wait()
        return number

    @orchestrator
    async def waiting(ctx: Context, number: int) -> list[object]:
        async with ctx.lock_entities(Tally.at(str(number))):
            return await ctx.when_all([ctx.call_activity(gated, number), ctx.wait_for_external_event("go")])

    async def send(hub: TaskHub, number: int) -> None:
        instance = hub.instance(str(number))
        for verb in ORDERS[number]:
            match verb:
                case "terminate" if terminating:
                    await instance.terminate("stop")
                case "resume":
                    await instance.resume()
                case "event":
                    await instance.raise_event("go", "gone")
                case "result":
                    running = hub.statistics().activities_running
                    gates[ORDERS[number]].set()
                    await until(lambda before=running: hub.statistics().activities_running < before)
                case _:
                    pass

    store = MemoryStore()
    with trio.fail_after(30):
        async with TaskHub("Races", [Tally, gated, waiting], store, cache_bytes=cache) as hub:
            for number in range(len(ORDERS)):
                await hub.start(waiting, number, instance_id=str(number))
            await until(lambda: hub.statistics().activities_running == len(ORDERS))
            for number in range(len(ORDERS)):
                await hub.suspend(str(number))
                while (await hub.get_status(str(number))).runtime_status is not RuntimeStatus.SUSPENDED:
                    await trio.lowlevel.checkpoint()
            hub.pause()
            for number in range(len(ORDERS)):
                await send(hub, number)
            hub.unpause()
            for number, order in enumerate(ORDERS):
                instance = hub.instance(str(number))
                if terminating:
                    with pytest.raises(OrchestrationTerminated, match="stop"):
                        await instance.result()
                    assert (await instance.status()).unread_events == 1, order
                else:
                    assert await instance.result() == [number, "gone"]
                assert len([entry for entry in await instance.history() if isinstance(entry, ExecutionEnded)]) == 1
            await hub.wait_idle()
            for number in range(len(ORDERS)):
                assert await hub.call_entity(Tally.at(str(number)), Tally.add, 1) == 1, "the lock was not released"
            final = {RuntimeStatus.TERMINATED} if terminating else {RuntimeStatus.COMPLETED}
            assert {item.runtime_status for item in (await hub.query_instances()).items} == final
    assert left_over(store) == {}
