"""Results as a table for people, on a terminal or through a pipe."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table

from .figures import MEGABYTES, MILLISECONDS, SECONDS
from .machine import WITHOUT_DISK
from .results import Results, Summary

_PIPE_WIDTH = 180
_SHARED_FROM = 0.05

UNITS = f"/s more is better; {MILLISECONDS}, {SECONDS}, {MEGABYTES} (10**6 bytes) and x less is better"


def show(results: Results, before: Results | None, file: TextIO) -> None:
    """Print results, and how much better they are than earlier ones.

    Args:
      results: what was found.
      before: earlier results to compare with.
      file: where to.
    """
    terminal = file.isatty()
    console = Console(file=file, width=None if terminal else _PIPE_WIDTH, highlight=False)
    gains = {} if before is None else results.gains(before)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("workload", "figure"):
        table.add_column(title, no_wrap=not terminal)
    for title in ("median", "min .. max", "target", "LMDB alone", "bare Python", "CPU us/op", "commits/op"):
        table.add_column(title, justify="right", no_wrap=True)
    if before is not None:
        table.add_column("gain", justify="right", no_wrap=True)
    for name, result in results.workloads.items():
        for place, figure in enumerate(result.figures):
            row = [name if not place else "", figure.name, *_cells(figure)]
            if before is not None:
                ratio = gains.get((name, figure.name))
                row.append("" if ratio is None else f"{ratio:.2f}x")
            table.add_row(*row)
    console.print(table)
    for line in _notes(results, before):
        console.print(line, soft_wrap=True)


def _cells(figure: Summary) -> list[str]:
    mark = {None: "", True: " ok", False: " MISSED"}[figure.on_target]
    return [
        with_unit(figure.median, figure.unit),
        spread(figure),
        with_unit(figure.target, figure.unit) + mark,
        with_unit(figure.lmdb, figure.unit),
        with_unit(figure.bare, figure.unit),
        "" if figure.cpu_us is None else number(figure.cpu_us),
        "" if figure.commits_each is None else number(figure.commits_each),
    ]


def _notes(results: Results, before: Results | None) -> list[str]:
    runs = {len(figure.values) for result in results.workloads.values() for figure in result.figures}
    scales = {result.scale for result in results.workloads.values()}
    notes = [
        "",
        machine_line(results),
        f"median of {' or '.join(map(str, sorted(runs)))} runs, each in a fresh process and folder; durable, default settings",
        f"Units: {UNITS}.",
    ]
    if before is not None:
        notes.append(f"gain: against the results of {before.machine['date']}; above 1 is better, whatever the unit.")
        if any(
            before.workloads[name].scale != result.scale for name, result in results.workloads.items() if name in before.workloads
        ):
            notes.append("WARNING: those were run at another size; the gains say little.")
    if min(scales) < 1:
        notes.append(f"WARNING: run at {min(scales):g} of the full size: good to see that it works, not to quote.")
    if results.machine["file_system"] in WITHOUT_DISK:
        notes.append("WARNING: the folder is in memory, so nothing here was durable; choose one on a disk with --folder.")
    if shares := shared(results):
        notes.append(f"WARNING: the machine was shared; other processes used up to this much of all cores: {shares}.")
    return notes


def machine_line(results: Results) -> str:
    """The machine and the versions, in one line."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    place = f"{machine['cpu_count']} x {machine['processor']}, {machine['system']}, {machine['file_system']}"
    return f"{place}; {machine['python']}; {versions}; {machine['date']}"


def shared(results: Results) -> str:
    """The workloads that others disturbed, each with the share of the cores that they used; empty if there is none."""
    disturbed = {name: result.foreign_cpu for name, result in results.workloads.items() if result.foreign_cpu >= _SHARED_FROM}
    return ", ".join(f"{name} {share:.0%}" for name, share in disturbed.items())


def with_unit(value: float | None, unit: str) -> str:
    """A value with its unit, empty for ``None``."""
    return "" if value is None else f"{number(value)} {unit}"


def spread(figure: Summary) -> str:
    """The least and the largest value, empty if there is only one."""
    return "" if len(figure.values) == 1 else f"{number(figure.min)} .. {number(figure.max)}"


def number(value: float) -> str:
    """A number with three significant digits or more, and thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
