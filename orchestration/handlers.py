"""Queries and updates: what the code of a running orchestration offers to the outside (O21).

A *query* reads what the code has in memory. It runs between two turns, in no task of the code, so that the context refuses
whatever it might ask for; nothing of it is journaled.

An *update* is a request with an answer. It may be refused first, by its validator, and is then forgotten. Accepted, it is journaled as an event
and runs as a task of its own beside the others, with everything that the context offers; its answer is sent once, in the turn in which it
ended. Its steps are numbered under the update's own number (``u1/3``), so they take no numbers from the code around them.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, ReplyTo, Success
from ..storage.values import Codec
from .errors import Cancelled, OrchestrationCanceled, UnknownHandler
from .history import UpdateReceived
from .strand import Strand


class Handler(msgspec.Struct, frozen=True):
    """What answers a query or an update.

    Attributes:
      function: called with the decoded arguments; an update's may be ``async``.
      arguments: the codec of its arguments.
      result: the codec of its result.
      validate: called with the same arguments before an update is accepted; it refuses by raising.
    """

    function: Callable[..., Any]
    arguments: Codec[tuple[Any, ...]]
    result: Codec[Any]
    validate: Callable[..., object] | None = None


class Handlers(msgspec.Struct, eq=False):
    """The handlers of one execution, and the updates that run.

    Attributes:
      queries, updates: by folded name.
      unanswered: who waits for the updates that run, by number; one that was answered runs on after a rewind, and nobody waits.
      answered: the numbers of updates that the journal says were answered.
      answers: numbers and outcomes of updates that have ended since the machine last looked.
    """

    queries: dict[str, Handler] = msgspec.field(default_factory=dict)
    updates: dict[str, Handler] = msgspec.field(default_factory=dict)
    unanswered: dict[int, ReplyTo | None] = msgspec.field(default_factory=dict)
    answered: set[int] = msgspec.field(default_factory=set)
    answers: list[tuple[int, ReplyTo | None, Outcome]] = msgspec.field(default_factory=list)
    _received: int = 0

    def query(self, instance_id: str, name: str, arguments: bytes) -> Outcome:
        """Answer a query; whatever goes wrong is the answer."""
        try:
            handler = _found(self.queries, instance_id, "query", name)
            return Success(handler.result.encode(handler.function(*handler.arguments.decode(arguments))))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its failure
            return Failure(FailureDetails.from_exception(error))

    def refusal(self, instance_id: str, name: str, arguments: bytes) -> Failure | None:
        """Why an update is not accepted."""
        try:
            handler = _found(self.updates, instance_id, "update", name)
            decoded = handler.arguments.decode(arguments)
            if handler.validate is not None:
                handler.validate(*decoded)
        except Exception as error:  # noqa: BLE001 - whatever a validator raises is its refusal
            return Failure(FailureDetails.from_exception(error))
        return None

    def received(self, event: UpdateReceived) -> Strand | None:
        """The task that an accepted update runs in; ``None`` if the code no longer offers it."""
        self._received += 1
        number = self._received
        if number not in self.answered:
            self.unanswered[number] = event.reply_to
        handler = self.updates.get(event.name)
        if handler is None:
            self._ended(
                number, Failure(FailureDetails.from_exception(UnknownHandler(f"update {event.name!r} is offered no more")))
            )
            return None
        run = _Run(self, number, handler)
        return Strand(run.body(event.arguments), f"u{number}/", contextvars.Context(), nursery=run)

    def _ended(self, number: int, outcome: Outcome) -> None:
        reply_to = self.unanswered.pop(number, None)
        if number not in self.answered:
            self.answers.append((number, reply_to, outcome))


class _Run(msgspec.Struct, eq=False):
    """An update that runs; the kernel takes it for the nursery of its task."""

    handlers: Handlers
    number: int
    handler: Handler
    result: bytes | None = None

    async def body(self, arguments: bytes) -> None:
        value = self.handler.function(*self.handler.arguments.decode(arguments))
        if inspect.isawaitable(value):
            awaitable: Awaitable[Any] = value
            value = await awaitable
        self.result = self.handler.result.encode(value)

    def child_ended(self, child: Strand, error: BaseException | None) -> None:
        """The task has ended; called by the kernel."""
        if isinstance(error, Cancelled):
            error = OrchestrationCanceled("")
        if error is None:
            assert self.result is not None
            outcome: Outcome = Success(self.result)
        else:
            outcome = Failure(FailureDetails.from_exception(error))
        self.handlers._ended(self.number, outcome)  # pyright: ignore[reportPrivateUsage] - they are one piece


def _found(handlers: dict[str, Handler], instance_id: str, kind: str, name: str) -> Handler:
    handler = handlers.get(name)
    if handler is None:
        offered = ", ".join(sorted(map(repr, handlers))) or "none"
        raise UnknownHandler(f"orchestration {instance_id!r} offers no {kind} {name!r}; it offers: {offered}")
    return handler
