"""Points in time and durations (O8): what is a time, and what is refused with which words."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities.times import LATEST, due_time

NOW = 1_900_000_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.floats(0, 1e9))
def test_O8_a_duration_in_seconds_is_never_short(seconds: float) -> None:
    """The due time is never before the microsecond that the exact sum falls into, and less than two microseconds after it."""
    exact = NOW + Fraction(seconds) * 1_000_000
    assert math.floor(exact) <= due_time(seconds, NOW) < exact + 2


@given(st.timedeltas(timedelta(0), timedelta(days=365 * 5000)))
def test_O8_a_timedelta_is_exact(duration: timedelta) -> None:
    """A timedelta counts whole microseconds, and nothing is rounded."""
    assert due_time(duration, NOW) - NOW == duration // timedelta(microseconds=1)


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 29), timezones=ZONES))
def test_O8_a_datetime_is_a_point_in_time(time: datetime) -> None:
    """An aware datetime of whatever zone is that very microsecond, also one that has passed."""
    assert EPOCH + timedelta(microseconds=due_time(time, NOW)) == time


@given(st.datetimes())
def test_O8_a_naive_datetime_is_refused(time: datetime) -> None:
    """A datetime without a zone is a ValueError that says so."""
    with pytest.raises(ValueError, match="naive"):
        due_time(time, NOW)


BAD = [
    -1,
    -0.000001,
    float("nan"),
    float("inf"),
    float("-inf"),
    timedelta(microseconds=-1),
    timedelta(days=-1),
]


@pytest.mark.parametrize("duration", BAD, ids=repr)
def test_O8_a_duration_is_zero_or_more_and_finite(duration: float | timedelta) -> None:
    """Negative and not finite ones are a ValueError that shows the value."""
    with pytest.raises(ValueError, match="0 or more") as caught:
        due_time(duration, NOW)
    assert repr(duration) in str(caught.value)


BEYOND = [
    1e12,
    1e300,
    1.7e308,
    10**18,
    10**400,
    timedelta.max,
    datetime(9999, 12, 31, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
]


@pytest.mark.parametrize("time", BEYOND, ids=lambda time: repr(time)[:30])
def test_O8_beyond_the_year_9999(time: Any) -> None:
    """A time that no datetime can say is a ValueError, however large."""
    with pytest.raises(ValueError, match="9999"):
        due_time(time, NOW)


def test_O8_the_latest_time_is_allowed() -> None:
    """The last day of the year 9999 begins in time."""
    assert due_time(datetime(9999, 12, 31, tzinfo=UTC), NOW) == LATEST


@pytest.mark.parametrize("time", ["10", None, True, [1], 1j], ids=repr)
def test_O8_other_types_are_refused(time: Any) -> None:
    """What is no time is a TypeError that names what is one, a bool too."""
    with pytest.raises(TypeError, match="seconds"):
        due_time(time, NOW)


def test_O8_before_1970() -> None:
    """A point in time before 1970 has passed; it is no error."""
    assert due_time(datetime(1960, 1, 1, tzinfo=UTC), NOW) < 0
