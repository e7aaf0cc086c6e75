"""The hub's clock: microseconds since 1970, and it never goes back (D6)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def wall_clock() -> int:
    """The system's time in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000


def trio_clock() -> int:
    """Trio's own time in microseconds; with its autojump clock, months pass in milliseconds.

    For tests: ``TaskHub(..., storage=MemoryStore(), clock=trio_clock)``.
    """
    return int(trio.current_time() * 1_000_000)


class HubClock:
    """The later of the source's time and the last time that was given out, in this life of the hub or the last one.

    A wall clock that is set back stands still here until it has caught up.

    Attributes:
      may_step: the source may be set forward while nobody looks.
    """

    def __init__(self, source: Callable[[], int] = wall_clock, last: int = 0) -> None:
        self._source = source
        self._last = last
        self.may_step = source is not trio_clock

    def now(self) -> int:
        """Microseconds since 1970."""
        now = self._source()
        if now < self._last:
            return self._last
        self._last = now
        return now


def as_datetime(microseconds: int) -> datetime:
    """A time of the hub as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=microseconds)
