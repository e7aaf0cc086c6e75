"""A handle for one orchestration instance."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

from ..orchestration.history import HistoryEntry
from .status import InstanceStatus

R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")


class InstanceVerbs(Protocol):
    """The verbs of a hub that a handle stands for; :class:`TaskHub` says what each does."""

    async def wait_for_result(self, instance_id: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - the hub's name
        """Wait for the result."""
        ...

    async def get_status(self, instance_id: str, *, include_values: bool = True) -> InstanceStatus:
        """The status."""
        ...

    async def wait_for_start(self, instance_id: str, timeout: float | None = None) -> InstanceStatus:  # noqa: ASYNC109 - the hub's name
        """Wait until it has begun."""
        ...

    async def wait_for_status_change(
        self,
        instance_id: str,
        known: InstanceStatus | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the hub's name
    ) -> InstanceStatus:
        """Wait until it shows another status."""
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

    async def query(self, instance_id: str, name: str, *arguments: object, type: Any = object) -> Any:  # noqa: A002 - the hub's name
        """Ask it something."""
        ...

    async def update(
        self,
        instance_id: str,
        name: str,
        *arguments: object,
        type: Any = object,  # noqa: A002 - the hub's name
        request_id: str | None = None,
    ) -> Any:
        """Ask it to do something."""
        ...

    async def rewind(self, instance_id: str, reason: str | None = None) -> None:
        """Let it go on without what it failed of."""
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
        """Wait until the instance has finished, durably (D2), and return its result.

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
        """The instance as of the last commit (D2, O17).

        Args:
          include_values: read and decode input, output and custom status, which may be large.

        Raises:
          InstanceNotFound: there is no such instance.
        """
        return await self._hub.get_status(self.id, include_values=include_values)

    async def wait_for_start(self, timeout: float | None = None) -> InstanceStatus:  # noqa: ASYNC109 - a limit for callers without scopes
        """Wait until the instance has begun, durably (D2), and return its status then.

        Raises:
          InstanceNotFound: there is no such instance.
          TimeoutError: the time is over.
        """
        return await self._hub.wait_for_start(self.id, timeout)

    async def wait_for_status_change(
        self,
        known: InstanceStatus | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a limit for callers without scopes
    ) -> InstanceStatus:
        """Wait until the instance shows another runtime or custom status; see :meth:`TaskHub.wait_for_status_change`.

        Raises:
          InstanceNotFound: there is no such instance.
          TimeoutError: the time is over.
        """
        return await self._hub.wait_for_status_change(self.id, known, timeout)

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

    @overload
    async def query(self, name: str, *arguments: object, type: type[V]) -> V: ...
    @overload
    async def query(self, name: str, *arguments: object, type: Any = object) -> Any: ...
    async def query(self, name: str, *arguments: object, type: Any = object) -> Any:  # noqa: A002 - the natural name
        """Ask the running instance something that its code offers (O21); see :meth:`TaskHub.query`.

        Raises:
          QueryFailed: the handler raised, or there is none of that name.
          CannotQuery: the instance has no code in memory that could answer.
          InstanceNotFound, InstanceFinished: there is nobody to ask.
        """
        return await self._hub.query(self.id, name, *arguments, type=type)

    @overload
    async def update(self, name: str, *arguments: object, type: type[V], request_id: str | None = None) -> V: ...
    @overload
    async def update(self, name: str, *arguments: object, type: Any = object, request_id: str | None = None) -> Any: ...
    async def update(
        self,
        name: str,
        *arguments: object,
        type: Any = object,  # noqa: A002 - the natural name
        request_id: str | None = None,
    ) -> Any:
        """Ask the running instance to do something that its code offers (O21); see :meth:`TaskHub.update`.

        Raises:
          UpdateFailed: it was refused, or failed, or the instance ended before it had.
          InstanceNotFound, InstanceFinished: there is nobody to ask.
        """
        return await self._hub.update(self.id, name, *arguments, type=type, request_id=request_id)

    async def rewind(self, reason: str | None = None) -> None:
        """Let an instance that has failed go on without what it failed of (O16); see :meth:`TaskHub.rewind`.

        Raises:
          InstanceNotFound: there is no such instance.
          CannotRewind: it has not failed, or it failed inside a critical section.
        """
        await self._hub.rewind(self.id, reason)

    async def purge(self, *, force: bool = False) -> None:
        """Remove it with everything that belongs to it (O16); a running one only with ``force``.

        Raises:
          InstanceNotFound: there is no such instance.
          ValueError: it is still running.
        """
        await self._hub.purge_instance(self.id, force=force)

    async def history(self) -> list[HistoryEntry]:
        """The stored journal of the current execution, in order (O1).

        Raises:
          InstanceNotFound: there is no such instance.
        """
        return await self._hub.get_history(self.id)
