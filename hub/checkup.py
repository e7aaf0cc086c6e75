"""Checking a hub, and mending it: in a process of its own, so that nothing in the data can harm the one that asks (D9).

The child reads what :mod:`perdure.storage.lmdb_offline` holds still, and reports in lines of JSON. If it dies of what it reads
(LMDB trusts its pages), that is a finding like any other. The check goes from the outside in: meta pages, all pages, the
witness, every checksum, then what must hold between the records (:mod:`perdure.hub.checking`).

What ``repair`` does, with the owner lock held or as the owner:

1. If pages are damaged: every record that can still be read goes, as it is stored, into a new data file, which takes the
   place of the old one. The old folder is kept under another name.
2. If the witness saw more than there is: it is made to agree. The loss is accepted, and reported.
3. What mends the findings is written in one batch (one transaction). Records that it takes out of the store, or writes over, are
   first appended to a file in the hub's folder, as JSON lines, and forced to disk.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, cast

from attrs import define, field

from ..storage import errors, tables
from ..storage.coded_store import CodedStore
from ..storage.errors import DamagedRecord, HubInUse, InvariantViolated, PerdureError, StorageError, StorageUnusable
from ..storage.lmdb_backup import Progress, named_now, no_progress
from ..storage.lmdb_building import FolderBuilder
from ..storage.lmdb_folder import DATA_FILE, check_folder, force
from ..storage.lmdb_offline import Quiet, StoredRecords, quiet
from ..storage.lmdb_pages import verify_pages
from ..storage.lmdb_salvage import Salvage
from ..storage.lmdb_store import MAP_BYTES, LmdbStore
from ..storage.lmdb_witness import Left, WitnessRecord, write_witness
from ..storage.lmdb_writer import CommitRecord
from ..storage.record_codec import RecordCodec
from ..storage.store import Batch, Store, Writes
from .check_evidence import Evidence, Finding
from .checking import Examiner

_SCRIPT: Final = "import sys; from perdure.hub.checkup import run_child; run_child(sys.argv[1], sys.argv[2] == 'repair')"
_PATIENCE_SECONDS: Final = 3600.0


class Say(Protocol):
    """Is told what happens, by name: ``progress`` (what, done, total) and ``finding`` (kind, what, remedy)."""

    def __call__(self, **said: object) -> None:
        """Hear it."""
        ...


@define
class CheckReport:
    """What a check found, and what a repair did.

    Attributes:
      findings: what is wrong; with ``repair``, what was wrong.
      remaining: what is still wrong after a repair; the same as ``findings`` without one.
      records: how many records each table has.
      commit_number: the last commit.
      file_bytes: the size of the data file.
      hidden_by: the codec that hid what the records hold, so that only keys, checksums and counters were checked.
      running: somebody runs the hub; a copy of it was checked.
      kept: where the folder with the damaged pages is now; ``None`` if there were none.
      set_aside: the file with the records that were taken out; ``None`` if there were none.
    """

    findings: list[Finding] = field(factory=list[Finding])
    remaining: list[Finding] = field(factory=list[Finding])
    records: dict[str, int] = field(factory=dict[str, int])
    commit_number: int = 0
    file_bytes: int = 0
    hidden_by: str | None = None
    running: bool = False
    kept: Path | None = None
    set_aside: Path | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong now."""
        return not self.remaining


