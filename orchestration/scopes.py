"""Cancel scopes: Trio's, durable and deterministic (O7).

A scope is entered with ``with``. Once it is cancelled, each await inside it raises :class:`Cancelled`, again and again
(level-triggered), until the scope is left; the scope absorbs that. ``shield=True`` keeps the cancellation of scopes
further out away. What was *called inside* a scope is cancelled with it: timers go, activities and children are cancelled,
an entity call still runs and its result is dropped. Work called outside is only no longer awaited.

The rule for absorbing is Trio's: a scope takes the ``Cancelled`` that passes through it if it was cancelled itself and no
cancellation from further out is visible inside; out of exception groups it takes just those.

Source: the design of Trio's cancel scopes (their documentation, "Cancellation and timeouts").
"""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Any, Self, cast

from ..entities.failures import FailureDetails
from ..entities.times import due_time
from .errors import Cancelled, TooSlowError
from .kernel import Kernel
from .strand import Scope, Strand


class CancelScope:
    """A cancel scope of an orchestration; made by ``ctx.CancelScope``, ``ctx.move_on_after`` and ``ctx.fail_after``.

    Attributes:
      cancel_called: it was cancelled, by :meth:`cancel` or by its deadline.
      cancelled_caught: it absorbed a cancellation when it was left.
      shield: cancellation from further out does not reach what is inside.
    """

    def __init__(
        self, kernel: Kernel, *, seconds: timedelta | float | None = None, shield: bool = False, fail: bool = False
    ) -> None:
        if not isinstance(shield, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"shield is True or False, not {type(shield).__name__}: {shield!r}")
        self.cancel_called = False
        self.cancelled_caught = False
        self.shield = shield
        self.parent: Scope | None = None
        self._kernel = kernel
        self._seconds = seconds
        self._fail = fail
        self._strand: Strand | None = None
        self._timer: str | None = None
        if seconds is not None:
            due_time(seconds, kernel.now)  # refuse a bad duration where it is given

    def cancel(self) -> None:
        """Cancel everything inside; doing so again changes nothing.

        Raises:
          RuntimeError: it is used from outside of the orchestration's code.
        """
        self._kernel.check_running("a scope is cancelled")
        self.cancel_now()

    def cancel_now(self) -> None:
        """Cancel everything inside, from the kernel too."""
        if not self.cancel_called:
            self.cancel_called = True
            self._kernel.scope_cancelled(self)

    def _timer_settled(self, _: bytes | None, failure: FailureDetails | None) -> None:
        if failure is None:
            self.cancel_now()

    @property
    def effective(self) -> bool:
        """Whether an await directly inside raises: it, or a scope further out that it is not shielded from, is cancelled."""
        return self.cancel_called or (not self.shield and self.parent is not None and self.parent.effective)

    def within(self, other: Scope) -> bool:
        """Whether a cancellation of ``other`` reaches what is directly inside this scope."""
        return self is other or (not self.shield and self.parent is not None and self.parent.within(other))

    def __enter__(self) -> Self:
        """Begin; a time limit counts from here.

        Raises:
          RuntimeError: it was entered before.
        """
        kernel = self._kernel
        kernel.check_running("a scope is entered")
        if self._strand is not None:
            raise RuntimeError("a cancel scope is entered once; make a new one")
        strand = kernel.current
        if strand is None:  # the code is being dropped
            return self
        self._strand = strand
        self.parent, strand.scope = strand.scope, self
        if self._seconds is not None:
            due = due_time(self._seconds, kernel.now)
            number = kernel.next_number()
            # The timer is no part of any scope: a limit holds on inside a shield, and ends when its scope is left.
            kernel.start_timer(number, due, in_scope=False, on_settled=self._timer_settled)
            self._timer = number
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        """Leave; absorbs the cancellation that it caused.

        Raises:
          TooSlowError: it was made by ``fail_after``, and its time limit cut the body off.
        """
        strand, kernel = self._strand, self._kernel
        if strand is None or kernel.sealed:
            return False
        if strand.scope is not self:
            raise RuntimeError("cancel scopes are left in the reverse order of entering, in the task that entered them")
        strand.scope = self.parent
        if self._timer is not None:
            kernel.cancel_work(self._timer)
        kernel.scope_left(self)
        if exc is None or not self.cancel_called or (not self.shield and self.parent is not None and self.parent.effective):
            return False
        rest = without_cancelled(exc)
        if rest is exc:
            return False
        self.cancelled_caught = True
        if rest is not None:
            raise rest
        if self._fail:
            raise TooSlowError(f"the time limit of {self._seconds} s has passed")
        return True


def without_cancelled(exc: BaseException) -> BaseException | None:
    """What remains of an exception when what scopes absorb is taken out: itself, a smaller group, or ``None``."""
    if _of_a_scope(exc):
        return None
    split: Any = getattr(exc, "split", None)
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    taken, rest = split(_of_a_scope)
    return cast("BaseException", exc) if taken is None else rest


def _of_a_scope(exc: BaseException) -> bool:
    return isinstance(exc, Cancelled) and not exc.interruption
