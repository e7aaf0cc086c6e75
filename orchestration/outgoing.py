"""What an action of the code sends: from the journal's words to the hub's effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ..entities.delayed import signal_id
from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.lock import release_of
from ..entities.messages import (
    CallingTask,
    DropSignal,
    Failure,
    LockRequest,
    Operation,
    Outcome,
    RaiseEvent,
    SectionId,
    Send,
    SendLater,
    StartInstance,
    Success,
)
from .errors import OrchestrationCanceled, OrchestrationTerminated
from .history import (
    Action,
    CallChild,
    CallEntity,
    CancelSignal,
    CancelWork,
    LockEntities,
    ReleaseLocks,
    ScheduleActivity,
    SendEvent,
    SignalEntity,
    StartOrchestration,
    StartTimer,
    UsePatch,
    Work,
)
from .messages import (
    Cancel,
    CancelActivity,
    DropTimer,
    OrchestrationEffect,
    SetTimer,
    StartActivity,
    StartChild,
    StartExecution,
    TellChild,
    Terminate,
)
from .status import OrchestrationRecord, RuntimeStatus


def signal_id_of(execution: str, number: str, due: int) -> str:
    """The id of a delayed signal that a step of an execution sends: the same in each replay."""
    return signal_id(due, f"{execution}:{number}")


def effect_of(action: Action, instance_id: str, execution: str) -> OrchestrationEffect | None:  # noqa: PLR0911 - a table
    """The effect that carries out an action of an execution; ``None`` if there is nothing to send."""
    match action:
        case ScheduleActivity():
            caller = CallingTask(instance_id, execution, action.id)
            return StartActivity(caller, action.name, action.arguments, action.timeout, action.heartbeat_timeout)
        case CallEntity():
            section = None if action.section is None else SectionId(instance_id, execution, action.section)
            caller = CallingTask(instance_id, execution, action.id)
            return Send(EntityId.of_parts(action.entity), Operation(action.operation, action.arguments, caller, section))
        case SignalEntity():
            target, message = EntityId.of_parts(action.entity), Operation(action.operation, action.arguments)
            if action.due is None:
                return Send(target, message)
            return SendLater(target, message, signal_id_of(execution, action.id, action.due))
        case CancelSignal():
            return DropSignal(action.signal)
        case CallChild():
            caller = CallingTask(instance_id, execution, action.id)
            return StartChild(action.instance_id, StartExecution("", action.name, action.version, action.arguments, caller))
        case StartOrchestration():
            return StartInstance(action.name, action.arguments, action.instance_id, action.version)
        case SendEvent():
            return RaiseEvent(action.instance_id, action.name, action.value)
        case StartTimer():
            return SetTimer(execution, action.id, action.fire_at)
        case CancelWork() | UsePatch():
            return None  # nothing is sent; what a cancellation sends depends on what is cancelled: see cancelling
        case LockEntities():
            section = SectionId(instance_id, execution, action.id)
            return Send(EntityId.of_parts(action.entities[0]), LockRequest(section, action.entities, 0))
        case ReleaseLocks():
            return release_of(SectionId(instance_id, execution, action.section), action.entities)
        case _:
            assert_never(action)


def cancelling(work: Work | None, instance_id: str, execution: str) -> OrchestrationEffect | None:
    """What cancels a piece of open work (O7); an entity call still runs, and its answer is dropped."""
    match work:
        case StartTimer():
            return DropTimer(execution, work.id, work.fire_at)
        case ScheduleActivity():
            return CancelActivity(CallingTask(instance_id, execution, work.id))
        case CallChild():
            parent = CallingTask(instance_id, execution, work.id)
            return TellChild(work.instance_id, parent, Cancel("the parent no longer waits for it"))
        case _:
            return None


def leaving(
    instance_id: str,
    execution: str,
    sections: Mapping[str, tuple[tuple[str, str], ...]],
    work: Mapping[str, Work],
    recursive: Terminate | None,
) -> list[OrchestrationEffect]:
    """What an execution sends when it ends, however it ends: its locks go (L5), its timers go (O8), the rest is detached.

    Args:
      instance_id: the instance.
      execution: the execution that ends.
      sections: its open sections, by number, with their sets.
      work: its open work, by number.
      recursive: the termination that goes on to its children, if any (O13).
    """
    effects: list[OrchestrationEffect] = [
        release_of(SectionId(instance_id, execution, position), entities) for position, entities in sections.items()
    ]
    for each in work.values():
        if isinstance(each, StartTimer):
            effects.append(DropTimer(execution, each.id, each.fire_at))
        elif isinstance(each, CallChild) and recursive is not None:
            effects.append(TellChild(each.instance_id, CallingTask(instance_id, execution, each.id), recursive))
    return effects


def outcome_of(record: OrchestrationRecord) -> Outcome:
    """What whoever waits for an instance that has finished is told."""
    match record.status:
        case RuntimeStatus.COMPLETED:
            assert record.output is not None
            return Success(record.output)
        case RuntimeStatus.FAILED:
            assert record.failure is not None
            return Failure(record.failure)
        case RuntimeStatus.TERMINATED:
            return Failure(FailureDetails.from_exception(OrchestrationTerminated(record.instance_id, None)))
        case _:
            return Failure(FailureDetails.from_exception(OrchestrationCanceled(record.instance_id)))
