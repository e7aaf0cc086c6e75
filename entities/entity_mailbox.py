"""The messages of one entity that wait.

``queue`` holds what arrived, in order. While a section holds the lock, only ``held`` is worked off: the calls that
carry the section (L2). ``control`` holds releases, which are worked off even while an async operation runs, so that
the rest of the section's set is not kept locked by it (L4).
"""

from __future__ import annotations

from collections import deque

from .lock import Lock
from .mailbox import NO_MESSAGES, Lane, Mailbox
from .messages import EntityMessage, LockRelease, Operation


class EntityMailbox(Mailbox[EntityMessage]):
    """The mailbox of an entity; its lanes are described above."""

    __slots__ = ("control", "held", "queue")

    def __init__(self) -> None:
        super().__init__()
        self.queue: Lane[EntityMessage] = NO_MESSAGES
        self.held: Lane[EntityMessage] = NO_MESSAGES
        self.control: Lane[EntityMessage] = NO_MESSAGES

    @property
    def lanes(self) -> tuple[Lane[EntityMessage], ...]:
        """All lanes."""
        return self.queue, self.held, self.control

    def tidy(self) -> None:
        """Let go of the lanes: nothing waits in any."""
        self.queue = self.held = self.control = NO_MESSAGES

    def put(self, message: EntityMessage, number: int | None, lock: Lock | None) -> None:
        """Put a message in its lane.

        Args:
          message: the message.
          number: its number if it was read back from storage; such messages come first, in the order of numbers.
          lock: the entity's lock.
        """
        if number is None:
            number = self.number()
        else:
            self.restored(number)
        if type(message) is LockRelease:
            if self.control is NO_MESSAGES:
                self.control = deque()
            self.control.append((number, message))
        elif lock is not None and type(message) is Operation and message.section == lock.section:
            if self.held is NO_MESSAGES:
                self.held = deque()
            self.held.append((number, message))
        else:
            if self.queue is NO_MESSAGES:
                self.queue = deque()
            self.queue.append((number, message))
