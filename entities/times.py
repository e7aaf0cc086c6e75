"""Points in time and durations, as the contexts and the hub take them (E10, O8)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND: Final = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
LATEST: Final = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The latest point in time, microseconds since 1970: datetimes end with the year 9999."""


def microseconds_of(time: datetime) -> int:
    """An aware datetime in microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def due_time(target: datetime | timedelta | float, now: int) -> int:
    """When something is due, microseconds since 1970, rounded up so that it is never early.

    Args:
      target: an aware datetime, or a duration from now: a timedelta or seconds.
      now: the time that a duration counts from, microseconds since 1970.

    Raises:
      ValueError: a naive datetime, a duration below 0 or not finite, or a time beyond the year 9999.
      TypeError: something else.
    """
    if isinstance(target, datetime):
        if target.tzinfo is None or target.utcoffset() is None:
            raise ValueError(f"{target!r} is naive: a point in time is an aware datetime, such as ctx.now + timedelta(days=3)")
        due = microseconds_of(target)
    elif isinstance(target, timedelta):
        due = now + target // _MICROSECOND
    elif isinstance(target, int | float) and not isinstance(target, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
        if target < 0 or (isinstance(target, float) and not math.isfinite(target)):
            raise _bad_duration(target)
        # Exactly, and rounded up: a product of floats may come out a little short.
        due = now + math.ceil(Fraction(target) * _PER_SECOND)
    else:
        raise TypeError(f"a time is an aware datetime, a timedelta or a number of seconds, not {type(target).__name__}")
    if not isinstance(target, datetime) and due < now:
        raise _bad_duration(target)
    if due > LATEST:
        raise ValueError(f"{str(target)[:60]} lies beyond the year 9999")
    return due


def _bad_duration(target: object) -> ValueError:
    return ValueError(f"a duration is 0 or more seconds, and finite, not {target!r}")
