"""A mailbox: the messages of one instance that wait for their turn, and which of them are on disk.

Most messages are delivered and consumed between two commits and never reach storage; a message that still waits
when a batch is sealed is stored with it, and deleted by the batch that consumes it (D1). To tell the two apart
without a flag on each message, arrivals are numbered, and the mailbox remembers up to which number everything that
waits is stored: what waits above is to be stored at the next seal, what is consumed below is to be deleted.

A mailbox has several lanes (an entity keeps its lock holder's messages apart); all share the numbering, which is
also the order in which they are delivered again after a restart.

Nearly all mailboxes in memory are empty, and an empty deque takes more memory than all the rest of a small entity. So a lane
is made a deque when something comes, and all of them are let go of, to be :data:`NO_MESSAGES`, at the first seal at which nothing
waits in any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Generic, NoReturn, TypeVar

M = TypeVar("M")

Lane = deque[tuple[int, M]]
Fresh = Sequence[tuple[int, M]]


class _NoMessages(deque[tuple[int, Any]]):
    """An empty lane, shared by all; it takes nothing."""

    __slots__ = ()

    def append(self, x: tuple[int, Any], /) -> NoReturn:
        raise TypeError("this lane is shared and takes no messages; make a deque first")

    extend = append  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] - refused as well
    appendleft = append


NO_MESSAGES: Final[Lane[Any]] = _NoMessages()
"""A lane in which nothing waits; to put something into one, make it a deque."""

_SEALED_NOTHING: Final[tuple[Fresh[Any], Sequence[int]]] = ((), ())


class Mailbox(ABC, Generic[M]):
    """Numbered arrivals in lanes.

    Attributes:
      waiting: how many messages wait.
      stored_up_to: every waiting message with a number up to this one is in storage.

    Invariant: within a lane numbers rise.
    """

    __slots__ = ("_consumed", "_next", "stored_up_to", "waiting")

    def __init__(self) -> None:
        self._next = 1
        self.waiting = 0
        self.stored_up_to = 0
        self._consumed: list[int] | None = None

    @property
    @abstractmethod
    def lanes(self) -> tuple[Lane[M], ...]:
        """All lanes."""

    @abstractmethod
    def tidy(self) -> None:
        """Let go of the lanes: nothing waits in any."""

    def number(self) -> int:
        """The number of a message that is put into a lane."""
        number = self._next
        self._next = number + 1
        self.waiting += 1
        return number

    def restored(self, number: int) -> None:
        """A message with this number was read back from storage and is put into a lane."""
        self.left_in_storage(number)
        self.waiting += 1

    def left_in_storage(self, number: int) -> None:
        """A message with this number is in storage, and stays there: what arrives comes behind it."""
        self.stored_up_to = number
        self._next = number + 1

    def took(self, number: int) -> None:
        """The message with this number was consumed."""
        self.waiting -= 1
        if number <= self.stored_up_to:
            if self._consumed is None:
                self._consumed = []
            self._consumed.append(number)

    def seal(self) -> tuple[Fresh[M], Sequence[int]]:
        """What the batch that is being sealed has to store and to delete: (number, message) pairs and numbers."""
        last, stored = self._next - 1, self.stored_up_to
        consumed = self._consumed
        if last == stored and consumed is None:
            return _SEALED_NOTHING
        self.stored_up_to = last
        if not self.waiting:
            self.tidy()
            if consumed is None:
                return _SEALED_NOTHING  # the usual case: all that came was worked off
        self._consumed = None
        fresh: list[tuple[int, M]] = []
        for lane in self.lanes:
            for entry in reversed(lane):
                if entry[0] <= stored:
                    break
                fresh.append(entry)
        return fresh, consumed or ()
