"""Letting happen what is due: timers (O8), delayed signals (E10), and the end of entities that nobody uses (idle_ttl)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..orchestration.messages import DropTimer, SetTimer
from . import limits
from .cells import AnyCell, OrchestrationCell
from .records import IdleRecord, SignalRecord, TimerRecord
from .timers import Timers

if TYPE_CHECKING:
    from .batch import OpenBatch
    from .delayed import DelayedSignals
    from .residence import Residence


class Due:
    """What engine and timers have to do with each other.

    Args:
      timers: the timers.
      delayed: the delayed signals among them.
      residence: finds instances.
      timer_due: takes a timer of an orchestration whose time has come.
      touch: tells the engine that a cell changed, and how many messages it got.
    """

    def __init__(
        self,
        timers: Timers,
        delayed: DelayedSignals,
        residence: Residence,
        timer_due: Callable[[TimerRecord], None],
        touch: Callable[[AnyCell, int], None],
    ) -> None:
        self._timers = timers
        self._delayed = delayed
        self._residence = residence
        self._timer_due = timer_due
        self._touch = touch

    def set_timer(self, cell: AnyCell, effect: SetTimer | DropTimer, batch: OpenBatch) -> None:
        """Set or forget a timer of an orchestration (O8)."""
        assert isinstance(cell, OrchestrationCell)
        record = TimerRecord(cell.machine.instance_id, effect.execution, effect.task)
        key = record.row(cell.prefix, effect.fire_at)
        if isinstance(effect, SetTimer):
            self._timers.set(batch, key, record)
        else:
            self._timers.drop(batch, key)

    def happen(self, now: int, batch: OpenBatch, under_way: OpenBatch | None, at_most: int) -> None:
        """Let so much of what is due happen, within the open batch."""
        for key, record in self._timers.take_due(now, batch, under_way, at_most):
            if isinstance(record, TimerRecord):
                self._timer_due(record)
            elif isinstance(record, SignalRecord):
                self._delayed.deliver(key, record, batch)
            else:
                self._expire(key, record, now, batch)

    def _expire(self, key: bytes, record: IdleRecord, now: int, batch: OpenBatch) -> None:
        cell = self._residence.entity(record.entity_id)
        if cell.damaged:
            self._timers.set_aside(key, batch)
            return
        if cell.machine.definition is None:  # a deploy is under way (O18): look again later
            cell.expires_at = now + limits.UNDEFINED_EXPIRY_SECONDS * 1_000_000
            self._timers.set(batch, record.row(cell.prefix, cell.expires_at), record)
        else:
            cell.expire(now)
        self._touch(cell, 0)
