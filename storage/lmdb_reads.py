"""Reading an LMDB environment: the same for the owner of a hub and for those who only look at it.

A read is one short transaction on the caller's thread, about a microsecond; none stays open between two calls, since an
open one keeps every page freed after it from being used again, and the file grows. Several reads that must fit each other
are done inside :meth:`LmdbReads.snapshot`, without waiting for anything in between.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import lmdb

from .batch_rules import check_key, unknown_table
from .errors import StorageError, StorageInDoubt
from .lmdb_writer import LmdbTable


class LmdbReads:
    """Reads the last commit; see :class:`perdure.storage.store.CommittedStore`.

    Args:
      environment: an open environment.
      tables: its named databases.
    """

    def __init__(self, environment: lmdb.Environment, tables: Mapping[str, LmdbTable]) -> None:
        self._environment = environment
        self._tables = tables
        self._held: lmdb.Transaction[bytes] | None = None

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``.

        Raises:
          DamagedRecord: the record does not match its checksum.
          StorageError: LMDB cannot read it.
        """
        source = self._table(table)
        check_key(table, key)
        try:
            with self._transaction() as transaction:
                stored = transaction.get(key, db=source.handle)
        except lmdb.Error as error:
            raise read_failure(table, error) from error
        return None if stored is None else source.seal.unseal(key, stored)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end.

        Raises:
          DamagedRecord: a record in the range does not match its checksum.
          StorageError: LMDB cannot read them.
        """
        source = self._table(table)
        found: list[tuple[bytes, bytes]] = []
        try:
            with self._transaction() as transaction, transaction.cursor(source.handle) as cursor:
                if limit > 0 and cursor.set_range(start):
                    for key, stored in cursor.iternext():
                        if stop is not None and key >= stop:
                            break
                        found.append((key, stored))
                        if len(found) >= limit:
                            break
        except lmdb.Error as error:
            raise read_failure(table, error) from error
        unseal = source.seal.unseal
        return [(key, unseal(key, stored)) for key, stored in found]

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only: no value is read or checked."""
        source = self._table(table)
        found: list[bytes] = []
        try:
            with self._transaction() as transaction, transaction.cursor(source.handle) as cursor:
                if limit > 0 and cursor.set_range(start):
                    for key in cursor.iternext(values=False):
                        if stop is not None and key >= stop:
                            break
                        found.append(key)
                        if len(found) >= limit:
                            break
        except lmdb.Error as error:
            raise read_failure(table, error) from error
        return found

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Have all reads inside see one commit. Await nothing inside, and do not stay long.

        Raises:
          StorageError: LMDB cannot read.
        """
        try:
            transaction = self._begin()
        except lmdb.Error as error:
            raise read_failure("meta", error) from error
        with transaction:
            self._held = transaction
            try:
                yield
            finally:
                self._held = None

    def _table(self, table: str) -> LmdbTable:
        source = self._tables.get(table)
        if source is None:
            raise unknown_table(table)
        return source

    def _transaction(self) -> AbstractContextManager[lmdb.Transaction[bytes]]:
        return self._begin() if self._held is None else nullcontext(self._held)

    def _begin(self) -> lmdb.Transaction[bytes]:
        try:
            return self._environment.begin()
        except lmdb.MapResizedError:  # another process, which owns the hub, has made the map larger
            self._environment.set_mapsize(0)
            return self._environment.begin()


def read_failure(table: str, error: lmdb.Error) -> StorageError:
    """The error to raise for a read that LMDB refused."""
    if isinstance(error, lmdb.PanicError):
        return StorageInDoubt(f"table {table!r} cannot be read after a commit with an unknown outcome: reopen the hub")
    return StorageError(f"table {table!r} cannot be read: {error}. The data file may be damaged; restore a backup")
