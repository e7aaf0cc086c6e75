"""From messages to events: what concerns an execution, and how the journal says it."""

from __future__ import annotations

from ..entities.messages import Success
from ..storage.errors import InvariantViolated
from .history import Event, EventReceived, LockTaken, TaskCompleted, TaskFailed, TimerFired, UpdateReceived
from .kernel import Kernel
from .messages import EventRaised, OrchestrationMessage, SectionGranted, StartExecution, TaskResult, TimerDue, UpdateRequested
from .status import OrchestrationRecord


def concerns(message: OrchestrationMessage, record: OrchestrationRecord | None, kernel: Kernel | None) -> bool:
    """Whether a message changes anything: not if it is another execution's, or answers what nobody waits for any more."""
    if record is None or record.status.final:
        return False
    if type(message) is TaskResult:  # nearly all are results
        return message.execution == record.execution and kernel is not None and message.task in kernel.tasks
    match message:
        case StartExecution():
            return record.execution == message.execution and record.status.before_its_turn
        case SectionGranted(section=section):
            return section.execution == record.execution and kernel is not None and section.position in kernel.unreleased
        case TimerDue():
            return message.execution == record.execution and kernel is not None and message.task in kernel.tasks
        case _:
            return True


def event_of(message: OrchestrationMessage) -> Event:
    """What a message that concerns an execution is in its journal.

    Raises:
      InvariantViolated: it is none of those that the code hears of.
    """
    if type(message) is TaskResult:
        outcome = message.outcome
        if isinstance(outcome, Success):
            return TaskCompleted(message.task, outcome.value)
        return TaskFailed(message.task, outcome.failure, message.heartbeat)
    match message:
        case EventRaised():
            return EventReceived(message.name, message.value)
        case UpdateRequested():
            return UpdateReceived(message.name, message.arguments, message.reply_to)
        case SectionGranted():
            return LockTaken(message.section.position)
        case TimerDue():
            return TimerFired(message.task)
        case _:
            raise InvariantViolated(f"{message!r} is no event of an execution")
