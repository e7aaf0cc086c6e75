"""Points in time and durations, as the context takes them (O8)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
LATEST: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The latest point in time, microseconds since 1970: datetimes end with the year 9999."""


def due_time(target: datetime | timedelta | float, now: int) -> int:
    """When a timer is due, microseconds since 1970, rounded up so that it is never early.

    Args:
      target: an aware datetime, or a duration from now: a timedelta or seconds.
      now: the time of the turn, microseconds since 1970.

    Raises:
      ValueError: a naive datetime, a duration below 0 or not finite, or a time beyond the year 9999.
      TypeError: something else.
    """
    if isinstance(target, datetime):
        if target.tzinfo is None or target.utcoffset() is None:
            raise ValueError(f"{target!r} is naive: a point in time is an aware datetime, such as ctx.now + timedelta(days=3)")
        due = (target - _EPOCH) // _MICROSECOND
    elif isinstance(target, timedelta):
        due = now + _checked(target / timedelta(seconds=1), target, target // _MICROSECOND)
    elif isinstance(target, int | float) and not isinstance(target, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
        due = now + _checked(target, target, math.ceil(target * 1_000_000) if math.isfinite(target) else 0)
    else:
        raise TypeError(f"a time is an aware datetime, a timedelta or a number of seconds, not {type(target).__name__}")
    if due > LATEST:
        raise ValueError(f"{target!r} lies beyond the year 9999")
    return due


def _checked(seconds: float, shown: object, microseconds: int) -> int:
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"a duration is 0 or more seconds, and finite, not {shown!r}")
    return microseconds