def check(hub: Path, *, repair: bool = False, progress: Progress = no_progress) -> CheckReport:
    """Look at everything in a hub's data, in a process of its own. A hub that is running is copied first.

    Of a hub with a codec it sees keys, checksums and counters, and ``hidden_by`` says so; :func:`check_here` takes the codec.

    Args:
      hub: the hub's folder.
      repair: mend what can be mended; the hub must not be running.
      progress: is told how far it is.

    Raises:
      HubInUse: the hub is running, and is to be repaired; or this very process runs it.
      StorageUnusable: there is no hub, or its data file is none that could be looked at.
      StorageError: it could not be mended.
    """
    check_folder(hub)
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
        [sys.executable, "-c", _SCRIPT, str(hub), "repair" if repair else "check"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    report, doing, ended = CheckReport(), "it was started", False
    with child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said = cast("dict[str, Any]", json.loads(line))
                if "progress" in said:
                    what, done, total = said["progress"]
                    doing = f"{what} ({done} of {total})"
                    progress(what, done, total)
                elif "error" in said:
                    raise _error_of(*said["error"])
                elif "report" in said:
                    report, ended = _report_of(said["report"]), True
                else:
                    report.findings.append(Finding(*said["finding"]))
        except BaseException:
            child.kill()
            raise
        assert child.stderr is not None
        last_words = child.stderr.read().strip().rpartition("\n")[2]
    if not ended:
        what = f"the checking process {_how_it_ended(child.returncode)} while it did: {doing}. {last_words}"
        report.findings.append(Finding("page", what.rstrip(" .")))
        report.remaining = list(report.findings)
    return report


def check_here(hub: Path, *, repair: bool = False, say: Say | None = None, codec: RecordCodec | None = None) -> CheckReport:
    """Like :func:`check`, in this very process, which a damaged page may end.

    Args:
      hub: the hub's folder.
      repair: mend what can be mended.
      say: is told of progress and findings as they come, by name.
      codec: the codec that the hub is opened with, to see what its records hold.

    Raises:
      HubInUse, StorageUnusable, StorageError, OSError: as for :func:`check`; it is unusable with another codec than its own.
    """
    checkup = _Checkup(Path(os.path.realpath(hub)), say or (lambda **_: None), codec)
    return checkup.mend() if repair else checkup.look()


def run_child(hub: str, repair: bool) -> None:
    """What the process of its own does."""
    try:
        report = check_here(Path(hub), repair=repair, say=_print)
        _print(report=_fields_of(report))
    except (PerdureError, OSError) as error:
        known = isinstance(error, PerdureError) and not isinstance(error, DamagedRecord)
        _print(error=[type(error).__name__ if known else "StorageUnusable", str(error)])


class _Checkup:
    """A check in this process."""

    def __init__(self, hub: Path, say: Say, codec: RecordCodec | None) -> None:
        self._hub = hub
        self._say = say
        self._codec = codec
        self._incomplete = False

    def look(self) -> CheckReport:
        """Find everything that is wrong."""
        report = CheckReport()
        with quiet(self._hub) as data:
            report.running = data.running
            for finding in self._findings(data, report):
                self._say(finding=_finding_fields(finding))
                report.findings.append(finding)
        report.remaining = list(report.findings)
        return report

    def mend(self) -> CheckReport:
        """Find everything that is wrong, mend what can be mended, and look again."""
        with quiet(self._hub) as data:
            if data.running:
                raise HubInUse(f"the hub {self._hub} is running, and only a hub that nobody runs can be repaired. Stop it first")
            pages = _page_findings(data, self._say)
            kept = self._rebuild(data) if pages else None
        first = self.look()
        findings = [*pages, *first.findings]
        set_aside = None
        if any(finding.kind == "witness" for finding in first.findings):
            write_witness(self._hub, WitnessRecord(0, first.commit_number, Left.CLOSED, ""))
        changes = _changes(first.findings)
        if changes:
            set_aside = self._keep_former(changes)
            self._apply(changes, first.commit_number)
        last = self.look() if findings else first
        last.findings, last.kept, last.set_aside = findings, kept, set_aside
        return last

    def _findings(self, data: Quiet, report: CheckReport) -> Iterable[Finding]:
        pages = _page_findings(data, self._say)
        yield from pages
        report.file_bytes = (data.folder / DATA_FILE).stat().st_size
        if pages:  # LMDB must not be asked about them
            with Salvage(data.folder / DATA_FILE) as saved:
                report.records = Counter(table for table, _, _ in saved.rows())
            return
        try:
            with StoredRecords(data, self._codec) as records:
                report.hidden_by = None if records.readable else records.codec_name
                report.records = {table: records.counted(table) for table in tables.TABLES}
                yield from _commit_findings(records, data, report)
                total = sum(report.records.values())
                evidence = Evidence(
                    records,
                    lambda table, number: self._say(progress=[f"checking {table}", number, total]),
                    incomplete=self._incomplete,
                    readable=records.readable,
                )
                yield from Examiner(evidence).findings()
        except StorageUnusable:
            raise
        except StorageError as error:
            yield Finding("page", f"the records cannot all be read: {error}")

    def _rebuild(self, data: Quiet) -> Path | None:
        """Save every record that can be read into a new folder, and give it the hub's place."""
        seen = data.witness
        commit = CommitRecord(0, 0) if seen is None else CommitRecord(seen.number, seen.epoch)
        with FolderBuilder(self._hub) as builder:
            with Salvage(data.folder / DATA_FILE) as records:
                saved = builder.fill(data.header, commit, records.rows(), MAP_BYTES)
            self._say(progress=["saving records", saved, saved])
            left = WitnessRecord(commit.epoch, commit.number, Left.CLOSED, "")
            kept = builder.finish(data.header, left, named_now(self._hub, "damaged"))
        self._incomplete = True
        return kept

    def _keep_former(self, changes: Iterable[tuple[str, bytes]]) -> Path | None:
        """Write what is going to be taken out or written over into a file."""
        lines: list[str] = []
        with quiet(self._hub) as data, StoredRecords(data) as records:
            for table, key in changes:
                stored = records.stored(table, key)
                if stored is not None:
                    lines.append(json.dumps({"table": table, "key": key.hex(), "stored": stored.hex()}))
        if not lines:
            return None
        path = self._hub / f"{named_now(Path('set'), 'aside').name}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")
        force(path)
        force(self._hub)
        return path

    def _apply(self, changes: dict[tuple[str, bytes], bytes | None], commit_number: int) -> None:
        """Write what mends the findings, in one batch."""
        store: Store = LmdbStore(self._hub, allow_network_filesystem=True)
        if self._codec is not None:
            store = CodedStore(store, self._codec)
        epoch = store.open()
        try:
            if store.commit_number != commit_number:
                raise StorageError(f"the hub {self._hub} was used between the check and the repair; check it again")
            writes: Writes = {table: {} for table in tables.TABLES}
            for (table, key), value in changes.items():
                writes[table][key] = value
            commit = store.submit(Batch(0, epoch, commit_number + 1, writes))
            if not commit.wait(_PATIENCE_SECONDS):
                raise InvariantViolated("the repair has not come to an end in an hour")
            commit.result()
        finally:
            store.close()


