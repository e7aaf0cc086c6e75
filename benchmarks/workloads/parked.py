"""W8, parked instances: 10,000 orchestrations wait for an event each; their process is killed; they all go on in a new one.

The process is killed with SIGKILL when all are parked. A new one opens the hub: it is *ready* when a new orchestration has its
result, counted from the start of that process. Then 64 clients raise an event to each of the 10,000, and 64 wait for each
result: from the first event to the last result. Memory (``RssAnon``, without mapped files) is read when all are parked, when
the hub is ready again, and a hundred times a second from the second start to the end; what the measuring itself notes down
counts too.

LMDB alone, ready: a process that makes an environment and commits one record; all results: the batches of the second process
alone, in a new environment. Bare Python, ready: an interpreter that does
nothing; memory: a process with as many suspended coroutines, kept nowhere.
"""

from __future__ import annotations

import json
from time import monotonic

import trio

from ..figures import MEGABYTES, RATE, SECONDS, Figure
from ..measuring import Run
from ..workload import Workload
from .cold import measured_program
from .parked_hub import program, told_then_ended


async def _run(run: Run) -> list[Figure]:
    amount = run.count(10_000, 10)
    created = told_then_ended([*program("create"), str(run.folder), str(amount), "0"], kill=True)
    started = monotonic()
    done = await trio.run_process([*program("wake"), str(run.folder), str(amount)], capture_stdout=True)
    woken = json.loads(done.stdout)
    run.foreign_cpu.extend(woken["foreign_cpu"])
    bare = await trio.run_process([*program("bare"), str(run.folder), str(amount), "0"], capture_stdout=True)
    bare_memory = float(json.loads(bare.stdout))
    lmdb, _ = await measured_program("cold_limits", "lmdb_alone", run.folder / "lmdb")
    nothing, _ = await measured_program("cold_limits", "nothing", run.folder)
    return [
        Figure("started", RATE, created["rate"], operations=amount, cpu_us=created["cpu_us"], commits=created["commits"]),
        Figure("memory while parked", MEGABYTES, created["memory"], bare=bare_memory),
        Figure("ready", SECONDS, woken["ready"] - started, lmdb=lmdb, bare=nothing),
        Figure("memory when ready", MEGABYTES, woken["memory"]),
        Figure(**woken["figure"]),
        Figure("most memory", MEGABYTES, max(created["memory"], woken["peak"]), bare=bare_memory),
    ]


WORKLOAD = Workload("parked", "W8: 10,000 waiting orchestrations, kill -9: ready again, all done, memory", _run)
