"""The folder of a hub on disk: what is in it, and how another one is told from it.

A hub ``bank`` in the folder ``data`` consists of::

    data/bank.owner.lock       who runs it (beside the folder, see below)
    data/bank/hub.json         the marker: format and identity; says that data must exist
    data/bank/data.mdb         the data; its table ``meta`` repeats format and identity in the record ``header``
    data/bank/lock.mdb         LMDB's own; nobody else opens it (closing any copy of it drops LMDB's locks)
    data/bank/witness          how far the data must have come, and how the hub was left (:mod:`.lmdb_witness`)

Rules:

1. A hub appears whole or not at all (:mod:`perdure.storage.lmdb_building`).
2. Whoever creates, checks or opens the folder holds the owner lock. That is why the lock stands beside the folder
   and not in it: it must be held before the folder exists, and a file inside the temporary folder would be a
   different file for each of two creators.
3. A hub is new only where there is nothing: no folder, or an empty one. A folder with a marker and without data is a
   hub that lost its data, and is refused; so is any other folder that holds something.
4. Only this user may read it: folders 0700, files 0600.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from .errors import HubInUse, StorageUnusable
from .plain_data import PlainData
from .tables import TABLES

FORMAT_VERSION: Final = 1
"""The format of the tables, keys and records that this program reads and writes."""

MARKER_FILE: Final = "hub.json"
DATA_FILE: Final = "data.mdb"

_PRODUCT: Final = "perdure"
ALREADY_OPEN: Final = "already open in this process"
"""What LMDB says of a second environment of one file; it has no code for it."""

FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class HubHeader(PlainData, frozen=True):
    """What a hub is, as its marker and its header record say.

    Attributes:
      product: whose format it is.
      format: its version, see :data:`FORMAT_VERSION`.
      hub_id: a random number in hex, which tells this hub's data from another's.
    """

    product: str
    format: int
    hub_id: str

    @classmethod
    def of_new_hub(cls) -> HubHeader:
        """The header of a hub that does not exist yet."""
        return cls(_PRODUCT, FORMAT_VERSION, secrets.token_hex(16))

    def to_bytes(self) -> bytes:
        """The header as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_bytes(cls, written: bytes, place: str) -> HubHeader:
        """Read a header that this program can work with.

        Raises:
          StorageUnusable: it is damaged, of another product, or written by a newer program.
        """
        try:
            header = msgspec.json.decode(written, type=cls)
        except (msgspec.DecodeError, RecursionError) as error:
            raise StorageUnusable(f"{place} is damaged ({error}). Restore the hub from a backup") from error
        if header.product != _PRODUCT:
            raise StorageUnusable(f"{place} says that this is a store of {header.product!r}, not of {_PRODUCT!r}")
        if header.format > FORMAT_VERSION:
            raise StorageUnusable(
                f"{place}: the hub was written by a newer Perdure (format {header.format}; this one reads up to "
                f"{FORMAT_VERSION}). Use that version"
            )
        if header.format < 1:
            raise StorageUnusable(f"{place} is damaged: there is no format {header.format}")
        return header


def owner_lock_path(folder: Path) -> Path:
    """Where the owner lock of the hub in ``folder`` is."""
    return folder.with_name(folder.name + ".owner.lock")


def make_parents(folder: Path) -> None:
    """Create the folders above a hub's folder, durably.

    Raises:
      StorageUnusable: they cannot be created.
    """
    try:
        missing = [parent for parent in folder.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(FOLDER_MODE, exist_ok=True)
            force(parent.parent)
    except OSError as error:
        raise StorageUnusable(f"the folder {folder.parent} for a hub cannot be created: {error}") from error


def open_environment(folder: Path, map_bytes: int) -> lmdb.Environment:
    """Open the LMDB environment of a prepared folder, with full durability.

    Args:
      folder: the hub's folder.
      map_bytes: how much address space to take; twice the data file if that is more, since the opening itself must
        be able to write.

    Raises:
      HubInUse: this process has it open for reading; LMDB allows one environment of a file in a process.
      lmdb.Error: LMDB refuses it.
    """
    data_file = folder / DATA_FILE
    file_bytes = data_file.stat().st_size if data_file.exists() else 0
    try:
        return lmdb.open(
            str(folder),
            map_size=max(map_bytes, 2 * file_bytes),
            subdir=True,
            mode=FOLDER_MODE,  # LMDB takes the execute bits off for files
            max_dbs=len(TABLES),
            max_spare_txns=1,
            lib_version=0,  # the engine of data format 1
        )
    except lmdb.Error as error:
        if ALREADY_OPEN in str(error):
            raise HubInUse(f"this process reads the hub {folder}: leave its HubReader first") from error
        raise


def check_folder(folder: Path) -> HubHeader:
    """What the hub in a folder is, as far as can be told without opening its data.

    Raises:
      StorageUnusable: there is no hub in it, or one that this program cannot use.
      OSError: it cannot be read.
    """
    if not folder.is_dir():
        what = "is a file; a hub needs a folder of its own" if folder.exists() else "does not exist"
        raise StorageUnusable(f"{folder} {what}. Choose another path")
    if folder.stat().st_mode & stat.S_IWOTH:
        raise StorageUnusable(
            f"{folder} may be written by everybody, who can put other data in the place of the hub's. See that it is still yours, "
            f"and run 'chmod o-w {folder}'"
        )
    marker = folder / MARKER_FILE
    if not marker.exists():
        foreign = (folder / DATA_FILE).exists()
        what = "an LMDB database that is no Perdure hub, or one that lost this file" if foreign else "other files"
        raise StorageUnusable(f"{folder} has no {MARKER_FILE}: it holds {what}. Choose another path, or restore the whole folder")
    return HubHeader.from_bytes(marker.read_bytes(), str(marker))


def identity_of(path: Path) -> tuple[int, int]:
    """Which file a path names now; (0, 0) if none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def write_marker(folder: Path, header: HubHeader) -> None:
    """Write the marker, whole or not at all, and force it to disk."""
    written = folder / f"{MARKER_FILE}.new"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(header.to_bytes())
    force(written)
    written.rename(folder / MARKER_FILE)
    force(folder)


def force(path: Path) -> None:
    """Force a file or folder to disk.

    Raises:
      OSError: that failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
