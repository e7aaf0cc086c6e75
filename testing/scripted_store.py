"""A disk that a test can make slow, full, doubtful or deadly.

:class:`ScriptedStore` stands between a hub and a :class:`MemoryStore`. It notes each batch that becomes durable and
each read, keeps commits back for a number of looks (a slow disk, without any clock), and does harm at the n-th commit.
After a simulated death it serves nothing any more; :meth:`ScriptedStore.reborn` gives the next process's view of the
same disk.

Two kinds of death: ``Harm.DIED_...`` ends the program with :class:`ProcessDied` from within the hub, as if the process were
gone in the midst of a commit. :meth:`ScriptedStore.cut_off` ends the disk only, at any moment: nothing is written any more,
whatever the program, which has yet to be unwound, still tries.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable
from typing import Final

from ..storage.errors import StorageError, StorageInDoubt
from ..storage.memory_store import MemoryStore
from ..storage.store import Batch, StoreStatistics

PATIENCE: Final = 20_000
"""Looks at a commit that is held back after which the test fails rather than hangs."""
CUT_OFF: Final = "the connection to the disk is lost"


class Harm(enum.Enum):
    """What can become of a commit."""

    REFUSED = "an error, and certainly nothing was written"
    LOST = "in doubt; reopening finds nothing of it"
    KEPT = "in doubt; reopening finds it"
    DIED_BEFORE = "the process dies before it took effect"
    DIED_AFTER = "the process dies after it took effect"


class ProcessDied(BaseException):
    """The end of a simulated process; nothing catches it."""


class ScriptedCommit:
    """A batch on its way to a :class:`ScriptedStore`'s disk."""

    def __init__(self, store: ScriptedStore, batch: Batch, looks: int, harm: Harm | None) -> None:
        self._store = store
        self._batch = batch
        self._as_submitted = {table: dict(rows) for table, rows in batch.writes.items()}
        self._looks = looks
        self._harm = harm
        self._settled = False
        self._error: Exception | None = None

    def wait(self, seconds: float) -> bool:
        """Settled after so many looks; the time plays no part."""
        del seconds
        if self._settled:
            return True
        self._store.require_alive()
        if self._store.is_cut_off:
            self.settle(StorageInDoubt(CUT_OFF))
            return True
        if self._looks > 0 or self._store.held:
            self._looks -= 1
            assert self._looks > -PATIENCE, "the hub waits for a disk that is held back for good"
            return False
        self.settle(self.take_effect())
        return True

    def take_effect(self) -> StorageError | None:
        """Do what shall become of it; the error that it ends with."""
        assert self._batch.writes == self._as_submitted, "a batch was changed after it was submitted"
        return self._store.take_effect(self._batch, self._harm)

    def settle(self, error: StorageError | None) -> None:
        """The outcome is known."""
        self._settled = True
        self._error = error

    def result(self) -> None:
        """Return, or raise what happened."""
        assert self._settled
        if self._error is not None:
            self._store.told_in_doubt |= isinstance(self._error, StorageInDoubt)
            raise self._error


