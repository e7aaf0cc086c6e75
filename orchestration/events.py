"""The buffers of external events, one a name (O9)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tasks import EventTask


class EventBuffers:
    """First in, first out for each name, of any length; and the waits that want an event at this moment.

    Invariant: a name that has a wanting wait has an empty buffer.
    """

    __slots__ = ("_buffers", "_wanting")

    def __init__(self) -> None:
        self._buffers: dict[str, deque[bytes]] = {}
        self._wanting: dict[str, list[EventTask[Any]]] = {}

    def arrived(self, name: str, value: bytes) -> None:
        """Give an event to the newest of the waits that want one, or keep it."""
        wanting = self._wanting.get(name)
        if not wanting:
            self._buffers.setdefault(name, deque()).append(value)
            return
        newest = max(wanting, key=lambda task: task.order)
        self.ended(newest)
        newest.settle(value)

    def take(self, name: str) -> bytes | None:
        """The oldest event of that name, or ``None``."""
        buffer = self._buffers.get(name)
        if buffer is None:
            return None
        value = buffer.popleft()
        if not buffer:
            del self._buffers[name]
        return value

    def began(self, task: EventTask[Any]) -> None:
        """A wait wants an event from now on."""
        self._wanting.setdefault(task.name, []).append(task)

    def ended(self, task: EventTask[Any]) -> None:
        """A wait wants none any more."""
        wanting = self._wanting.get(task.name)
        if wanting is not None and task in wanting:
            wanting.remove(task)
            if not wanting:
                del self._wanting[task.name]

    def kept(self) -> list[tuple[str, bytes]]:
        """The kept events, (name, value), in order for each name."""
        return [(name, value) for name, buffer in self._buffers.items() for value in buffer]

    @property
    def wanted(self) -> list[str]:
        """The names that are waited for at this moment."""
        return list(self._wanting)

    @property
    def unread(self) -> int:
        """How many events are kept."""
        return sum(map(len, self._buffers.values()))
