"""The default engine: one LMDB environment, durable at every commit.

How it works: :mod:`perdure.storage.lmdb_building` creates the folder, :mod:`perdure.storage.lmdb_opening` checks it and
takes it over, :mod:`perdure.storage.owner` decides who runs it, :mod:`perdure.storage.lmdb_writer` writes, and this file
reads and holds them together. Records carry checksums (:mod:`perdure.storage.records`).

Rules:

1. Full durability is the only mode: a batch is reported as written when its pages and the meta page that makes them
   visible have been forced to disk.
2. A read is one short transaction on the caller's thread (:mod:`perdure.storage.lmdb_reads`).
3. An open raises the owner epoch in a committed transaction, and every commit checks it, so that an owner that was
   replaced can write nothing even if its lock was circumvented.
4. Before each batch it is checked that the data file is still the one that was opened: what is written to a file that
   was replaced or deleted meanwhile reaches no one.
5. A store that was forgotten is closed by garbage collection or at the exit of the interpreter.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from . import forking
from .batch_rules import check_batch
from .errors import HubInUse, InvariantViolated
from .lmdb_folder import identity_of
from .lmdb_opening import Engine, start, stop
from .lmdb_reads import read_failure
from .lmdb_writer import LmdbCommit, free_bytes
from .store import StoreStatistics
from .tables import META

if TYPE_CHECKING:
    from .store import Batch

MAP_BYTES: Final = 64 << 30
"""Address space that a store takes by default, in bytes. It costs nothing until it is filled, and grows by itself."""

_META_PAGES: Final = 2


class LmdbStore:
    """A store in a folder of its own; see :class:`perdure.storage.store.Store` for what the methods do.

    In a forked child every method raises :class:`perdure.storage.ForkedHub`.

    Args:
      path: the hub's folder. It is created, with those above it, if it does not exist.
      map_bytes: how much address space to take, in bytes. It is no limit on the data: the map grows when it is full.
      allow_network_filesystem: let a network file system pass, which is refused otherwise: LMDB cannot work on one reliably.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, map_bytes: int = MAP_BYTES, allow_network_filesystem: bool = False
    ) -> None:
        self._path = Path(path)
        self._map_bytes = map_bytes
        self._allow_network = allow_network_filesystem
        self._engine: Engine | None = None
        self._shut_down: weakref.finalize[[Engine], LmdbStore] | None = None

    def open(self) -> int:
        """Become the owner, create the store if there is none, and return the new owner epoch.

        Raises:
          HubInUse: another process, or another store object of this one, runs it.
          StorageUnusable: it cannot be written, is damaged, foreign, or newer than this program, lies on a network file system, or
              has lost a commit that its witness saw (D9).
        """
        if self._engine is not None:
            self._opened()
            raise HubInUse(f"this store object already runs the hub {self._path}; close it first")
        engine = start(self._path, self._map_bytes, self._allow_network)
        self._engine = engine
        self._shut_down = weakref.finalize(self, stop, engine)
        return engine.epoch

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch, 0 in a new store."""
        return self._opened().writer.record.number

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``.

        Raises:
          DamagedRecord: the record does not match its checksum.
          StorageError: LMDB cannot read it.
        """
        return self._opened().reads.get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end.

        Raises:
          DamagedRecord: a record in the range does not match its checksum.
          StorageError: LMDB cannot read them.
        """
        return self._opened().reads.scan(table, start, stop, limit)

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only: no value is read or checked."""
        return self._opened().reads.keys(table, start, stop, limit)

    def submit(self, batch: Batch) -> LmdbCommit:
        """Begin to write a batch. At most one commit is under way.

        Raises:
          InvariantViolated: another commit is under way, or the batch breaks the contract.
          StorageInDoubt: an earlier commit's outcome is unknown, or the data file was replaced or deleted.
        """
        engine = self._opened()
        writer = engine.writer
        check_batch(batch, engine.epoch, writer.record.number)
        if writer.broken is None and identity_of(engine.data_file) != engine.file_identity:
            writer.broken = (
                f"the data file {engine.data_file} was replaced or deleted while the hub was running: what was "
                "committed since then is lost. Nothing more is written"
            )
        return writer.submit(batch)

    def statistics(self) -> StoreStatistics:
        """Figures for people and tests.

        Raises:
          StorageError: LMDB cannot be read.
        """
        engine = self._opened()
        try:
            with engine.environment.begin() as transaction:
                stats = [transaction.stat(table.handle) for table in engine.tables.values()]
                stats.append(transaction.stat())
        except lmdb.Error as error:
            raise read_failure(META, error) from error
        pages = _META_PAGES + sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        written = engine.writer.statistics
        return StoreStatistics(
            commit_number=engine.writer.record.number,
            commits=written.commits,
            puts=written.puts,
            deletes=written.deletes,
            file_bytes=engine.data_file.stat().st_size,
            live_bytes=pages * stats[-1]["psize"],
            disk_free_bytes=free_bytes(engine.data_file.parent),
        )

    def close(self) -> None:
        """Wait for the commit under way, give up ownership and close. Closing twice does nothing."""
        if self._engine is None or self._shut_down is None:
            return
        self._opened()
        self._engine = None
        self._shut_down()

    def _opened(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise InvariantViolated(f"the store {self._path} was used while it was not open")
        if forking.generation() != engine.generation:
            engine.writer.refuse_fork()
        return engine
