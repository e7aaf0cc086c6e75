"""The messages of one orchestration that wait, and which of them is next.

Three lanes: terminations come before everything else; what changes the life of the instance (cancel, suspend, resume,
rewind) also reaches one that is suspended or has failed; the rest waits in order of arrival. The mail of an instance that has
failed stays there: a rewind may need it (O16). Only locks that it is granted are looked at, since they go back at once (L5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ..entities.mailbox import NO_MESSAGES, Lane, Mailbox
from .messages import (
    Cancel,
    OrchestrationMessage,
    Resume,
    Rewind,
    SectionGranted,
    StartExecution,
    Suspend,
    TaskResult,
    Terminate,
)
from .status import OrchestrationRecord, RuntimeStatus

DIRECTING: Final = (Cancel, Suspend, Resume, Rewind, Terminate)
"""Messages that direct the life of an instance."""


class Inbox(Mailbox[OrchestrationMessage]):
    """The mailbox of an orchestration.

    Attributes:
      inbox: what the code is to hear of, in order of arrival.
      control: cancel, suspend, resume, rewind; and what an instance that has failed is to look at all the same.
      endings: terminations.
    """

    __slots__ = ("control", "endings", "inbox")

    def __init__(self) -> None:
        super().__init__()
        self.inbox: Lane[OrchestrationMessage] = NO_MESSAGES
        self.control: Lane[OrchestrationMessage] = NO_MESSAGES
        self.endings: Lane[OrchestrationMessage] = NO_MESSAGES

    @property
    def lanes(self) -> tuple[Lane[OrchestrationMessage], ...]:
        """All lanes."""
        return self.inbox, self.control, self.endings

    def tidy(self) -> None:
        """Let go of the lanes: nothing waits in any."""
        self.inbox = self.control = self.endings = NO_MESSAGES

    @property
    def urgent(self) -> bool:
        """Whether something waits that comes before the inbox."""
        return bool(self.control or self.endings)

    @property
    def rewinds(self) -> bool:
        """Whether the instance is to be rewound."""
        return any(isinstance(message, Rewind) for _, message in self.control)

    def put(self, message: OrchestrationMessage, number: int | None) -> None:
        """Put a message in its lane; with its number if it was read back from storage."""
        if number is None:
            number = self.number()
        else:
            self.restored(number)
        if type(message) is TaskResult or not isinstance(message, DIRECTING):  # nearly all are results
            if self.inbox is NO_MESSAGES:
                self.inbox = deque()
            self.inbox.append((number, message))
        elif isinstance(message, Terminate):
            if self.endings is NO_MESSAGES:
                self.endings = deque()
            self.endings.append((number, message))
        else:
            if self.control is NO_MESSAGES:
                self.control = deque()
            self.control.append((number, message))

    def put_before(self, messages: Iterable[OrchestrationMessage]) -> None:
        """Put messages before those that wait in the inbox, which get new numbers behind them."""
        waiting = self.inbox
        for number, _ in waiting:
            self.took(number)
        self.inbox = deque((self.number(), message) for message in (*messages, *(message for _, message in waiting)))

    def urge_grants(self) -> None:
        """The instance has failed: locks that it was granted, and has not heard of, are to be looked at all the same."""
        granted = self._take(lambda message: isinstance(message, SectionGranted))
        if granted:
            self.control = deque(sorted((*self.control, *granted), key=lambda entry: entry[0]))

    def take(self, wanted: Callable[[OrchestrationMessage], bool]) -> list[OrchestrationMessage]:
        """Take those messages out of the inbox, and return them."""
        taken = self._take(wanted)
        for number, _ in taken:
            self.took(number)
        return [message for _, message in taken]

    def _take(self, wanted: Callable[[OrchestrationMessage], bool]) -> list[tuple[int, OrchestrationMessage]]:
        taken = [entry for entry in self.inbox if wanted(entry[1])]
        if taken:
            self.inbox = deque(entry for entry in self.inbox if not wanted(entry[1]))
        return taken

    def clear(self) -> list[OrchestrationMessage]:
        """Take everything out, and return it."""
        taken: list[OrchestrationMessage] = []
        for lane in self.lanes:
            for number, message in lane:
                self.took(number)
                taken.append(message)
        self.inbox = self.control = self.endings = NO_MESSAGES
        return taken

    def lane(self, record: OrchestrationRecord | None, defined: bool) -> Lane[OrchestrationMessage] | None:
        """Where the next message comes from, ``None`` if none may be worked off.

        Args:
          record: the instance's record.
          defined: its code is defined to this hub; what needs the code waits until it is (O18).
        """
        if self.endings:
            return self.endings
        if self.control:
            begun = record is not None and not record.status.before_its_turn
            needs_code = isinstance(self.control[0][1], Cancel | Rewind)
            return None if needs_code and begun and not defined else self.control
        if not self.inbox or not defined:
            return None
        if record is not None and record.status is not RuntimeStatus.RUNNING:
            if record.status in (RuntimeStatus.SUSPENDED, RuntimeStatus.FAILED):
                return None
            if record.status.before_its_turn and not isinstance(self.inbox[0][1], StartExecution):
                return None  # it is to start later
        return self.inbox
