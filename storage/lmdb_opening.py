"""Opening and leaving an LMDB store: what is checked before the first turn, and how a hub is taken over.

In this order, each step before anything that could be harmed by what it finds:

1. The file system is one that LMDB can work on (:mod:`perdure.storage.lmdb_filesystem`).
2. The owner lock is taken, and the folder is created, or found to be a hub.
3. The data file is not cut off, and its pages are sound, if the hub was not left in order (:mod:`perdure.storage.lmdb_pages`).
4. In one transaction: the data belongs to the marker beside it, is of this format or migrated to it, has come as far as
   the witness says (:mod:`perdure.storage.lmdb_witness`), and the owner epoch is raised.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb
import msgspec

from . import forking, lmdb_folder
from .batch_rules import COMMIT_KEY, HEADER_KEY
from .errors import PerdureError, StorageUnusable
from .lmdb_building import prepare
from .lmdb_filesystem import check_filesystem
from .lmdb_folder import DATA_FILE, HubHeader, identity_of, make_parents, open_environment, owner_lock_path, write_marker
from .lmdb_migrations import migrate
from .lmdb_pages import VerificationBeside, needs_verification, verify_pages
from .lmdb_preflight import check_data_file, pad_to_last_page
from .lmdb_reads import LmdbReads
from .lmdb_witness import Witness, WitnessRecord, read_witness
from .lmdb_writer import CommitRecord, LmdbTable, LmdbWriter, explain
from .owner import OwnerLock
from .records import RecordSeal
from .tables import META, TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)
_FINDINGS_SHOWN: Final = 3


class Engine(msgspec.Struct, frozen=True):
    """What exists while a store is open."""

    environment: lmdb.Environment
    tables: dict[str, LmdbTable]
    reads: LmdbReads
    writer: LmdbWriter
    lock: OwnerLock
    witness: Witness
    verification: VerificationBeside | None
    data_file: Path
    file_identity: tuple[int, int]
    epoch: int
    generation: int


def start(path: Path, map_bytes: int, allow_network: bool) -> Engine:
    """Become the owner of the store in a folder; it is created if it does not exist.

    Raises:
      HubInUse: another process, or another store object of this one, runs it.
      StorageUnusable: it cannot be written, is damaged, foreign, or newer than this program, or lies where LMDB cannot work.
    """
    folder = Path(os.path.realpath(path))
    make_parents(folder)
    check_filesystem(folder, allow_network)
    lock = OwnerLock(owner_lock_path(folder), folder)
    lock.acquire()
    try:
        return _take_over(folder, map_bytes, lock)
    except BaseException:
        lock.release()
        raise


def stop(engine: Engine) -> None:
    """Close everything; in a forked child nothing, since it is all the parent's."""
    if forking.generation() != engine.generation:
        return
    try:
        engine.writer.stop()
        verified = engine.verification is None or engine.verification.ended
        if engine.verification is not None:
            engine.verification.stop()
        if engine.writer.broken is not None:
            engine.witness.suspect()
        engine.environment.close()
        with suppress(OSError, PerdureError):  # only saves a walk over the file at the next opening
            pad_to_last_page(engine.data_file)
        engine.witness.close(in_order=verified)
    finally:
        engine.lock.release()


def _take_over(folder: Path, map_bytes: int, lock: OwnerLock) -> Engine:
    """Open a folder whose owner lock is held."""
    header = prepare(folder)
    data_file = folder / DATA_FILE
    is_short = check_data_file(data_file)
    testimony = read_witness(folder)
    when = "before" if is_short else needs_verification(testimony, data_file.stat().st_size)
    if when == "before":
        _verify(data_file)
    try:
        environment = open_environment(folder, map_bytes)
    except lmdb.Error as error:
        raise StorageUnusable(f"LMDB cannot open the hub {folder} with {map_bytes} bytes of address space: {error}") from error
    try:
        environment.reader_check()
        tables, record = _become_owner(environment, folder, header, testimony)
    except lmdb.Error as error:
        environment.close()
        raise StorageUnusable(f"the hub {folder} cannot be used: {explain(error, folder)}") from error
    except BaseException:
        environment.close()
        raise
    witness = Witness(folder, record.epoch, record.number)
    writer = LmdbWriter(environment, tables, record, folder, witness)
    return Engine(
        environment=environment,
        tables=tables,
        reads=LmdbReads(environment, tables),
        writer=writer,
        lock=lock,
        witness=witness,
        verification=_verify_beside(folder, writer, witness) if when == "beside" else None,
        data_file=data_file,
        file_identity=identity_of(data_file),
        epoch=record.epoch,
        generation=forking.generation(),
    )


