"""What an orchestration waits for, and since when: from what is open, and the journal that tells how it came to that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec
from attrs import frozen

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.machine import EntityMachine
from ..entities.messages import LockRequest, SectionId
from ..orchestration.history import (
    WORK,
    CallChild,
    CallEntity,
    HistoryEntry,
    LockEntities,
    Rewound,
    ScheduleActivity,
    StartTimer,
    TaskFailed,
    TurnStarted,
    Work,
    named,
)
from ..orchestration.retry import step_and_attempt
from .clock import as_datetime

Kind = Literal["activity", "entity", "sub-orchestration", "timer", "event", "lock"]
_KINDS: dict[type, Kind] = {
    ScheduleActivity: "activity",
    CallEntity: "entity",
    CallChild: "sub-orchestration",
    StartTimer: "timer",
}


@frozen
class Waiting:
    """One thing that an orchestration waits for; as text, a line that says what.

    Attributes:
      kind: an ``"activity"``, an ``"entity"`` that was called, a ``"sub-orchestration"``, a ``"timer"``, an ``"event"``, a ``"lock"``.
      what: what it is, for people.
      step: the number of its step in the journal, ``None`` for events.
      since: when it was asked for, aware UTC.
      due_at: when a timer fires, aware UTC; ``None`` of others.
      attempt: of work that is tried again: the attempt that runs, or that a timer waits for; else 1.
      last_error: how the attempt before that failed.
    """

    kind: Kind
    what: str
    step: str | None
    since: datetime | None
    due_at: datetime | None = None
    attempt: int = 1
    last_error: FailureDetails | None = None

    def __str__(self) -> str:
        return self.what


class Past(msgspec.Struct):
    """What a journal tells of the steps that are open.

    Attributes:
      asked: when a step was asked for last, microseconds since 1970.
      errors: how its last attempt failed.
    """

    asked: dict[str, int] = msgspec.field(default_factory=dict)
    errors: dict[str, FailureDetails] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, journal: Iterable[HistoryEntry]) -> Past:
        """Read a journal."""
        past, now = cls(), 0
        for entry in journal:
            if isinstance(entry, TurnStarted):
                now = entry.at
            elif isinstance(entry, (*WORK, LockEntities)):
                past.asked[entry.id] = now
            elif isinstance(entry, Rewound):
                past.asked.update(dict.fromkeys(entry.steps, now))
            elif isinstance(entry, TaskFailed):
                past.errors[step_and_attempt(entry.task)[0]] = entry.failure
        return past

    def since(self, step: str) -> datetime | None:
        """When a step was asked for."""
        at = self.asked.get(step)
        return None if at is None else as_datetime(at)


def waiting_for_work(work: Mapping[str, Work], past: Past) -> list[Waiting]:
    """The open work of an execution, by step number."""
    found: list[Waiting] = []
    for number, action in work.items():
        step, attempt = step_and_attempt(number)
        found.append(
            Waiting(
                kind=_KINDS[type(action)],
                what=f"step {number}: {named(action)}",
                step=number,
                since=past.since(number),
                due_at=as_datetime(action.fire_at) if isinstance(action, StartTimer) else None,
                attempt=attempt,
                last_error=past.errors.get(step) if attempt > 1 else None,
            )
        )
    return found


def waiting_for_events(names: Iterable[tuple[str, int]]) -> list[Waiting]:
    """The events that are waited for: names, and since when, microseconds since 1970."""
    return [Waiting("event", f"event {name!r}", None, as_datetime(since)) for name, since in names]


def waiting_for_locks(
    sections: Mapping[SectionId, Iterable[tuple[str, str]]], machine_of: Callable[[EntityId], EntityMachine], past: Past
) -> list[Waiting]:
    """For each section that is still waited for: the entity whose lock is missing, its holder, and the place in its queue."""
    found: list[Waiting] = []
    for section, entities in sections.items():
        step = section.position.partition("@")[0]
        for name, key in entities:
            machine = machine_of(EntityId(name, key))
            if machine.lock is not None and machine.lock.section != section:
                asking = [message.section for _, message in machine.mailbox.queue if isinstance(message, LockRequest)]
                place = f", place {asking.index(section) + 1} in the queue" if section in asking else ""
                what = f"the lock of @{name}@{key}, held by {machine.lock.section.owner!r}{place}"
                found.append(Waiting("lock", what, step, past.since(step)))
                break
    return found
