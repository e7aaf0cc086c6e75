"""The journal of one execution, read entry by entry, and what may never stand in one (O2, O5, O7, O8, D6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

from ..orchestration.addresses import ADDRESSED, Addresses, step_of_address
from ..orchestration.history import (
    ACTIONS,
    WORK,
    Action,
    CancelWork,
    ExecutionEnded,
    ExecutionStarted,
    HistoryEntry,
    LockEntities,
    LockTaken,
    ReleaseLocks,
    Rewound,
    StartTimer,
    TaskCompleted,
    TaskFailed,
    TimerFired,
    TurnStarted,
    UpdateAnswered,
    UpdateReceived,
    Work,
)

Answer = TaskCompleted | TaskFailed | TimerFired | LockTaken


@define
class Journal:
    """A journal.

    Attributes:
      entries: what it holds.
      at: the time of its last turn, microseconds since 1970.
      started: it has begun.
      actions: what the code asked for, by step.
      answered: the steps that were answered.
      cancelled: the steps that are not wanted any more.
      open_work: what was asked for and is neither answered nor cancelled, by step.
      open_sections: critical sections that were asked for and not left, by step, with their sets.
      locked: those of them that have all their locks.
      addresses: where the answers to its steps are sent; a rewind changes them (O16).
      updates: the updates that were accepted and not answered, by number.
      ended: how it ended, if it has.
      faults: what may not be: (number of the invariant, what).
    """

    entries: list[HistoryEntry] = field(factory=list)
    at: int = 0
    started: bool = False
    actions: dict[str, Action] = field(factory=dict)
    answered: set[str] = field(factory=set)
    cancelled: set[str] = field(factory=set)
    open_work: dict[str, Work] = field(factory=dict)
    open_sections: dict[str, tuple[tuple[str, str], ...]] = field(factory=dict)
    locked: set[str] = field(factory=set)
    addresses: Addresses = field(factory=Addresses)
    updates: set[int] = field(factory=set)
    ended: ExecutionEnded | None = None
    faults: list[tuple[int, str]] = field(factory=list)
    _received: int = 0
    _replied: set[int] = field(factory=set)

    def extend(self, entries: Iterable[HistoryEntry]) -> None:
        """Read on."""
        for entry in entries:
            if self.ended is not None:
                self.faults.append((18, f"{entry!r} follows the end of its execution"))
            self.entries.append(entry)
            self._read(entry)

    def _read(self, entry: HistoryEntry) -> None:
        if type(entry) is TurnStarted:
            if entry.at < self.at:
                self.faults.append((20, f"a turn at {entry.at} follows one at {self.at}"))
            self.at = entry.at
        elif isinstance(entry, ACTIONS):
            self._asked(entry)
        elif isinstance(entry, Answer):
            self._answered(entry)
        elif isinstance(entry, ExecutionEnded):
            self.ended = entry
            if self.updates:
                self.faults.append((19, f"it ended with updates {self.updates} unanswered"))
        elif isinstance(entry, Rewound):
            self.addresses = self.addresses.rewound(entry)
        elif isinstance(entry, UpdateReceived):
            self._received += 1
            self.updates.add(self._received)
            self.updates -= self._replied
        elif isinstance(entry, UpdateAnswered):
            if entry.number in self._replied:
                self.faults.append((19, f"update {entry.number} was answered twice"))
            self._replied.add(entry.number)
            self.updates.discard(entry.number)
        elif isinstance(entry, ExecutionStarted):
            if self.started:
                self.faults.append((18, "an execution started twice"))
            self.started = True

    def _asked(self, action: Action) -> None:
        if action.id in self.actions:
            self.faults.append((17, f"step {action.id} was asked for twice"))
        self.actions[action.id] = action
        if isinstance(action, ADDRESSED):
            self.addresses.asked(action.id)
        if isinstance(action, WORK):
            self.open_work[action.id] = action
        elif isinstance(action, CancelWork):
            self.cancelled.add(action.task)
            self.open_work.pop(action.task, None)
        elif isinstance(action, LockEntities):
            self.open_sections[action.id] = action.entities
        elif isinstance(action, ReleaseLocks):
            self.open_sections.pop(action.section, None)
            self.locked.discard(action.section)

    def _answered(self, answer: Answer) -> None:
        step = answer.task
        asked = self.actions.get(step)
        if asked is None:
            self.faults.append((19, f"step {step} was answered and never asked for"))
        if step in self.answered:
            self.faults.append((19, f"step {step} was answered twice"))
        if step in self.cancelled:
            self.faults.append((19, f"step {step} was answered after it was cancelled"))
        self.answered.add(step)
        self.open_work.pop(step, None)
        if isinstance(answer, LockTaken):
            self.locked.add(step)
        elif isinstance(answer, TimerFired) and isinstance(asked, StartTimer) and self.at < asked.fire_at:
            self.faults.append((20, f"the timer of step {step} fired {asked.fire_at - self.at} µs early"))

    # --- addresses

    def open_at(self, address: str) -> Work | None:
        """The open work whose answer goes to an address."""
        step = step_of_address(address)
        return self.open_work.get(step) if self.addresses[step] == address else None

    @property
    def sections_at(self) -> Iterator[str]:
        """The addresses of the critical sections that were asked for and not left."""
        return (self.addresses[step] for step in self.open_sections)
