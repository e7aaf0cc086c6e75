"""Figures of several runs, and the file that keeps them.

The file is a JSON object::

    {
      "format": 1,
      "machine": {"date", "cpu_count", "processor", "system", "python", "versions", "file_system"},
      "settings": {"runs": 5, "scale": 1.0},
      "workloads": {
        "transfer": {
          "measures": "one line",
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
from attrs import asdict, frozen

from .figures import Figure, gain, more_is_better

FORMAT = 1


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


@frozen
class WorkloadResult:
    """The figures of one workload; see above."""

    measures: str
    foreign_cpu: float
    figures: list[Summary]


@frozen
class Results:
    """Everything that one call of the benchmarks found; see above."""

    format: int
    machine: dict[str, Any]
    settings: dict[str, float]
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

    def gains(self, before: Results) -> dict[tuple[str, str], float]:
        """By workload and figure: how much better it is than before; only those that both have, in the same unit."""
        earlier = {
            (workload, figure.name, figure.unit): figure.median
            for workload, result in before.workloads.items()
            for figure in result.figures
        }
        return {
            (workload, figure.name): gain(figure.unit, earlier[workload, figure.name, figure.unit], figure.median)
            for workload, result in self.workloads.items()
            for figure in result.figures
            if (workload, figure.name, figure.unit) in earlier
        }


def summarize(runs: Sequence[Sequence[Figure]], *, targets: bool) -> list[Summary]:
    """Put the same figures of several runs together; ``targets`` if they were run at full size."""
    return [_summary(figures, targets) for figures in zip(*runs, strict=True)]


def _summary(figures: Sequence[Figure], targets: bool) -> Summary:
    first = figures[0]
    values = [figure.value for figure in figures]

    def middle(field: Callable[[Figure], float | None]) -> float | None:
        known = [value for figure in figures if (value := field(figure)) is not None]
        return median(known) if known else None

    commits = middle(lambda figure: figure.commits)
    return Summary(
        first.name, first.unit, median(values), min(values), max(values), values, first.target if targets else None,
        middle(lambda figure: figure.lmdb), middle(lambda figure: figure.bare), first.operations,
        middle(lambda figure: figure.cpu_us), None if commits is None else round(commits),
    )  # fmt: skip
