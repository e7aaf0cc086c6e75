"""A mailbox: the messages of one instance that wait for their turn, and which of them are on disk.

Most messages are delivered and consumed between two commits and never reach storage; a message that still waits
when a batch is sealed is stored with it, and deleted by the batch that consumes it (D1). To tell the two apart
without a flag on each message, arrivals are numbered, and the mailbox remembers up to which number everything that
waits is stored: what waits above is to be stored at the next seal, what is consumed below is to be deleted.

A mailbox has several lanes (an entity keeps its lock holder's messages apart); all share the numbering, which is
also the order in which they are delivered again after a restart.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

M = TypeVar("M")

Lane = deque[tuple[int, M]]


class Mailbox(Generic[M]):
    """Numbered arrivals in lanes.

    Attributes:
      stored_up_to: every waiting message with a number up to this one is in storage.
      consumed: numbers of stored messages that were consumed since the last seal.

    Invariant: within a lane numbers rise.
    """

    __slots__ = ("_lanes", "_next", "consumed", "stored_up_to")

    def __init__(self, *lanes: Lane[M]) -> None:
        self._lanes = lanes
        self._next = 1
        self.stored_up_to = 0
        self.consumed: list[int] = []

    def number(self) -> int:
        """The number of the next arrival."""
        number = self._next
        self._next = number + 1
        return number

    def restored(self, number: int) -> None:
        """A message with this number was read back from storage and put into a lane."""
        self.stored_up_to = number
        self._next = number + 1

    def took(self, number: int) -> None:
        """The message with this number was consumed."""
        if number <= self.stored_up_to:
            self.consumed.append(number)

    def seal(self) -> tuple[list[tuple[int, M]], list[int]]:
        """What the batch that is being sealed has to store and to delete: (number, message) pairs and numbers."""
        fresh: list[tuple[int, M]] = []
        for lane in self._lanes:
            for entry in reversed(lane):
                if entry[0] <= self.stored_up_to:
                    break
                fresh.append(entry)
        consumed = self.consumed
        if consumed:
            self.consumed = []
        self.stored_up_to = self._next - 1
        return fresh, consumed

    def __len__(self) -> int:
        total = 0
        for lane in self._lanes:
            if lane:
                total += len(lane)
        return total
