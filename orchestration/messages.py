"""What orchestrations are sent, and what their turns send beyond the effects of entities: two closed unions.

Messages wait in the instance's mailbox and may be stored there. Effects are carried out by the hub within the batch
of the turn; an orchestration also uses the effects of entities (``Send``, ``Answer``, ``StartInstance``,
``RaiseEvent``).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..entities.messages import (
    Answer,
    CallingTask,
    DropSignal,
    Outcome,
    RaiseEvent,
    ReplyTo,
    SectionId,
    Send,
    SendLater,
    StartInstance,
)
from ..storage.plain_data import PlainData


class StartExecution(PlainData, frozen=True, array_like=True, tag="start"):
    """Begin an execution. Written by clients, entities and parents; the first message of every execution.

    Attributes:
      execution: the random id of the execution.
      name: the orchestrator.
      version: its version, if it has one.
      arguments: its encoded arguments.
      parent: the task of the parent that waits for the result, if any.
      tags: the instance's tags.
      start_at: not before this time, microseconds since 1970.
    """

    execution: str
    name: str
    version: str | None
    arguments: bytes
    parent: CallingTask | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    start_at: int | None = None


class TaskResult(PlainData, frozen=True, array_like=True, tag="result"):
    """The outcome of an activity, a child or an entity call; dropped if it is another execution's.

    Attributes:
      execution: the execution that asked.
      task: its step.
      outcome: how it ended.
      heartbeat: how far an activity said it was before it failed, encoded.
    """

    execution: str
    task: str
    outcome: Outcome
    heartbeat: bytes | None = None


class SectionGranted(PlainData, frozen=True, array_like=True, tag="granted"):
    """Every lock of a section is taken; the set comes along so that an owner that has ended can hand it back (L5)."""

    section: SectionId
    entities: tuple[tuple[str, str], ...]


class TimerDue(PlainData, frozen=True, array_like=True, tag="due"):
    """A timer is due; dropped if it is another execution's."""

    execution: str
    task: str


class EventRaised(PlainData, frozen=True, array_like=True, tag="event"):
    """An external event; the name is folded."""

    name: str
    value: bytes


class UpdateRequested(PlainData, frozen=True, array_like=True, tag="update"):
    """A client asks for an update and waits for its answer; the name is folded (O21)."""

    name: str
    arguments: bytes
    reply_to: ReplyTo | None


class Terminate(PlainData, frozen=True, array_like=True, tag="terminate"):
    """End at once, with the reason as output, and children too if recursive (O13)."""

    reason: str | None
    recursive: bool = True


class Cancel(PlainData, frozen=True, array_like=True, tag="cancel"):
    """End gracefully: the code is interrupted once, and may clean up (O13)."""

    reason: str | None


class Suspend(PlainData, frozen=True, array_like=True, tag="suspend"):
    """Do nothing until resumed; messages wait in order (O12)."""

    reason: str | None


class Resume(PlainData, frozen=True, array_like=True, tag="resume"):
    """Go on after a suspension (O12), with mended code (O3)."""

    reason: str | None


class Rewind(PlainData, frozen=True, array_like=True, tag="rewind"):
    """Go on without what it failed of (O16).

    Attributes:
      reason: why.
      parent: where the result goes from now on, if a parent was rewound and asks for this child again.
    """

    reason: str | None
    parent: CallingTask | None = None


OrchestrationMessage: TypeAlias = (
    StartExecution
    | TaskResult
    | SectionGranted
    | TimerDue
    | EventRaised
    | UpdateRequested
    | Terminate
    | Cancel
    | Suspend
    | Resume
    | Rewind
)


class StartActivity(PlainData, frozen=True):
    """Run an activity once the batch that holds this is durable (O5).

    Attributes:
      reply_to: the task that waits for it.
      name: the activity.
      arguments: its encoded arguments.
      timeout: how long it may take, seconds.
      heartbeat_timeout: how long it may be silent, seconds.
      heartbeat: how far an earlier attempt said it was, encoded.
    """

    reply_to: CallingTask
    name: str
    arguments: bytes
    timeout: float | None = None
    heartbeat_timeout: float | None = None
    heartbeat: bytes | None = None


class StartChild(PlainData, frozen=True):
    """Start a child orchestration; answer the parent with a failure if a running instance has its id (O15)."""

    instance_id: str
    message: StartExecution


class RewindChild(PlainData, frozen=True):
    """Have a child that failed rewound, or started again if it ended otherwise (O16); the parent was rewound.

    Attributes:
      instance_id: the child.
      former: where its result went until now.
      reason: why.
      message: what starts it, and says where the result goes from now on.
    """

    instance_id: str
    former: CallingTask
    reason: str | None
    message: StartExecution


class SetTimer(PlainData, frozen=True):
    """Deliver a TimerDue at or after a time, microseconds since 1970."""

    execution: str
    task: str
    fire_at: int


class DropTimer(PlainData, frozen=True):
    """Forget a timer: nobody waits for it any more (O8)."""

    execution: str
    task: str
    fire_at: int


class TellChild(PlainData, frozen=True):
    """Terminate or cancel a child, if it is still this parent's."""

    instance_id: str
    parent: CallingTask
    message: Terminate | Cancel


class CancelActivity(PlainData, frozen=True):
    """Cancel an activity that nobody waits for any more; a plain one is told (O7)."""

    reply_to: CallingTask


class Renewed(PlainData, frozen=True):
    """A new execution has begun in place of the old one (O11): the stored journal of the old one goes."""


class Finished(PlainData, frozen=True):
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
    | RewindChild
    | TellChild
    | SetTimer
    | DropTimer
    | Renewed
    | Finished
)
