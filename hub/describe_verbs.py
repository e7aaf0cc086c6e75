"""``hub.describe``; what it tells is in :mod:`.describing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import trio

from ..entities.ids import EntityId, check_instance_id
from ..orchestration.errors import InstanceNotFound
from .opening import OpenableHub

if TYPE_CHECKING:
    from .describing import EntityDescription, InstanceDescription


class DescribeVerbs(OpenableHub):
    """Describe entities and orchestrations."""

    @overload
    async def describe(self, target: EntityId) -> EntityDescription: ...
    @overload
    async def describe(self, target: str) -> InstanceDescription: ...
    async def describe(self, target: EntityId | str) -> EntityDescription | InstanceDescription:
        """Why an entity or an orchestration is where it is, at this moment (L9).

        Args:
          target: an entity id, such as ``Account.at("alice")``, or an instance id.

        Raises:
          InstanceNotFound: there is no such instance. (An entity that does not exist is described as such.)
          TypeError, ValueError: it is neither, or not allowed.
          HubClosed: the hub is not open.
        """
        from .describing import describe_entity, describe_instance  # noqa: PLC0415 - 2 ms, for who wonders

        runtime = self._open_runtime()
        await trio.lowlevel.checkpoint()
        if isinstance(target, EntityId):
            return describe_entity(runtime.residence.entity(target))
        if not isinstance(target, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(
                f"describe takes an entity id or an instance id; an instance id is a str, not {type(target).__name__}"
            )
        cell = runtime.residence.orchestration(check_instance_id(target))
        if cell is None or cell.machine.record is None:
            raise InstanceNotFound(f"there is no instance {target!r}")
        if cell.machine.needs_history:
            runtime.residence.revive(cell, runtime.clock.now())
            runtime.engine.touch(cell, arrived=0)
        return describe_instance(runtime, cell)
