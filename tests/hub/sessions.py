"""Sessions that expire, for tests of ``idle_ttl`` in a whole hub."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from attrs import define
from perdure.entities import Entity, entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

TTL = 100.0


@entity(idle_ttl=TTL)
@define
class Session(Entity):
    """Is used for a while."""

    uses: int = 0

    def use(self) -> int:
        """Use it; how often it was."""
        self.uses += 1
        return self.uses

    def look(self) -> int:
        """How often it was used."""
        return self.uses

    def fail(self) -> None:
        """Fail."""
        raise ValueError("no")

    async def use_slowly(self, seconds: float) -> None:
        """Use it for so long."""
        await trio.sleep(seconds)
        self.uses += 1


S = Session.at("s")


@orchestrator
async def hold(ctx: OrchestrationContext, seconds: float) -> None:
    """Hold the session's lock."""
    async with ctx.lock_entities(S):
        await ctx.sleep(seconds)


def of_class(**options: Any) -> type[Entity]:
    """A session's class of another program, with other options."""

    @define
    class Other(Entity):
        uses: int = 0

        def use(self) -> int:
            """Use it; how often it was."""
            self.uses += 1
            return self.uses

    return entity(name="Session", **options)(Other)


async def exists(hub: TaskHub) -> bool:
    """Whether the session is there."""
    return bool((await hub.query_entities(include_state=False)).items)
