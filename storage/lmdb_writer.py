"""The thread that owns every write transaction of an LMDB environment.

Why a thread of its own: a write transaction belongs to one operating system thread. Committed by another one it
leaves the environment hanging, and if its thread ends before it, the environment is dead; the threads of a pool do
end. Why not an event loop's means of talking to it: see rule 3 of :mod:`perdure.storage.store`. It waits on a plain
lock used as a binary semaphore, and so does whoever waits for it.

Rules:

1. One batch at a time. The caller gives one and may give the next when that one is settled.
2. A transaction begins and ends inside :meth:`LmdbWriter._write`; nothing of it survives into the next.
3. The record ``commit`` (number and owner epoch) is read first and written last in each transaction. If it is not
   what this owner wrote last, another owner has taken over, and nothing is written.
4. A commit that fails is settled by asking LMDB: if a new write transaction can begin and finds the old commit
   record, certainly nothing was written. Otherwise (LMDB could not write its meta page) nobody can know: *in doubt*.
   Nothing is ever committed after that.
5. The map (address space only) is grown by the *caller's* thread, inside :meth:`LmdbCommit.wait`, while no transaction
   is open: reads happen on that thread, and a map must not move under a read.

6. Whoever waits for a commit is told first; then its number goes to the witness, and now and then the slots of readers
   that died are freed, which would keep every page freed after them from being used again.

Records are written in key order, table by table: in random order the same puts take five times as long.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress
from threading import TIMEOUT_MAX, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final

import lmdb
import msgspec

from . import forking
from .batch_rules import COMMIT_KEY
from .errors import ForkedHub, HubInUse, InvariantViolated, StorageError, StorageInDoubt
from .keys import read_u64, u64
from .plain_data import PlainData
from .records import RecordSeal
from .tables import META

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .lmdb_witness import Witness
    from .store import Batch

_DISK_FULL_BYTES: Final = 1 << 16
"""Less free space than this makes any failed write a full disk: LMDB reports a short write as a mere I/O error."""

COMMITS_BETWEEN_READER_CHECKS: Final = 1024
"""After so many commits the slots of readers that died are freed."""

_MAP_STEP_BYTES: Final = 1 << 20
"""A map grows by a multiple of this, which is a multiple of every page size."""


class LmdbTable(msgspec.Struct, frozen=True):
    """A named database of the environment and its checksums."""

    handle: lmdb._Database  # pyright: ignore[reportPrivateUsage]  # lmdb has no public name for its handles
    seal: RecordSeal


class CommitRecord(PlainData, frozen=True):
    """What the record ``commit`` says: the number of the last durable batch, and whose it was."""

    number: int
    epoch: int

    def to_bytes(self) -> bytes:
        """The record's value."""
        return u64(self.number) + u64(self.epoch)

    @classmethod
    def from_bytes(cls, value: bytes) -> CommitRecord:
        """Read a record's value.

        Raises:
          ValueError: it is too short.
        """
        return cls(read_u64(value, 0), read_u64(value, 8))


class WriterStatistics(msgspec.Struct):
    """What was written since the store was opened."""

    commits: int = 0
    puts: int = 0
    deletes: int = 0


