"""Results as Markdown: the table of targets, and all figures under the commands that gave them.

``benchmarks/RESULTS.md`` holds both between two marks, and prose around them: what stands between the marks is written by
``python -m benchmarks --show FILE ... --into benchmarks/RESULTS.md``, and by nobody's hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .figures import gain
from .report import UNITS, machine_line, number, shared, spread, with_unit
from .results import Results, Summary
from .targets import TARGETS, Target

BEGIN = "<!-- figures: from here on written by python -m benchmarks --into -->"
END = "<!-- figures: to here -->"


def target_table(results: Results) -> str:
    """Each target, what the best durable peer reaches, what was reached, whether that is enough, and the ratio to the peer."""
    rows = [
        [target.what, _peer(target), with_unit(target.value, target.unit), *_reached(target, results), _to_peer(target, results)]
        for target in TARGETS
    ]
    return _table(["workload", "best durable peer", "to reach", "median", "min .. max", "reached", "to the peer"], rows, words=2)


def figure_tables(results: Results) -> str:
    """All figures, a table for each command."""
    parts: list[str] = []
    for command, date in dict.fromkeys((result.command, result.date) for result in results.workloads.values()):
        names = [name for name, result in results.workloads.items() if (result.command, result.date) == (command, date)]
        rows = [
            [name if not place else "", figure.name, *_cells(figure)]
            for name in names
            for place, figure in enumerate(results.workloads[name].figures)
        ]
        runs = max(len(figure.values) for name in names for figure in results.workloads[name].figures)
        head = [
            "workload",
            "figure",
            "median",
            "min .. max",
            "LMDB alone",
            "bare Python",
            "CPU µs an operation",
            "commits an operation",
        ]
        parts.append(
            f"`{command}`, {date}, {'one run' if runs == 1 else f'median of {runs} runs'}:\n\n{_table(head, rows, words=2)}"
        )
    return "\n\n".join(parts)


def parts_around(file: Path) -> tuple[str, str]:
    """What stands before the first mark of a file, and after the second.

    Raises:
      ValueError: it has not both marks, in this order.
      OSError: it cannot be read.
    """
    head, begin, rest = file.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file} has no place for figures: it needs the line {BEGIN!r}, and below it {END!r}")
    return head, tail


def write_into(file: Path, results: Results) -> None:
    """Put the machine, the targets and the figures between the marks of a file.

    Raises:
      ValueError: it has not both marks, in this order; nothing is written.
      OSError: it cannot be read or written.
    """
    head, tail = parts_around(file)
    disturbed = shared(results)
    parts = [
        f"{machine_line(results)}. Units: {UNITS}.",
        *([f"Other processes used up to this much of all cores meanwhile: {disturbed}."] if disturbed else []),
        "## Targets",
        target_table(results),
        "## All figures",
        figure_tables(results),
    ]
    file.write_text("\n\n".join([head + BEGIN, *parts, END + tail]))


def _reached(target: Target, results: Results) -> Sequence[str]:
    figure = results.figure(target.workload, target.figure)
    if figure is None:
        return ("not run", "", "")
    # Without a target of its own the figure is from a smaller run, which proves nothing.
    answer = {True: "yes", False: "**no**", None: "not at full size"}[figure.on_target]
    return (with_unit(figure.median, figure.unit), spread(figure), answer)


def _peer(target: Target) -> str:
    if target.peer is None:
        return "-"
    value = with_unit(target.peer.value, target.peer.unit)
    return f"{value} ({target.peer.note})" if target.peer.note else value


def _to_peer(target: Target, results: Results) -> str:
    """How many times better than the peer."""
    if target.peer is None:
        return ""
    figure = results.figure(target.workload, target.peer.figure or target.figure)
    return "" if figure is None else f"{number(gain(target.peer.unit, target.peer.value, figure.median))} x"


def _cells(figure: Summary) -> list[str]:
    return [
        with_unit(figure.median, figure.unit),
        spread(figure),
        with_unit(figure.lmdb, figure.unit),
        with_unit(figure.bare, figure.unit),
        "" if figure.cpu_us is None else number(figure.cpu_us),
        "" if figure.commits_each is None else number(figure.commits_each),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    """A table of which that many columns hold words, and the others figures."""
    aligned = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, aligned, *rows))
