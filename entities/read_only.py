"""Operations that only read (E13): the mark, and the context that holds them to it.

An operation that is marked promises to change nothing, and so need not wait for those that do: a client's call of one is
answered from the last committed state, at once, beside whatever the entity is doing (as a read is, E9). Everywhere else,
from an orchestration for instance, it is an operation like any other, in its place in the queue.

The promise is kept by force. What would send something is refused in that line; whether the state changed is seen by
encoding it before and after. That costs a read-only operation one more encoding, and all others nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar, cast

from ..storage.values import Codec
from .context import EntityContext
from .errors import ReadOnlyViolation
from .messages import DropSignal, EntityEffect, RaiseEvent, Send, SendLater, StartInstance

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "_perdure_read_only"
_VERBS: Final[dict[type, str]] = {
    Send: "signal_entity",
    SendLater: "signal_entity",
    DropSignal: "cancel_signal",
    StartInstance: "start",
    RaiseEvent: "raise_event",
}


def read_only(function: F) -> F:
    """Mark an operation of an entity class as one that only reads (E13).

    A client's call of it does not queue, and is blocked by no lock and no running operation: it sees the last committed
    state, or the defaults of an entity that does not exist (and still does not after it). It fails if it changes the
    state, sends, starts or deletes anything.

    Args:
      function: a public method of an entity class, plain or ``async``.

    Raises:
      TypeError: it is no function.

    Example:
      >>> from attrs import define
      >>> from perdure.entities import Entity, read_only
      >>> @define
      ... class Account(Entity):
      ...     balance: int = 0
      ...
      ...     @read_only
      ...     def can_pay(self, amount: int) -> bool:
      ...         return amount <= self.balance
    """
    marked: object = function
    if not inspect.isfunction(marked):
        raise TypeError(f"@read_only marks a method of an entity class, and stands directly above its 'def', not {function!r}")
    setattr(function, _MARK, True)
    return function


def is_read_only(function: object) -> bool:
    """Whether a function was marked."""
    return getattr(function, _MARK, False)


class ReadOnlyContext(EntityContext):
    """The context of an operation that only reads."""

    _before: bytes | None = None

    def begins_with(self, state: bytes | None) -> None:
        """Note the state before the operation; for the machine."""
        self._before = state

    def check(self, state: bytes | None, plain: Codec[Any]) -> None:
        """Compare the state after the operation with that before; for the machine.

        Raises:
          ReadOnlyViolation: it is another.
        """
        if state != self._before:
            names = _differing(plain.decode(self._before or b"\xc0"), plain.decode(state or b"\xc0"))
            self._violated(f"changed {names}")

    def delete(self) -> None:
        """Refused."""
        self._violated("deleted the entity")

    def set_state(self, value: object, type: Any = None) -> None:  # noqa: A002 - the natural name
        """Refused."""
        del value, type
        self._violated("called set_state")

    def _emit(self, effect: EntityEffect) -> None:
        self._violated(f"called {_VERBS[type(effect)]}")

    def _violated(self, what: str) -> NoReturn:
        raise ReadOnlyViolation(self.entity_id, self.operation, what)


def _differing(before: object, after: object) -> str:
    """Names of the attributes whose stored forms differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[Any, Any]", before), cast("dict[Any, Any]", after)
        names = [f"state.{name}" for name in new if name not in old or repr(old[name]) != repr(new[name])]
        if names:
            return ", ".join(names)
    return "the state"