class LmdbCommit:
    """A batch on its way to disk; see :class:`perdure.storage.store.Commit`.

    Invariant: the outcome is written before ``_done`` is released, and read without it, so that a wait that was
    interrupted (Ctrl-C) after it took the lock loses nothing.
    """

    __slots__ = ("_done", "_error", "_lacks_room", "_settled", "_writer", "batch")

    def __init__(self, writer: LmdbWriter, batch: Batch) -> None:
        self.batch = batch
        self._writer = writer
        self._error: Exception | None = None
        self._settled = False
        self._lacks_room = False
        self._done = _locked()

    @property
    def settled(self) -> bool:
        """Whether the outcome is known."""
        return self._settled

    def wait(self, seconds: float) -> bool:
        """Block the calling thread for at most ``seconds`` and tell whether the outcome is settled.

        Raises:
          ForkedHub: this process is a fork of the one that submitted the batch.
        """
        if self._settled:
            return True
        self._writer.refuse_fork()
        deadline = monotonic() + seconds
        while not self._settled:
            if self._lacks_room:
                self._writer.retry_with_room(self)
            elif not self._done.acquire(timeout=min(max(deadline - monotonic(), 0.0), TIMEOUT_MAX)):
                return self._settled
        return True

    def result(self) -> None:
        """Return if the batch is durable.

        Raises:
          StorageError: certainly nothing was written; the same batch may be submitted again.
          StorageInDoubt: the outcome is unknown; the store accepts no further batch.
          HubInUse: another owner has taken over; nothing was written.
          InvariantViolated: the outcome is not settled yet, or the batch holds what cannot be written.
        """
        if not self._settled:
            raise InvariantViolated(f"the result of commit {self.batch.number} was asked for before it was settled")
        if self._error is not None:
            raise self._error

    def settle(self, error: Exception | None) -> None:
        """Make the outcome known. Called once."""
        self._error = error
        self._settled = True
        self._done.release()

    def ask_for_room(self) -> None:
        """Let the waiting thread grow the map and try again."""
        done = self._done  # the waiting thread may put another lock in its place as soon as it sees the request
        self._lacks_room = True
        done.release()

    def try_again(self) -> None:
        """Take back the request for room: the batch is about to be written again."""
        self._done = _locked()
        self._lacks_room = False


