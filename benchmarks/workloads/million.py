"""A large hub: 1,000,000 orchestrations that wait for an event each, and 1,000,000 entities. Takes minutes.

They are made through batches, as fast as that goes, and the process ends in order. A new process opens the hub: it is *ready*
when a new orchestration has its result, counted from the start of that process. W1 to W5 run on it and on an empty hub: how many
times longer they take there; W1 and W2 also on entities that are scattered among the million, each in another page of the
file. Then the process is killed, and another one opens it.
Memory (``RssAnon``) is without mapped files. Bare Python, memory: a process with as many plain objects and suspended coroutines.
"""

from __future__ import annotations

import json
import sys
from time import monotonic

import trio

from ..figures import MEGABYTES, RATE, SECONDS, TIMES, Figure
from ..measuring import Run, Timer
from ..workload import Workload
from .parked_hub import program, told_then_ended

_PROGRAM = [sys.executable, "-m", "benchmarks.workloads.million_hub"]


async def _run(run: Run) -> list[Figure]:
    orchestrations, entities = run.count(1_000_000, 10), run.count(1_000_000, 10)
    amount = orchestrations + entities
    folder = str(run.folder)
    with Timer(run):
        created = told_then_ended([*program("create"), folder, str(orchestrations), str(entities)], kill=False)
    with Timer(run):
        started = monotonic()
        told = told_then_ended([*_PROGRAM, "beside", folder, str(run.scale), str(entities)], kill=True)
    restarted = monotonic()
    again = told_then_ended([*_PROGRAM, "reopen", folder], kill=False)
    bare = await trio.run_process([*program("bare"), folder, str(orchestrations), str(entities)], capture_stdout=True)
    bare_memory = float(json.loads(bare.stdout))
    return [
        Figure("created", RATE, created["rate"], operations=amount, cpu_us=created["cpu_us"], commits=created["commits"]),
        Figure("memory after creating", MEGABYTES, created["memory"], bare=bare_memory),
        Figure("ready", SECONDS, told["ready"] - started),
        Figure("ready after kill -9", SECONDS, again["ready"] - restarted),
        Figure("memory when ready", MEGABYTES, told["memory"], bare=bare_memory),
        Figure("memory after W1 to W5", MEGABYTES, told["memory after"], bare=bare_memory),
        *(
            Figure(f"{name}, times slower", TIMES, seconds["full"] / seconds["empty"])
            for name, seconds in told["seconds"].items()
        ),
    ]


WORKLOAD = Workload(
    "million",
    "1,000,000 waiting orchestrations and 1,000,000 entities: ready, memory, W1 to W5 beside them",
    _run,
    asked_only=True,
)
