"""A hub's data held still, for whoever reads all of it: checks, exports, repairs.

Nobody runs the hub: its owner lock is held meanwhile, so nobody can, and its own file is read. A hub that is running is
copied first, by LMDB's own copy, which is one commit exactly and disturbs nobody; the copy is removed afterwards. A file that
is cut off is copied too, and the copy filled up with zeros: a missing page is then an error of LMDB's, and not the end
of the process (SIGBUS).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import lmdb
from attrs import frozen

from .batch_rules import COMMIT_KEY, HEADER_KEY, STORE_KEYS
from .errors import DamagedRecord, HubInUse, PerdureError, StorageError, StorageUnusable
from .lmdb_building import copy_file
from .lmdb_folder import ALREADY_OPEN, DATA_FILE, HubHeader, check_folder, owner_lock_path
from .lmdb_preflight import check_data_file, pad_to_last_page
from .lmdb_witness import WitnessRecord, read_witness
from .lmdb_writer import CommitRecord
from .owner import OwnerLock
from .record_codec import CODEC_KEY, RecordCodec, check_marker, codec_name, decoded
from .records import RecordSeal
from .tables import META, TABLES


@contextmanager
def owned(folder: Path) -> Generator[None]:
    """Hold the owner lock of a hub, so that nobody runs it.

    Raises:
      HubInUse: somebody does.
      StorageUnusable: there is no such hub, or its lock cannot be taken.
    """
    check_folder(folder)
    lock = OwnerLock(owner_lock_path(folder), folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def attached(folder: Path) -> Generator[lmdb.Environment]:
    """LMDB's view of a hub that another process may be running, for reading.

    Raises:
      HubInUse: this very process runs it, and LMDB opens a file only once in a process.
      StorageUnusable: LMDB cannot open it.
    """
    try:
        environment = lmdb.open(str(folder), readonly=True, create=False, max_dbs=len(TABLES), lib_version=0)
    except lmdb.Error as error:
        raise cannot_open(folder, error) from error
    with environment:
        yield environment


def cannot_open(folder: Path, error: lmdb.Error) -> PerdureError:
    """What to raise where LMDB does not open a hub for reading."""
    if ALREADY_OPEN in str(error):
        return HubInUse(f"this process runs or reads the hub {folder}; do this from another process, such as the perdure command")
    return StorageUnusable(f"LMDB cannot open the hub {folder}: {error}")


@frozen
class Quiet:
    """A hub's data that nobody writes.

    Attributes:
      folder: where it is; the hub's own folder, or a private copy.
      header: what the hub is.
      witness: what its witness said just before.
      running: somebody runs the hub, so this is a copy.
      is_short: the data file is cut off, so this is a copy that was filled up with zeros.
    """

    folder: Path
    header: HubHeader
    witness: WitnessRecord | None
    running: bool
    is_short: bool


@contextmanager
def quiet(folder: Path) -> Generator[Quiet]:
    """Hold a hub's data still as long as the block runs.

    Raises:
      StorageUnusable: there is no hub, or its data file is none that LMDB could open.
      HubInUse: this process itself runs the hub.
      OSError: it cannot be read or copied.
    """
    header = check_folder(folder)
    witness = read_witness(folder)
    with ExitStack() as held:
        try:
            held.enter_context(owned(folder))
            running = False
        except HubInUse:
            running = True
        is_short = check_data_file(folder / DATA_FILE)
        if not running and not is_short:
            yield Quiet(folder, header, witness, running=False, is_short=False)
            return
        copy = held.enter_context(_private(folder))
        if running:
            with attached(folder) as environment:
                environment.copy(str(copy), compact=False)
        else:
            copy_file(folder / DATA_FILE, copy / DATA_FILE)
        pad_to_last_page(copy / DATA_FILE)
        yield Quiet(copy, header, witness, running, is_short and not running)


@contextmanager
def _private(folder: Path) -> Generator[Path]:
    """A folder beside a hub, only for this user, removed afterwards."""
    place = Path(tempfile.mkdtemp(prefix=f"{folder.name}.copy-", dir=folder.parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class StoredRecords:
    """All records of a hub whose data is held still, as they are stored. A context manager.

    Args:
      data: the hub's data.
      codec: decodes what the records hold; see :mod:`perdure.storage.record_codec`.

    Attributes:
      codec_name: the codec that the hub was written with, if any.
      readable: what the records hold can be read: the hub has no codec, or it was given.
    """

    def __init__(self, data: Quiet, codec: RecordCodec | None = None) -> None:
        self._data = data
        self._codec = codec
        self.codec_name: str | None = None
        self.readable = True
        self._seals = {table: RecordSeal(table) for table in TABLES}

    def __enter__(self) -> StoredRecords:
        try:
            self._environment = lmdb.open(
                str(self._data.folder), readonly=True, create=False, lock=False, max_dbs=len(TABLES), lib_version=0
            )
            self._transaction = self._environment.begin()
            self._handles = {
                table: self._environment.open_db(table.encode(), self._transaction, create=False) for table in TABLES
            }
        except lmdb.Error as error:
            raise cannot_open(self._data.folder, error) from error
        try:
            self._recognise()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._transaction.abort()
        self._environment.close()

    def _recognise(self) -> None:
        """Whether the hub has a codec, and it is the one that was given."""
        if self.stored(META, CODEC_KEY) is None and self._codec is None:
            return
        marker = self.value(META, CODEC_KEY)
        self.readable = self._codec is not None
        self.codec_name = "?"
        if self._codec is not None:
            check_marker(marker, self._codec, new=not self.counted(META))
        if marker is not None:
            with suppress(DamagedRecord):
                self.codec_name = codec_name(marker)

    @property
    def file_bytes(self) -> int:
        """The size of the data file."""
        return (self._data.folder / DATA_FILE).stat().st_size

    def commit(self) -> CommitRecord:
        """The last commit.

        Raises:
          DamagedRecord: it does not match its checksum.
        """
        stored = self.stored(META, COMMIT_KEY)
        return CommitRecord(0, 0) if stored is None else CommitRecord.from_bytes(self.unseal(META, COMMIT_KEY, stored))

    def header(self) -> HubHeader:
        """What the data says that the hub is.

        Raises:
          DamagedRecord: the record does not match its checksum.
          StorageUnusable: it cannot be read.
        """
        stored = self.stored(META, HEADER_KEY) or b""
        return HubHeader.from_bytes(self.unseal(META, HEADER_KEY, stored), "the header record")

    def counted(self, table: str) -> int:
        """How many records LMDB says that a table has, without those that belong to the store itself."""
        own = sum(self.stored(table, key) is not None for key in STORE_KEYS) if table == META else 0
        return self._transaction.stat(self._handles[table])["entries"] - own

    def stored(self, table: str, key: bytes) -> bytes | None:
        """A record as it is stored, with its checksum.

        Raises:
          StorageError: a page cannot be read.
        """
        with _reading(table):
            return self._transaction.get(key, db=self._handles[table])

    def rows(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Key and stored value of each record of a table, in key order, without those that belong to the store itself.

        Raises:
          StorageError: a page cannot be read.
        """
        with _reading(table), self._transaction.cursor(self._handles[table]) as cursor:
            if cursor.set_range(start):
                yield from (row for row in cursor.iternext() if table != META or row[0] not in STORE_KEYS)

    def unfindable(self, table: str) -> Iterator[str]:
        """What is wrong with the way to each record that a walk over the table meets and a search does not.

        The page verifier passes a branch page whose separating key has changed, as long as the keys of that page stay in order.

        Raises:
          StorageError: a page cannot be read.
        """
        for key, stored in self.rows(table):
            if self.stored(table, key) != stored:
                yield f"the record {key.hex()} of table {table!r} is there, but a search does not find it: a branch page is damaged"

    def unseal(self, table: str, key: bytes, stored: bytes) -> bytes:
        """The value of a stored record.

        Raises:
          DamagedRecord: it does not match its checksum.
          UnreadableRecord: the codec cannot decode it.
        """
        data = self._seals[table].unseal(key, stored)
        return data if self._codec is None else decoded(self._codec, table, key, data)

    def value(self, table: str, key: bytes) -> bytes | None:
        """The value of a key; ``None`` if there is none, or it is damaged."""
        stored = self.stored(table, key)
        try:
            return None if stored is None else self.unseal(table, key, stored)
        except DamagedRecord:
            return None


@contextmanager
def _reading(table: str) -> Generator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except lmdb.Error as error:
        raise StorageError(f"table {table!r} cannot be read: {error}") from error