class ScriptedStore:
    """A store on a :class:`MemoryStore`; see the module.

    Args:
      disk: what is on disk already.
      looks: how often the hub looks at a commit before it is done; or a function that says so for each.
      on_durable: is told of each batch when it is on disk, before anybody else can know.

    Attributes:
      disk: the disk.
      held: no commit gets done meanwhile.
      refusing: every commit is refused meanwhile.
      submitted: how many commits were tried.
      batches: the durable batches, in order.
      reads: keys read by ``get``, and records or keys that scans returned, as (table, key).
      attempts: batch numbers in the order of the attempts.
      is_cut_off: nothing is written any more; see :meth:`cut_off`.
      told_in_doubt: the hub was told that the outcome of a commit cannot be known.
      submitted_in_doubt: commits that were tried in spite of that, which no hub may do (D10).
    """

    def __init__(
        self,
        disk: MemoryStore | None = None,
        *,
        looks: int | Callable[[], int] = 0,
        on_durable: Callable[[Batch], None] | None = None,
    ) -> None:
        self.disk = MemoryStore() if disk is None else disk
        self.held = False
        self.refusing = False
        self.submitted = 0
        self.batches: list[Batch] = []
        self.reads: Counter[tuple[str, bytes]] = Counter()
        self.attempts: list[int] = []
        self.is_cut_off = False
        self.told_in_doubt = False
        self.submitted_in_doubt = 0
        self._looks: Callable[[], int] = looks if callable(looks) else lambda: looks
        self._on_durable = on_durable
        self._under_way: ScriptedCommit | None = None
        self._harm: dict[int, Harm] = {}
        self._dead = False
        self._in_doubt = False

    def harm(self, at: int, harm: Harm) -> ScriptedStore:
        """Do that to the commit that is the ``at``-th one from now, counted from 1."""
        self._harm[self.submitted + at] = harm
        return self

    def cut_off(self, *, kept: bool) -> None:
        """Lose the connection to the disk for good; ``kept`` if the commit under way takes effect all the same."""
        commit, self._under_way = self._under_way, None
        if commit is not None and kept:
            commit.take_effect()
        self.is_cut_off = self._in_doubt = True

    def reborn(self, *, looks: int | Callable[[], int] = 0, on_durable: Callable[[Batch], None] | None = None) -> ScriptedStore:
        """The same disk for the next process."""
        self.disk.crash()
        return ScriptedStore(self.disk, looks=looks, on_durable=on_durable)

    def table(self, table: str) -> dict[bytes, bytes]:
        """What the disk holds in a table."""
        return self.disk.snapshot()[table]

    def written(self, table: str) -> list[dict[bytes, bytes | None]]:
        """What each durable batch changed in a table."""
        return [dict(batch.writes.get(table, {})) for batch in self.batches]

    # --- what commits ask

    def require_alive(self) -> None:
        """Raises if the process has died."""
        if self._dead:
            raise ProcessDied

    def take_effect(self, batch: Batch, harm: Harm | None) -> StorageError | None:
        """Do what shall become of a commit; the error that it ends with."""
        self._under_way = None
        if self.refusing or harm is Harm.REFUSED:
            return StorageError("the disk is full")
        if harm not in (Harm.LOST, Harm.DIED_BEFORE):
            commit = self.disk.submit(batch)
            assert commit.wait(0)
            commit.result()
            self.batches.append(batch)
            if self._on_durable is not None:
                self._on_durable(batch)
        if harm in (Harm.DIED_BEFORE, Harm.DIED_AFTER):
            self._dead = True
            raise ProcessDied
        if harm in (Harm.LOST, Harm.KEPT):
            self._in_doubt = True
            return StorageInDoubt("the disk did not answer")
        return None

    # --- the protocol

    def open(self) -> int:
        """Open the disk."""
        self.require_alive()
        return self.disk.open()

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch."""
        return self.disk.commit_number

    def get(self, table: str, key: bytes) -> bytes | None:
        """Read a record."""
        self._require_certain()
        self.reads[table, key] += 1
        return self.disk.get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """Read a range."""
        self._require_certain()
        found = self.disk.scan(table, start, stop, limit)
        self.reads.update((table, key) for key, _ in found)
        return found

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Read the keys of a range."""
        self._require_certain()
        found = self.disk.keys(table, start, stop, limit)
        self.reads.update((table, key) for key in found)
        return found

    def submit(self, batch: Batch) -> ScriptedCommit:
        """Begin a commit."""
        self.submitted += 1
        self.attempts.append(batch.number)
        self.submitted_in_doubt += self.told_in_doubt and not self.is_cut_off
        self._require_certain()
        self._under_way = ScriptedCommit(self, batch, self._looks(), self._harm.pop(self.submitted, None))
        return self._under_way

    def statistics(self) -> StoreStatistics:
        """The disk's."""
        return self.disk.statistics()

    def close(self) -> None:
        """Close the disk; a dead process closes nothing."""
        if not self._dead:
            self.disk.close()

    def _require_certain(self) -> None:
        self.require_alive()
        if self._in_doubt:
            raise StorageInDoubt(CUT_OFF if self.is_cut_off else "the disk did not answer")
