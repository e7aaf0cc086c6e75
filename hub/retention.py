"""Removing finished instances by themselves, a settable time after their end (O16).

Each instance gets a timer when it ends, which its record knows of; so nothing is searched for, and an instance that is
purged, replaced or rewound before takes its timer with it. A timer that fires under another setting than it was set
under is set anew, or does nothing if instances are now kept for good.

Instances that had ended before the setting was made have no such timer, or another one. So after opening with a setting that differs
from the last one, all finished instances are gone through once, a few at a time, beside running work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .records import TimerRecord
from .timers import Timers

if TYPE_CHECKING:
    from ..orchestration.status import OrchestrationRecord
    from .batch import OpenBatch
    from .cells import OrchestrationCell

PURGE_TIMER: Final = "purge"
"""In place of a step's number: the timer of an instance that has finished."""


class Retention:
    """How long finished instances are kept.

    Attributes:
      microseconds: so long; ``None`` for good.
    """

    def __init__(self, timers: Timers, microseconds: int | None) -> None:
        self._timers = timers
        self.microseconds = microseconds

    def purge_at(self, record: OrchestrationRecord) -> int | None:
        """When an instance is to go, microseconds since 1970; ``None`` if it is not to."""
        if self.microseconds is None or record.completed_at is None:
            return None
        return record.completed_at + self.microseconds

    def set(self, cell: OrchestrationCell, record: OrchestrationRecord, batch: OpenBatch) -> None:
        """Give an instance that has finished the timer that it should have, and no other."""
        self.drop(cell, record, batch)
        due = record.purge_at = self.purge_at(record)
        if due is not None:
            timer = _timer(record)
            self._timers.set(batch, timer.row(cell.prefix, due), timer)

    def drop(self, cell: OrchestrationCell, record: OrchestrationRecord, batch: OpenBatch) -> None:
        """An instance goes, or goes on: its timer is not wanted any more."""
        if record.purge_at is not None:
            self._timers.drop(batch, _timer(record).row(cell.prefix, record.purge_at))
            record.purge_at = None


def _timer(record: OrchestrationRecord) -> TimerRecord:
    return TimerRecord(record.instance_id, record.execution, PURGE_TIMER)
