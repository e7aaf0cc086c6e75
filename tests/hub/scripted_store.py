"""A disk that a test can make slow, full, doubtful or deadly.

:class:`ScriptedStore` stands between a hub and a :class:`MemoryStore`. It notes each batch that becomes durable and
each read, keeps commits back for a number of looks (a slow disk, without any clock), and does harm at the n-th commit.
After a simulated death it serves nothing any more; :meth:`ScriptedStore.reborn` gives the next process's view of the
same disk.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from perdure.hub import HubClosed
from perdure.storage.errors import StorageError, StorageInDoubt
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch, StoreStatistics

from .helpers import leaves

PATIENCE = 20_000
"""Looks at a commit that is held back after which the test fails rather than hangs."""


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
        if self._looks > 0 or self._store.held:
            self._looks -= 1
            assert self._looks > -PATIENCE, "the hub waits for a disk that is held back for good"
            return False
        assert self._batch.writes == self._as_submitted, "a batch was changed after it was submitted"
        self._settled = True
        self._error = self._store.take_effect(self._batch, self._harm)
        return True

    def result(self) -> None:
        """Return, or raise what happened."""
        assert self._settled
        if self._error is not None:
            raise self._error


class ScriptedStore:
    """A store on a :class:`MemoryStore`; see the module.

    Args:
      disk: what is on disk already.
      looks: how often the hub looks at a commit before it is done.

    Attributes:
      disk: the disk.
      held: no commit gets done meanwhile.
      refusing: every commit is refused meanwhile.
      submitted: how many commits were tried.
      batches: the durable batches, in order.
      reads: keys read by ``get``, and records or keys that scans returned, as (table, key).
      attempts: batch numbers in the order of the attempts.
    """

    def __init__(self, disk: MemoryStore | None = None, *, looks: int = 0) -> None:
        self.disk = MemoryStore() if disk is None else disk
        self.held = False
        self.refusing = False
        self.submitted = 0
        self.batches: list[Batch] = []
        self.reads: Counter[tuple[str, bytes]] = Counter()
        self.attempts: list[int] = []
        self._looks = looks
        self._harm: dict[int, Harm] = {}
        self._dead = False
        self._in_doubt = False

    def harm(self, at: int, harm: Harm) -> ScriptedStore:
        """Do that to the commit that is the ``at``-th one from now, counted from 1."""
        self._harm[self.submitted + at] = harm
        return self

    def reborn(self, *, looks: int = 0) -> ScriptedStore:
        """The same disk for the next process."""
        self.disk.crash()
        return ScriptedStore(self.disk, looks=looks)

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

    def take_effect(self, batch: Batch, harm: Harm | None) -> Exception | None:
        """Do what shall become of a commit; the error that it ends with."""
        if self.refusing or harm is Harm.REFUSED:
            return StorageError("the disk is full")
        if harm not in (Harm.LOST, Harm.DIED_BEFORE):
            commit = self.disk.submit(batch)
            assert commit.wait(0)
            commit.result()
            self.batches.append(batch)
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
        self._require_certain()
        return ScriptedCommit(self, batch, self._looks, self._harm.pop(self.submitted, None))

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
            raise StorageInDoubt("the disk did not answer")


def dies(program: Callable[[ScriptedStore], Awaitable[object]], store: ScriptedStore) -> bool:
    """Run a process; whether its disk killed it."""
    try:
        trio.run(program, store)
    except BaseException as error:
        if all(isinstance(leaf, StorageInDoubt | ProcessDied | HubClosed) for leaf in leaves(error)):
            return True
        raise
    return False
