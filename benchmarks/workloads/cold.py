"""W7, a cold start: from the start of the process to the first result of a new hub; importing; memory.

The process opens a new hub, starts an orchestration of one activity, and has its result. Byte code is compiled and files
are in the page cache: an unmeasured start comes first. Memory is what the process holds after the result (``RssAnon``).

LMDB alone: a process that makes an environment and commits one record. Bare Python: an interpreter that does nothing; for
importing, the import of the packages that the hub is built on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import monotonic

import trio

from ..figures import MEGABYTES, MILLISECONDS, Figure
from ..measuring import Run, Timer
from ..workload import Workload


async def _run(run: Run) -> list[Figure]:
    await measured_program("cold_hub", run.folder / "warm-up")
    with Timer(run):
        first, memory = await measured_program("cold_hub", run.folder / "hub")
        lmdb, _ = await measured_program("cold_limits", "lmdb_alone", run.folder / "lmdb")
        nothing, _ = await measured_program("cold_limits", "nothing", run.folder)
        _, imported = await measured_program("cold_limits", "framework", run.folder)
        _, dependencies = await measured_program("cold_limits", "dependencies", run.folder)
    return [
        Figure("process start to first result", MILLISECONDS, 1e3 * first, lmdb=1e3 * lmdb, bare=1e3 * nothing),
        Figure("import perdure.hub", MILLISECONDS, 1e3 * imported, bare=1e3 * dependencies),
        Figure("memory after the first result", MEGABYTES, memory),
    ]


async def measured_program(module: str, *arguments: str | Path) -> tuple[float, float]:
    """Seconds from the start of the process until the program has done what it is about, and its own figure."""
    command = [sys.executable, "-m", f"benchmarks.workloads.{module}", *map(str, arguments)]
    # Where an environment forbids byte code, each start compiles everything anew: nobody who has installed a program pays for that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = monotonic()
    done = await trio.run_process(command, capture_stdout=True, env=environment)
    reached, figure = json.loads(done.stdout)
    return reached - started, figure


WORKLOAD = Workload("cold", "W7: a fresh process to its first result, importing, memory", _run)
