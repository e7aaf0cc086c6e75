"""A hub's verbs for entities."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import trio

from ..entities.errors import EntityOperationFailed
from ..entities.ids import EntityId, EntityRef
from ..entities.machine import read_state
from ..entities.messages import ClientRequest, Failure, Operation, Outcome, Success, WaitingClient
from ..entities.record import EntityRecord
from ..orchestration.context_base import checked_entity_id
from ..storage import keys, tables
from .ack import Ack
from .intents import SignalIntent, check_room, submit
from .opening import OpenableHub
from .operations import inside_operation
from .records import LetterRecord, decode_instance, decode_letter
from .requests import check_request_id, fingerprint

if TYPE_CHECKING:
    from ..entities.entity import Entity
    from .runtime import Runtime

E = TypeVar("E", bound="Entity")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_tokens = itertools.count(secrets.randbits(62))
"""Tokens of waiting clients. They are stored with their calls, so those of an earlier process must not be met again."""


class EntityVerbs(OpenableHub):
    """Signal, call, read and describe entities."""

    @overload
    async def signal_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], object], *arguments: *Ts, request_id: str | None = None
    ) -> None: ...
    @overload
    async def signal_entity(self, ref: EntityId, operation: str, *arguments: Any, request_id: str | None = None) -> None: ...
    async def signal_entity(self, ref: EntityId, operation: Any, *arguments: Any, request_id: str | None = None) -> None:
        """Send an operation to an entity. It is durable when this returns, and runs at some time after (D3).

        Cancelling this may or may not have sent it.

        Args:
          ref: the entity, such as ``Account.at("alice")``.
          operation: the method, such as ``Account.deposit``, or its name.
          *arguments: its arguments.
          request_id: makes repeating this call safe (D8).

        Raises:
          UnknownEntity, UnknownOperation: this hub knows no such entity class or operation (E7).
          TypeError: the number of arguments is wrong, or ``ref`` is no entity id.
          NotStorable: an argument cannot be kept exactly.
          RequestMismatch, LimitReached: see D8; the limit may also be that of the entity's mailbox.
          StorageError: storage fails; what was sent may still take effect (D4).
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        name, encoded = self._registry.operation(checked_entity_id(ref, "signal_entity"), operation, arguments)
        kept = None if request_id is None else check_request_id(request_id)
        await submit(runtime, [SignalIntent(ref, Operation(name, encoded), kept)])

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

        Args:
          ref: the entity.
          operation: the method, or its name.
          *arguments: its arguments.
          request_id: makes repeating this call safe: the operation runs once, and each repetition gets its answer (D8).

        Raises:
          EntityOperationFailed: the operation failed; it left no trace (E4).
          RuntimeError: this is called from inside an operation, which could deadlock (E8).
          UnknownEntity, UnknownOperation, TypeError, NotStorable, RequestMismatch, LimitReached, StorageError, HubClosed:
            as for :meth:`signal_entity`.
        """
        runtime = self._open_runtime()
        target = checked_entity_id(ref, "call_entity")
        inside = inside_operation.get()
        if inside is not None:
            raise RuntimeError(
                f"an operation of {inside} waits for {target}, which could deadlock (E8): signal it, or use an orchestration"
            )
        definition = self._registry.operation_definition(target, operation)
        encoded = definition.arguments.encode(arguments)
        if request_id is None:
            outcome = await self._call(runtime, target, definition.name, encoded)
        else:
            outcome = await self._call_once(runtime, target, definition.name, encoded, check_request_id(request_id))
        if isinstance(outcome, Failure):
            raise EntityOperationFailed(target, definition.name, outcome.failure)
        return definition.result.decode(outcome.value)

    @staticmethod
    async def _call(runtime: Runtime, target: EntityId, name: str, encoded: bytes) -> Success | Failure:
        await runtime.admit()
        runtime.space.check(name)
        check_room(runtime.residence.entities.get(target), target)
        token = next(_tokens)
        ack = runtime.engine.calls[token] = Ack()
        runtime.engine.to_entity(target, Operation(name, encoded, WaitingClient(token)))
        runtime.scheduler.wake()
        try:
            outcome: Success | Failure = await ack.wait()
        finally:
            runtime.engine.calls.pop(token, None)
        return outcome

    @staticmethod
    async def _call_once(runtime: Runtime, target: EntityId, name: str, encoded: bytes, request_id: str) -> Outcome:
        await runtime.admit()
        asked = fingerprint("call", str(target), name, encoded)
        record = runtime.requests.find(request_id, asked)
        if record is None:
            runtime.space.check(name)
            check_room(runtime.residence.entities.get(target), target)
            runtime.requests.reserve(1, runtime.engine.batch)
            runtime.engine.to_entity(target, Operation(name, encoded, ClientRequest(request_id)))
            runtime.requests.keep(request_id, asked, runtime.engine.batch)
        elif record.outcome is not None:
            await runtime.durable()
            return record.outcome
        ack = runtime.requests.wait_for_answer(request_id)
        runtime.scheduler.wake()
        outcome: Outcome = await ack.wait()
        return outcome

    @overload
    async def read_entity(self, ref: EntityRef[E]) -> E | None: ...
    @overload
    async def read_entity(self, ref: EntityId) -> Any: ...
    async def read_entity(self, ref: EntityId) -> Any:
        """A copy of an entity's state as of the last commit, ``None`` if it does not exist (E9).

        It never waits for an operation or a lock. It need not show a signal that was just acknowledged; a call does.

        Raises:
          UnknownEntity: no such entity class is defined to this hub.
          StateUnreadable: the stored state does not fit the class; it is kept (E12).
          DamagedRecord: the record is damaged on disk (D9).
          TypeError: ``ref`` is no entity id.
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        target = checked_entity_id(ref, "read_entity")
        definition = self._registry.entity(target.name)
        await trio.lowlevel.checkpoint()
        number = runtime.store.get(tables.DIRECTORY, keys.entity_key(target.name, target.key))
        stored = None if number is None else runtime.store.get(tables.INSTANCES, number)
        record = None if stored is None else decode_instance(stored)
        if not isinstance(record, EntityRecord) or record.state is None:
            return None
        return read_state(definition, target, record.state, record.version)

    async def dead_letters(self, ref: EntityId) -> list[LetterRecord]:
        """The failed signals that are kept for an entity, oldest first (E4).

        Raises:
          TypeError: ``ref`` is no entity id.
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        target = checked_entity_id(ref, "dead_letters")
        await trio.lowlevel.checkpoint()
        number = runtime.store.get(tables.DIRECTORY, keys.entity_key(target.name, target.key))
        if number is None:
            return []
        return [decode_letter(data) for _, data in runtime.store.scan(tables.LETTERS, number, keys.prefix_end(number))]
