"""What orchestrations are sent, and what their turns send beyond the effects of entities: two closed unions.

Messages wait in the instance's mailbox and may be stored there. Effects are carried out by the hub within the batch
of the turn; an orchestration also uses the effects of entities (``Send``, ``Answer``, ``StartInstance``,
``RaiseEvent``).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..entities.messages import Answer, CallingTask, DropSignal, Outcome, RaiseEvent, SectionId, Send, SendLater, StartInstance


class StartExecution(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Begin an execution. Written by clients, entities and parents; the first message of every execution.

    Attributes:
      execution: the random id of the execution.
      name: the orchestrator.
      version: its version, if it has one.
      arguments: its encoded arguments.
      parent: the task of the parent that waits for the result, if any.
      tags: the instance's tags.
    """

    execution: str
    name: str
    version: str | None
    arguments: bytes
    parent: CallingTask | None = None
    tags: dict[str, str] = {}


class TaskResult(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """The outcome of an activity, a child or an entity call; dropped if it is another execution's."""

    execution: str
    task: str
    outcome: Outcome


class SectionGranted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    """Every lock of a section is taken; the set comes along so that an owner that has ended can hand it back (L5)."""

    section: SectionId
    entities: tuple[tuple[str, str], ...]


class TimerDue(msgspec.Struct, frozen=True, array_like=True, tag="due"):
    """A timer is due; dropped if it is another execution's."""

    execution: str
    task: str


class EventRaised(msgspec.Struct, frozen=True, array_like=True, tag="event"):
    """An external event; the name is folded."""

    name: str
    value: bytes


class Terminate(msgspec.Struct, frozen=True, array_like=True, tag="terminate"):
    """End at once, with the reason as output, and children too if recursive (O13)."""

    reason: str | None
    recursive: bool = True


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """End gracefully: the code is interrupted once, and may clean up (O13)."""

    reason: str | None


class Suspend(msgspec.Struct, frozen=True, array_like=True, tag="suspend"):
    """Do nothing until resumed; messages wait in order (O12)."""

    reason: str | None


class Resume(msgspec.Struct, frozen=True, array_like=True, tag="resume"):
    """Go on after a suspension (O12), with mended code (O3)."""

    reason: str | None


OrchestrationMessage: TypeAlias = (
    StartExecution | TaskResult | SectionGranted | TimerDue | EventRaised | Terminate | Cancel | Suspend | Resume
)


class StartActivity(msgspec.Struct, frozen=True):
    """Run an activity once the batch that holds this is durable, for at most ``timeout`` seconds (O5)."""

    reply_to: CallingTask
    name: str
    arguments: bytes
    timeout: float | None


class StartChild(msgspec.Struct, frozen=True):
    """Start a child orchestration; answer the parent with a failure if a running instance has its id (O15)."""

    instance_id: str
    message: StartExecution


class SetTimer(msgspec.Struct, frozen=True):
    """Deliver a TimerDue at or after a time, microseconds since 1970."""

    execution: str
    task: str
    fire_at: int


class DropTimer(msgspec.Struct, frozen=True):
    """Forget a timer: nobody waits for it any more (O8)."""

    execution: str
    task: str
    fire_at: int


class TellChild(msgspec.Struct, frozen=True):
    """Terminate or cancel a child, if it is still this parent's."""

    instance_id: str
    parent: CallingTask
    message: Terminate | Cancel


class CancelActivity(msgspec.Struct, frozen=True):
    """Cancel an activity that nobody waits for any more; a plain one is told (O7)."""

    reply_to: CallingTask


class Renewed(msgspec.Struct, frozen=True):
    """A new execution has begun in place of the old one (O11): the stored journal of the old one goes."""


class Finished(msgspec.Struct, frozen=True):
    """The instance has reached a final state; whoever waits for its result is told."""


OrchestrationEffect: TypeAlias = (
    Send
    | SendLater
    | DropSignal
    | Answer
    | StartInstance
    | RaiseEvent
    | StartActivity
    | CancelActivity
    | StartChild
    | TellChild
    | SetTimer
    | DropTimer
    | Renewed
    | Finished
)
