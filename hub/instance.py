"""A handle for one orchestration instance."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from ..orchestration.history import HistoryEntry
from .status import InstanceStatus

R_co = TypeVar("R_co", covariant=True)


class InstanceVerbs(Protocol):
    """The verbs of a hub that a handle stands for; :class:`TaskHub` says what each does."""

    async def wait_for_result(self, instance_id: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the hub's name
        """Wait for the result."""
        ...

    async def get_status(self, instance_id: str, *, include_values: bool = True) -> InstanceStatus:
        """The status."""
        ...

    async def get_history(self, instance_id: str) -> list[HistoryEntry]:
        """The journal."""
        ...

    async def raise_event(self, instance_id: str, name: str, value: object = None, *, request_id: str | None = None) -> None:
        """Raise an event."""
        ...

    async def terminate(self, instance_id: str, reason: str | None = None, *, recursive: bool = True) -> None:
        """End it at once."""
        ...

    async def cancel(self, instance_id: str, reason: str | None = None) -> None:
        """End it gracefully."""
        ...

    async def suspend(self, instance_id: str, reason: str | None = None) -> None:
        """Stop it for a while."""
        ...

    async def resume(self, instance_id: str, reason: str | None = None) -> None:
        """Let it go on."""
        ...

    async def restart(self, instance_id: str, *, new_id: bool = True) -> Instance[Any]:
        """Start it again."""
        ...

    async def purge_instance(self, instance_id: str, *, force: bool = False) -> None:
        """Remove it."""
        ...


class Instance(Generic[R_co]):
    """An instance of a hub, which need not exist; made by ``hub.start`` and ``hub.instance``.

    Attributes:
      id: the instance id.
    """

    __slots__ = ("_hub", "id")

    def __init__(self, hub: InstanceVerbs, instance_id: str) -> None:
        self._hub = hub
        self.id = instance_id

    def __repr__(self) -> str:
        return f"<Instance {self.id!r}>"

    async def result(self, timeout: float | None = None) -> R_co:  # noqa: ASYNC109 - a limit for callers without scopes
        """Wait until the instance has finished, and return its result.

        Args:
          timeout: wait at most that many seconds.

        Raises:
          OrchestrationFailed: it failed.
          OrchestrationTerminated: it was terminated.
          InstanceNotFound: there is no such instance.
          TimeoutError: the time is over; the instance goes on.
        """
        result: Any = await self._hub.wait_for_result(self.id, timeout)
        return result

    async def status(self, *, include_values: bool = True) -> InstanceStatus:
        """The instance as of the last commit.

        Args:
          include_values: read and decode input, output and custom status, which may be large.

        Raises:
          InstanceNotFound: there is no such instance.
        """
        return await self._hub.get_status(self.id, include_values=include_values)

    async def raise_event(self, name: str, value: object = None, *, request_id: str | None = None) -> None:
        """Raise an external event; see :meth:`TaskHub.raise_event`."""
        await self._hub.raise_event(self.id, name, value, request_id=request_id)

    async def terminate(self, reason: str | None = None, *, recursive: bool = True) -> None:
        """End the instance at once, with the reason as output, its children too unless told otherwise (O13).

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to end.
        """
        await self._hub.terminate(self.id, reason, recursive=recursive)

    async def cancel(self, reason: str | None = None) -> None:
        """End the instance gracefully: its code is interrupted once and may clean up (O13).

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to end.
        """
        await self._hub.cancel(self.id, reason)

    async def suspend(self, reason: str | None = None) -> None:
        """Let the instance do nothing until it is resumed (O12).

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to suspend.
        """
        await self._hub.suspend(self.id, reason)

    async def resume(self, reason: str | None = None) -> None:
        """Let a suspended instance go on, with the code as it is now (O3, O12).

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to resume.
        """
        await self._hub.resume(self.id, reason)

    async def restart(self, *, new_id: bool = True) -> Instance[R_co]:
        """Start it again with the same input, under a new id or its own (O16).

        Raises:
          InstanceNotFound: there is no such instance.
          InstanceExists: it is still running, and its own id is asked for.
        """
        return await self._hub.restart(self.id, new_id=new_id)

    async def purge(self, *, force: bool = False) -> None:
        """Remove it with everything that belongs to it (O16); a running one only with ``force``.

        Raises:
          InstanceNotFound: there is no such instance.
          ValueError: it is still running.
        """
        await self._hub.purge_instance(self.id, force=force)

    async def history(self) -> list[HistoryEntry]:
        """The stored journal of the current execution, in order.

        Raises:
          InstanceNotFound: there is no such instance.
        """
        return await self._hub.get_history(self.id)
