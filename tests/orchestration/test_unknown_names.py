"""Names that this process does not define (O18): their work waits with a warning, and is taken up when they are there again."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from perdure.orchestration import OrchestrationContext, RuntimeStatus, UnknownOrchestrator, activity, orchestrator
from perdure.storage.memory_store import MemoryStore

from .hubs import a_while, left_over, opened, until

gate: dict[str, trio.Event] = {}


@activity
async def passing(name: str) -> str:
    """Ends when its gate is opened."""
    await gate.setdefault(name, trio.Event()).wait()
    return name


@orchestrator
async def gather(ctx: OrchestrationContext, count: int) -> list[Any]:
    """Takes so many events, and shows that it cleans up."""
    try:
        return [await ctx.wait_for_external_event("item") for _ in range(count)]
    finally:
        ctx.set_custom_status("cleaned up")


@orchestrator
async def calling(ctx: OrchestrationContext) -> str:
    """One activity, awaited."""
    return await ctx.call_activity(passing, "calling")


ALL = (passing, gather, calling)


@pytest.fixture(autouse=True)
def _closed_gates() -> None:
    gate.clear()


def without(*names: object) -> list[object]:
    """The definitions, some left out."""
    return [definition for definition in ALL if definition not in names]


@pytest.mark.parametrize("begun", [True, False], ids=["running", "pending"])
@pytest.mark.parametrize("verb", [None, "resume", "suspend", "raise_event", "terminate", "cancel"])
async def test_O18_an_instance_of_unknown_code_waits(begun: bool, verb: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Without its orchestrator an instance is parked with a warning, takes messages, can be terminated, and goes on when it is back."""
    store = MemoryStore()
    async with opened(ALL, store, paused=not begun) as hub:
        await hub.start(gather, 1, instance_id="x")
        await hub.wait_idle() if begun else None

    async with opened(without(gather), store) as hub:
        parked, other = hub.instance("x"), await hub.start(calling)
        if verb is not None:
            await getattr(parked, verb)("item")
        gate.setdefault("calling", trio.Event()).set()
        assert await other.result() == "calling"
        await a_while()
        status = (await parked.status()).runtime_status
        if verb == "terminate":
            assert status is RuntimeStatus.TERMINATED
        elif verb == "cancel" and not begun:
            assert status is RuntimeStatus.CANCELED, "there is nothing that could be interrupted"
        else:
            assert not status.final
            assert "no orchestrator named 'gather' is defined" in caplog.text or verb is None

    async with opened(ALL, store) as hub:
        mended = hub.instance("x")
        if verb == "suspend":
            await mended.resume()
        if verb not in ("raise_event", "terminate", "cancel"):
            await mended.raise_event("item", "item")
        await hub.wait_idle()
        status = (await mended.status()).runtime_status
        assert status is {"terminate": RuntimeStatus.TERMINATED, "cancel": RuntimeStatus.CANCELED}.get(
            verb or "", RuntimeStatus.COMPLETED
        )
        if begun and verb != "terminate":
            assert (await mended.status()).custom_status == "cleaned up"


async def test_O18_an_unknown_activity_waits(caplog: pytest.LogCaptureFixture) -> None:
    """A scheduled activity that is not defined after a restart is parked with a warning, and run when it is defined again."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        await hub.start(calling, instance_id="x")
        await until(lambda: "calling" in gate)
    async with opened(without(passing), store) as hub:
        await until(lambda: hub.statistics().activities_parked == 1)
        assert "activity 'passing'" in caplog.text
        assert (await hub.instance("x").status()).runtime_status is RuntimeStatus.RUNNING
    gate["calling"].set()
    async with opened(ALL, store) as hub:
        assert await hub.instance("x").result() == "calling"
    assert left_over(store) == {}


@orchestrator
async def two_parts(ctx: OrchestrationContext) -> list[Any]:
    """An activity, then an event."""
    first = await ctx.call_activity(passing, "two parts")
    return [first, await ctx.wait_for_external_event("item")]


async def test_O18_a_replay_over_an_unknown_activity_is_no_change_of_code() -> None:
    """An instance whose code calls an activity that is not defined at present waits for it, and is not suspended for good (O3)."""
    store = MemoryStore()
    gate.setdefault("two parts", trio.Event()).set()
    async with opened([two_parts, passing], store) as hub:
        await hub.start(two_parts, instance_id="x")
        await hub.wait_idle()
    async with opened([two_parts], store) as hub:
        await hub.raise_event("x", "item", "event")
        await a_while()
        assert (await hub.instance("x").status()).runtime_status is not RuntimeStatus.FAILED
    async with opened([two_parts, passing], store) as hub:
        await hub.wait_idle()
        status = await hub.instance("x").status()
        assert status.runtime_status is RuntimeStatus.COMPLETED, status.failure
        assert status.output == ["two parts", "event"]


async def test_O18_a_hub_without_definitions_opens() -> None:
    """It shows what is there, and says at the call what it does not know."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        await (await hub.start(gather, 0, instance_id="x")).result()
    async with opened([], store) as hub:
        assert await hub.instance("x").result() == []
        with pytest.raises(UnknownOrchestrator):
            await hub.start(gather, 0)
