"""A hub's verbs for entities."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import trio

from ..entities.definition import OperationDefinition
from ..entities.errors import EntityOperationFailed
from ..entities.ids import EntityId, EntityRef
from ..entities.machine import EntityMachine
from ..entities.messages import Answer, Failure, Operation, Outcome, ReplyTo, WaitingClient
from ..orchestration.context_base import checked_entity_id
from .asking import ask, ask_once
from .clock import as_datetime
from .committed import CommittedHub
from .guard import no_trio
from .intents import SignalIntent, check_room, check_sound, delayed_intent, submit
from .lookups import find_stored_entity
from .opening import OpenableHub
from .operations import ending_of, refuse_inside_operation
from .requests import check_request_id, fingerprint

if TYPE_CHECKING:
    from ..entities.entity import Entity
    from .runtime import Runtime

E = TypeVar("E", bound="Entity")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class EntityVerbs(OpenableHub):
    """Signal and call entities."""

    @overload
    async def signal_entity(
        self,
        ref: EntityRef[E],
        operation: Callable[[E, *Ts], object],
        *arguments: *Ts,
        deliver_at: None = None,
        request_id: str | None = None,
    ) -> None: ...
    @overload
    async def signal_entity(
        self,
        ref: EntityRef[E],
        operation: Callable[[E, *Ts], object],
        *arguments: *Ts,
        deliver_at: datetime | timedelta | float,
        request_id: str | None = None,
    ) -> str: ...
    @overload
    async def signal_entity(
        self, ref: EntityId, operation: str, *arguments: Any, deliver_at: None = None, request_id: str | None = None
    ) -> None: ...
    @overload
    async def signal_entity(
        self,
        ref: EntityId,
        operation: str,
        *arguments: Any,
        deliver_at: datetime | timedelta | float,
        request_id: str | None = None,
    ) -> str: ...
    async def signal_entity(
        self,
        ref: EntityId,
        operation: Any,
        *arguments: Any,
        deliver_at: datetime | timedelta | float | None = None,
        request_id: str | None = None,
    ) -> str | None:
        """Send an operation to an entity. It is durable when this returns, and runs at some time after (D3).

        Cancelling this may or may not have sent it.

        Args:
          ref: the entity, such as ``Account.at("alice")``.
          operation: the method, such as ``Account.deposit``, or its name.
          *arguments: its arguments.
          deliver_at: deliver it at or after this time, never before (E10): an aware datetime, or a delay from now on the
            hub's clock (a timedelta or seconds). It has no order against other messages.
          request_id: makes repeating this call safe (D8).

        Returns:
          With ``deliver_at``, the id by which the signal can be cancelled, the same for each repetition; else ``None``.

        Raises:
          UnknownEntity, UnknownOperation: this hub knows no such entity class or operation (E7).
          TypeError: the number of arguments is wrong, ``ref`` is no entity id, or ``deliver_at`` no time.
          ValueError: a naive datetime, a delay below 0 or not finite, or a time beyond the year 9999.
          NotStorable: an argument cannot be kept exactly.
          RequestMismatch, LimitReached: see D8; the limit may also be that of the entity's mailbox.
          StorageError: storage fails; what was sent may still take effect (D4).
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        name, encoded = self._registry.operation(checked_entity_id(ref, "signal_entity"), operation, arguments)
        kept = None if request_id is None else check_request_id(request_id)
        message = Operation(name, encoded)
        if deliver_at is None:
            await submit(runtime, [SignalIntent(ref, message, kept)])
            return None
        intent, chosen = delayed_intent(runtime, ref, message, deliver_at, kept)
        (earlier,) = await submit(runtime, [intent])
        return earlier or chosen

    @overload
    async def call_entity(
        self,
        ref: EntityRef[E],
        operation: Callable[[E, *Ts], Coroutine[Any, Any, R]],
        *arguments: *Ts,
        request_id: str | None = None,
    ) -> R: ...
    @overload
    async def call_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], R], *arguments: *Ts, request_id: str | None = None
    ) -> R: ...
    @overload
    async def call_entity(self, ref: EntityId, operation: str, *arguments: Any, request_id: str | None = None) -> Any: ...
    async def call_entity(self, ref: EntityId, operation: Any, *arguments: Any, request_id: str | None = None) -> Any:
        """Run an operation of an entity, and return its result when it is durable.

        Cancelling this only stops the waiting: the operation runs all the same.

        An operation that is marked read-only does not queue: it runs here and now on a copy of the last committed state,
        whatever the entity is doing, and ends with this call if that is cancelled (E13). It need not show a signal that
        was just acknowledged. With a ``request_id`` it is called like any other.

        Args:
          ref: the entity.
          operation: the method, or its name.
          *arguments: its arguments.
          request_id: makes repeating this call safe: the operation runs once, and each repetition gets its answer (D8).

        Raises:
          EntityOperationFailed: the operation failed; it left no trace (E4).
          RuntimeError: this is called from inside an operation, which could deadlock (E8); one that only reads may be called.
          DamagedRecord: the operation only reads, and the record is damaged on disk (D9).
          UnknownEntity, UnknownOperation, TypeError, NotStorable, RequestMismatch, LimitReached, StorageError, HubClosed:
            as for :meth:`signal_entity`.
        """
        runtime = self._open_runtime()
        target = checked_entity_id(ref, "call_entity")
        definition = self._registry.operation_definition(target, operation)
        reading = definition.read_only and request_id is None
        if not reading:
            refuse_inside_operation(str(target))
        encoded = definition.arguments.encode(arguments)
        if reading:
            outcome = await self._call_reading(runtime, target, definition, encoded)
        else:
            outcome = await self._call(runtime, target, definition.name, encoded, request_id)
        if isinstance(outcome, Failure):
            raise EntityOperationFailed(target, definition.name, outcome.failure)
        return definition.result.decode(outcome.value)

    @staticmethod
    async def _call(runtime: Runtime, target: EntityId, name: str, encoded: bytes, request_id: str | None) -> Outcome:
        def send(reply_to: ReplyTo) -> None:
            runtime.space.check(name)
            cell = runtime.residence.entity(target)
            check_room(cell, target)
            check_sound(cell, waits=True)
            runtime.engine.to_entity(target, Operation(name, encoded, reply_to))

        if request_id is None:
            return await ask(runtime, send)
        return await ask_once(runtime, check_request_id(request_id), fingerprint("call", str(target), name, encoded), send)

    async def _call_reading(self, runtime: Runtime, target: EntityId, operation: OperationDefinition, encoded: bytes) -> Outcome:
        """Run a read-only operation on a machine of its own, made of what is committed, of which nothing is kept (E13)."""
        await trio.lowlevel.checkpoint()
        record = find_stored_entity(runtime.store, target)
        machine = EntityMachine(target, self._registry.entity(target.name), self._registry)
        if record is not None:
            machine.state, machine.version = record.state, record.version
        machine.accept(Operation(operation.name, encoded, WaitingClient(0)))
        now = as_datetime(runtime.clock.now())
        if operation.is_async:
            run = machine.begin(now)
            machine.finish(run, await ending_of(run, target))
        else:
            with no_trio():
                machine.advance(now, 1)
        (answer,) = machine.effects
        assert isinstance(answer, Answer)
        return answer.outcome


class EntityReadVerbs(CommittedHub):
    """Read entities, as of the last commit."""

    @overload
    async def read_entity(self, ref: EntityRef[E]) -> E | None: ...
    @overload
    async def read_entity(self, ref: EntityId) -> Any: ...
    async def read_entity(self, ref: EntityId) -> Any:
        """A copy of an entity's state as of the last commit, ``None`` if it does not exist (E9).

        The state of a function entity, which has no class, comes as plain data.

        It never waits for an operation or a lock. It need not show a signal that was just acknowledged; a call does.

        Raises:
          UnknownEntity: no such entity class is defined to this hub.
          StateUnreadable: the stored state does not fit the class; it is kept (E12).
          DamagedRecord: the record is damaged on disk (D9).
          TypeError: ``ref`` is no entity id.
          HubClosed: the hub is not open.
        """
        store = self._committed()
        target = checked_entity_id(ref, "read_entity")
        definition = self._registry.entity(target.name)
        await trio.lowlevel.checkpoint()
        record = find_stored_entity(store, target)
        if record is None or record.state is None:
            return None
        return definition.read(target, record.state, record.version)
