"""What the hub needs of a storage engine: ordered tables of bytes, point reads, range scans, and one atomic batch.

That is the whole contract. An engine is a file of its own (:mod:`perdure.storage.lmdb_store`,
:mod:`perdure.storage.memory_store`), and ``tests/storage/contract.py`` is the suite that each must pass.

Rules:

1. A batch is written whole or not at all. Batches are written in the order of submission, at most one is under
   way, and its number is one more than the last one's.
2. A batch names the owner epoch that :meth:`Store.open` returned; an engine refuses any other, so that an owner
   that was replaced can write nothing more.
3. :meth:`Store.submit` returns at once. The commit goes on in a thread that belongs to the engine; the caller
   looks at it with :meth:`Commit.wait`. Why a wait that blocks the calling thread, and not a callback: CPython's
   interpreter lock is not fair. A thread that is computing, with a system call now and then, can keep a writer
   thread from its next bytecode for seconds (measured: no commit at all in 1.5 s of slices of 0.25 ms). While a
   commit is under way the hub therefore really sleeps for some microseconds between two slices, in
   :meth:`Commit.wait`, and the writer gets the lock.
4. Reads see the last finished commit, never the one under way.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from attrs import frozen

from .plain_data import PlainData

Writes: TypeAlias = dict[str, dict[bytes, bytes | None]]
"""table -> key -> new value, or ``None`` to delete. Deleting what is not there changes nothing."""


class Batch(PlainData, frozen=True):
    """One atomic change.

    Attributes:
      partition: the partition that is written; one process has one, number 0.
      epoch: the owner epoch that :meth:`Store.open` returned.
      number: the commit number, one more than the last committed batch's.
      writes: the puts and deletes.
    """

    partition: int
    epoch: int
    number: int
    writes: Writes


class Commit(Protocol):
    """A batch on its way to disk."""

    def wait(self, seconds: float) -> bool:
        """Block the calling thread for at most ``seconds`` and tell whether the outcome is settled."""
        ...

    def result(self) -> None:
        """Return if the batch is durable; call it only once :meth:`wait` returned true.

        Raises:
          StorageError: certainly nothing was written; the same batch may be submitted again.
          StorageInDoubt: the outcome is unknown; the store accepts no further batch.
          HubInUse: another owner has taken over; nothing was written, and nothing will be.
          InvariantViolated: the outcome is not settled yet, or the batch holds what cannot be written.
        """
        ...


@frozen
class StoreStatistics:
    """Figures of a store.

    Attributes:
      commit_number: the number of the last durable batch.
      commits: batches committed since the store was opened.
      puts: records written by them.
      deletes: records deleted by them.
      file_bytes: size of the data file, 0 for an engine without one.
      live_bytes: bytes of it that hold data.
      disk_free_bytes: bytes that are free on its disk; ``None`` for an engine without one.
    """

    commit_number: int
    commits: int
    puts: int
    deletes: int
    file_bytes: int
    live_bytes: int
    disk_free_bytes: int | None = None


class CommittedStore(Protocol):
    """What can be read of a store: its last commit. All that listings and lookups need, and all that a reader has."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``.

        Raises:
          DamagedRecord: the record does not match its checksum.
          StorageError: it cannot be read.
        """
        ...

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end.

        Raises:
          DamagedRecord: a record in the range does not match its checksum.
          StorageError: they cannot be read.
        """
        ...

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only: no value is read or checked."""
        ...


class Store(CommittedStore, Protocol):
    """An engine. All methods are called from one thread, that of the hub's event loop.

    While it is not open, every method but :meth:`open` and :meth:`close` raises ``InvariantViolated``; so does a table
    that is not one of :data:`perdure.storage.tables.TABLES` and a key that no record can have (empty or longer than
    511 bytes). After a commit in doubt, reading raises ``StorageInDoubt`` until the store is reopened.
    """

    def open(self) -> int:
        """Become the owner, create the store if there is none, and return the new owner epoch (1, 2, ...).

        Raises:
          HubInUse: another owner runs it.
          StorageUnusable: it cannot be written, or its format is damaged, foreign or newer than this program.
        """
        ...

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch, 0 in a new store."""
        ...

    def submit(self, batch: Batch) -> Commit:
        """Begin to write a batch. At most one commit is under way.

        Raises:
          InvariantViolated: another commit is under way, the number or the epoch is not the expected one, or a key
            or table cannot be written (``commit`` and ``header`` of the table ``meta`` belong to the store).
          StorageInDoubt: an earlier commit's outcome is unknown.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """Figures for people and tests."""
        ...

    def close(self) -> None:
        """Wait for the commit under way, give up ownership and close. Closing twice does nothing."""
        ...
