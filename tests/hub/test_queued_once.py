"""An instance that sends to itself outside of its turn is queued once: a second place would outlive the instance in memory."""

from __future__ import annotations

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import limits
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

from .helpers import bank, ending


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One instance a batch, so that one that is idle can leave memory before the queue is empty."""
    monkeypatch.setattr(limits, "BATCH_INSTANCES_MAX", 1)


@define
class Echo(Entity):
    """Counts, and has itself count once more."""

    count: int = 0

    async def begin(self) -> None:
        """Count after some I/O, and send itself the rest."""
        await trio.lowlevel.checkpoint()
        self.count += 1
        self.context.signal_entity(Echo.at("a"), Echo.go_on)

    def go_on(self) -> None:
        """Count."""
        self.count += 1


@orchestrator
async def own_child(ctx: OrchestrationContext) -> None:
    """Call a child that has its own id, which fails at once: it is running."""
    await ctx.call_sub_orchestrator(own_child, instance_id=ctx.instance_id)


async def test_an_async_operation_that_signals_its_own_entity() -> None:
    """What it sends is performed once, and the hub goes on when the entity has left memory."""
    async with bank(MemoryStore(), Echo, cache_bytes=1) as hub:
        for _ in range(3):
            await hub.signal_entity(Echo.at("a"), Echo.begin)
            await hub.wait_idle()
        found = await hub.read_entity(Echo.at("a"))
        assert found is not None
        assert found.count == 6


async def test_O16_a_rewound_instance_that_answers_itself() -> None:
    """An instance whose rewound step is answered by itself fails again as before, and the hub goes on."""
    async with bank(MemoryStore(), own_child, cache_bytes=1) as hub:
        instance = await hub.start(own_child, instance_id="x")
        for _ in range(3):
            error = await ending(lambda: instance.result())
            assert error is not None
            assert "which this child was to have" in str(error)
            await hub.rewind("x")
            await hub.wait_idle()
