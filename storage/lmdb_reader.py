"""Looking at a hub that another process runs (D5): its last commit, without becoming its owner, without writing.

Rules:

1. Nothing of the hub is changed: the environment is opened read-only, no folder is made, the owner lock is not touched. LMDB
   notes its readers in ``lock.mdb``, which must be writable for that; on a read-only file system it does without.
2. LMDB allows one environment of a file in a process. So the readers of one process share one, and a process that runs a
   hub cannot open a reader of it: its hub can read.
3. A hub that was deleted or put back from a backup underneath is noticed at the next read (:meth:`LmdbReader.check`), since
   what LMDB has mapped is then a file that nobody else sees.

A reader that is killed inside a transaction, which lasts some microseconds, keeps pages from being used again until the hub
is next opened; nothing is lost by that.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

import lmdb
from attrs import define, field

from .batch_rules import COMMIT_KEY, HEADER_KEY
from .errors import ForkedHub, HubInUse, InvariantViolated, StorageUnusable
from .lmdb_folder import ALREADY_OPEN, DATA_FILE, HubHeader, check_folder, identity_of
from .lmdb_opening import shown
from .lmdb_pages import verify_beside
from .lmdb_preflight import check_data_file
from .lmdb_reads import LmdbReads
from .lmdb_store import MAP_BYTES
from .lmdb_writer import CommitRecord, LmdbTable
from .records import RecordSeal
from .tables import META, TABLES

_ATTEMPTS: Final = 3
"""A file that is being written may look cut off for a moment; one that still does at the third look is."""


@define(eq=False)
class _Shared:
    """What the readers of one folder in this process have in common."""

    environment: lmdb.Environment
    reads: LmdbReads
    identity: tuple[int, int]
    pid: int = field(factory=os.getpid)
    users: int = 0


_open: Final[dict[Path, _Shared]] = {}
"""The environments of this process that are only read, by folder."""


class LmdbReader:
    """Reads a hub's last commit; see :class:`perdure.storage.store.CommittedStore`.

    All methods are called from one thread.

    Args:
      path: the hub's folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = Path(os.path.realpath(path))
        self._shared: _Shared | None = None

    def open(self) -> None:
        """Begin to read.

        Raises:
          StorageUnusable: there is no hub, or it is damaged, foreign, or newer than this program.
          HubInUse: this process runs the hub itself.
          InvariantViolated: it is open.
        """
        if self._shared is not None:
            raise InvariantViolated(f"the reader of {self._folder} is open already")
        shared = _open.get(self._folder)
        if shared is not None and (shared.pid != os.getpid() or shared.identity != identity_of(self._folder / DATA_FILE)):
            if shared.pid == os.getpid():
                raise StorageUnusable(
                    f"the data of {self._folder} were replaced, and this process still reads the old ones; close its other "
                    "readers first"
                )
            shared = None  # it belongs to the process that this one was forked from
        if shared is None:
            shared = _open[self._folder] = _start(self._folder)
        shared.users += 1
        self._shared = shared

    def check(self) -> None:
        """Refuse to go on where nothing true can be read.

        Raises:
          StorageUnusable: the hub's data were deleted or replaced since it was opened.
          ForkedHub: this process is a fork of the one that opened it.
        """
        shared = self._opened()
        if identity_of(self._folder / DATA_FILE) != shared.identity:
            raise StorageUnusable(
                f"the data of {self._folder} were deleted or replaced; open a new reader to see what is there now"
            )

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch, 0 in a new hub."""
        stored = self._opened().reads.get(META, COMMIT_KEY)
        return 0 if stored is None else CommitRecord.from_bytes(stored).number

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``.

        Raises:
          DamagedRecord: the record does not match its checksum.
          StorageError: it cannot be read.
        """
        return self._opened().reads.get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end.

        Raises:
          DamagedRecord: a record in the range does not match its checksum.
          StorageError: they cannot be read.
        """
        return self._opened().reads.scan(table, start, stop, limit)

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only: no value is read or checked."""
        return self._opened().reads.keys(table, start, stop, limit)

    def snapshot(self) -> AbstractContextManager[None]:
        """Have all reads inside see one commit. Await nothing inside, and do not stay long."""
        return self._opened().reads.snapshot()

    def close(self) -> None:
        """Stop reading. Closing twice does nothing."""
        shared, self._shared = self._shared, None
        if shared is None or shared.pid != os.getpid():
            return
        shared.users -= 1
        if not shared.users:
            del _open[self._folder]
            shared.environment.close()

    def _opened(self) -> _Shared:
        shared = self._shared
        if shared is None:
            raise StorageUnusable(f"the reader of {self._folder} was closed, or was never opened")
        if shared.pid != os.getpid():
            raise ForkedHub("this process was forked from the one that opened the reader; open a reader of your own in it")
        return shared


def _start(folder: Path) -> _Shared:
    if not folder.exists():
        raise StorageUnusable(f"there is no hub in {folder}; the process that runs it creates it")
    try:
        header = check_folder(folder)
        _check_file(folder)
        identity = identity_of(folder / DATA_FILE)
        environment = lmdb.open(
            str(folder), map_size=MAP_BYTES, readonly=True, create=False, max_dbs=len(TABLES), max_spare_txns=1, lib_version=0
        )
    except OSError as error:
        raise StorageUnusable(f"the hub {folder} cannot be read: {error}") from error
    except lmdb.Error as error:
        if ALREADY_OPEN in str(error):
            raise HubInUse(f"this process runs the hub {folder} itself: ask its TaskHub, which has the same verbs") from error
        raise StorageUnusable(f"LMDB cannot open the hub {folder} for reading: {error}") from error
    try:
        tables = {table: LmdbTable(environment.open_db(table.encode(), create=False), RecordSeal(table)) for table in TABLES}
        reads = LmdbReads(environment, tables)
        written = HubHeader.from_bytes(reads.get(META, HEADER_KEY) or b"", f"the header record in {folder}")
        if written != header:
            raise StorageUnusable(
                f"data file and marker in {folder} do not belong together. Restore the whole folder from one backup"
            )
    except lmdb.Error as error:
        environment.close()
        raise StorageUnusable(f"the hub {folder} cannot be read: {error}") from error
    except BaseException:
        environment.close()
        raise
    return _Shared(environment, reads, identity)


def _check_file(folder: Path) -> None:
    if _is_short(folder / DATA_FILE) and (findings := verify_beside(folder)):
        raise StorageUnusable(f"the data file of {folder} is cut off: {shown(findings)}. 'perdure check' tells all of it")


def _is_short(path: Path) -> bool:
    for _ in range(_ATTEMPTS - 1):
        with suppress(StorageUnusable):
            return check_data_file(path)
    return check_data_file(path)