def _become_owner(
    environment: lmdb.Environment, folder: Path, header: HubHeader, testimony: WitnessRecord | None
) -> tuple[dict[str, LmdbTable], CommitRecord]:
    """Open all tables, check that they are this hub's, migrate them, and raise the owner epoch, in one transaction."""
    present = lmdb_folder.FORMAT_VERSION
    with environment.begin(write=True) as transaction:
        meta = LmdbTable(environment.open_db(META.encode(), transaction, create=False), RecordSeal(META))
        stored = transaction.get(HEADER_KEY, b"", meta.handle)
        written = HubHeader.from_bytes(meta.seal.unseal(HEADER_KEY, stored), f"the header record in {folder}")
        if written != msgspec.structs.replace(header, format=written.format):
            raise StorageUnusable(
                f"the data file in {folder} is of hub {written.hub_id}, the marker beside it of hub {header.hub_id}: "
                "they do not belong together. Restore the whole folder from one backup"
            )
        is_old = written.format < present
        tables = {
            table: LmdbTable(environment.open_db(table.encode(), transaction, create=is_old), RecordSeal(table))
            for table in TABLES
        }
        last = transaction.get(COMMIT_KEY, db=meta.handle)
        record = CommitRecord(0, 0) if last is None else CommitRecord.from_bytes(meta.seal.unseal(COMMIT_KEY, last))
        _refuse_regress(folder, record, testimony)
        if is_old:
            migrate(transaction, tables, folder, written.format, present)
            written = msgspec.structs.replace(written, format=present)
            transaction.put(HEADER_KEY, meta.seal.seal(HEADER_KEY, written.to_bytes()), db=meta.handle)
        record = CommitRecord(record.number, record.epoch + 1)
        transaction.put(COMMIT_KEY, meta.seal.seal(COMMIT_KEY, record.to_bytes()), db=meta.handle)
    if header != written:
        with suppress(OSError):  # the next opening does it
            write_marker(folder, written)
    return tables, record


def _refuse_regress(folder: Path, record: CommitRecord, testimony: WitnessRecord | None) -> None:
    """D9: a damaged meta page brings back the commit before the last one."""
    if testimony is not None and (record.epoch < testimony.epoch or record.number < testimony.number):
        raise StorageUnusable(
            f"the data file in {folder} has gone back: it holds commit {record.number} of owner {record.epoch}, and commit "
            f"{testimony.number} of owner {testimony.epoch} had been durable, as its witness says. It was damaged, or replaced by "
            "an older one. Restore a backup; or, if what is missing may be lost, run 'perdure check --repair'"
        )


def _verify(data_file: Path) -> None:
    try:
        findings = verify_pages(data_file)
    except OSError as error:
        raise StorageUnusable(f"{data_file} cannot be read: {error}") from error
    if findings:
        raise StorageUnusable(
            f"{data_file} fails verification: {shown(findings)}. Restore a backup, or run 'perdure check' to see what is damaged "
            "and 'perdure check --repair' to save what can be saved"
        )


def _verify_beside(folder: Path, writer: LmdbWriter, witness: Witness) -> VerificationBeside | None:
    def judge(findings: list[str] | None) -> None:
        if findings is None:
            _log.warning("the pages of the hub %s could not be verified beside it; the next opening does it first", folder)
            witness.suspect()
        elif findings:
            witness.suspect()
            _log.critical("the hub %s fails verification and is stopped: %s", folder, shown(findings))
            writer.broken = (
                f"the data file of {folder} fails verification: {shown(findings)}. Nothing more is written. Restore a backup, "
                "or run 'perdure check'"
            )

    try:
        return VerificationBeside(folder, judge)
    except OSError:
        judge(None)
        return None


def shown(findings: Sequence[str]) -> str:
    """The first few findings in one line."""
    more = len(findings) - _FINDINGS_SHOWN
    return "; ".join(findings[:_FINDINGS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
