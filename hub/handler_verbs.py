"""A hub's verbs for what running orchestrations offer: queries and updates (O21)."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import trio

from ..entities.ids import check_instance_id
from ..entities.messages import Failure, ReplyTo
from ..orchestration.errors import CannotQuery, QueryFailed, UpdateFailed
from ..orchestration.messages import UpdateRequested
from ..orchestration.registry import check_event_name
from .asking import ask, ask_once
from .guard import no_trio
from .intents import check_room, check_sound, running_cell
from .opening import OpenableHub
from .operations import refuse_inside_operation
from .requests import check_request_id, fingerprint

V = TypeVar("V")


class HandlerVerbs(OpenableHub):
    """Query and update."""

    @overload
    async def query(self, instance_id: str, name: str, *arguments: object, type: type[V]) -> V: ...
    @overload
    async def query(self, instance_id: str, name: str, *arguments: object, type: Any = object) -> Any: ...
    async def query(self, instance_id: str, name: str, *arguments: object, type: Any = object) -> Any:  # noqa: A002 - the natural name
        """Ask a running orchestration something that its code offers with ``ctx.on_query`` (O21).

        The answer shows the code as it is between two turns; it is given when everything that it may tell of is durable. Nothing is
        written by asking. A suspended instance answers too.

        Args:
          instance_id: the orchestration.
          name: the query, compared without regard to case.
          *arguments: its arguments, any values that describe themselves (no class instances).
          type: what the answer is converted to; any self-describing value if left out.

        Raises:
          QueryFailed: the handler raised, or there is none of that name, or the arguments do not fit it.
          CannotQuery: the instance has no code in memory: it has not begun, its orchestrator is not defined to this hub, or its code
            no longer fits its journal.
          InstanceNotFound, InstanceFinished: there is nobody to ask.
          NotStorable: an argument cannot be kept exactly.
          ValueUnreadable: the answer does not fit the type.
          StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        folded = check_event_name(name)
        encoded = self._registry.handler_arguments(arguments)
        await trio.lowlevel.checkpoint()
        cell = running_cell(runtime, check_instance_id(instance_id), "query")
        record = cell.machine.record
        begun = record is not None and not (record.suspended_from or record.status).before_its_turn
        if begun and cell.machine.needs_history:
            runtime.residence.revive(cell, runtime.clock.now())
            runtime.engine.touch(cell, arrived=0)
        kernel = cell.machine.kernel if begun else None
        if kernel is None:
            raise CannotQuery(
                f"orchestration {instance_id!r} has no code that could answer: it has not begun, its orchestrator is not defined to "
                "this hub, or its code no longer fits its journal (hub.describe tells)"
            )
        with no_trio():
            outcome = kernel.handlers.query(instance_id, folded, encoded)
        if cell.batch > runtime.committer.committed:
            await runtime.durable()
        if isinstance(outcome, Failure):
            raise QueryFailed(instance_id, name, outcome.failure)
        return self._registry.values.codec(type, place=f"the answer of query {name!r}").decode(outcome.value)

    @overload
    async def update(
        self, instance_id: str, name: str, *arguments: object, type: type[V], request_id: str | None = None
    ) -> V: ...
    @overload
    async def update(
        self, instance_id: str, name: str, *arguments: object, type: Any = object, request_id: str | None = None
    ) -> Any: ...
    async def update(
        self,
        instance_id: str,
        name: str,
        *arguments: object,
        type: Any = object,  # noqa: A002 - the natural name
        request_id: str | None = None,
    ) -> Any:
        """Ask a running orchestration to do something that its code offers with ``ctx.on_update``, and wait for the answer (O21).

        Cancelling this only stops the waiting. An instance that has not begun, or is suspended, answers later.

        Args:
          instance_id: the orchestration.
          name: the update, compared without regard to case.
          *arguments: its arguments, any values that describe themselves (no class instances).
          type: what the answer is converted to; any self-describing value if left out.
          request_id: makes repeating this call safe: the update runs once, and each repetition gets its answer (D8).

        Raises:
          UpdateFailed: it was refused, or failed, or the instance ended before it had.
          InstanceNotFound, InstanceFinished: there is nobody to ask.
          NotStorable: an argument cannot be kept exactly.
          ValueUnreadable: the answer does not fit the type.
          RuntimeError: this is called from inside an operation, which could deadlock (E8).
          RequestMismatch, LimitReached, StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        folded = check_event_name(name)
        refuse_inside_operation(f"an update of {instance_id!r}")
        encoded = self._registry.handler_arguments(arguments)
        check_instance_id(instance_id)

        def send(reply_to: ReplyTo) -> None:
            runtime.space.check()
            cell = running_cell(runtime, instance_id, "update")
            check_room(cell, instance_id)
            check_sound(cell, waits=True)
            runtime.engine.to_orchestration(cell, UpdateRequested(folded, encoded, reply_to))

        if request_id is None:
            outcome = await ask(runtime, send)
        else:
            asked = fingerprint("update", instance_id, folded, encoded)
            outcome = await ask_once(runtime, check_request_id(request_id), asked, send)
        if isinstance(outcome, Failure):
            raise UpdateFailed(instance_id, name, outcome.failure)
        return self._registry.values.codec(type, place=f"the answer of update {name!r}").decode(outcome.value)
