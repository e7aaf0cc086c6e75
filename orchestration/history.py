"""The journal of an execution: what happened to it (events), and what it asked for (actions).

Events are in the past tense, actions in the imperative. Each action carries the number of its step: the position in
the task that asked, after the path of that task (``"3"`` is the root's third step, ``"3/2"`` the second step of the task
that the third one opened), so that concurrent tasks do not shift each other's numbers. The event that answers an
action carries the same number.

The journal is stored in chunks, one for all turns of an instance within a batch. Replaying it means to give the
events to the code again, in order, at the times that ``TurnStarted`` gives, and to compare what the code asks for with
the journaled actions.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from ..entities.failures import FailureDetails
from ..entities.messages import CallingTask, ReplyTo
from ..storage.plain_data import PlainData

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TurnStarted(PlainData, frozen=True, array_like=True, tag="turn"):
    """A turn began; written by the machine.

    Attributes:
      at: its time in microseconds since 1970 (UTC), never before the last turn's.
    """

    at: int


class ExecutionStarted(PlainData, frozen=True, array_like=True, tag="started"):
    """The first event of every execution."""

    execution: str
    name: str
    version: str | None
    arguments: bytes
    parent: CallingTask | None


class TaskCompleted(PlainData, frozen=True, array_like=True, tag="completed"):
    """The activity, child or entity call of step ``task`` has returned an encoded value."""

    task: str
    value: bytes


class TaskFailed(PlainData, frozen=True, array_like=True, tag="failed"):
    """The activity, child or entity call of step ``task`` has failed; an activity perhaps after it said how far it was."""

    task: str
    failure: FailureDetails
    heartbeat: bytes | None = None


class LockTaken(PlainData, frozen=True, array_like=True, tag="locked"):
    """Every lock that step ``task`` asked for is taken."""

    task: str


class TimerFired(PlainData, frozen=True, array_like=True, tag="fired"):
    """The timer of step ``task`` is due."""

    task: str


class CancelRequested(PlainData, frozen=True, array_like=True, tag="cancelled"):
    """The instance is to end gracefully: whatever waits at this moment is interrupted once."""

    reason: str | None


class EventReceived(PlainData, frozen=True, array_like=True, tag="event"):
    """An external event arrived; it answers no action."""

    name: str
    value: bytes


class UpdateReceived(PlainData, frozen=True, array_like=True, tag="update"):
    """An update was accepted; it answers no action (O21).

    Attributes:
      name: the folded name.
      arguments: its encoded arguments.
      reply_to: who waits for the answer.
    """

    name: str
    arguments: bytes
    reply_to: ReplyTo | None


class UpdateAnswered(PlainData, frozen=True, array_like=True, tag="replied"):
    """The n-th update of the execution was answered; written by the machine."""

    number: int


class ExecutionEnded(PlainData, frozen=True, array_like=True, tag="ended"):
    """The last event: the final status, with an output or a failure."""

    status: str
    output: bytes | None = None
    failure: FailureDetails | None = None


class Rewound(PlainData, frozen=True, array_like=True, tag="rewound"):
    """The instance had failed and was rewound: what it failed of was taken out of the journal before this entry (O16).

    Attributes:
      reason: the reason that was given.
      steps: the steps that are asked for again, or differently, and are answered anew from here on.
    """

    reason: str | None
    steps: tuple[str, ...]


class ScheduleActivity(PlainData, frozen=True, array_like=True, tag="activity"):
    """Run an activity. Answered by TaskCompleted or TaskFailed.

    Attributes:
      id: the step.
      name: the activity.
      arguments: its encoded arguments.
      timeout: how long one attempt may take, seconds.
      heartbeat_timeout: how long it may be silent, seconds.
    """

    id: str
    name: str
    arguments: bytes
    timeout: float | None = None
    heartbeat_timeout: float | None = None


class CallEntity(PlainData, frozen=True, array_like=True, tag="call"):
    """Run an operation, under the lock of the section that step ``section`` opened if given. Answered like an activity."""

    id: str
    entity: tuple[str, str]
    operation: str
    arguments: bytes
    section: str | None


class SignalEntity(PlainData, frozen=True, array_like=True, tag="signal"):
    """Send an operation, to be delivered at a time (microseconds since 1970) if there is one; no answer."""

    id: str
    entity: tuple[str, str]
    operation: str
    arguments: bytes
    due: int | None = None


class CancelSignal(PlainData, frozen=True, array_like=True, tag="unsignal"):
    """Forget a delayed signal, if it was not delivered yet; no answer."""

    id: str
    signal: str


class CallChild(PlainData, frozen=True, array_like=True, tag="child"):
    """Run a child orchestration. Answered like an activity."""

    id: str
    name: str
    version: str | None
    instance_id: str
    arguments: bytes


class StartOrchestration(PlainData, frozen=True, array_like=True, tag="start"):
    """Start an orchestration that nobody waits for; no answer."""

    id: str
    name: str
    version: str | None
    instance_id: str
    arguments: bytes


class SendEvent(PlainData, frozen=True, array_like=True, tag="raise"):
    """Raise an event to another orchestration; no answer."""

    id: str
    instance_id: str
    name: str
    value: bytes


class StartTimer(PlainData, frozen=True, array_like=True, tag="timer"):
    """Wait until a time, microseconds since 1970. Answered by TimerFired."""

    id: str
    fire_at: int


class CancelWork(PlainData, frozen=True, array_like=True, tag="cancel"):
    """Step ``task`` is no longer wanted; no answer, and its own answer is dropped. Its id is ``task`` and an ``x``."""

    id: str
    task: str


class UsePatch(PlainData, frozen=True, array_like=True, tag="patch"):
    """The code has a change of that name from here on; no answer. Its id is ``patch:`` and the name."""

    id: str
    name: str


class LockEntities(PlainData, frozen=True, array_like=True, tag="lock"):
    """Take the locks of a sorted set. Answered by LockTaken."""

    id: str
    entities: tuple[tuple[str, str], ...]


class ReleaseLocks(PlainData, frozen=True, array_like=True, tag="release"):
    """Leave the section that step ``section`` opened, or withdraw its request; no answer."""

    id: str
    section: str
    entities: tuple[tuple[str, str], ...]


Action: TypeAlias = (
    ScheduleActivity
    | CallEntity
    | SignalEntity
    | CancelSignal
    | CallChild
    | StartOrchestration
    | SendEvent
    | StartTimer
    | CancelWork
    | UsePatch
    | LockEntities
    | ReleaseLocks
)
Work: TypeAlias = ScheduleActivity | CallEntity | CallChild | StartTimer
"""Actions that are answered, and go on while nobody waits for them."""
Event: TypeAlias = (
    ExecutionStarted | TaskCompleted | TaskFailed | LockTaken | TimerFired | EventReceived | CancelRequested | UpdateReceived
)
HistoryEntry: TypeAlias = TurnStarted | Event | ExecutionEnded | Rewound | UpdateAnswered | Action

START_TIMER: Final = "start"
"""In place of a step's number: the timer of an instance that is to start later."""
ACTIONS: Final = (
    ScheduleActivity,
    CallEntity,
    SignalEntity,
    CancelSignal,
    CallChild,
    StartOrchestration,
    SendEvent,
    StartTimer,
    CancelWork,
    UsePatch,
    LockEntities,
    ReleaseLocks,
)
WORK: Final = (ScheduleActivity, CallEntity, CallChild, StartTimer)
EVENTS: Final = (
    ExecutionStarted,
    TaskCompleted,
    TaskFailed,
    LockTaken,
    TimerFired,
    EventReceived,
    CancelRequested,
    UpdateReceived,
)


