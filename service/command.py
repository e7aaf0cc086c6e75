"""The ``perdure`` command: what an operator does with a hub's data. It only presents; the work is done by functions.

Exit codes: 0 done, or sound; 1 a check found something that is still wrong; 2 the command was not understood; 3 the hub is in
use; 4 the hub, the backup or the file cannot be used; 130 interrupted. What is wrong is said in words on the standard error, with
``--json`` as an object with ``error`` and ``message`` on the standard output.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import click

from ..hub.checkup import check as check_hub
from ..hub.exporting import export_hub, import_hub
from ..storage.errors import HubInUse, PerdureError, StorageUnusable
from ..storage.lmdb_backup import CopyReport
from ..storage.lmdb_backup import backup as back_up
from ..storage.lmdb_backup import compact as compact_hub
from ..storage.lmdb_backup import restore as restore_hub
from .presenting import Presenter, check_lines, hub_in, in_bytes

IN_USE = 3
UNUSABLE = 4
INTERRUPTED = 130


class Commands(click.Group):
    """The verbs; none of them ends in a traceback for what its user or the disk did."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb, and say in words what went wrong."""
        try:
            return super().invoke(ctx)
        except (PerdureError, OSError) as error:
            as_json = bool(ctx.obj and ctx.obj.as_json)
            Presenter(as_json).fail(error)
            ctx.exit(IN_USE if isinstance(error, HubInUse) else UNUSABLE)
        except KeyboardInterrupt:
            click.echo("interrupted; nothing was left half done", err=True)
            ctx.exit(INTERRUPTED)


def _remember(ctx: click.Context, _: click.Parameter, as_json: bool) -> Presenter:
    presenter = Presenter(as_json)
    ctx.find_root().obj = presenter
    return presenter


_json_option = click.option(
    "--json", "presenter", is_flag=True, callback=_remember, is_eager=True, help="Print one JSON object instead of text."
)
_path = click.Path(path_type=Path)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("perdure"), prog_name="perdure")
def perdure() -> None:
    """Look after the data of Perdure hubs.

    HUB is the hub's own folder: the hub "Bank" on storage="bank.db" is in bank.db/bank. The folder above will do if there is
    only one hub in it.
    """


@perdure.command()
@click.argument("hub", type=_path)
@click.option("--repair", is_flag=True, help="Mend what can be mended; the hub must not be running.")
@_json_option
def check(hub: Path, repair: bool, presenter: Presenter) -> None:
    """Look at every page, checksum and index of a hub.

    A running hub is checked on a copy. Of a hub with a codec only keys, checksums and counters are checked. The exit code is 1 if something is (still) wrong.

    A repair makes indexes and counters again, gives orphaned locks free, and takes out what belongs to nobody; whatever it takes out
    is kept in a file. If pages are damaged, everything that can still be read is saved into a new file, and the old folder is kept.
    """
    hub = hub_in(hub)
    with presenter.progress() as progress:
        report = check_hub(hub, repair=repair, progress=progress)
    presenter.show(
        {
            "hub": str(hub),
            "sound": report.sound,
            "running": report.running,
            "records": report.records,
            "file_bytes": report.file_bytes,
            "commit_number": report.commit_number,
            "hidden_by": report.hidden_by,
            "findings": [{"kind": one.kind, "what": one.what, "remedy": one.remedy} for one in report.findings],
            "remaining": len(report.remaining),
            "kept": None if report.kept is None else str(report.kept),
            "set_aside": None if report.set_aside is None else str(report.set_aside),
        },
        *check_lines(hub, report, repair),
    )
    if not report.sound:
        sys.exit(1)


@perdure.command()
@click.argument("hub", type=_path)
@click.argument("destination", type=_path)
@_json_option
def backup(hub: Path, destination: Path, presenter: Presenter) -> None:
    """Copy a hub, which may be running, into a new folder.

    The copy is one commit exactly. It is checked, and gets its name when it is complete.
    """
    with presenter.progress() as progress:
        report = back_up(hub_in(hub), destination, progress)
    _show_copy(presenter, report, f"backed up to {report.folder}")


@perdure.command()
@click.argument("saved", metavar="BACKUP", type=_path)
@click.argument("hub", type=_path)
@click.option("--replace", is_flag=True, help="Put it in the place of a hub that is there; that one is kept beside it.")
@_json_option
def restore(saved: Path, hub: Path, replace: bool, presenter: Presenter) -> None:
    """Make a hub of a backup, which stays as it is.

    HUB is the folder that the hub is to have, such as bank.db/bank.
    """
    with presenter.progress() as progress:
        report = restore_hub(saved, hub, replace=replace, progress=progress)
    kept = f"; the hub that was there is kept as {report.replaced}" if report.replaced is not None else ""
    _show_copy(presenter, report, f"restored to {report.folder}{kept}")


@perdure.command()
@click.argument("hub", type=_path)
@_json_option
def compact(hub: Path, presenter: Presenter) -> None:
    """Make the file of a hub that nobody runs as small as its data.

    What was deleted is then gone from this file; the disk may still have it.
    """
    with presenter.progress() as progress:
        report = compact_hub(hub_in(hub), progress)
    _show_copy(presenter, report, f"compacted {report.folder} from {in_bytes(report.source_bytes)}")


@perdure.command("export")
@click.argument("hub", type=_path)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@_json_option
def export(hub: Path, file: Path, presenter: Presenter) -> None:
    """Write a hub, which may be running, as JSON lines to a new FILE, or to the standard output."""
    hub = hub_in(hub)
    if str(file) == "-":
        if presenter.as_json:
            raise click.UsageError("--json needs a FILE: the export itself goes to the standard output")
        export_hub(hub, sys.stdout)
        return
    if file.exists():
        raise StorageUnusable(f"{file} exists already, and nothing is overwritten. Choose another name, or move it away")
    unfinished = file.with_name(file.name + ".unfinished")
    try:
        with presenter.progress() as progress, unfinished.open("w", encoding="utf-8") as out:
            report = export_hub(hub, out, progress)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    damaged = f", {report.damaged} of them damaged" if report.damaged else ""
    presenter.show(
        {"file": str(file), "records": report.records, "damaged": report.damaged},
        f"exported {report.records} records{damaged} to {file}",
    )


@perdure.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.argument("hub", type=_path)
@_json_option
def import_(file: IO[str], hub: Path, presenter: Presenter) -> None:
    """Make a new hub of an export; FILE may be - for the standard input.

    HUB is the folder that the hub is to have, such as bank.db/bank.
    """
    try:
        with presenter.progress() as progress:
            records = import_hub(file, hub, progress)
    except UnicodeDecodeError as error:
        raise StorageUnusable(f"{file.name} is no export: it is not UTF-8 ({error})") from error
    presenter.show({"hub": str(hub), "records": records}, f"imported {records} records to {hub}")


def _show_copy(presenter: Presenter, report: CopyReport, did: str) -> None:
    presenter.show(
        {
            "folder": str(report.folder),
            "commit_number": report.commit_number,
            "records": report.records,
            "file_bytes": report.file_bytes,
            "source_bytes": report.source_bytes,
            "replaced": None if report.replaced is None else str(report.replaced),
        },
        f"{did}: {report.records} records, {in_bytes(report.file_bytes)}, commit {report.commit_number}",
    )
