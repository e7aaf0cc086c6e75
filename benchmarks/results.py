"""Figures of several runs, and the file that keeps them.

The file is a JSON object::

    {
      "format": 2,
      "machine": {"date", "cpu_count", "processor", "system", "python", "versions", "file_system"},
      "workloads": {
        "transfer": {
          "measures": "one line",
          "command": "python -m benchmarks transfer",
          "date": "2026-01-01T00:00:00+00:00",
          "scale": 1.0,
          "foreign_cpu": 0.02,
          "figures": [
            {"name": "64 clients", "unit": "/s", "median": 1.0, "min": 1.0, "max": 1.0, "values": [1.0],
             "target": 1.0 or null, "lmdb": 1.0 or null, "bare": 1.0 or null,
             "operations": 1, "cpu_us": 1.0 or null, "commits": 1 or null}
          ]
        }
      }
    }

``values`` are in the order of the runs; ``lmdb``, ``bare``, ``cpu_us`` and ``commits`` are medians. ``foreign_cpu`` is the
largest share of all cores that other processes used in a timed stretch: above some hundredths, the machine was shared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cattrs
from attrs import asdict, evolve, frozen

from .figures import Figure, gain, more_is_better
from .targets import target_of

FORMAT = 2


@frozen
class Summary:
    """One figure over all runs; see above."""

    name: str
    unit: str
    median: float
    min: float
    max: float
    values: list[float]
    target: float | None
    lmdb: float | None
    bare: float | None
    operations: int
    cpu_us: float | None
    commits: int | None

    @property
    def on_target(self) -> bool | None:
        """Whether the median reaches its target; ``None`` without one."""
        if self.target is None:
            return None
        return self.median >= self.target if more_is_better(self.unit) else self.median <= self.target

    @property
    def commits_each(self) -> float | None:
        """Commits an operation."""
        return None if self.commits is None else self.commits / self.operations


@frozen
class WorkloadResult:
    """The figures of one workload; see above."""

    measures: str
    command: str
    date: str
    scale: float
    foreign_cpu: float
    figures: list[Summary]


@frozen
class Results:
    """Everything that one call of the benchmarks found, or several; see above."""

    format: int
    machine: dict[str, Any]
    workloads: dict[str, WorkloadResult]

    def save(self, file: Path) -> None:
        """Write the file."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, file: Path) -> Results:
        """Read such a file.

        Raises:
          ValueError: it is no such file, or of another format.
          OSError: it cannot be read.
        """
        try:
            content = json.loads(file.read_text())
            written = content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} holds no results of these benchmarks ({error!r})") from error
        if written != FORMAT:
            raise ValueError(f"{file} has format {written!r}; this program reads {FORMAT}")
        try:
            return cattrs.structure(content, cls)
        except Exception as error:
            raise ValueError(f"{file} holds no results of these benchmarks ({error!r})") from error

    def merged(self, later: Results) -> Results:
        """These and later ones; of a workload that both have, the later one.

        Raises:
          ValueError: they are from different machines.
        """
        for fact in ("processor", "cpu_count", "system", "file_system"):
            mine, other = self.machine.get(fact), later.machine.get(fact)
            if mine != other:
                raise ValueError(f"results of different machines do not belong into one table: {fact} {mine!r} and {other!r}")
        return evolve(later, workloads=self.workloads | later.workloads)

    def figure(self, workload: str, name: str) -> Summary | None:
        """A figure, ``None`` if it was not measured."""
        result = self.workloads.get(workload)
        return next((figure for figure in result.figures if figure.name == name), None) if result else None

    def gains(self, before: Results) -> dict[tuple[str, str], float]:
        """By workload and figure: how much better it is than before; only those that both have, in the same unit."""
        found: dict[tuple[str, str], float] = {}
        for workload, result in self.workloads.items():
            for figure in result.figures:
                earlier = before.figure(workload, figure.name)
                if earlier is not None and earlier.unit == figure.unit:
                    found[workload, figure.name] = gain(figure.unit, earlier.median, figure.median)
        return found


def summarize(workload: str, runs: Sequence[Sequence[Figure]], *, targets: bool) -> list[Summary]:
    """Put the same figures of several runs together; ``targets`` if they are Perdure's and were run at full size."""
    return [_summary(figures, target_of(workload, figures[0].name) if targets else None) for figures in zip(*runs, strict=True)]


def _summary(figures: Sequence[Figure], target: float | None) -> Summary:
    first = figures[0]
    values = [figure.value for figure in figures]

    def middle(field: Callable[[Figure], float | None]) -> float | None:
        known = [value for figure in figures if (value := field(figure)) is not None]
        return median(known) if known else None

    commits = middle(lambda figure: figure.commits)
    return Summary(
        first.name, first.unit, median(values), min(values), max(values), values, target,
        middle(lambda figure: figure.lmdb), middle(lambda figure: figure.bare), first.operations,
        middle(lambda figure: figure.cpu_us), None if commits is None else round(commits),
    )  # fmt: skip
