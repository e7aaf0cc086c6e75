"""Copies of a hub: taken while it runs, put back, and made smaller.

A backup is a hub's folder like any other, without ``lock.mdb``: LMDB's own copy of the data at one commit, and the marker. It
has no witness, since what a witness of the original says would not be true of it; so its first opening checks every
page. It can be opened where it is, but is meant to be restored.

Each copy is looked at, page by page and record by record, before it gets its name: a backup that cannot be restored
is none. And each takes its place as a finished folder, by renaming (:mod:`perdure.storage.lmdb_building`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Final, TypeAlias

import lmdb
from attrs import frozen

from .errors import DamagedRecord, HubInUse, StorageUnusable
from .lmdb_building import FolderBuilder, copy_file
from .lmdb_folder import DATA_FILE, HubHeader, check_folder, make_parents, owner_lock_path
from .lmdb_offline import Quiet, StoredRecords, attached, owned
from .lmdb_opening import shown
from .lmdb_pages import verify_beside, verify_pages
from .lmdb_preflight import check_data_file
from .lmdb_witness import Left, WitnessRecord
from .owner import OwnerLock
from .tables import TABLES

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""

_LOOK_SECONDS: Final = 0.1


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@frozen
class CopyReport:
    """What a copy holds.

    Attributes:
      folder: where it is.
      commit_number: the last commit in it.
      records: how many records it has.
      file_bytes: the size of its data file.
      source_bytes: the size of the data file that it was made of.
      replaced: where the hub is now that was in its place before; ``None`` if there was none, or it was removed.
    """

    folder: Path
    commit_number: int
    records: int
    file_bytes: int
    source_bytes: int
    replaced: Path | None = None


def backup(hub: Path, destination: Path, progress: Progress = no_progress) -> CopyReport:
    """Copy a hub, which may be running, as of its last commit. Pages that hold nothing are left out.

    While the copy is made, pages that are freed are not used again, so the file of a busy hub may grow by what is written meanwhile.

    Args:
      hub: the hub's folder.
      destination: a folder that does not exist; the backup gets this name when it is complete.
      progress: is told how far it is.

    Raises:
      HubInUse: this very process runs the hub.
      StorageUnusable: there is no hub, the destination exists, or the data is damaged, so that the copy would be too.
    """
    with _in_words(hub, destination):
        header = check_folder(hub)
        if check_data_file(hub / DATA_FILE) and (findings := verify_beside(hub)):
            raise _damaged(hub, findings)
        _refuse_existing(destination)
        make_parents(destination)
        with FolderBuilder(destination) as builder:
            with attached(hub) as environment:
                source_bytes = (hub / DATA_FILE).stat().st_size
                _copy(environment, builder.temporary, source_bytes, progress)
            report = _proved(builder.temporary, header, source_bytes, progress)
            builder.finish(header, None)
    return report.at(destination)


def restore(saved: Path, hub: Path, *, replace: bool = False, progress: Progress = no_progress) -> CopyReport:
    """Make a hub of a backup. The backup stays as it is.

    Args:
      saved: the backup's folder.
      hub: where the hub is to be.
      replace: a hub that is there now is replaced, and kept as ``<hub>.replaced-<time>``; without it, it is an error.
      progress: is told how far it is.

    Raises:
      HubInUse: somebody runs the hub that is to be replaced.
      StorageUnusable: there is no backup, it is damaged, or there is a hub in the place already.
    """
    with _in_words(saved, hub):
        header = check_folder(saved)
        check_data_file(saved / DATA_FILE)
        if not replace:
            _refuse_existing(hub)
        make_parents(hub)
        lock = OwnerLock(owner_lock_path(hub), hub)
        lock.acquire()
        try:
            with FolderBuilder(hub) as builder:
                source_bytes = (saved / DATA_FILE).stat().st_size
                copy_file(saved / DATA_FILE, builder.temporary / DATA_FILE, lambda done: progress("copying", done, source_bytes))
                report = _proved(builder.temporary, header, source_bytes, progress)
                replaced = builder.finish(header, None, named_now(hub, "replaced"))
        finally:
            lock.release()
    return report.at(hub, replaced)


def compact(hub: Path, progress: Progress = no_progress) -> CopyReport:
    """Make the file of a hub that nobody runs as small as its data; what was deleted is gone from the disk after that.

    Args:
      hub: the hub's folder.
      progress: is told how far it is.

    Raises:
      HubInUse: somebody runs it.
      StorageUnusable: there is no hub, or its data is damaged; it stays as it is.
    """
    with _in_words(hub, hub), owned(hub):
        header = check_folder(hub)
        data_file = hub / DATA_FILE
        check_data_file(data_file)
        progress("verifying", 0, 1)
        if findings := verify_pages(data_file):
            raise _damaged(hub, findings)
        with FolderBuilder(hub) as builder:
            source_bytes = data_file.stat().st_size
            with attached(hub) as environment:
                _copy(environment, builder.temporary, source_bytes, progress)
            report = _proved(builder.temporary, header, source_bytes, progress)
            with _records(builder.temporary, header) as records:
                commit = records.commit()
            former = builder.finish(
                header, WitnessRecord(commit.epoch, commit.number, Left.CLOSED, ""), named_now(hub, "before-compacting")
            )
        if former is not None:
            shutil.rmtree(former)
    return report.at(hub)


def named_now(hub: Path, why: str) -> Path:
    """A name beside a hub that says why and when the folder got it."""
    return hub.with_name(f"{hub.name}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


@frozen
class _Proof:
    commit_number: int
    records: int
    file_bytes: int
    source_bytes: int

    def at(self, folder: Path, replaced: Path | None = None) -> CopyReport:
        return CopyReport(folder, self.commit_number, self.records, self.file_bytes, self.source_bytes, replaced)


def _proved(folder: Path, header: HubHeader, source_bytes: int, progress: Progress) -> _Proof:
    """Look at every page and record of a copy.

    Raises:
      StorageUnusable: one of them is damaged, or the data is not of the hub that the marker says.
    """
    progress("verifying", 0, 1)
    if findings := verify_pages(folder / DATA_FILE):
        raise _damaged(folder, findings)
    damaged: list[str] = []
    with _records(folder, header) as records:
        total = sum(records.counted(table) for table in TABLES)
        done = 0
        try:
            if records.header().hub_id != header.hub_id:
                raise StorageUnusable(f"the data file in {folder} is not of the hub that its marker names")
            number = records.commit().number
        except DamagedRecord as error:
            raise _damaged(folder, [str(error)]) from error
        for table in TABLES:
            damaged.extend(records.unfindable(table))
            for key, stored in records.rows(table):
                done += 1
                try:
                    records.unseal(table, key, stored)
                except DamagedRecord as error:
                    damaged.append(str(error))
                if done % 10_000 == 0:
                    progress("checking records", done, total)
    if damaged:
        raise _damaged(folder, damaged)
    progress("checking records", total, total)
    return _Proof(number, done, (folder / DATA_FILE).stat().st_size, source_bytes)


def _records(folder: Path, header: HubHeader) -> StoredRecords:
    return StoredRecords(Quiet(folder, header, None, running=False, is_short=False))


def _copy(environment: lmdb.Environment, folder: Path, total: int, progress: Progress) -> None:
    """LMDB's own compacting copy, with a look at how far it is now and then."""
    done = Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            environment.copy(str(folder), compact=True)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            failed.append(error)
        done.set()

    thread = Thread(target=work, name="perdure-copy")
    thread.start()
    while not done.wait(_LOOK_SECONDS):
        copied = folder / DATA_FILE
        progress("copying", copied.stat().st_size if copied.exists() else 0, total)
    thread.join()
    if failed:
        raise failed[0]


def _refuse_existing(folder: Path) -> None:
    if folder.exists():
        raise StorageUnusable(f"{folder} exists already, and nothing is overwritten. Choose another name, or move it away")


def _damaged(folder: Path, findings: list[str]) -> StorageUnusable:
    return StorageUnusable(f"the data in {folder} is damaged: {shown(findings)}. 'perdure check' tells all of it")


@contextmanager
def _in_words(*folders: Path) -> Generator[None]:
    """Turn what the system and LMDB raise into words."""
    try:
        yield
    except (OSError, lmdb.Error) as error:
        if isinstance(error, HubInUse | StorageUnusable):
            raise
        places = " and ".join(str(folder) for folder in dict.fromkeys(folders))
        raise StorageUnusable(f"{places} cannot be read or written: {error}") from error
