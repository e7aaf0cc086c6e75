"""Logs that can do everything that an entity can, for tests of entities in a whole hub."""

from __future__ import annotations

from typing import Any

import trio
from attrs import define, field
from perdure.entities import Entity, EntityOperationFailed
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

begun: list[str] = []
"""Which async operations have begun, in order."""
gates: dict[str, trio.Event] = {}
"""Where async operations wait until a test lets them go on."""
hubs: list[TaskHub] = []
"""The hub that operations use from inside."""


class Refused(ValueError):
    """An error of an operation."""


class Abort(BaseException):
    """No ``Exception``."""


@define
class Log(Entity):
    """Lines."""

    lines: list[str] = field(factory=list)

    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    def read(self) -> list[str]:
        return self.lines

    def copy_to(self, key: str, line: str, copies: int) -> None:
        for copy in range(copies):
            self.context.signal_entity(Log.at(key), Log.write, f"{line}{copy}")

    def refuse(self, line: str) -> None:
        self.lines.append(line)
        self.context.signal_entity(Log.at("other"), Log.write, line)
        raise Refused(f"not {line}")

    async def wait(self, name: str) -> int:
        begun.append(name)
        self.lines.append(name)
        await gates.setdefault(name, trio.Event()).wait()
        return len(self.lines)

    async def wait_and_clean_up(self, name: str, then: str) -> None:
        begun.append(name)
        try:
            self.lines.append(name)
            await gates.setdefault(name, trio.Event()).wait()
        except BaseException:
            if then == "fail":
                raise Refused("while it was interrupted") from None
            if then == "pass on":
                raise
            self.lines.append("interrupted")

    async def abort(self) -> None:
        raise Abort("asynchronously")

    def abort_at_once(self) -> None:
        raise Abort("at once")

    async def use_hub(self, what: str) -> Any:
        hub = hubs[0]
        match what:
            case "call":
                return await hub.call_entity(Log.at("other"), Log.read)
            case "call self":
                return await hub.call_entity(Log.at("a"), Log.read)
            case "call in a task":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hub.call_entity, Log.at("other"), Log.read)
                return None
            case "signal":
                return await hub.signal_entity(Log.at("other"), Log.write, "from inside")
            case _:
                found = await hub.read_entity(Log.at("a"))
                return None if found is None else found.lines

    def start_and_raise(self, instance_id: str, name: str = "news") -> str:
        started = self.context.start(listen, instance_id=instance_id)
        self.context.raise_event(instance_id, name, "hello")
        return started


@orchestrator
async def listen(ctx: OrchestrationContext) -> str:
    """Wait for one event."""
    return await ctx.wait_for_external_event("news", str)


@orchestrator
async def use(ctx: OrchestrationContext, key: str) -> list[str]:
    """Signal in a row, then call."""
    for number in range(5):
        ctx.signal_entity(Log.at(key), Log.write, str(number))
    return await ctx.call_entity(Log.at(key), Log.read)


@orchestrator
async def use_badly(ctx: OrchestrationContext) -> str:
    """Call what fails; the failure's type."""
    try:
        await ctx.call_entity(Log.at("a"), Log.refuse, "x")
    except EntityOperationFailed as error:
        return f"{error.entity_id} {error.operation} {error.failure.message} {error.failure.is_caused_by(Refused)}"
    return "nothing"


A, OTHER = Log.at("a"), Log.at("other")
