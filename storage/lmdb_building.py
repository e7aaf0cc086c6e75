"""How a hub's folder comes to exist: whole, or not at all.

A hub is made in a folder ``bank.tmp-<random>`` beside its place, forced to disk, and renamed: a new one, one that is
restored or imported, one that was compacted or repaired. LMDB's own way of creating a file is not atomic, and a name
that is not forced to disk can vanish. What is left of an attempt that was cut off is removed at the next opening.

A folder that takes the place of another one is exchanged with it in one step (``renameat2``), because there must be no
moment without a folder: whoever opened the hub then would make a new, empty one. The old folder is kept under another name,
or removed when it holds the same.

Whoever calls these functions holds the owner lock of the hub.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final, Self

import lmdb

from .batch_rules import COMMIT_KEY, HEADER_KEY
from .errors import StorageUnusable
from .lmdb_filesystem import forbid_copy_on_write
from .lmdb_folder import DATA_FILE, FOLDER_MODE, HubHeader, check_folder, force, open_environment, write_marker
from .lmdb_witness import Left, WitnessRecord, write_witness
from .lmdb_writer import CommitRecord
from .records import RecordSeal
from .tables import META, TABLES

MAP_BYTES_AT_CREATION: Final = 1 << 24

_TEMPORARY: Final = re.compile(r"\.tmp-[0-9a-f]{16}")
_ROWS_AT_A_TIME: Final = 10_000
_COPIED_AT_A_TIME: Final = 4 << 20
_AT_WORKING_FOLDER: Final = -100
_EXCHANGE: Final = 2


class FolderBuilder:
    """A hub's folder in the making, a context manager; what was not finished is removed when the block is left.

    Args:
      folder: the place that it is to have.

    Attributes:
      temporary: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.temporary = temporary_for(folder)

    def __enter__(self) -> Self:
        self.temporary.mkdir(FOLDER_MODE)
        forbid_copy_on_write(self.temporary)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.temporary.exists():
            shutil.rmtree(self.temporary, ignore_errors=True)

    def fill(
        self,
        header: HubHeader,
        record: CommitRecord = CommitRecord(0, 0),  # noqa: B008 - immutable
        rows: Iterable[tuple[str, bytes, bytes]] = (),
        map_bytes: int = MAP_BYTES_AT_CREATION,
    ) -> int:
        """Make the data file.

        Args:
          header: what the hub is.
          record: its last commit; the one of a new hub if left out.
          rows: table, key and value of each record as it is stored, with its checksum (:class:`.records.RecordSeal`), without
              those that belong to the store itself. Of two with one key the first counts.
          map_bytes: how much address space to take; more than all rows.

        Returns:
          How many rows were written.

        Raises:
          StorageUnusable: it cannot be written.
        """
        try:
            return self._fill(header, record, rows, map_bytes)
        except lmdb.Error as error:
            raise StorageUnusable(f"the data of a hub cannot be written to {self.temporary.parent}: {error}") from error

    def _fill(self, header: HubHeader, record: CommitRecord, rows: Iterable[tuple[str, bytes, bytes]], map_bytes: int) -> int:
        seal = RecordSeal(META)
        waiting = iter(rows)
        written = 0
        with open_environment(self.temporary, map_bytes) as environment:
            with environment.begin(write=True) as change:
                handles = {table: environment.open_db(table.encode(), change) for table in TABLES}
                for key, value in ((HEADER_KEY, header.to_bytes()), (COMMIT_KEY, record.to_bytes())):
                    change.put(key, seal.seal(key, value), db=handles[META])
            while some := list(islice(waiting, _ROWS_AT_A_TIME)):
                written += len(some)
                with environment.begin(write=True) as change:
                    for table, key, value in some:
                        change.put(key, value, db=handles[table], overwrite=False)
        return written

    def finish(self, header: HubHeader, left: WitnessRecord | None, keep_replaced_as: Path | None = None) -> Path | None:
        """Force the folder to disk, and give it its place.

        Args:
          header: what the hub is.
          left: what the witness is to say; without a witness the first opening checks every page.
          keep_replaced_as: where a folder that is in its place now goes; without it there must be none, or an empty one.

        Returns:
          ``keep_replaced_as``, if there was a folder.

        Raises:
          StorageUnusable: the file system cannot exchange two folders.
          OSError: it cannot be written or renamed.
        """
        (self.temporary / DATA_FILE).chmod(0o600)
        (self.temporary / "lock.mdb").unlink(missing_ok=True)
        if left is not None:
            write_witness(self.temporary, left)
        write_marker(self.temporary, header)
        force(self.temporary / DATA_FILE)
        force(self.temporary)
        replaced = keep_replaced_as if self._folder.exists() else None
        if replaced is None:
            self.temporary.rename(self._folder)
        else:
            _exchange(self.temporary, self._folder)
            force(self._folder.parent)
            self.temporary.rename(replaced)
        force(self._folder.parent)
        return replaced


def copy_file(source: Path, target: Path, progress: Callable[[int], None] | None = None) -> None:
    """Copy a file, only for this user to read, and force it to disk.

    Args:
      source: the file.
      target: a path where there is none.
      progress: is told how many bytes were copied so far.

    Raises:
      OSError: it cannot be read or written.
    """
    copied = 0
    with source.open("rb") as reading, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
        while piece := reading.read(_COPIED_AT_A_TIME):
            writing.write(piece)
            copied += len(piece)
            if progress is not None:
                progress(copied)
        writing.flush()
        os.fsync(writing.fileno())


def prepare(folder: Path) -> HubHeader:
    """Create the hub if there is none, and check everything that can be checked without opening it.

    Raises:
      StorageUnusable: the hub can be neither created nor used.
    """
    try:
        remove_abandoned(folder)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            header = HubHeader.of_new_hub()
            with FolderBuilder(folder) as builder:
                builder.fill(header)
                builder.finish(header, WitnessRecord(0, 0, Left.CLOSED, ""))
        return check_folder(folder)
    except OSError as error:
        raise StorageUnusable(f"the hub folder {folder} cannot be used: {error}") from error


def temporary_for(folder: Path) -> Path:
    """A path beside a hub's folder for what is not the hub yet, or no longer; what is left there is removed some time."""
    return folder.with_name(f"{folder.name}.tmp-{secrets.token_hex(8)}")


def remove_abandoned(folder: Path) -> None:
    """Remove what attempts to create, copy, replace or delete this hub have left.

    Raises:
      OSError: it cannot be removed.
    """
    for path in folder.parent.iterdir():
        if path.name.startswith(folder.name) and _TEMPORARY.fullmatch(path.name, len(folder.name)) and path.is_dir():
            shutil.rmtree(path)


def _exchange(one: Path, other: Path) -> None:
    """Give each of two folders the name of the other, in one step."""
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)
    code = errno.ENOSYS
    if rename is not None:
        if rename(_AT_WORKING_FOLDER, os.fsencode(one), _AT_WORKING_FOLDER, os.fsencode(other), _EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        raise StorageUnusable(
            f"this system or file system cannot exchange two folders in one step, and {other} was left as it is. "
            "Move it away yourself, with every hub stopped, and try again"
        )
    raise OSError(code, os.strerror(code), str(other))
