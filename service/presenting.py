"""How the ``perdure`` command speaks: text for people, one JSON object for programs, a progress bar on a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..hub.checkup import CheckReport
from ..storage.errors import StorageUnusable
from ..storage.lmdb_backup import Progress as Told
from ..storage.lmdb_backup import no_progress
from ..storage.lmdb_folder import MARKER_FILE

FINDINGS_SHOWN: Final = 50
"""So many findings are shown to people; programs get all of them."""


@frozen
class Presenter:
    """Says what was done.

    Attributes:
      as_json: to a program.
    """

    as_json: bool

    def show(self, fields: dict[str, Any], *lines: str) -> None:
        """Say what was done: as fields to a program, as lines to people."""
        click.echo(json.dumps(fields, ensure_ascii=False) if self.as_json else "\n".join(lines))

    def fail(self, error: Exception) -> None:
        """Say what went wrong."""
        if self.as_json:
            click.echo(json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False))
        else:
            click.echo(f"perdure: {error}", err=True)

    @contextmanager
    def progress(self) -> Generator[Told]:
        """A bar on the terminal while the block runs; nothing where there is none."""
        console = Console(stderr=True)
        if self.as_json or not console.is_terminal:
            yield no_progress
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None)

            def tell(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total if total > 1 else None)

            yield tell


def hub_in(path: Path) -> Path:
    """The hub that a path means: itself, or the only one in it.

    Raises:
      StorageUnusable: there are several in it, or it does not exist.
    """
    if not path.is_dir() or (path / MARKER_FILE).exists():
        return path
    hubs = sorted(marker.parent for marker in path.glob(f"*/{MARKER_FILE}") if "." not in marker.parent.name)
    if len(hubs) > 1:
        raise StorageUnusable(f"{path} holds several hubs; name one of them: {', '.join(map(str, hubs))}")
    return hubs[0] if hubs else path


def check_lines(hub: Path, report: CheckReport, repair: bool) -> Iterator[str]:
    """What a check came to, for people."""
    beside = ", on a copy beside the running hub" if report.running else ""
    records = sum(report.records.values())
    yield f"{hub}: {records} records, {in_bytes(report.file_bytes)}, commit {report.commit_number}{beside}"
    if report.hidden_by is not None:
        yield f"what the records hold is hidden by the codec {report.hidden_by!r}: keys, checksums and counters were checked"
    for finding in report.findings[:FINDINGS_SHOWN]:
        yield f"  {finding.kind}: {finding.what}"
        if finding.remedy:
            yield f"      repair: {finding.remedy}"
    if len(report.findings) > FINDINGS_SHOWN:
        kinds = Counter(finding.kind for finding in report.findings)
        yield f"  ... {len(report.findings)} in all: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    if report.kept is not None:
        yield f"the folder with the damaged pages is kept as {report.kept}"
    if report.set_aside is not None:
        yield f"what was taken out is kept in {report.set_aside}"
    if not report.findings:
        yield "sound"
    elif report.sound:
        yield "mended"
    elif repair:
        yield f"{len(report.remaining)} findings remain"
    elif any(finding.remedy and not finding.remedy.startswith("none") for finding in report.findings):
        yield "something is wrong; 'perdure check --repair' mends what can be mended"
    else:
        yield "something is wrong"


def in_bytes(count: int) -> str:
    """A size for people."""
    if count < 10_000:
        return f"{count} bytes"
    size, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{size:.1f} {unit}"
