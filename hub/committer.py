"""Batches on their way to disk: sealing, submitting, and what happens when one is durable (D2, D4, D10).

One batch is under way at most, the next one grows meanwhile. They are written in order, so whatever is on disk is a
prefix of what was computed, and messages between instances need not wait for the disk.

A commit that certainly failed is tried again, the same batch, with growing waits; no turn runs meanwhile, whoever waits
for it is told, and new work is refused (D4). A commit whose outcome nobody can know stops the hub (D10).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from ..storage import keys, tables
from ..storage.errors import InvariantViolated, StorageError, StorageInDoubt
from ..storage.store import Batch, Store, Writes
from . import limits
from .batch import OpenBatch
from .clock import HubClock
from .residence import Residence

_log = logging.getLogger(__name__)
_LAST_TIME = b"time"


def last_time(store: Store) -> int:
    """The hub's time at its last commit, microseconds since 1970: it does not go back across restarts either (D6)."""
    stored = store.get(tables.META, _LAST_TIME)
    return 0 if stored is None else keys.read_u64(stored)


class Committer:
    """The open batch, and the one under way.

    Attributes:
      open: the batch that turns are gathered into.
      under_way: the batch that was handed to the store, or that waits to be tried again.
      committed: the number of the last durable batch.
      failure: why the last attempt failed; ``None`` while storage works.
      commits: batches that became durable since the hub was opened.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        clock: HubClock,
        residence: Residence,
        on_durable: Callable[[OpenBatch], None],
        on_failure: Callable[[StorageError], None],
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._clock = clock
        self._residence = residence
        self._on_durable = on_durable
        self._on_failure = on_failure
        self.committed = store.commit_number
        self.open = OpenBatch(self.committed + 1)
        self.under_way: OpenBatch | None = None
        self.failure: StorageError | None = None
        self.commits = 0
        self._retry_at = 0.0
        self._retry_seconds = limits.STORAGE_RETRY_SECONDS[0]

    @property
    def idle(self) -> bool:
        """Whether nothing is to be written."""
        return self.under_way is None and self.open.empty

    def writes_under_way(self) -> list[Writes]:
        """What is not durable yet, oldest first."""
        return [batch.writes for batch in (self.under_way, self.open) if batch is not None]

    def due(self, work_is_ready: bool, turns: int, ready: int) -> bool:
        """Whether the open batch should be sealed now: when nothing is left to gather, or it is large or old enough.

        What waits when a batch is sealed is stored only to be deleted soon, so under steady work a batch is old enough
        when everybody who is ready has had some turns in it.

        Args:
          work_is_ready: turns can be run.
          turns: turns run so far.
          ready: how many instances are ready.
        """
        if self.under_way is not None or self.open.empty:
            return False
        if not work_is_ready or len(self.open.cells) >= limits.BATCH_INSTANCES_MAX:
            return True
        now = monotonic()
        if not self.open.opened_at:
            self.open.opened_at, self.open.opened_turns = now, turns
        age = now - self.open.opened_at
        rounds = (turns - self.open.opened_turns) / max(1, ready)
        return age >= limits.BATCH_SECONDS_MAX or (age >= limits.BATCH_SECONDS and rounds >= limits.BATCH_ROUNDS)

    def seal(self) -> OpenBatch:
        """Close the open batch, hand it to the store, and return the next one."""
        batch = self.open
        writes = batch.writes
        for cell in batch.cells:
            cell.flush(writes, self._residence.payload_bytes_min)
            cell.dirty = False
            self._residence.flushed(cell)
        self._residence.flush_numbers(writes)
        writes[tables.META].update(batch.settled)
        writes[tables.META][_LAST_TIME] = keys.u64(self._clock.now())
        batch.sealed = Batch(0, self._epoch, batch.number, writes)
        self.under_way = batch
        batch.commit = self._store.submit(batch.sealed)
        self.open = OpenBatch(batch.number + 1)
        return self.open

    def settle(self, seconds: float) -> bool:
        """Let the writer thread have the interpreter for at most that long; true if a batch has become durable.

        Raises:
          StorageInDoubt: nobody can know whether the batch is durable.
        """
        batch = self.under_way
        if batch is None:
            return False
        if batch.commit is None:
            self._try_again(batch)
            return False
        if not batch.commit.wait(seconds):
            return False
        try:
            batch.commit.result()
        except StorageInDoubt:
            raise
        except StorageError as error:
            self._failed(batch, error)
            return False
        self.under_way = None
        self.committed = batch.number
        self.commits += 1
        if self.failure is not None:
            self.failure = None
            self._retry_seconds = limits.STORAGE_RETRY_SECONDS[0]
            _log.warning("storage works again; nothing was lost")
        self._on_durable(batch)
        return True

    def _failed(self, batch: OpenBatch, error: StorageError) -> None:
        _log.error("a commit failed and is tried again in %.2f s: %s", self._retry_seconds, error)
        self.failure = error
        batch.commit = None
        self._retry_at = monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, limits.STORAGE_RETRY_SECONDS[1])
        self._on_failure(error)

    def _try_again(self, batch: OpenBatch) -> None:
        if monotonic() >= self._retry_at:
            if batch.sealed is None:
                raise InvariantViolated("a batch is under way that was never sealed")
            batch.commit = self._store.submit(batch.sealed)

    def retry_wait(self) -> float:
        """Seconds until the failed batch is tried again; 0 if none waits."""
        if self.under_way is None or self.under_way.commit is not None:
            return 0.0
        return max(0.0, self._retry_at - monotonic())

    def finish(self) -> None:
        """Write what is left; the hub is closing. A failure is logged: nothing of it was acknowledged (D7)."""
        try:
            while self.under_way is not None and self.under_way.commit is not None:
                self.settle(1.0)
            if self.under_way is None and not self.open.empty:
                self.seal()
                while self.under_way is not None and self.under_way.commit is not None:
                    self.settle(1.0)
        except StorageError as error:
            _log.error("the last batch could not be written at closing; nothing of it was acknowledged: %s", error)
