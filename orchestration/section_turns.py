"""One critical section at a time in an orchestration (L3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .section import Section
from .tasks import DurableTask


class SectionTurns:
    """One section at a time in an orchestration: tasks that ask for another one wait, first come, first served (L3).

    Attributes:
      open: the section that is open or asked for.
    """

    def __init__(self) -> None:
        self.open: Section | None = None
        self._waiting: deque[tuple[Section, DurableTask[None]]] = deque()

    async def turn(self, section: Section, new_task: Callable[[], DurableTask[None]]) -> None:
        """Wait, with a task if need be, until no other section is open; this one is then."""
        if self.open is None:
            self.open = section
            return
        task = new_task()
        self._waiting.append((section, task))
        await task

    def left(self, section: Section) -> None:
        """A section was left, or is no longer asked for: the next one has its turn."""
        if self.open is not section:
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not section)
            return
        self.open = None
        if self._waiting:
            self.open, task = self._waiting.popleft()
            task.settle()
