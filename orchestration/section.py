"""The rules inside a critical section (L3)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..entities.ids import EntityId
from .errors import LockRuleError

LOCK_SET_MAX = 1000
"""How many entities one section may lock."""


class PendingCall(Protocol):
    """A call, as far as the rules look at it."""

    @property
    def pending(self) -> bool:
        """Whether it has not finished."""
        ...


class Section(msgspec.Struct, eq=False):
    """A section that is open, or asked for.

    Attributes:
      id: the number of the step that asked for it.
      entities: the set that is locked, in order.
      pending: the unfinished call to each locked entity.
    """

    id: str
    entities: tuple[EntityId, ...]
    pending: dict[EntityId, PendingCall] = msgspec.field(default_factory=dict)

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
        return LockRuleError(
            f"{what} inside a critical section. (Rule: no second section, sub-orchestration or continue_as_new inside one.)"
        )
