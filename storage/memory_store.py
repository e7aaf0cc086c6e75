"""An engine in memory, for tests and simulation: it plays the disk *and* the process that may die.

The object is the disk: what was committed survives :meth:`MemoryStore.close` and :meth:`MemoryStore.crash`, and the
next :meth:`MemoryStore.open` finds it. A commit finishes inside :meth:`MemoryStore.submit`, so nothing ever waits;
tests that move the clock need that.

It fails when it is told to: :meth:`MemoryStore.fail_next` makes the n-th commit from now fail, before or after it
took effect, and :meth:`MemoryStore.hold_commits` keeps commits under way until they are let go or lost in a crash.

How a table works: a dictionary for the records, and a list of its keys in order for the scans. A few new or deleted
keys are put into or taken out of the list one by one, many at once by sorting or filtering all of it.
"""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from .batch_rules import check_batch, check_key, unknown_table
from .errors import HubInUse, InvariantViolated, StorageError, StorageInDoubt
from .store import StoreStatistics
from .tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Batch

_ONE_BY_ONE_MAX: Final = 32
"""Up to so many keys are put into an ordered list one by one."""


@define
class _Table:
    """Records in key order. Invariant: ``order`` holds the keys of ``records``, sorted."""

    records: dict[bytes, bytes] = field(factory=dict[bytes, bytes])
    order: list[bytes] = field(factory=list[bytes])

    def apply(self, changes: Mapping[bytes, bytes | None]) -> tuple[int, int]:
        """Change the table and return how many records were written and deleted."""
        records = self.records
        puts = {key: value for key, value in changes.items() if value is not None}
        new = [key for key in puts if key not in records]
        gone = [key for key in changes if key not in puts and key in records]
        records.update(puts)
        for key in gone:
            del records[key]
        if len(gone) > _ONE_BY_ONE_MAX:
            self.order = [key for key in self.order if key in records]
        else:
            for key in gone:
                del self.order[bisect_left(self.order, key)]
        if len(new) > _ONE_BY_ONE_MAX:
            self.order += new
            self.order.sort()
        else:
            for key in new:
                insort(self.order, key)
        return len(puts), len(gone)

    def range(self, start: bytes, stop: bytes | None, limit: int) -> list[bytes]:
        """At most ``limit`` keys with ``start <= key < stop``."""
        first = bisect_left(self.order, start)
        end = len(self.order) if stop is None else bisect_left(self.order, stop, first)
        return self.order[first : min(end, first + max(limit, 0))]


@frozen
class _Fault:
    error: type[StorageError]
    after_effect: bool


class MemoryCommit:
    """A batch of a :class:`MemoryStore`; see :class:`perdure.storage.store.Commit`."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._settled = False
        self._error: Exception | None = None

    def wait(self, seconds: float) -> bool:
        """Tell at once whether the outcome is settled: only a held commit's is not."""
        return self._settled

    def result(self) -> None:
        """Return if the batch is durable.

        Raises:
          StorageError: certainly nothing was written; the same batch may be submitted again.
          StorageInDoubt: the outcome is unknown; the store accepts no further batch.
          InvariantViolated: the outcome is not settled yet.
        """
        if not self._settled:
            raise InvariantViolated(f"the result of commit {self.batch.number} was asked for before it was settled")
        if self._error is not None:
            raise self._error

    def settle(self, error: Exception | None) -> None:
        """Make the outcome known. Called by the store."""
        self._error = error
        self._settled = True


