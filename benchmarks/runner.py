"""Runs workloads, each run in a fresh process and a fresh folder, one after another."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from .figures import Figure
from .machine import facts
from .results import FORMAT, Results, WorkloadResult, summarize
from .workload import Workload

OWN_PROGRAM = (sys.executable, "-m", "benchmarks.child")
"""Measures Perdure: it is called with a workload, a folder and a size, and prints figures as JSON."""

_ROOT = Path(__file__).resolve().parent.parent
_RUN_SECONDS_MAX = 3600
"""A run that takes longer is taken for hanging."""


class RunFailed(Exception):
    """A run ended without figures."""


@frozen
class Settings:
    """How to run.

    Attributes:
      folder: where each run gets a folder of its own, on the disk that is to be measured.
      runs: how often each workload is run.
      scale: the size of each run; 1 is full.
      flights: the file for the workload flights-year, if one was given.
      program: what is called for each run; by default Perdure's own.
      command: the command line, as people would type it; goes into the results.
    """

    folder: Path
    runs: int = 1
    scale: float = 1.0
    flights: Path | None = None
    program: Sequence[str] = OWN_PROGRAM
    command: str = ""


def run_all(workloads: Sequence[Workload], settings: Settings, progress: Callable[[str], None]) -> Results:
    """Run workloads.

    Args:
      workloads: which ones.
      settings: how.
      progress: is told what runs.

    Raises:
      RunFailed: a run went wrong; what the process said is on standard error.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    machine = facts(settings.folder)
    found: dict[str, WorkloadResult] = {}
    for workload in workloads:
        figures: list[list[Figure]] = []
        foreign: list[float] = []
        for number in range(settings.runs):
            progress(f"{workload.name}: run {number + 1} of {settings.runs}")
            once, disturbed = run_once(workload.name, settings)
            figures.append(once)
            foreign.extend(disturbed)
        summaries = summarize(workload.name, figures, targets=settings.scale >= 1 and settings.program == OWN_PROGRAM)
        found[workload.name] = WorkloadResult(
            workload.measures, settings.command, str(machine["date"]), settings.scale, max(foreign, default=0.0), summaries
        )
    return Results(FORMAT, machine, found)


def run_once(name: str, settings: Settings) -> tuple[list[Figure], list[float]]:
    """Run a workload once: its figures, and the shares of the cores that others used in its timed stretches.

    Raises:
      RunFailed: the run went wrong.
    """
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=settings.folder) as own:
        command = [*settings.program, name, str(Path(own).resolve()), str(settings.scale)]
        if settings.flights is not None:
            command.append(str(settings.flights.resolve()))
        try:
            done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True, timeout=_RUN_SECONDS_MAX)
        except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise RunFailed(f"a run of {name} gave no figures: {error}") from error
    content: dict[str, Any] = json.loads(done.stdout)
    return [Figure(**figure) for figure in content["figures"]], content["foreign_cpu"]
