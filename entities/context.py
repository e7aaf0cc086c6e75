"""What an entity's operation may do besides changing its own state (E8).

A context collects effects; the machine sends them when the operation has ended well, and throws them away when it
failed (E4). It is usable only while its operation runs: a context that was kept answers with an error, so that no
effect can slip out between two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple, overload

import msgspec

from .delayed import check_signal_id, delivery_time, signal_id
from .ids import Addressable, EntityId, EntityRef, check_instance_id
from .messages import DropSignal, EntityEffect, Operation, RaiseEvent, Send, SendLater, StartInstance
from .times import microseconds_of

E = TypeVar("E", bound=Addressable)
V = TypeVar("V")
Ts = TypeVarTuple("Ts")


class Host(Protocol):
    """What a context needs from the hub around it: names and values turned into what a message holds."""

    def operation(self, target: EntityId, operation: object, arguments: tuple[object, ...]) -> tuple[str, bytes]:
        """The name of an operation, and its encoded arguments (E7)."""
        ...

    def orchestration(self, orchestrator: object, arguments: tuple[object, ...]) -> tuple[str, str | None, bytes]:
        """Name, version and encoded arguments of an orchestration that is to be started."""
        ...

    def event_value(self, name: str, value: object) -> bytes:
        """An event's value in its self-describing form."""
        ...

    def new_instance_id(self) -> str:
        """A random id."""
        ...


class FunctionStateHolder(Protocol):
    """What a context reaches in a function entity: the input and the state, as the types that the function names."""

    def get_input(self, tp: Any, default: object) -> Any:
        """The input."""
        ...

    def get_state(self, tp: Any, default: object) -> Any:
        """The state."""
        ...

    def set_state(self, value: object, tp: Any) -> None:
        """A new state."""
        ...


