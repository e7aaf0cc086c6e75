"""What a workload gives back: figures, each with its two limits."""

from __future__ import annotations

from attrs import evolve, frozen

RATE = "/s"
MILLISECONDS = "ms"
SECONDS = "s"
MEGABYTES = "MB"
TIMES = "x"

_SECONDS_OF = {MILLISECONDS: 1e-3, SECONDS: 1.0}


@frozen
class Figure:
    """One figure of one run. What it is to reach is said in :mod:`benchmarks.targets`.

    Attributes:
      name: what it says, such as ``64 clients``; unique within its workload.
      unit: ``/s`` (more is better), or ``ms``, ``s``, ``MB`` (10**6 bytes), ``x`` (less is better).
      value: the figure.
      lmdb: the same of LMDB alone; ``None`` where that means nothing.
      bare: the same of bare Python calls; ``None`` where that means nothing.
      operations: how many operations it covers.
      cpu_us: process time an operation, all threads, user and system, microseconds.
      commits: commits in the measured stretch.
    """

    name: str
    unit: str
    value: float
    lmdb: float | None = None
    bare: float | None = None
    operations: int = 1
    cpu_us: float | None = None
    commits: int | None = None

    def with_limits(self, lmdb: float | None, bare: float | None) -> Figure:
        """The same with its two limits."""
        return evolve(self, lmdb=lmdb, bare=bare)


def in_commits(figure: Figure, commit_seconds: float) -> Figure:
    """A duration as a multiple of what LMDB's one-put commits took in the same run: a ratio that a faster disk leaves as it is.

    Args:
      figure: a duration, in ms or s.
      commit_seconds: what to compare it with, in seconds.
    """
    unit = commit_seconds / _SECONDS_OF[figure.unit]
    return Figure(
        f"{figure.name}, in one-put commits",
        TIMES,
        figure.value / unit,
        None if figure.lmdb is None else figure.lmdb / unit,
        None if figure.bare is None else figure.bare / unit,
        figure.operations,
    )


def more_is_better(unit: str) -> bool:
    """Whether a larger figure of this unit is the better one."""
    return unit == RATE


def gain(unit: str, before: float, now: float) -> float:
    """How much better a figure has become: above 1 is better, whatever the unit."""
    better, worse = (now, before) if more_is_better(unit) else (before, now)
    return better / worse if worse else float("inf")