def named(action: Action) -> str:  # noqa: PLR0911 - a table
    """An action as a person reads it, without its arguments."""
    match action:
        case ScheduleActivity():
            return f"call_activity {action.name!r}"
        case CallEntity() | SignalEntity():
            verb = "call_entity" if isinstance(action, CallEntity) else "signal_entity"
            due = action.due if isinstance(action, SignalEntity) else None
            later = "" if due is None else f" for {_time_of(due)}"
            return f"{verb} @{action.entity[0]}@{action.entity[1]} {action.operation!r}{later}"
        case CancelSignal():
            return f"cancel_signal {action.signal!r}"
        case CallChild() | StartOrchestration():
            verb = "call_sub_orchestrator" if isinstance(action, CallChild) else "start"
            return f"{verb} {action.name!r} as {action.instance_id!r}"
        case SendEvent():
            return f"raise_event {action.name!r} to {action.instance_id!r}"
        case StartTimer():
            return f"create_timer for {_time_of(action.fire_at)}"
        case CancelWork():
            return f"cancelling step {action.task}"
        case UsePatch():
            return f"patched {action.name!r}"
        case LockEntities():
            return "lock_entities " + ", ".join(f"@{name}@{key}" for name, key in action.entities)
        case ReleaseLocks():
            return f"leaving the critical section of step {action.section}"


def _time_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def shown(action: Action) -> str:
    """An action with what can be told of its arguments: their length and beginning, so that others can be told from them."""
    value = getattr(action, "value" if isinstance(action, SendEvent) else "arguments", None)
    told = "" if value is None else f" with {len(value)} bytes of arguments ({value[:24].hex()})"
    return f"{named(action)}{told}"


def open_work(history: list[HistoryEntry]) -> dict[str, Work]:
    """The work that a journal asked for and that is neither answered nor cancelled, by step number."""
    work: dict[str, Work] = {}
    for entry in history:
        if isinstance(entry, WORK):
            work[entry.id] = entry
        elif isinstance(entry, TaskCompleted | TaskFailed | TimerFired | CancelWork):
            work.pop(entry.task, None)
    return work


def open_sections(history: list[HistoryEntry]) -> dict[str, tuple[tuple[str, str], ...]]:
    """The critical sections that a journal opened or asked for and did not leave: their sets by step number."""
    sections: dict[str, tuple[tuple[str, str], ...]] = {}
    for entry in history:
        if isinstance(entry, LockEntities):
            sections[entry.id] = entry.entities
        elif isinstance(entry, ReleaseLocks):
            sections.pop(entry.section, None)
    return sections


def open_updates(history: list[HistoryEntry]) -> dict[int, ReplyTo | None]:
    """Who waits for the updates that a journal received and did not answer, by their number."""
    received = [entry.reply_to for entry in history if isinstance(entry, UpdateReceived)]
    answered = answered_updates(history)
    return {number: reply_to for number, reply_to in enumerate(received, 1) if number not in answered}


def answered_updates(history: list[HistoryEntry]) -> set[int]:
    """The numbers of the updates that a journal answered."""
    return {entry.number for entry in history if isinstance(entry, UpdateAnswered)}