class LmdbWriter:
    """Writes batches, one after another, in a thread of its own.

    Args:
      environment: an open environment.
      tables: its named databases.
      record: what its commit record says.
      folder: the hub's folder, for messages and to ask for free space.
      witness: is told of every commit.
    """

    def __init__(
        self,
        environment: lmdb.Environment,
        tables: Mapping[str, LmdbTable],
        record: CommitRecord,
        folder: Path,
        witness: Witness,
    ) -> None:
        self.record = record
        self.statistics = WriterStatistics()
        self.broken: str | None = None
        self._environment = environment
        self._tables = tables
        self._meta = tables[META]
        self._folder = folder
        self._witness = witness
        self._pid = os.getpid()
        self._generation = forking.generation()
        self._job: LmdbCommit | None = None
        self._go = _locked()
        self._thread = Thread(target=self._run, name="perdure-lmdb-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> LmdbCommit:
        """Begin to write a batch that has been checked.

        Raises:
          InvariantViolated: another commit is under way.
          StorageInDoubt: nothing more can be committed.
        """
        if self._job is not None and not self._job.settled:
            raise InvariantViolated(f"batch {batch.number} was submitted while commit {self._job.batch.number} is under way")
        if self.broken is not None:
            raise StorageInDoubt(self.broken)
        self._job = commit = LmdbCommit(self, batch)
        self._go.release()
        return commit

    def stop(self) -> None:
        """Wait for the commit under way and end the thread."""
        if self._job is not None:
            self._job.wait(TIMEOUT_MAX)
        self._job = None
        self._go.release()
        self._thread.join()

    def refuse_fork(self) -> None:
        """Refuse to work in a forked child.

        Raises:
          ForkedHub: this process is one.
        """
        if forking.generation() != self._generation:
            raise ForkedHub(
                f"this process ({os.getpid()}) is a fork of process {self._pid}, which runs the hub {self._folder}; "
                "only that one may use it. Open the hub after forking"
            )

    def retry_with_room(self, commit: LmdbCommit) -> None:
        """Grow the map so that a batch that did not fit does, and write it again; called by the waiting thread."""
        size = self._environment.info()["map_size"]
        batch_bytes = sum(
            len(key) + len(value or b"") for changes in commit.batch.writes.values() for key, value in changes.items()
        )
        wanted = max(2 * size, size + 4 * batch_bytes)
        wanted += -wanted % _MAP_STEP_BYTES
        commit.try_again()
        try:
            # Try the address space first: LMDB gives up the old map before it asks for the new one.
            mmap.mmap(-1, wanted, flags=mmap.MAP_PRIVATE, prot=0).close()
            self._environment.set_mapsize(wanted)
        except (OSError, ValueError, OverflowError, lmdb.Error) as error:
            commit.settle(
                StorageError(
                    f"commit {commit.batch.number} was not written: the map of {self._folder} is full at {size} bytes "
                    f"and cannot grow to {wanted} ({error}). Raise the process's limit of address space"
                )
            )
            return
        self._go.release()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            commit = self._job
            if commit is None:
                return
            try:
                self._write(commit.batch)
            except lmdb.MapFullError:
                commit.ask_for_room()
            except Exception as error:  # noqa: BLE001  # whatever it is, the waiting caller must be told
                commit.settle(self._classify(commit.batch, error))
            else:
                number = commit.batch.number
                commit.settle(None)
                self._witness.saw(number)
                if number % COMMITS_BETWEEN_READER_CHECKS == 0:
                    with suppress(lmdb.Error):
                        self._environment.reader_check()
            del commit

    def _write(self, batch: Batch) -> None:
        record = CommitRecord(batch.number, batch.epoch)
        puts = deletes = 0
        with self._environment.begin(write=True) as transaction:
            self._refuse_successor(transaction)
            for table, changes in batch.writes.items():
                target = self._tables[table]
                order = sorted(changes)
                sealed = target.seal.seal_all([(k, v) for k in order if (v := changes[k]) is not None])
                if sealed:
                    transaction.cursor(target.handle).putmulti(sealed)
                    puts += len(sealed)
                if len(sealed) < len(order):
                    delete, handle = transaction.delete, target.handle
                    deletes += sum(delete(k, db=handle) for k in order if changes[k] is None)
            transaction.put(COMMIT_KEY, self._meta.seal.seal(COMMIT_KEY, record.to_bytes()), db=self._meta.handle)
        self.record = record
        self.statistics.commits += 1
        self.statistics.puts += puts
        self.statistics.deletes += deletes

    def _refuse_successor(self, transaction: lmdb.Transaction[bytes]) -> None:
        if not self._is_last(transaction):
            raise HubInUse(
                f"the hub {self._folder} has another owner now: its commit record is not the one that owner epoch "
                f"{self.record.epoch} wrote. Nothing was written; close this hub"
            )

    def _is_last(self, transaction: lmdb.Transaction[bytes]) -> bool:
        stored = transaction.get(COMMIT_KEY, db=self._meta.handle)
        return stored == self._meta.seal.seal(COMMIT_KEY, self.record.to_bytes())

    def _classify(self, batch: Batch, error: Exception) -> Exception:
        """Say what a failed commit came to: the error to raise for it."""
        if isinstance(error, HubInUse):
            return error
        try:
            probe = self._environment.begin(write=True)
            try:
                certain = self._is_last(probe)
            finally:
                probe.abort()
        except lmdb.Error:
            certain = False
        if not certain:
            self.broken = (
                f"whether commit {batch.number} of {self._folder} took effect is unknown ({error}). Nothing more is "
                "written; reopen the hub, which finds out"
            )
            doubt = StorageInDoubt(self.broken)
            doubt.__cause__ = error
            return doubt
        if isinstance(error, lmdb.Error):
            refusal: Exception = StorageError(
                f"commit {batch.number} was not written: {explain(error, self._folder)}. Nothing of it took effect"
            )
        else:
            refusal = InvariantViolated(f"batch {batch.number} holds what cannot be written: {error!r}")
        refusal.__cause__ = error
        return refusal


def _locked() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


def explain(error: lmdb.Error, folder: Path) -> str:
    """Say in words why LMDB could not write, naming a full disk also where LMDB does not."""
    free = free_bytes(folder)
    if error.code == errno.ENOSPC or (error.code == errno.EIO and free < _DISK_FULL_BYTES):
        return f"the disk that holds {folder} is full ({free} bytes are free; LMDB says {error})"
    return f"LMDB could not write to {folder}: {error}"


def free_bytes(folder: Path) -> int:
    """How much room the disk that holds a folder has, as far as this user may take it."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize
