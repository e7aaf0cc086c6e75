"""Critical sections: ``async with ctx.lock_entities(...)`` and the rules inside (L1 to L4)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import define, field

from ..entities.ids import EntityId
from .errors import LockRuleError
from .history import LockEntities, ReleaseLocks
from .scopes import CancelScope
from .tasks import DurableTask

if TYPE_CHECKING:
    from datetime import timedelta

    from .kernel import Kernel

LOCK_SET_MAX = 1000
"""How many entities one section may lock."""


@define(eq=False)
class Section:
    """A section that is open, or asked for.

    Attributes:
      id: the number of the step that asked for it.
      entities: the set that is locked, in order.
      pending: the unfinished call to each locked entity.
    """

    id: str
    entities: tuple[EntityId, ...]
    pending: dict[EntityId, DurableTask[Any]] = field(factory=dict)

    def check_call(self, target: EntityId) -> None:
        """Refuse a call to an entity that is not locked, and a second one beside a pending one (L3).

        Raises:
          LockRuleError: either.
        """
        if target not in self.entities:
            raise LockRuleError(
                f"{target} is called inside a critical section that does not lock it: add it to lock_entities, "
                "or call it outside. (Rule: inside, only locked entities are called.)"
            )
        pending = self.pending.get(target)
        if pending is not None and pending.pending:
            raise LockRuleError(f"{target} has a pending call: await it first. (Rule: one pending call for each locked entity.)")

    def check_signal(self, target: EntityId) -> None:
        """Refuse a signal to a locked entity (L3).

        Raises:
          LockRuleError: it is locked.
        """
        if target in self.entities:
            raise LockRuleError(
                f"{target} is signalled inside the critical section that locks it: call it instead. "
                "(Rule: inside, locked entities are only called.)"
            )

    @staticmethod
    def refuse(what: str) -> LockRuleError:
        """The error for what no critical section allows."""
        return LockRuleError(f"{what} inside a critical section. (Rule: no second section, sub-orchestration or continue_as_new inside one.)")


class CriticalSection:
    """What ``ctx.lock_entities`` returns: an async context manager, to be entered once."""

    def __init__(self, kernel: Kernel, entities: tuple[EntityId, ...], wait_timeout: timedelta | float | None = None) -> None:
        self._kernel = kernel
        self._entities = entities
        self._limit = None if wait_timeout is None else CancelScope(kernel, seconds=wait_timeout, fail=True)
        self._section: Section | None = None

    async def __aenter__(self) -> None:
        """Take the locks one after another in the order of their ids; returns when all are taken.

        Another task of the same orchestration that has a section open is waited for first.

        Raises:
          LockRuleError: this task is inside a section already (L3).
          TooSlowError: ``wait_timeout`` has passed; the request is withdrawn (L7).
          RuntimeError: this object was entered before.
        """
        if self._limit is None:
            await self._acquire()
        else:
            with self._limit:
                await self._acquire()

    async def _acquire(self) -> None:
        kernel = self._kernel
        strand = kernel.current
        if strand is not None and strand.section is not None:
            raise Section.refuse("lock_entities is entered")
        if self._section is not None:
            raise RuntimeError("a critical section is entered once; call lock_entities again")
        section = self._section = Section("", self._entities)
        try:
            await kernel.sections.turn(section)
            number = section.id = kernel.next_number()
            names = tuple((entity.name, entity.key) for entity in self._entities)
            kernel.ask(LockEntities(number, names))
            if strand is not None:
                strand.section = section
                kernel.unreleased[number] = names
            task = kernel.work(number, None, None)
            task.scope = None  # leaving withdraws the request; there is nothing else to cancel
            await task
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        """Release every lock of the set, however the body was left (L4)."""
        self._leave()

    def _leave(self) -> None:
        kernel, section = self._kernel, self._section
        if section is None or kernel.sealed or kernel.current is None:
            return
        kernel.current.section = None
        names = kernel.unreleased.pop(section.id, None)
        if names is not None:
            kernel.ask(ReleaseLocks(kernel.next_number(), section.id, names))
        kernel.sections.left(section)


class SectionTurns:
    """One section at a time in an orchestration: tasks that ask for another one wait, first come, first served (L3).

    Attributes:
      open: the section that is open or asked for.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.open: Section | None = None
        self._kernel = kernel
        self._waiting: deque[tuple[Section, DurableTask[None]]] = deque()

    async def turn(self, section: Section) -> None:
        """Wait until no other section is open; this one is then."""
        if self.open is None:
            self.open = section
            return
        task: DurableTask[None] = DurableTask(self._kernel)
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
