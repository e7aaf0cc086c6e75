"""External events: their buffers, one a name, and the waits that take from them (O9)."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar, cast

from ..storage.values import Codec
from .tasks import DurableTask, TaskHost

T_co = TypeVar("T_co", covariant=True)


class EventBuffers:
    """First in, first out for each name, of any length; and the waits that want an event at this moment.

    Invariant: a name that has a wanting wait has an empty buffer.
    """

    __slots__ = ("_arrivals", "_buffers", "_wanting")

    def __init__(self) -> None:
        self._buffers: dict[str, deque[tuple[int, bytes]]] = {}
        self._arrivals = 0
        self._wanting: dict[str, list[EventTask[Any]]] = {}

    def arrived(self, name: str, value: bytes) -> None:
        """Give an event to the newest of the waits that want one, or keep it."""
        wanting = self._wanting.get(name)
        if not wanting:
            self._arrivals += 1
            self._buffers.setdefault(name, deque()).append((self._arrivals, value))
            return
        newest = max(wanting, key=lambda task: task.order)
        self.ended(newest)
        newest.settle(value)

    def take(self, name: str) -> bytes | None:
        """The oldest event of that name, or ``None``."""
        buffer = self._buffers.get(name)
        if buffer is None:
            return None
        _, value = buffer.popleft()
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
        """The kept events, (name, value), in the order of their arrival."""
        kept = sorted((order, name, value) for name, buffer in self._buffers.items() for order, value in buffer)
        return [(name, value) for _, name, value in kept]

    @property
    def wanted(self) -> list[tuple[str, int]]:
        """The names that are waited for at this moment, and since when, microseconds since 1970."""
        return [(name, min(task.since for task in tasks)) for name, tasks in self._wanting.items()]

    @property
    def unread(self) -> int:
        """How many events are kept."""
        return sum(map(len, self._buffers.values()))


class EventTask(DurableTask[T_co]):
    """A wait for an external event (O9). Not journaled: which wait takes which event follows from the code."""

    __slots__ = ("_buffers", "_codec", "name", "order", "since")

    def __init__(self, kernel: TaskHost, buffers: EventBuffers, name: str, codec: Codec[Any], order: int, since: int) -> None:
        super().__init__(kernel)
        self.name = name
        self._buffers = buffers
        self.order = order
        self.since = since
        self._codec = codec

    def _look(self) -> None:
        value = self._buffers.take(self.name)
        if value is not None:
            self._buffers.ended(self)
            self.settle(value)

    def _attention_began(self) -> None:
        self._look()
        if not self._finished:
            self._buffers.began(self)

    def _attention_ended(self) -> None:
        self._buffers.ended(self)

    def settle_cancelled(self) -> None:
        """Settle it as cancelled; it takes no event any more."""
        self._buffers.ended(self)
        super().settle_cancelled()

    def _take(self) -> T_co:
        """The event's value; one that does not fit the asked type raises, and is consumed (O9)."""
        if self._codec is not None and self._failure is None:
            self._value = self._codec.decode(self._value)
            self._codec = cast("Any", None)
        return super()._take()
