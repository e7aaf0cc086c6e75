"""Rewinding an execution that failed: its journal without what it failed of (O16).

What is taken out
  The failures that the final exception leads back to (its causes, contexts and group members), and those that nobody
  awaited; of a step with retries, all attempts. A failure that the code dealt with stays: asking again for what was
  answered by a way around would do both. If nothing of that leads to a step, every step that failed is asked again. If
  the code does not fail any more, because it was mended, nothing is taken out.

How the new journal is made
  The code is run once more, with the events that are left, and what happens and what it asks for is written down as
  if it were the first time. An action that the old journal has under the same number was carried out then, and is
  not carried out again; its result is kept, also when the code comes by there later than it did. One that takes back what
  is carried out anew is carried out again as well. A delayed signal that is asked for differently takes the place of the old
  one, unless that was delivered. Whatever the code no longer asks for is not in the new journal, nor are
  its results. So the new journal fits the code by construction.

What follows
  Steps that are asked for again begin a new generation (see ``addresses``). What was open when the execution failed is still
  open: its answer waits in the mailbox, or will come.

What is refused
  The locks of a critical section were given back when the execution failed (L5), and others may have changed since
  what the code read under them. So an execution cannot be rewound to a point inside of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..entities.failures import failure_of, members_of
from .history import (
    ACTIONS,
    EVENTS,
    Action,
    CancelSignal,
    CancelWork,
    Event,
    HistoryEntry,
    LockEntities,
    LockTaken,
    Rewound,
    SignalEntity,
    StartTimer,
    TaskCompleted,
    TaskFailed,
    TimerFired,
    TurnStarted,
    UpdateAnswered,
    Work,
)
from .kernel import Kernel
from .outgoing import signal_id_of
from .retry import step_and_attempt


class Rewinding(msgspec.Struct, eq=False):
    """An execution that was run again without what it failed of.

    Attributes:
      kernel: its code, up to where it waits now.
      context: the context of the code.
      journal: the new journal so far.
      fresh: actions that the old journal does not have, and what takes them back.
      replaced: the ids of delayed signals in whose steps the code asks for something else now.
      error: the exception that it ended with all the same.
    """

    kernel: Kernel
    context: Any
    journal: list[HistoryEntry] = msgspec.field(default_factory=list)
    fresh: dict[str, Action] = msgspec.field(default_factory=dict)
    replaced: list[str] = msgspec.field(default_factory=list)
    error: BaseException | None = None
    _old: dict[str, Action] = msgspec.field(default_factory=dict)
    _early: dict[str, Event] = msgspec.field(default_factory=dict)
    _due: deque[Event] = msgspec.field(default_factory=deque)
    _cancelled: set[str] = msgspec.field(default_factory=set)
    _failed: set[str] = msgspec.field(default_factory=set)
    _sent: set[str] = msgspec.field(default_factory=set)

    def run(self, history: list[HistoryEntry], without: set[str]) -> None:
        """Run the code with what is in the old journal, except the failures of some steps (of all their attempts)."""
        self._old = {entry.id: entry for entry in history if isinstance(entry, ACTIONS)}
        self._cancelled = {entry.task for entry in history if isinstance(entry, CancelWork)}
        kernel = self.kernel
        kernel.knows_answered(history)
        with kernel.rewinds(self, self._old):
            for entry in history:
                if isinstance(entry, UpdateAnswered):
                    self.journal.append(entry)
                elif isinstance(entry, TaskFailed) and step_and_attempt(entry.task)[0] in without:
                    self._failed.add(entry.task)
                    if entry.heartbeat is not None:
                        kernel.heartbeats[step_and_attempt(entry.task)[0]] = entry.heartbeat
                elif isinstance(entry, Rewound):
                    self.journal.append(entry)  # it counts the generations
                elif isinstance(entry, TurnStarted):
                    kernel.now = entry.at
                    self.journal.append(entry)
                elif isinstance(entry, EVENTS) and kernel.ending is None:
                    self._happens(entry)

    def asked(self, action: Action, journaled: Action | None) -> None:
        """The code asks for something."""
        self.journal.append(action)
        if journaled != action or self._takes_back_what_is_fresh(action):
            self.fresh[action.id] = action
            if sent := self._delayed_signal(action):
                self._sent.add(sent)
            if replaced := self._delayed_signal(journaled):
                self.replaced.append(replaced)
        elif action.id in self._early:
            self._due.append(self._early.pop(action.id))

    def _delayed_signal(self, action: Action | None) -> str | None:
        """The id of the delayed signal that an action sends, if it does."""
        if isinstance(action, SignalEntity) and action.due is not None:
            return signal_id_of(self.kernel.execution, action.id, action.due)
        return None

    def _takes_back_what_is_fresh(self, action: Action) -> bool:
        if isinstance(action, CancelSignal):
            return action.signal in self._sent
        return isinstance(action, CancelWork) and action.task in self.fresh

    def _happens(self, event: Event) -> None:
        if not isinstance(event, TaskCompleted | TaskFailed | LockTaken | TimerFired):
            self._apply(event)
        elif event.task not in self.kernel.tasks:
            self._early[event.task] = event
        elif event.task not in self.fresh:
            self._apply(event)
        while self._due and self.kernel.ending is None:
            self._apply(self._due.popleft())

    def _apply(self, event: Event) -> None:
        self.journal.append(event)
        self.kernel.apply(event, self.context)

    @property
    def again(self) -> list[Work | LockEntities]:
        """What was carried out, and is to be carried out again: it failed, or was cancelled or withdrawn since."""
        kernel = self.kernel
        work: list[Work | LockEntities] = [
            action
            for step, action in kernel.open.items()
            if step not in self.fresh and (isinstance(action, StartTimer) or step in self._failed or step in self._cancelled)
        ]
        locks = [self._old[step] for step in kernel.unreleased if step not in self.fresh]
        return work + [action for action in locks if isinstance(action, LockEntities)]

    @property
    def section(self) -> str | None:
        """The critical section that the code is in: its locks were given back."""
        if self.kernel.ending is not None:
            return None
        return next((step for step in self.kernel.unreleased if step not in self.kernel.tasks), None)


def rewind(history: list[HistoryEntry], late: list[TaskFailed], load: Callable[[], tuple[Kernel, Any]]) -> Rewinding:
    """Run a failed execution again, without what it failed of.

    Args:
      history: its journal.
      late: failures that came after its end.
      load: makes a kernel for its code, and the context.
    """
    failures = {entry.task: entry for entry in history if isinstance(entry, TaskFailed)}
    succeeded = {step_and_attempt(entry.task)[0] for entry in history if isinstance(entry, TaskCompleted)}
    failed = {step_and_attempt(task)[0] for task in failures} - succeeded
    without = {step_and_attempt(entry.task)[0] for entry in late}
    while True:
        rewinding = Rewinding(*load())
        rewinding.run([*history, *late], without)
        if rewinding.error is None:
            return rewinding
        never_raised = {step_and_attempt(task.id)[0] for task in rewinding.kernel.failed or () if task.never_raised}
        culprits = (_culprits(rewinding.error, failures) | never_raised) & failed
        more = (culprits or failed) - without
        if not more:
            return rewinding
        without |= more


def _culprits(error: BaseException, failures: dict[str, TaskFailed]) -> set[str]:
    """The steps whose failures an exception leads back to."""
    steps = {id(entry.failure): step_and_attempt(task)[0] for task, entry in failures.items()}
    found = (steps.get(id(failure_of(each))) for each in _chain(error))
    return {step for step in found if step is not None}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, its causes, contexts and members, and theirs."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += (each.__cause__, each.__context__, *members_of(each))
