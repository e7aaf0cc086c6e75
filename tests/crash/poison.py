"""A program with parts that take the process down (O20); run again and again by its test.

python -m tests.crash.poison FOLDER prepare|run
"""

from __future__ import annotations

import logging
import os
import sys

import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, OrchestrationContext, activity, orchestrator

ATTEMPTS = 2


def down() -> None:
    """The end of the process, without any cleaning up."""
    os._exit(9)


@define
class Cell(Entity):
    """Counts; some of its operations are deadly."""

    count: int = 0

    def add(self) -> int:
        """Harmless."""
        self.count += 1
        return self.count

    def kill(self) -> None:
        """Deadly."""
        down()

    async def kill_later(self) -> None:
        """Deadly, and async."""
        down()


@activity
async def harmless() -> str:
    """Harmless."""
    return "done"


@activity
def deadly() -> None:
    """Deadly, in a thread."""
    down()


@orchestrator
async def healthy(ctx: OrchestrationContext) -> str:
    """Counts and asks."""
    await ctx.call_entity(Cell.at("healthy"), Cell.add)
    return await ctx.call_activity(harmless)


@orchestrator
async def dying(ctx: OrchestrationContext) -> None:
    """Deadly code, behind a lock that others wait for."""
    async with ctx.lock_entities(Cell.at("locked")):
        await ctx.call_entity(Cell.at("locked"), Cell.add)
        down()


@orchestrator
async def calling(ctx: OrchestrationContext) -> str:
    """Calls a deadly activity."""
    try:
        await ctx.call_activity(deadly)
    except ActivityFailed as error:
        return error.failure.type_name.rpartition(".")[2]
    return "survived"


DEFINITIONS = [Cell, harmless, deadly, healthy, dying, calling]


async def prepare(folder: str) -> None:
    """Leave work behind that the next process takes up."""
    async with TaskHub("Poison", DEFINITIONS, folder, paused=True) as hub:
        for key in ("plain", "async"):
            await hub.signal_entity(Cell.at(key), Cell.add)
            await hub.signal_entity(Cell.at(key), Cell.kill if key == "plain" else Cell.kill_later)
            await hub.signal_entity(Cell.at(key), Cell.add)
        await hub.start(dying, instance_id="dying")
        await hub.start(calling, instance_id="calling")
        for number in range(5):
            await hub.start(healthy, instance_id=f"healthy-{number}")


async def run(folder: str) -> None:
    """Work off whatever can be; then tell what became of it."""
    async with TaskHub("Poison", DEFINITIONS, folder, poison_attempts=ATTEMPTS) as hub:
        await hub.wait_idle()
        for name in ("dying", "calling", *(f"healthy-{number}" for number in range(5))):
            status = await hub.instance(name).status()
            failure = "" if status.failure is None else status.failure.type_name.rpartition(".")[2]
            print(name, status.runtime_status.value, status.output, failure)
        for key in ("plain", "async", "healthy", "locked"):
            cell = await hub.read_entity(Cell.at(key))
            letters = [
                f"{each.operation} {each.failure.type_name.rpartition('.')[2]}"
                async for each in hub.iter_dead_letters(Cell.at(key))
            ]
            print(key, cell and cell.count, letters, (await hub.describe(Cell.at(key))).locked_by)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    trio.run(prepare if sys.argv[2] == "prepare" else run, sys.argv[1])