class EntityContext(msgspec.Struct, eq=False):
    """The context of one running operation: ``self.context`` in a method, the argument of a function entity.

    Attributes:
      entity_id: the entity.
      operation: the name of the operation that runs.
      now: the time of the turn, aware UTC.
    """

    entity_id: EntityId
    operation: str
    now: datetime
    _host: Host
    _effects: list[EntityEffect] | None = msgspec.field(default_factory=list)
    _deleted: bool = False
    _function: FunctionStateHolder | None = None  # set in function entities only

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
        """Send an operation to an entity, itself included, without waiting for it.

        It is sent when this operation has ended well, in the order of the calls.

        Args:
          ref: the entity.
          operation: the method, such as ``Account.deposit``, or its name.
          *arguments: the operation's arguments.
          deliver_at: deliver it at or after this time, never before (E10): an aware datetime, or a delay from ``now`` (a
            timedelta or seconds). It has no order against other messages.

        Returns:
          With ``deliver_at``, the id by which the signal can be cancelled; else ``None``.

        Raises:
          UnknownEntity, UnknownOperation: this hub knows no such entity class or operation.
          TypeError: the number of arguments is wrong, or ``deliver_at`` is no time.
          ValueError: a naive datetime, a delay below 0 or not finite, or a time beyond the year 9999.
          NotStorable: an argument cannot be kept exactly.
        """
        name, encoded = self._host.operation(ref, operation, arguments)
        if deliver_at is None:
            self._emit(Send(ref, Operation(name, encoded)))
            return None
        due = delivery_time(deliver_at, microseconds_of(self.now))
        chosen = signal_id(due, self._host.new_instance_id())
        self._emit(SendLater(ref, Operation(name, encoded), chosen))
        return chosen

    def cancel_signal(self, signal_id: str) -> None:
        """Cancel a delayed signal, whoever sent it, when this operation has ended well (E10).

        One that was delivered or cancelled before, or is delivered meanwhile, is left alone.

        Args:
          signal_id: what sending it returned.

        Raises:
          TypeError, ValueError: it is no id of a delayed signal.
        """
        self._emit(DropSignal(check_signal_id(signal_id)))

    def start(self, orchestrator: Any, *arguments: Any, instance_id: str | None = None) -> str:
        """Start an orchestration when this operation has ended well, and return its instance id.

        A start under an id that exists is dropped with a log line.

        Args:
          orchestrator: the orchestrator, or its name.
          *arguments: its arguments after the context.
          instance_id: the id; a random one if left out.

        Raises:
          ValueError: the id is not allowed (I3).
          NotStorable: an argument cannot be kept exactly.
        """
        name, version, encoded = self._host.orchestration(orchestrator, arguments)
        chosen = self._host.new_instance_id() if instance_id is None else check_instance_id(instance_id)
        self._emit(StartInstance(name, encoded, chosen, version))
        return chosen

    def raise_event(self, instance_id: str, name: str, value: object = None) -> None:
        """Raise an event to an orchestration when this operation has ended well.

        An event to an unknown or finished instance is dropped with a log line.

        Args:
          instance_id: the orchestration.
          name: the event's name, compared without regard to case.
          value: any value that describes itself (no class instances); ``None`` if left out.

        Raises:
          ValueError: the id is not allowed (I3), or the name is empty.
          NotStorable: the value cannot be kept exactly.
        """
        encoded = self._host.event_value(name, value)
        self._emit(RaiseEvent(check_instance_id(instance_id), name.casefold(), encoded))

    # --- function entities

    @overload
    def get_input(self) -> Any: ...
    @overload
    def get_input(self, type: type[V], default: V = ...) -> V: ...
    @overload
    def get_input(self, type: Any, default: Any = None) -> Any: ...
    def get_input(self, type: Any = object, default: Any = None) -> Any:  # noqa: A002 - the natural name
        """The input of this operation of a function entity: its one argument, as a copy.

        Args:
          type: what it is converted to; any plain data if left out.
          default: taken if the operation was sent without an input.

        Raises:
          ValueUnreadable: the input does not fit the type.
          TypeError: there is no input, and the default does not fit the type.
          RuntimeError: this entity is a class, or its operation has ended.
        """
        return self._of_function("get_input").get_input(type, default)

    @overload
    def get_state(self) -> Any: ...
    @overload
    def get_state(self, type: type[V], default: V = ...) -> V: ...
    @overload
    def get_state(self, type: Any, default: Any = None) -> Any: ...
    def get_state(self, type: Any = object, default: Any = None) -> Any:  # noqa: A002 - the natural name
        """The state of a function entity, as a copy: changing it changes nothing until it is set.

        Args:
          type: what it is converted to; any plain data if left out.
          default: taken if the entity does not exist; it must fit the type.

        Raises:
          StateUnreadable: the stored state does not fit the type; it is kept (E12).
          NotStorable: the entity does not exist, and the default does not fit the type.
          RuntimeError: this entity is a class, or its operation has ended.
        """
        return self._of_function("get_state").get_state(type, default)

    def set_state(self, value: object, type: Any = None) -> None:  # noqa: A002 - the natural name
        """Set the state of a function entity. It is kept when the operation has ended well (E4).

        Args:
          value: the state, of which a copy is taken. ``None`` is a state too: only :meth:`delete` deletes (E3).
          type: its type; by default the type that this operation read the state with, else any plain data.

        Raises:
          NotStorable: the value is not of the type, or cannot be kept exactly.
          RuntimeError: this entity is a class, its operation has ended, or it has called :meth:`delete`.
        """
        function = self._of_function("set_state")
        if self._deleted:
            raise RuntimeError(
                f"operation {self.operation!r} of {self.entity_id} has deleted the state; what is set after that is lost"
            )
        function.set_state(value, type)

    def _of_function(self, verb: str) -> FunctionStateHolder:
        if self._effects is None:
            self._refuse()
        if self._function is None:
            raise RuntimeError(
                f"{verb} is for entities that are functions; {self.entity_id} is of a class, whose attributes are its state "
                "and whose operations have parameters"
            )
        return self._function

    # --- ending

    def delete(self) -> None:
        """Delete this entity's state when the operation has ended well. The next operation starts afresh."""
        if self._effects is None:
            self._refuse()
        self._deleted = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.operation!r} on {self.entity_id}>"

    def _emit(self, effect: EntityEffect) -> None:
        if self._effects is None:
            self._refuse()
        self._effects.append(effect)

    def _refuse(self) -> NoReturn:
        raise RuntimeError(
            f"operation {self.operation!r} of {self.entity_id} has ended; its context can do nothing more. "
            "Do not keep a context beyond its operation"
        )

    def close(self) -> tuple[list[EntityEffect], bool]:
        """End the operation; for the machine. Nothing more is accepted from then on.

        Returns:
          The effects, none if it was closed before, and whether the state was deleted.
        """
        effects, self._effects = self._effects, None
        return effects or [], self._deleted


def _no_waiting(verb: str) -> property:
    """A verb of orchestrations that people look for here. No ``__getattr__``, which would slow down every other attribute."""

    def refuse(_: EntityContext) -> NoReturn:
        raise AttributeError(
            f"an entity has no {verb}: an operation that waited for another entity could deadlock (E8). "
            "Signal it with signal_entity and let it signal back, or do it in an orchestration"
        )

    return property(refuse)


for _verb in ("call_entity", "lock_entities", "call_activity"):
    setattr(EntityContext, _verb, _no_waiting(_verb))
