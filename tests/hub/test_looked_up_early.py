"""An instance that somebody looks at while the hub is still taking up its work runs all the same (D3, D7)."""

from __future__ import annotations

import pytest
import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore


@orchestrator
async def echo(ctx: OrchestrationContext, number: int) -> int:
    del ctx
    return number


@pytest.mark.parametrize("look", ["start", "describe"])
async def test_looking_at_a_waiting_instance_right_after_opening_does_not_lose_it(look: str) -> None:
    """A start that was acknowledged and not run yet runs after the next opening, though a client looks the instance up first."""
    store = MemoryStore()
    async with TaskHub("Waiting", [echo], store, paused=True) as hub:
        await hub.start(echo, 7, instance_id="seven")

    async with TaskHub("Waiting", [echo], store) as hub:
        if look == "start":
            await hub.start(echo, 7, instance_id="seven", if_exists="return")
        else:
            await hub.describe("seven")
        with trio.move_on_after(2):  # a hub that lost it would wait for ever
            assert await hub.instance("seven").result() == 7
            return
    raise AssertionError("the instance was never given a turn")
