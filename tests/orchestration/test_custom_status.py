"""The custom status (O3, O11): what it may be, that it is no step, and when it is seen."""

from __future__ import annotations

from typing import Any

import pytest
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage.errors import PerdureError
from perdure.storage.memory_store import MemoryStore

from .helpers import Bench
from .hubs import opened
from .timing import timed
from .work import WORK, add

Context = OrchestrationContext
LIMIT = 16 * 1024


@orchestrator
async def stages(ctx: Context) -> str:
    """Say where it is."""
    for stage in ("first", "second"):
        ctx.set_custom_status({"stage": stage, "done": [1, None, 2.5]})
        await ctx.wait_for_external_event("next")
    return "end"


@pytest.mark.parametrize("cache", [64 << 20, 1])
async def test_it_is_seen_with_the_turn_that_sets_it(cache: int) -> None:
    """A status shows what the last turn has set, and the last one stays when the instance has ended."""
    async with opened([stages], MemoryStore(), cache_bytes=cache) as hub:
        instance = await hub.start(stages)
        for stage in ("first", "second", "second"):
            await hub.wait_idle()
            status = await instance.status()
            assert status.custom_status == {"stage": stage, "done": [1, None, 2.5]}
            if status.runtime_status is RuntimeStatus.RUNNING:
                await instance.raise_event("next")
        assert await instance.result() == "end"


def test_it_is_no_step() -> None:
    """Code with other custom statuses replays: they take no number and are in no journal."""

    @orchestrator(name="same")
    async def before(ctx: Context) -> int:
        return await ctx.call_activity(add, 1, 2)

    @orchestrator(name="same")
    async def after(ctx: Context) -> int:
        ctx.set_custom_status("asking")
        total = await ctx.call_activity(add, 1, 2)
        ctx.set_custom_status("asked")
        return total

    subject = timed(Bench(before, *WORK), before)
    fresh = subject.reopened(Bench(after, *WORK))
    fresh.revive()
    assert fresh.status is RuntimeStatus.RUNNING
    fresh.completes("1", 3)
    assert fresh.output == 3
    assert fresh.record.custom_status == b"\xa5asked"


@pytest.mark.parametrize(("size", "fits"), [(LIMIT - 3, True), (LIMIT - 2, False), (LIMIT * 10, False)])
def test_its_size_is_limited(size: int, fits: bool) -> None:
    """At most 16 KiB when encoded (a text takes three bytes more than its own); beyond it is a ValueError that says so."""

    @orchestrator
    async def talkative(ctx: Context, size: int) -> str:
        try:
            ctx.set_custom_status("x" * size)
        except ValueError as error:
            return str(error)
        return "fits"

    subject = timed(Bench(talkative, *WORK), talkative, size)
    if fits:
        assert subject.output == "fits"
        assert len(subject.record.custom_status or b"") == LIMIT
    else:
        assert str(LIMIT) in subject.output
        assert subject.record.custom_status is None


def test_what_cannot_be_kept_is_refused() -> None:
    """A value that does not describe itself is refused at the call, and the status before it stays."""

    @orchestrator
    async def odd(ctx: Context) -> str:
        ctx.set_custom_status("fine")
        value: Any = object()
        try:
            ctx.set_custom_status(value)
        except (PerdureError, TypeError, ValueError) as error:
            return type(error).__name__
        return "taken"

    subject = timed(Bench(odd, *WORK), odd)
    assert subject.output == "NotStorable"
    assert subject.record.custom_status == b"\xa4fine"