def _page_findings(data: Quiet, say: Say) -> list[Finding]:
    """What is wrong with the pages, or with the two records that the store itself needs to be opened."""
    remedy = "records that can be read are saved into a new file"
    say(progress=["verifying pages", 0, 1])
    findings = [Finding("page", what, remedy) for what in verify_pages(data.folder / DATA_FILE)]
    if not findings:
        with StoredRecords(data) as records:
            try:
                records.header()
                records.commit()
                lost_ways = (what for table in tables.TABLES for what in records.unfindable(table))
                findings.extend(Finding("page", what, remedy) for what in lost_ways)
            except (StorageError, ValueError) as error:
                findings.append(Finding("page", str(error), remedy))
    return findings


def _commit_findings(records: StoredRecords, data: Quiet, report: CheckReport) -> Iterable[Finding]:
    """Whether the data is the marker's, and has come as far as its witness says."""
    with suppress(StorageError, ValueError):
        header = records.header()
        if header.hub_id != data.header.hub_id:
            yield Finding("page", f"the data is of hub {header.hub_id}, and the marker beside it of hub {data.header.hub_id}")
    with suppress(StorageError, ValueError):
        commit, seen = records.commit(), data.witness
        report.commit_number = commit.number
        if seen is not None and (commit.epoch < seen.epoch or commit.number < seen.number):
            what = (
                f"the data has gone back: it holds commit {commit.number} of owner {commit.epoch}, and commit {seen.number} of "
                f"owner {seen.epoch} had been durable, as the witness says"
            )
            yield Finding("witness", what, "the loss is accepted; restore a backup if there is a later one")


def _changes(findings: Iterable[Finding]) -> dict[tuple[str, bytes], bytes | None]:
    """What mends the findings, all together; what is made again wins over what is taken out."""
    changes: dict[tuple[str, bytes], bytes | None] = {}
    for finding in findings:
        for table, key, value in finding.fix:
            if value is not None or (table, key) not in changes:
                changes[table, key] = value
    return changes


# --- between the two processes


def _print(**said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _fields_of(report: CheckReport) -> dict[str, Any]:
    fields = {name: getattr(report, name) for name in ("records", "commit_number", "file_bytes", "hidden_by", "running")}
    for name in ("findings", "remaining"):
        fields[name] = [_finding_fields(finding) for finding in getattr(report, name)]
    return {**fields, "kept": _text(report.kept), "set_aside": _text(report.set_aside)}


def _report_of(fields: dict[str, Any]) -> CheckReport:
    for name in ("findings", "remaining"):
        fields[name] = [Finding(*finding) for finding in fields[name]]
    for name in ("kept", "set_aside"):
        fields[name] = None if fields[name] is None else Path(fields[name])
    return CheckReport(**fields)


def _finding_fields(finding: Finding) -> list[str]:
    return [finding.kind, finding.what, finding.remedy]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _error_of(name: str, message: str) -> PerdureError:
    kind: type[PerdureError] = getattr(errors, name)
    return kind(message)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}, as a damaged page does,"
    return f"ended with {code}"
