"""How much is kept in memory between turns: the estimate is kept up, and bounds it, and what has work stays."""

from __future__ import annotations

import pytest
import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.hub import TaskHub, limits
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

from .helpers import rounds, until

gate: list[trio.Event] = []


@define
class Page(Entity):
    """A text."""

    text: str = ""

    def write(self, text: str) -> None:
        """Replace it."""
        self.text = text

    async def hold(self) -> None:
        """Wait for the test."""
        await gate[0].wait()


@orchestrator
async def reading(ctx: OrchestrationContext, text: str) -> int:
    """Reads events until one is empty; how much it has read."""
    count = len(text)
    while more := await ctx.wait_for_external_event("more", str):
        ctx.set_custom_status(more)
        count += len(more)
    return count


@orchestrator
async def locking(ctx: OrchestrationContext, key: str) -> None:
    """Holds a page until told."""
    async with ctx.lock_entities(Page.at(key)):
        await ctx.wait_for_external_event("go")


def paper(cache_bytes: int) -> TaskHub:
    """A hub, not yet open."""
    return TaskHub("Paper", [Page, reading, locking], MemoryStore(), cache_bytes=cache_bytes)


def weighed(hub: TaskHub) -> int:
    """What all instances in memory weigh, each looked at now."""
    residence = hub._open_runtime().residence  # pyright: ignore[reportPrivateUsage] - there is no door for looking at each
    return sum(cell.weight for cells in (residence.entities, residence.orchestrations) for cell in cells.values())


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "signal", "start", "raise", "suspend", "end"]), st.integers(0, 3), st.integers(0, 40)
    ),
    max_size=15,
)


async def _do(hub: TaskHub, verb: str, number: int, size: int) -> None:
    page, name, text = Page.at(str(number)), f"i{number}", "x" * (size * 1000)
    match verb:
        case "write":
            await hub.call_entity(page, Page.write, text)
        case "delete":
            await hub.call_entity(page, "delete")
        case "signal":
            await hub.signal_entity(page, Page.write, text)
        case "start":
            await hub.start(reading, text, instance_id=name, if_exists="return")
        case _:
            page_of = await hub.query_instances(id_prefix=name, status=["Pending", "Running", "Suspended"])
            if not page_of.items:
                return
            if verb == "suspend":
                await hub.instance(name).suspend("for a while")
            else:
                await hub.raise_event(name, "more", text if verb == "raise" else "")


@settings(max_examples=25)
@given(steps=_STEPS, cache_bytes=st.integers(1, 150_000))
def test_the_bound_holds_after_each_commit(steps: list[tuple[str, int, int]], cache_bytes: int) -> None:
    """Whatever is done, the estimate is what all instances in memory weigh, and not above the bound as soon as nothing has work."""

    async def main() -> None:
        async with paper(cache_bytes) as hub:
            for step in steps:
                await _do(hub, *step)
                await hub.wait_idle()
                figures = hub.statistics()
                assert figures.bytes_in_memory == weighed(hub)
                assert figures.bytes_in_memory <= cache_bytes

    trio.run(main)


@pytest.mark.parametrize("size", [10, 10_000, 100_000])
async def test_the_larger_the_states_the_fewer_are_kept(size: int) -> None:
    """As many as fit, by the size of their states: those that were used last."""
    each = limits.ENTITY_BYTES + limits.STATE_BYTES_FACTOR * size
    room = max(200_000, 3 * each)
    async with paper(room) as hub:
        for number in range(300):
            await hub.call_entity(Page.at(str(number)), Page.write, "x" * size)
        await hub.wait_idle()
        kept = hub.statistics().entities_in_memory
        assert 0.95 * room / each - 1 <= kept <= room / each
        entities = hub._open_runtime().residence.entities  # pyright: ignore[reportPrivateUsage] - there is no door for looking at each
        assert {key for _, key in entities} == {str(number) for number in range(300 - kept, 300)}


async def test_the_values_of_an_orchestration_count() -> None:
    """Input, custom status and journal are in the estimate while its code is in memory; what has finished takes no room."""
    async with paper(10_000_000) as hub:
        instance = await hub.start(reading, "x" * 100_000)
        await instance.wait_for_start()
        assert 300_000 <= hub.statistics().bytes_in_memory < 350_000
        await instance.raise_event("more", "x" * 10_000)
        await hub.wait_idle()
        assert 330_000 <= hub.statistics().bytes_in_memory < 350_000
        await instance.raise_event("more", "")
        assert await instance.result() == 110_000
        await hub.wait_idle()
        assert hub.statistics().bytes_in_memory == 0


async def test_waiting_messages_count_with_their_size() -> None:
    """What waits for a locked entity is in the estimate, before and after it was read from storage, until it has been worked off."""
    async with paper(10_000_000) as hub:
        before = hub.statistics().bytes_in_memory
        holder = await hub.start(locking, "a")
        await holder.wait_for_start()
        for _ in range(5):
            await hub.signal_entity(Page.at("a"), Page.write, "x" * 50_000)
        assert hub.statistics().bytes_in_memory - before > 250_000
        residence = hub._open_runtime().residence  # pyright: ignore[reportPrivateUsage] - nothing else drops one instance
        cell = residence.entity(Page.at("a"))
        weight = cell.weight
        residence.drop(cell)
        assert residence.entity(Page.at("a")).weight == weight
        await holder.raise_event("go")
        await holder.result()
        await hub.wait_idle()
        assert residence.entity(Page.at("a")).waiting_bytes == 0
        assert hub.statistics().bytes_in_memory == weighed(hub)


async def test_what_has_work_is_not_dropped() -> None:
    """With room for nothing, an entity whose operation runs stays in memory while others come and go, and is dropped at its end."""
    gate[:] = [trio.Event()]
    async with paper(1) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(hub.call_entity, Page.at("held"), Page.hold)
        await until(lambda: hub.statistics().operations_running == 1)
        cell = hub._open_runtime().residence.entities[Page.at("held").parts]  # pyright: ignore[reportPrivateUsage] - to see that it stays the same
        for number in range(20):
            await hub.call_entity(Page.at(str(number)), Page.write, "x" * 1000)
            assert hub._open_runtime().residence.entities[Page.at("held").parts] is cell  # pyright: ignore[reportPrivateUsage]
        await rounds()
        assert hub.statistics().entities_in_memory == 1
        gate[0].set()
        await hub.wait_idle()
        assert hub.statistics().entities_in_memory == 0
