"""The hubs in a storage folder: which there are, deleting one, copying one.

Whoever deletes or copies a hub holds its owner lock meanwhile, and a copy's too, so that no hub that is run is touched, and none
is opened half-way. What is being made or taken away has a temporary name beside its place, and a rename decides: a process that
dies on the way has done nothing or all of it, and what it left is removed when a hub of that name is next opened, copied or
deleted.

A copy is made of verified pages, and takes along what the original's witness saw: data that has gone back is noticed in the copy
too.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec

from .batch_rules import HEADER_KEY
from .errors import StorageUnusable
from .lmdb_building import MAP_BYTES_AT_CREATION, FolderBuilder, remove_abandoned, temporary_for
from .lmdb_folder import DATA_FILE, MARKER_FILE, HubHeader, check_folder, force, open_environment, owner_lock_path
from .lmdb_opening import shown
from .lmdb_pages import verify_pages
from .lmdb_preflight import check_data_file
from .lmdb_witness import Left, read_witness
from .owner import OwnerLock
from .records import RecordSeal
from .tables import META


def folders_with_hubs(storage: Path) -> list[str]:
    """The names of the folders in a storage folder that hold a hub, sound or not; none if there is no such folder.

    A hub's name has no dot: what was replaced, or is being made, is none.

    Raises:
      StorageUnusable: the folder cannot be read.
    """
    try:
        if not storage.exists():
            return []
        return sorted(path.name for path in storage.iterdir() if "." not in path.name and (path / MARKER_FILE).exists())
    except OSError as error:
        raise StorageUnusable(f"the storage folder {storage} cannot be read: {error}") from error


def delete_folder(folder: Path) -> None:
    """Delete a hub that nobody runs.

    Raises:
      HubInUse: it is run.
      StorageUnusable: there is none, or it cannot be deleted.
    """
    _require_hub(folder)
    with _owning(folder):
        _require_hub(folder)  # it may have been deleted meanwhile
        try:
            remove_abandoned(folder)
            gone = temporary_for(folder)
            folder.rename(gone)
            force(folder.parent)
            shutil.rmtree(gone)
        except OSError as error:
            raise StorageUnusable(f"the hub {folder} cannot be deleted: {error}") from error


def copy_folder(source: Path, target: Path) -> None:
    """Copy a hub that nobody runs to a place where nothing is; the copy is compact and a hub of its own.

    Raises:
      HubInUse: the hub is run, or read in this process.
      StorageUnusable: there is none, it is damaged, something is in the other place, or the copy cannot be written.
    """
    _require_hub(source)
    _require_room(target)
    with _owning(source), _owning(target):
        try:
            remove_abandoned(target)
            _require_room(target)  # it may have been created meanwhile
            _check_source(source)
            witness = read_witness(source)
            with FolderBuilder(target) as builder:
                with open_environment(source, MAP_BYTES_AT_CREATION) as environment:
                    environment.copy(str(builder.temporary), compact=True)
                header = _renew_header(builder.temporary)
                builder.finish(
                    header, None if witness is None else msgspec.structs.replace(witness, left=Left.CLOSED, boot_id="")
                )
        except (OSError, lmdb.Error) as error:
            raise StorageUnusable(f"the hub {source} cannot be copied to {target}: {error}") from error


def _check_source(folder: Path) -> None:
    """Refuse to copy what LMDB would die of; whoever calls this owns the hub."""
    check_folder(folder)
    check_data_file(folder / DATA_FILE)
    if findings := verify_pages(folder / DATA_FILE):
        raise StorageUnusable(f"the data in {folder} is damaged: {shown(findings)}. 'perdure check' tells all of it")


def _renew_header(folder: Path) -> HubHeader:
    """Make the data in a folder those of another hub than they were copied from."""
    header = HubHeader.of_new_hub()
    with open_environment(folder, MAP_BYTES_AT_CREATION) as environment:
        meta = environment.open_db(META.encode(), create=False)
        with environment.begin(write=True) as change:
            change.put(HEADER_KEY, RecordSeal(META).seal(HEADER_KEY, header.to_bytes()), db=meta)
    return header


def _require_hub(folder: Path) -> None:
    if not (folder / MARKER_FILE).exists():
        others = ", ".join(folders_with_hubs(folder.parent)) or "none"
        raise StorageUnusable(f"there is no hub {folder.name!r} in {folder.parent}; hubs there: {others}")


def _require_room(folder: Path) -> None:
    if folder.exists():
        raise StorageUnusable(f"{folder} exists already; a copy needs a place of its own. Choose another name")


@contextmanager
def _owning(folder: Path) -> Generator[None]:
    lock = OwnerLock(owner_lock_path(folder), folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
