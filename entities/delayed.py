"""The ids of delayed signals (E10).

Whoever sends a signal for later gets an id to cancel it by. An id is made by the sender, before anything is stored, so
that operations and orchestrations have it at once; it is a time and a digest:

- The time when the signal is due is in it, so that the hub finds a signal by its id in the one table that is ordered by
  time, without a second index.
- The digest is of a seed that is the sender's own: the step of an execution for an orchestration, which asks for the
  same id in each replay; something random for everybody else.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Final

from .times import due_time

_DIGEST_BYTES: Final = 16
_SIGNAL_ID: Final = re.compile(r"[0-9a-f]{48}")


def delivery_time(deliver_at: datetime | timedelta | float, now: int) -> int:
    """When a signal is due, microseconds since 1970: at once if the time has passed already.

    Args:
      deliver_at: an aware datetime, or a delay: a timedelta or seconds.
      now: the sender's time, microseconds since 1970.

    Raises:
      ValueError: a naive datetime, a delay below 0 or not finite, or a time beyond the year 9999.
      TypeError: something else.
    """
    return max(now, due_time(deliver_at, now))


def signal_id(due: int, seed: str) -> str:
    """The id of a signal.

    Args:
      due: when it is due, microseconds since 1970, not negative.
      seed: what no other signal that is due at that moment has.
    """
    return f"{due:016x}{hashlib.blake2b(seed.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"


def check_signal_id(text: object) -> str:
    """Return the id of a delayed signal as it is.

    Raises:
      TypeError: it is no text.
      ValueError: it is no id that sending a delayed signal returned.
    """
    if not isinstance(text, str):
        raise TypeError(f"the id of a delayed signal is a str, not {type(text).__name__}: {text!r}")
    if _SIGNAL_ID.fullmatch(text) is None:
        raise ValueError(
            f"{ascii(text)[:120]} is no id of a delayed signal: it is what signal_entity(..., deliver_at=...) returns"
        )
    return text


def parts_of(checked: str) -> tuple[int, bytes]:
    """When the signal of an id is due, microseconds since 1970, and its digest."""
    return int(checked[:16], 16), bytes.fromhex(checked[16:])
