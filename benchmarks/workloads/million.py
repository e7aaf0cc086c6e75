"""A large hub: 1,000,000 orchestrations that wait for an event each, and 1,000,000 entities. Takes minutes.

They are made through batches, as fast as that goes, and the process is killed. A new process opens the hub: it is *ready* when
a new orchestration has its result, counted from the start of that process, once after the kill and once after an orderly stop.
Memory (``RssAnon``) is without mapped files. Then W1 to W5 run on it, with entities from among the million, and on an empty
hub: how many times longer they take there. Bare Python, memory: a process with as many plain objects and suspended coroutines.
"""

from __future__ import annotations

import json
import sys
from time import monotonic
from typing import Any

import trio

from ..figures import MEGABYTES, RATE, SECONDS, TIMES, Figure
from ..measuring import Run, Timer
from ..workload import Workload
from .parked_hub import create_and_kill, program


async def _run(run: Run) -> list[Figure]:
    orchestrations, entities = run.count(1_000_000, 10), run.count(1_000_000, 10)
    amount = orchestrations + entities
    with Timer(run):
        created = create_and_kill(run.folder, orchestrations, entities)
    killed, _ = await _program(run, "reopen")
    with Timer(run):
        closed, told = await _program(run, "beside", str(run.scale), str(entities))
    bare = await trio.run_process([*program("bare"), str(run.folder), str(orchestrations), str(entities)], capture_stdout=True)
    bare_memory = float(json.loads(bare.stdout))
    return [
        Figure("created", RATE, created["rate"], operations=amount, cpu_us=created["cpu_us"], commits=created["commits"]),
        Figure("memory after creating", MEGABYTES, created["memory"], bare=bare_memory),
        Figure("ready", SECONDS, closed),
        Figure("ready after kill -9", SECONDS, killed),
        Figure("memory when ready", MEGABYTES, told["memory"], bare=bare_memory),
        Figure("memory after W1 to W5", MEGABYTES, told["memory after"], bare=bare_memory),
        *(Figure(f"{name}, times slower", TIMES, seconds["full"] / seconds["empty"]) for name, seconds in told["slower"].items()),
    ]


async def _program(run: Run, name: str, *arguments: str) -> tuple[float, Any]:
    """Seconds from the start of the process until the hub was ready, and all that the program printed."""
    command = [sys.executable, "-m", "benchmarks.workloads.million_hub", name, str(run.folder), *arguments]
    started = monotonic()
    done = await trio.run_process(command, capture_stdout=True)
    told = json.loads(done.stdout)
    return told["ready"] - started, told


WORKLOAD = Workload(
    "million",
    "1,000,000 waiting orchestrations and 1,000,000 entities: ready, memory, W1 to W5 beside them",
    _run,
    asked_only=True,
)
