"""Orchestrations whose lives are suspended, cancelled, ended and replaced."""

from __future__ import annotations

import trio
import trio.testing
from perdure.orchestration import (
    Cancelled,
    OrchestrationContext,
    orchestrator,
)

from .virtual import Tally

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
