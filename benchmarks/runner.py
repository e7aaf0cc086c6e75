"""Runs workloads, each run in a fresh process and a fresh folder, one after another."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .figures import Figure
from .machine import facts
from .results import FORMAT, Results, WorkloadResult, summarize
from .workload import Workload

_ROOT = Path(__file__).resolve().parent.parent
_RUN_SECONDS_MAX = 3600
"""A run that takes longer is taken for hanging."""


class RunFailed(Exception):
    """A run ended without figures."""


def run_all(workloads: Sequence[Workload], folder: Path, *, runs: int, scale: float, progress: Callable[[str], None]) -> Results:
    """Run workloads.

    Args:
      workloads: which ones.
      folder: where each run gets a folder of its own, on the disk that is to be measured.
      runs: how often each is run.
      scale: the size of each run; 1 is full.
      progress: is told what runs.

    Raises:
      RunFailed: a run went wrong; what the process said is on standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, WorkloadResult] = {}
    for workload in workloads:
        figures: list[list[Figure]] = []
        foreign: list[float] = []
        for number in range(runs):
            progress(f"{workload.name}: run {number + 1} of {runs}")
            once, disturbed = run_once(workload.name, folder, scale)
            figures.append(once)
            foreign.extend(disturbed)
        summaries = summarize(figures, targets=scale >= 1)
        found[workload.name] = WorkloadResult(workload.measures, max(foreign, default=0.0), summaries)
    return Results(FORMAT, facts(folder), {"runs": runs, "scale": scale}, found)


def run_once(name: str, folder: Path, scale: float) -> tuple[list[Figure], list[float]]:
    """Run a workload once: its figures, and the shares of the cores that others used in its timed stretches.

    Raises:
      RunFailed: the run went wrong.
    """
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder) as own:
        command = [sys.executable, "-m", "benchmarks.child", name, str(Path(own).resolve()), str(scale)]
        try:
            done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True, timeout=_RUN_SECONDS_MAX)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RunFailed(f"a run of {name} gave no figures: {error}") from error
    content: dict[str, Any] = json.loads(done.stdout)
    return [Figure(**figure) for figure in content["figures"]], content["foreign_cpu"]
