"""``hub.batch()``: many requests, accepted all or none, with one acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, overload

from ..entities.delayed import check_signal_id
from ..entities.ids import EntityId, EntityRef, check_instance_id
from ..entities.messages import Operation
from ..orchestration.context_base import checked_entity_id
from ..orchestration.definition import Orchestrator
from ..orchestration.errors import InstanceExists
from ..orchestration.messages import EventRaised, StartExecution
from ..orchestration.registry import check_event_name
from .intents import (
    CancelSignalIntent,
    IfExists,
    InstanceIntent,
    Intent,
    SignalIntent,
    StartIntent,
    check_if_exists,
    delayed_intent,
    submit,
)
from .random_ids import new_instance_id
from .runtime import Runtime

if TYPE_CHECKING:
    from ..entities.entity import Entity

E = TypeVar("E", bound="Entity")
Ts = TypeVarTuple("Ts")


class ClientBatch:
    """Signals, starts and events that are accepted together when the block is left.

    They are accepted in order, all or none, and leaving the block returns when they are durable; each is then worked off
    on its own. Leaving it with an exception, or cancelled before it was submitted, accepts nothing.

    Example:
      async with hub.batch() as batch:
          for key in keys:
              batch.signal_entity(Counter.at(key), Counter.add, 1)
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registry = runtime.registry
        self._intents: list[Intent] | None = []
        self._starting: set[str] = set()

    @overload
    def signal_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], object], *arguments: *Ts, deliver_at: None = None
    ) -> None: ...
    @overload
    def signal_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], object], *arguments: *Ts, deliver_at: datetime | timedelta | float
    ) -> str: ...
    @overload
    def signal_entity(self, ref: EntityId, operation: str, *arguments: Any, deliver_at: None = None) -> None: ...
    @overload
    def signal_entity(self, ref: EntityId, operation: str, *arguments: Any, deliver_at: datetime | timedelta | float) -> str: ...
    def signal_entity(
        self, ref: EntityId, operation: Any, *arguments: Any, deliver_at: datetime | timedelta | float | None = None
    ) -> str | None:
        """Add an operation; checked now, accepted at the end.

        A delay in ``deliver_at`` counts from this call. Returns and raises as :meth:`TaskHub.signal_entity` does.
        """
        name, encoded = self._registry.operation(checked_entity_id(ref, "signal_entity"), operation, arguments)
        message = Operation(name, encoded)
        if deliver_at is None:
            self._collected().append(SignalIntent(ref, message))
            return None
        intent, chosen = delayed_intent(self._runtime, ref, message, deliver_at)
        self._add(intent)
        return chosen

    def cancel_signal(self, signal_id: str) -> None:
        """Add the end of a delayed signal; one that was delivered or cancelled before is left alone (E10).

        Raises:
          TypeError, ValueError: it is no id of a delayed signal.
        """
        self._add(CancelSignalIntent(check_signal_id(signal_id)))

    def start(
        self, orchestrator: Orchestrator[Any, *Ts], *arguments: *Ts, instance_id: str | None = None, if_exists: IfExists = "fail"
    ) -> str:
        """Add a start, and return its instance id.

        Raises:
          InstanceExists: the batch starts that id already; whether the hub has it is checked at the end.
          UnknownOrchestrator, TypeError, ValueError, NotStorable: as for :meth:`TaskHub.start`.
        """
        check_if_exists(if_exists)
        name, version, encoded = self._registry.orchestration(orchestrator, arguments)
        chosen = new_instance_id() if instance_id is None else check_instance_id(instance_id)
        if chosen in self._starting:
            raise InstanceExists(f"the batch starts the instance {chosen!r} already")
        self._add(StartIntent(chosen, StartExecution("", name, version, encoded), if_exists, None, instance_id is None))
        self._starting.add(chosen)
        return chosen

    def raise_event(self, instance_id: str, name: str, value: object = None) -> None:
        """Add an event; the instance may be one that the batch starts. Raises as :meth:`TaskHub.raise_event` does."""
        encoded = self._registry.event_value(name, value)
        self._add(InstanceIntent(check_instance_id(instance_id), EventRaised(check_event_name(name), encoded)))

    def _add(self, intent: Intent) -> None:
        self._collected().append(intent)

    def _collected(self) -> list[Intent]:
        if self._intents is None:
            raise RuntimeError("this batch was submitted; open a new one with hub.batch()")
        return self._intents

    async def __aenter__(self) -> Self:
        """Begin to collect.

        Raises:
          RuntimeError: it was submitted before.
        """
        self._collected()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Submit, unless the block raised.

        Raises:
          InstanceExists, InstanceNotFound, InstanceFinished: one of the requests is not possible; none is accepted.
        """
        intents, self._intents = self._intents, None
        if exc_type is None and intents:
            await submit(self._runtime, intents)
