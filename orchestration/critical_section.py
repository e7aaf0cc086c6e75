"""``async with ctx.lock_entities(...)``: asking for the locks, and letting them go (L1 to L4, L7)."""

from __future__ import annotations

from datetime import timedelta

from ..entities.ids import EntityId
from .history import LockEntities, ReleaseLocks
from .kernel import Kernel
from .scopes import CancelScope
from .section import Section
from .tasks import DurableTask


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
            await kernel.sections.turn(section, lambda: DurableTask(kernel))
            number = section.id = kernel.next_number()
            names = tuple((entity.name, entity.key) for entity in self._entities)
            kernel.ask(LockEntities(number, names))
            if strand is not None:
                strand.section = section
                kernel.unreleased[number] = names
            # In no scope: leaving withdraws the request, and there is nothing else to cancel.
            await kernel.work(number, None, None, in_scope=False)
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