class MemoryStore:
    """A store in memory; see :class:`perdure.storage.store.Store` for what the methods do."""

    def __init__(self) -> None:
        self._tables = {table: _Table() for table in TABLES}
        self._commit_number = 0
        self._epoch = 0
        self._is_open = False
        self._in_doubt: str | None = None
        self._held = False
        self._under_way: MemoryCommit | None = None
        self._attempts = 0
        self._faults: dict[int, _Fault] = {}
        self._commits = self._puts = self._deletes = 0

    def open(self) -> int:
        """Become the owner and return the new owner epoch.

        Raises:
          HubInUse: the store is open.
        """
        if self._is_open:
            raise HubInUse(f"this store is in use by an owner in this process ({os.getpid()}); close it first")
        self._is_open = True
        self._epoch += 1
        self._commits = self._puts = self._deletes = 0
        return self._epoch

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch, 0 in a new store."""
        self._require_open()
        return self._commit_number

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``."""
        source = self._readable(table)
        check_key(table, key)
        return source.records.get(key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end."""
        source = self._readable(table)
        return [(key, source.records[key]) for key in source.range(start, stop, limit)]

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only."""
        return self._readable(table).range(start, stop, limit)

    def submit(self, batch: Batch) -> MemoryCommit:
        """Write a batch; it is settled on return unless commits are held.

        Raises:
          InvariantViolated: another commit is under way, or the batch breaks the contract.
          StorageInDoubt: an earlier commit's outcome is unknown.
        """
        self._require_open()
        check_batch(batch, self._epoch, self._commit_number)
        if self._under_way is not None:
            raise InvariantViolated(
                f"batch {batch.number} was submitted while commit {self._under_way.batch.number} is under way"
            )
        if self._in_doubt is not None:
            raise StorageInDoubt(self._in_doubt)
        self._under_way = commit = MemoryCommit(batch)
        if not self._held:
            self._finish()
        return commit

    def statistics(self) -> StoreStatistics:
        """Figures for people and tests; there is no file."""
        self._require_open()
        return StoreStatistics(
            commit_number=self._commit_number,
            commits=self._commits,
            puts=self._puts,
            deletes=self._deletes,
            file_bytes=0,
            live_bytes=0,
        )

    def close(self) -> None:
        """Finish the commit under way and give up ownership. Closing twice does nothing."""
        self._finish()
        self._is_open = False
        self._in_doubt = None

    def fail_next(self, error: type[StorageError], *, skip: int = 0, after_effect: bool = False) -> None:
        """Make one of the coming commits fail.

        Args:
          error: ``StorageError`` (the store goes on) or ``StorageInDoubt`` (it accepts nothing more until reopened).
          skip: how many commits succeed before; 0 makes the very next one fail.
          after_effect: whether the batch is written all the same, as only a commit in doubt can be.

        Raises:
          ValueError: the error is another one, or a commit that certainly left no trace shall have an effect.
        """
        if error not in (StorageError, StorageInDoubt):
            raise ValueError(f"a commit fails with StorageError or StorageInDoubt, not with {error.__name__}")
        if after_effect and error is StorageError:
            raise ValueError("StorageError says that nothing was written; use StorageInDoubt for a failure after effect")
        self._faults[self._attempts + skip] = _Fault(error, after_effect)

    def hold_commits(self, held: bool = True) -> None:
        """Keep the commits from now on under way; with ``False``, let the one under way finish and hold no more."""
        self._held = held
        if not held:
            self._finish()

    def crash(self) -> None:
        """Lose what a process loses when it dies: ownership and the commit under way.

        What was committed stays. The store can be opened again at once; batches of the old owner are refused then.
        """
        lost, self._under_way = self._under_way, None
        if lost is not None:
            lost.settle(StorageInDoubt(f"the process died while commit {lost.batch.number} was under way"))
        self._is_open = False
        self._in_doubt = None

    def snapshot(self) -> dict[str, dict[bytes, bytes]]:
        """A copy of all tables in key order, also of a closed store: what the disk holds."""
        return {name: {key: table.records[key] for key in table.order} for name, table in self._tables.items()}

    def _finish(self) -> None:
        commit, self._under_way = self._under_way, None
        if commit is None:
            return
        fault = self._faults.pop(self._attempts, None)
        self._attempts += 1
        if fault is None or fault.after_effect:
            self._write(commit.batch)
        if fault is None:
            commit.settle(None)
            return
        error = fault.error(f"commit {commit.batch.number} was told to fail")
        if fault.error is StorageInDoubt:
            self._in_doubt = str(error)
        commit.settle(error)

    def _write(self, batch: Batch) -> None:
        for table, changes in batch.writes.items():
            puts, deletes = self._tables[table].apply(changes)
            self._puts += puts
            self._deletes += deletes
        self._commits += 1
        self._commit_number = batch.number

    def _readable(self, table: str) -> _Table:
        self._require_open()
        if self._in_doubt is not None:
            raise StorageInDoubt(self._in_doubt)
        source = self._tables.get(table)
        if source is None:
            raise unknown_table(table)
        return source

    def _require_open(self) -> None:
        if not self._is_open:
            raise InvariantViolated("the store was used while it was not open")
