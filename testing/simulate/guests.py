"""Guests: entities that go by themselves when nobody calls them for long (``idle_ttl``).

How long a guest was not called is known from its calls alone: between two commits it was called at the time of the first one
or later. So it may go that long after, and not before (20); it stays while a delayed signal is to be delivered to it (4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..stored import AnyStored, StoredEntity
from .known import Fault, Known
from .ledgers import IDLE_SECONDS, Guest

GUEST: Final = Guest.at("").name
_IDLE: Final = IDLE_SECONDS * 1_000_000


def is_guest(found: StoredEntity) -> bool:
    """Whether an entity is a guest."""
    return found.record is not None and found.record.name == GUEST


def _calls(found: StoredEntity | None) -> int:
    return 0 if found is None or found.state is None else found.state["calls"]


def guest_stays(known: Known, now: StoredEntity, before: StoredEntity | None, earlier: int) -> Iterator[Fault]:
    """What became of a guest that is there.

    Args:
      known: the model.
      now: the guest.
      before: as it was.
      earlier: the hub's time at the commit before, microseconds since 1970.
    """
    assert now.record is not None
    key, was, calls = now.record.key, _calls(before), _calls(now)
    if calls < was:
        yield from _left(known, key, before)
    if calls != was:
        known.called_at[key] = earlier


def guest_left(known: Known, before: AnyStored | None) -> Iterator[Fault]:
    """An entity was deleted; whether it was a guest that had to go."""
    if isinstance(before, StoredEntity) and is_guest(before) and _calls(before):
        assert before.record is not None
        yield from _left(known, before.record.key, before)


def _left(known: Known, key: str, before: StoredEntity | None) -> Iterator[Fault]:
    early = known.called_at.get(key, 0) + _IDLE - known.time
    if early > 0:
        yield 20, f"guest {key!r} has gone {early} µs early"
    if before is not None and before.delayed and all(due in known.stored.timers for due in before.delayed):
        yield 4, f"guest {key!r} has gone while delayed signals are to be delivered to it"
