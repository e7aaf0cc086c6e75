"""Nurseries: concurrent tasks of one orchestration, durable and deterministic (O7).

What a Trio user expects: the block ends when all its tasks have; a task that raises cancels the others; what was raised
comes out as an exception group. A task's steps are numbered under the step that opened it, so that tasks do not shift each other's
numbers, and tasks run in first-in-first-out order, so that each replay runs them alike.

Source: Trio's nurseries.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVarTuple

from .errors import Cancelled
from .kernel import Kernel
from .scopes import CancelScope
from .section import Section
from .strand import Strand
from .tasks import SignalTask

Ts = TypeVarTuple("Ts")


class Nursery:
    """A nursery of an orchestration: ``async with ctx.open_nursery() as nursery: nursery.start_soon(...)``.

    Attributes:
      cancel_scope: the scope around its block and all its tasks.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.cancel_scope = CancelScope(kernel)
        self._kernel = kernel
        self._children: set[Strand] = set()
        self._errors: list[BaseException] = []
        self._all_ended: SignalTask | None = None
        self._open = False
        self._parent: Strand | None = None
        self._section: Section | None = None

    def start_soon(self, function: Callable[[*Ts], Coroutine[Any, Any, Any]], *arguments: *Ts) -> None:
        """Start a task; it runs when the present one waits.

        Args:
          function: an ``async def`` function, such as a closure over the context.
          *arguments: its arguments.

        Raises:
          RuntimeError: the nursery is closed.
          TypeError: the function is not ``async def``.
        """
        kernel = self._kernel
        number = kernel.next_number()
        if kernel.sealed:
            return
        if not self._open or self._parent is None:
            raise RuntimeError("this nursery is closed: start its tasks inside its block")
        coroutine: Any = function(*arguments)
        if not inspect.iscoroutine(coroutine):
            raise TypeError(f"start_soon takes an 'async def' function and its arguments, not {function!r}")
        child = Strand(coroutine, f"{number}/", contextvars.Context(), self.cancel_scope, self)
        child.section = self._section
        self._children.add(child)
        kernel.spawn(child)

    def child_ended(self, child: Strand, error: BaseException | None) -> None:
        """A task has ended; called by the kernel."""
        self._children.discard(child)
        if error is not None:
            self._errors.append(error)
            self.cancel_scope.cancel_now()
        if not self._children and self._all_ended is not None:
            self._all_ended.set()

    async def __aenter__(self) -> Self:
        """Open it."""
        self.cancel_scope.__enter__()
        self._parent = self._kernel.current
        self._section = self._kernel.section
        if self._parent is not None:
            self._parent.nurseries += 1
        self._open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait until all tasks have ended.

        Raises:
          BaseExceptionGroup: what the block and the tasks raised; a cancellation from outside comes out as Cancelled.
        """
        kernel = self._kernel
        if kernel.sealed:
            return False
        if exc is not None:
            self._errors.append(exc)
            self.cancel_scope.cancel_now()
        if self._children:
            self._all_ended = SignalTask(kernel)
            await self._all_ended
        self._open = False
        if self._parent is not None:
            self._parent.nurseries -= 1
        combined = _combined(self._errors)
        absorbed = self.cancel_scope.__exit__(None if combined is None else type(combined), combined, None)
        if combined is None or absorbed:
            return True
        if combined is exc:
            return False
        raise combined


def _combined(errors: list[BaseException]) -> BaseException | None:
    """One exception for what came out: none, Cancelled alone, or a group."""
    if not errors:
        return None
    if all(isinstance(error, Cancelled) for error in errors):
        return next((error for error in errors if isinstance(error, Cancelled) and error.interruption), errors[0])
    return BaseExceptionGroup("exceptions from an orchestration's nursery", errors)
