"""The hubs in a storage folder: which there are, deleting one, copying one.

Whoever deletes or copies a hub holds its owner lock meanwhile, and a copy's too, so that no hub that is run is touched, and none
is opened half-way. What is being made or taken away has a temporary name beside its place, and a rename decides: a process that
dies on the way has done nothing or all of it, and what it left is removed when a hub of that name is next opened, copied or
deleted.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from .batch_rules import HEADER_KEY
from .errors import StorageUnusable
from .lmdb_folder import (
    FOLDER_MODE,
    MARKER_FILE,
    HubHeader,
    check,
    force,
    new_header,
    open_environment,
    owner_lock_path,
    put_in_place,
    remove_abandoned,
    temporary_for,
)
from .owner import OwnerLock
from .records import RecordSeal
from .tables import META

_MAP_BYTES: int = 1 << 24


def folders_with_hubs(storage: Path) -> list[str]:
    """The names of the folders in a storage folder that hold a hub, sound or not; none if there is no such folder.

    Raises:
      StorageUnusable: the folder cannot be read.
    """
    try:
        if not storage.exists():
            return []
        return sorted(path.name for path in storage.iterdir() if ".tmp-" not in path.name and (path / MARKER_FILE).exists())
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
            check(source)
            temporary = temporary_for(target)
            temporary.mkdir(FOLDER_MODE)
            try:
                with open_environment(source, _MAP_BYTES) as environment:
                    environment.copy(str(temporary), compact=True)
                put_in_place(temporary, target, _renew_header(temporary))
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        except (OSError, lmdb.Error) as error:
            raise StorageUnusable(f"the hub {source} cannot be copied to {target}: {error}") from error


def _renew_header(folder: Path) -> HubHeader:
    """Make the data in a folder those of another hub than they were copied from."""
    header = new_header()
    with open_environment(folder, _MAP_BYTES) as environment:
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
