"""Results as a table for people, on a terminal or through a pipe."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table

from .figures import MEGABYTES, MILLISECONDS, SECONDS
from .machine import WITHOUT_DISK
from .results import Results, Summary

_PIPE_WIDTH = 160
_SHARED_FROM = 0.05


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
    for title in ("median", "min .. max", "target", "LMDB alone", "bare Python", "CPU us/op", "commits"):
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
    def shown(value: float | None) -> str:
        return "" if value is None else f"{number(value)} {figure.unit}"

    mark = {None: "", True: " ok", False: " MISSED"}[figure.on_target]
    spread = "" if len(figure.values) == 1 else f"{number(figure.min)} .. {number(figure.max)}"
    return [
        shown(figure.median),
        spread,
        shown(figure.target) + mark,
        shown(figure.lmdb),
        shown(figure.bare),
        "" if figure.cpu_us is None else number(figure.cpu_us),
        "" if figure.commits is None else f"{figure.commits:,}",
    ]


def _notes(results: Results, before: Results | None) -> list[str]:
    machine, settings = results.machine, results.settings
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    notes = [
        "",
        f"{machine['cpu_count']} x {machine['processor']}, {machine['system']}, {machine['file_system']}; {machine['python']}; {versions}",
        f"{machine['date']}; median of {settings['runs']:g} runs, each in a fresh process and folder; durable, default settings",
        f"Units: /s more is better; {MILLISECONDS}, {SECONDS}, {MEGABYTES} (10**6 bytes) and x less is better.",
    ]
    if before is not None:
        notes.append(f"gain: against the results of {before.machine['date']}; above 1 is better, whatever the unit.")
        if before.settings["scale"] != settings["scale"]:
            notes.append("WARNING: those were run at another size; the gains say little.")
    if settings["scale"] < 1:
        notes.append(f"WARNING: run at {settings['scale']:g} of the full size: good to see that it works, not to quote.")
    if machine["file_system"] in WITHOUT_DISK:
        notes.append("WARNING: the folder is in memory, so nothing here was durable; choose one on a disk with --folder.")
    shared = {name: result.foreign_cpu for name, result in results.workloads.items() if result.foreign_cpu >= _SHARED_FROM}
    if shared:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in shared.items())
        notes.append(f"WARNING: the machine was shared; other processes used up to this much of all cores: {shares}.")
    return notes


def number(value: float) -> str:
    """A number with three significant digits or more, and thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
