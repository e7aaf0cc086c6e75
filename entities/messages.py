"""What entities are sent, and what their turns send: two closed unions.

Messages (``Operation``, ``LockRequest``, ``LockRelease``) wait in mailboxes and may be stored there, so they are
records. Effects (all others, from ``Send`` on) are what a turn decided; the hub carries them out within the batch of that
turn, and they are never stored themselves.

Records are msgspec structs: they encode to small MessagePack arrays at the speed of C and compare by value.
"""

from __future__ import annotations

from typing import TypeAlias

from ..storage.plain_data import PlainData
from .failures import FailureDetails
from .ids import EntityId


class SectionId(PlainData, frozen=True, array_like=True):
    """One critical section: which execution asked for it, and at which step (L6).

    Attributes:
      owner: the orchestration's instance id.
      execution: its execution id.
      position: the number of the step that asked.
    """

    owner: str
    execution: str
    position: str


class CallingTask(PlainData, frozen=True, array_like=True, tag="t"):
    """The answer goes to a task of an orchestration; an older execution's answers are dropped."""

    instance_id: str
    execution: str
    task: str


class WaitingClient(PlainData, frozen=True, array_like=True, tag="w"):
    """The answer goes to a client of this process, if it still waits."""

    token: int


class ClientRequest(PlainData, frozen=True, array_like=True, tag="r"):
    """The answer is kept under a request id, and given to whoever asks with that id (D8)."""

    request_id: str


ReplyTo: TypeAlias = CallingTask | WaitingClient | ClientRequest


class Operation(PlainData, frozen=True, array_like=True, tag="op"):
    """Run an operation. Written by clients, orchestrations and entities.

    Attributes:
      name: the operation.
      arguments: its encoded positional arguments.
      reply_to: who gets the result; ``None`` makes it a signal.
      section: the critical section that it belongs to, if any.
    """

    name: str
    arguments: bytes
    reply_to: ReplyTo | None = None
    section: SectionId | None = None


class LockRequest(PlainData, frozen=True, array_like=True, tag="lock"):
    """Take the lock of this entity, then of those that follow it in the set.

    Written by the orchestration for the first entity of the set, by each entity for the next one.

    Attributes:
      section: who asks.
      entities: the whole set as (name, key), in order.
      index: the place of the receiving entity in it.
    """

    section: SectionId
    entities: tuple[tuple[str, str], ...]
    index: int


class LockRelease(PlainData, frozen=True, array_like=True, tag="free"):
    """Release the section's lock, or withdraw its request, here and in the entities that follow.

    It travels the same way as the request that it follows, so it can never overtake it.
    """

    section: SectionId


EntityMessage: TypeAlias = Operation | LockRequest | LockRelease


class Success(PlainData, frozen=True, array_like=True, tag="ok"):
    """A call's encoded result."""

    value: bytes


class Failure(PlainData, frozen=True, array_like=True, tag="no"):
    """Why a call failed."""

    failure: FailureDetails


Outcome: TypeAlias = Success | Failure


class Send(PlainData, frozen=True):
    """Deliver a message to an entity."""

    target: EntityId
    message: EntityMessage


class SendLater(PlainData, frozen=True):
    """Deliver a message to an entity at the time that is in the signal's id (E10)."""

    target: EntityId
    message: Operation
    signal_id: str


class DropSignal(PlainData, frozen=True):
    """Forget a delayed signal, if it was not delivered yet (E10)."""

    signal_id: str


class Answer(PlainData, frozen=True):
    """Deliver an operation's outcome to whoever called it."""

    reply_to: ReplyTo
    outcome: Outcome


class Granted(PlainData, frozen=True):
    """Tell the owner of a section that every lock of its set is taken."""

    section: SectionId
    entities: tuple[tuple[str, str], ...]


class StartInstance(PlainData, frozen=True):
    """Start an orchestration that nobody waits for (E8)."""

    name: str
    arguments: bytes
    instance_id: str
    version: str | None = None


class RaiseEvent(PlainData, frozen=True):
    """Raise an event to an orchestration; dropped with a log line if it is missing or finished (E8)."""

    instance_id: str
    name: str
    value: bytes


class Letter(PlainData, frozen=True):
    """Keep a failed signal as a dead letter (E4)."""

    message: Operation
    failure: FailureDetails


EntityEffect: TypeAlias = Send | SendLater | DropSignal | Answer | Granted | StartInstance | RaiseEvent | Letter
