"""Careful mode: finding what takes the process down again and again, and setting it aside (O20).

A program that dies while it works off a message finds the message again after its restart. To go on all the same, a
hub that was opened several times without having worked off what it found looks for the culprit: it does one thing at a time, and
before it does a thing (a turn with one message, starting an activity, an ``async`` operation) it notes durably that it
is about to. A note that is still there at the next opening means one more attempt that did not end. After a settable number
of them the thing is not done any more: a signal becomes a dead letter, a call is answered with a failure, an activity fails, an
orchestration is Failed with ``Poisoned`` and can be rewound. When nothing is left to be done, careful mode is over.

A hub has worked off what it found when every instance that had something to do has had a turn, and the activities that were under way
have ended, or have run for a minute; or when it is idle. Clients that keep it busy do not matter for that.

What it costs: nothing in ordinary times, but the number of the life in which the hub last came so far, which goes into a batch that is
written anyway; a commit for each thing in careful mode.

Whatever runs on its own (activities, ``async`` operations) is a suspect for a second only: then the next thing is begun, and what takes
the process down later than that is not found.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import trio

from ..entities.errors import Poisoned
from ..entities.failures import FailureDetails, one_line
from ..entities.messages import Failure
from ..storage import keys, tables
from ..storage.store import Store
from . import limits
from .activities import ActivityRunner
from .cells import EntityCell
from .engine import Engine
from .operations import OperationRunner
from .records import ActivityRecord

_log = logging.getLogger(__name__)
_RESTED: Final = b"rested"
_SUSPECT: Final = b"suspect:"


class Trial(msgspec.Struct, eq=False):
    """One thing that is done by itself.

    Attributes:
      key: what it is noted under.
      what: what it is, for people.
      begin: does it, or begins it.
      over: whether it has ended.
      set_aside: does it no more.
      noted_in: the number of the batch that notes it; 0 before.
      begun_at: when it was begun, on the event loop's clock, seconds.
    """

    key: bytes
    what: str
    begin: Callable[[], None]
    over: Callable[[], bool]
    set_aside: Callable[[Poisoned], None]
    noted_in: int = 0
    begun_at: float | None = None


class Careful:
    """Careful mode of one hub.

    Attributes:
      active: the hub is in it.
      over: what the hub found has been worked off.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        engine: Engine,
        activities: ActivityRunner,
        operations: OperationRunner,
        attempts_max: int,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._engine = engine
        self._activities = activities
        self._operations = operations
        self._attempts_max = attempts_max
        self._held: deque[Trial] = deque()
        self._trial: Trial | None = None
        self._noted: dict[bytes, int] = {}
        self._found: list[bytes] = []
        self._found_in = 0
        self._began = trio.current_time()
        self._last_turn: int | None = None
        self.over = False
        self._rested = store.get(tables.META, _RESTED)
        lives = self._lives = epoch - 1 - (0 if self._rested is None else keys.read_u64(self._rested))
        self.active = lives >= limits.CAREFUL_AFTER_LIVES
        if self.active:
            _log.warning(
                "the hub has stopped %d times before it had worked off what it found: it does one thing at a time now", lives
            )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to be done carefully."""
        return self._trial is None and not self._held and not self._engine.ready

    def found(self, activities: list[bytes]) -> None:
        """These activities were under way; the open batch schedules them again."""
        self._found, self._found_in = activities, self._engine.batch.number

    def look(self, committed: int) -> None:
        """See whether what the hub found has been worked off; everything has been taken up."""
        engine = self._engine
        if self._last_turn is None:
            self._last_turn = engine.turns + len(engine.ready)
        if engine.turns < self._last_turn or committed < self._found_in or self._held or self._trial is not None:
            return
        if self.active:
            self.active = False
            self._noted.clear()
            _log.warning("what was left has been worked off: the hub goes on as usual")
        while self._found and not self._activities.runs(self._found[-1]):
            self._found.pop()
        if not self._found or trio.current_time() - self._began > limits.FOUND_SECONDS:
            self.rest()

    def rest(self, *, closing: bool = False, wrote: bool = False) -> None:
        """What the hub found has been worked off, or the hub is being closed: this life ended no worse than that.

        That goes into a batch that is written anyway. At closing it goes into one of its own if this life wrote something, or if
        otherwise too many lives in a row would not be known to have ended well.
        """
        self.over = True
        rested = keys.u64(self._epoch)
        if self._rested != rested:
            self._rested = rested
            self._engine.batch.settled[_RESTED] = rested
        if closing and (wrote or self._lives + 1 >= limits.CAREFUL_AFTER_LIVES):
            self._engine.batch.writes[tables.META].update(self._engine.batch.settled)

    def step(self, committed: int) -> None:
        """Go on with the thing that is being done, or with the next one.

        Args:
          committed: the number of the last durable batch.
        """
        trial = self._trial = self._trial or self._next()
        if trial is None:
            return
        if not trial.noted_in:
            attempts = self._attempts(trial)
            if attempts >= self._attempts_max:
                self._give_up(trial, attempts)
                return
            self._note(trial, attempts + 1)
            trial.noted_in = self._engine.batch.number
        elif trial.begun_at is None and committed >= trial.noted_in:
            trial.begun_at = trio.current_time()
            trial.begin()
        if trial.begun_at is not None and (trial.over() or trio.current_time() - trial.begun_at > limits.SUSPECT_SECONDS):
            self._note(trial, 0)
            self._trial = None

    def _attempts(self, trial: Trial) -> int:
        """How often a thing was begun and did not end."""
        noted = self._noted.get(trial.key)
        if noted is None:
            stored = self._store.get(tables.META, trial.key)
            noted = 0 if stored is None else keys.read_u64(stored)
        return noted

    def _note(self, trial: Trial, attempts: int) -> None:
        self._noted[trial.key] = attempts
        self._engine.batch.writes[tables.META][trial.key] = keys.u64(attempts) if attempts else None

    def _give_up(self, trial: Trial, attempts: int) -> None:
        error = Poisoned(f"{trial.what} took the process down {attempts} times, and is set aside")
        _log.error("%s", one_line(error))
        trial.set_aside(error)
        self._note(trial, 0)
        self._trial = None

    def _next(self) -> Trial | None:
        ready = self._engine.ready
        if not ready:
            return self._held.popleft() if self._held else None
        cell = ready[0]
        return Trial(
            _SUSPECT + cell.prefix,
            f"a turn of {cell.title}",
            self._engine.run_one,
            lambda: True,
            lambda error: self._engine.set_aside(cell, error),
        )

    # --- what runs on its own

    def hold_activities(self, activities: dict[bytes, ActivityRecord]) -> None:
        """Start activities later, one at a time."""
        for key, record in activities.items():
            self._held.append(self._activity(key, record))

    def _activity(self, key: bytes, record: ActivityRecord) -> Trial:
        def set_aside(error: Poisoned) -> None:
            failure = Failure(FailureDetails.from_exception(error))
            if self._engine.task_result(record.reply_to, failure, record.heartbeat):
                self._engine.batch.writes[tables.ACTIVITIES][key] = None

        what = f"activity {record.name!r} of orchestration {record.reply_to.instance_id!r}"
        return Trial(
            _SUSPECT + key,
            what,
            lambda: self._activities.start({key: record}),
            lambda: not self._activities.runs(key),
            set_aside,
        )

    def cancel_activities(self, cancelled: Iterable[bytes]) -> None:
        """Do not start activities that nobody waits for any more, nor the one whose note is on its way to disk."""
        gone = {_SUSPECT + key for key in cancelled}
        self._held = deque(trial for trial in self._held if trial.key not in gone)
        trial = self._trial
        if trial is not None and trial.begun_at is None and trial.key in gone:
            self._note(trial, 0)
            self._trial = None

    def hold_operations(self, operations: Iterable[tuple[EntityCell, int]]) -> None:
        """Begin async operations later, one at a time."""
        for cell, number in operations:
            self._held.append(self._operation(cell, number))

    def _operation(self, cell: EntityCell, number: int) -> Trial:
        def set_aside(error: Poisoned) -> None:
            if cell.machine.waiting_operation == number:
                self._engine.set_aside(cell, error)

        return Trial(
            _SUSPECT + cell.prefix,
            f"an operation of {cell.title}",
            lambda: self._operations.begin([(cell, number)]),
            lambda: cell.machine.running is None,
            set_aside,
        )
