"""Clients that wait for an instance to come to something else than its end: to begin, or to show another status.

They are few, and look at what is on disk: after each commit that wrote an instance somebody watches, its record is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from ..orchestration.errors import InstanceNotFound
from .ack import Ack

if TYPE_CHECKING:
    from ..orchestration.status import OrchestrationRecord
    from .batch import OpenBatch
    from .residence import Residence

Condition = Callable[["OrchestrationRecord"], bool]
Lookup = Callable[[str], "OrchestrationRecord | None"]


class _Watch(msgspec.Struct, frozen=True, eq=False):
    condition: Condition
    ack: Ack


class Watchers:
    """Who watches which instance."""

    def __init__(self, residence: Residence, lookup: Lookup) -> None:
        self._residence = residence
        self._lookup = lookup
        self._watches: dict[str, list[_Watch]] = {}

    async def wait(self, instance_id: str, condition: Condition, seconds: float | None) -> OrchestrationRecord | None:
        """The stored record of an instance as soon as a condition holds for it; ``None`` if the time is over before.

        Raises:
          InstanceNotFound: there is no such instance, or it was purged meanwhile.
        """
        record = self._lookup(instance_id)
        if record is None:
            raise _not_found(instance_id)
        if condition(record):
            return record
        watch = _Watch(condition, Ack())
        watches = self._watches.setdefault(instance_id, [])
        watches.append(watch)
        try:
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                found: OrchestrationRecord = await watch.ack.wait()
                return found
            return None
        finally:
            watches.remove(watch)
            if not watches:
                del self._watches[instance_id]

    def committed(self, batch: OpenBatch) -> None:
        """Tell those whose condition holds since a batch has become durable."""
        for instance_id, watches in self._watches.items():
            cell = self._residence.orchestrations.get(instance_id)
            if cell is not None and cell.batch < batch.number:
                continue  # the batch does not have it
            record = self._lookup(instance_id)
            for watch in watches:
                if record is None:
                    watch.ack.fail(_not_found(instance_id))
                elif watch.condition(record):
                    watch.ack.succeed(record)

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """The hub has stopped."""
        for watches in self._watches.values():
            for watch in watches:
                watch.ack.fail(error())


def _not_found(instance_id: str) -> InstanceNotFound:
    return InstanceNotFound(f"there is no instance {instance_id!r}")
