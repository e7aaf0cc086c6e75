"""Retry policies (O14), and how the attempts of one step are numbered.

Attempt ``n`` of step ``3`` has the id ``3r{n}`` and waits for a timer ``3w{n}``; the first attempt is the step itself. So
retries take no numbers from the code around them, and all attempts share one idempotency key.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from attrs import field, frozen

from ..entities.failures import FailureDetails
from ..entities.times import LATEST, due_time

_MICROSECONDS: Final = 1_000_000


def _duration(value: timedelta | float) -> float:
    """A duration in seconds; refused like a timer's."""
    return due_time(value, 0) / _MICROSECONDS


def _optional_duration(value: timedelta | float | None) -> float | None:
    return None if value is None else _duration(value)


@frozen
class RetryPolicy:
    """When work that failed is tried again.

    Attempt ``n`` (2, 3, ...) waits ``first_interval * coefficient ** (n - 2)`` after the failure before it, at most
    ``max_interval``, times a factor from ``[1 - jitter, 1]`` that is the same in each replay.

    Attributes:
      max_attempts: attempts in all, 1 or more.
      first_interval: seconds or a timedelta.
      coefficient: 1 or more.
      max_interval: the longest wait, seconds or a timedelta.
      retry_timeout: no attempt begins when this much orchestration time, waiting included, has passed since the call.
      jitter: 0 to 1.
      retry_if: asked with the failure; ``False`` ends the retrying. It must be a pure function.

    Raises:
      ValueError, TypeError: a value is out of range, or no duration.
    """

    max_attempts: int = field()
    first_interval: float = field(converter=_duration)
    coefficient: float = field(default=1.0, kw_only=True)
    max_interval: float | None = field(default=None, converter=_optional_duration, kw_only=True)
    retry_timeout: float | None = field(default=None, converter=_optional_duration, kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    retry_if: Callable[[FailureDetails], bool] | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise ValueError(f"max_attempts is a whole number, 1 or more, not {self.max_attempts!r}")
        if not (math.isfinite(self.coefficient) and self.coefficient >= 1):
            raise ValueError(f"coefficient is 1 or more, and finite, not {self.coefficient!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is between 0 and 1, not {self.jitter!r}")

    def next_attempt_at(self, failed_attempt: int, failure: FailureDetails, called_at: int, now: int, seed: str) -> int | None:
        """When the next attempt begins, or ``None`` if there is to be none. Times are microseconds since 1970.

        Args:
          failed_attempt: the attempt that failed, 1 or more.
          failure: how it failed.
          called_at: the time of the call.
          now: the time of the failure.
          seed: what the jitter is drawn from; different for each attempt.
        """
        if failed_attempt >= self.max_attempts or (self.retry_if is not None and not self.retry_if(failure)):
            return None
        try:
            seconds = self.first_interval * self.coefficient ** (failed_attempt - 1)
        except OverflowError:
            seconds = math.inf if self.first_interval else 0.0
        if self.max_interval is not None:
            seconds = min(seconds, self.max_interval)
        if self.jitter:
            seconds *= 1 - self.jitter * random.Random(seed).random()  # noqa: S311 - determinism is the purpose
        begin = min(now + seconds * _MICROSECONDS, LATEST)
        if self.retry_timeout is not None and begin - called_at > self.retry_timeout * _MICROSECONDS:
            return None
        return math.ceil(begin)


def attempt_id(step: str, attempt: int) -> str:
    """The id of an attempt of a step."""
    return step if attempt == 1 else f"{step}r{attempt}"


def wait_id(step: str, attempt: int) -> str:
    """The id of the timer before an attempt."""
    return f"{step}w{attempt}"


def step_and_attempt(address: str) -> tuple[str, int]:
    """The step that an attempt, or the timer before it, belongs to, and the attempt; from its id or its address."""
    if address.isdecimal():
        return address, 1  # the usual case
    task_id = address.partition("@")[0]
    step, _, attempt = task_id.partition("w" if "w" in task_id else "r")
    return step, int(attempt or 1)


def checked_retry(retry: object) -> RetryPolicy | None:
    """Return what was given for ``retry``.

    Raises:
      TypeError: it is no policy.
    """
    if retry is None or isinstance(retry, RetryPolicy):
        return retry
    raise TypeError(f"retry is a RetryPolicy, such as RetryPolicy(3, first_interval=10), not {type(retry).__name__}: {retry!r}")
