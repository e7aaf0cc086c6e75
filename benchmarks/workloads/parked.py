"""Parked instances: 100,000 orchestrations that wait for an event each, and 200,000 entities with a small state.

They are created in groups of 1,000; then the memory of the process is read: what is parked is to cost disk, and no memory
(``RssAnon``: without mapped files, of which LMDB's is one). A fresh process then opens the hub: the time until
``wait_idle`` has returned, and its memory. Last it raises an event to 1,000 of them, spread evenly, and waits for their
results: each is read back and replayed.

LMDB alone, opening: opening the same data and reading one record. Bare Python, memory: a process with as many plain
objects and suspended coroutines, kept nowhere.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio
from perdure.hub import TaskHub

from ..definitions import Account
from ..figures import MEGABYTES, RATE, Figure
from ..measuring import HUB_NAME, Run, Timer, anonymous_megabytes
from ..workload import Workload
from .parked_hub import entity_count, entity_key, instance_name, orchestration_count, parked

_GROUP = 1000


async def _run(run: Run) -> list[Figure]:
    entities, orchestrations = entity_count(run), orchestration_count(run)
    # The plain default storage: noting what is written, as other workloads do, would take memory.
    async with TaskHub(HUB_NAME, [Account, parked], storage=run.folder / "hub") as hub:
        with Timer(run) as timer:
            for group in _groups(orchestrations):
                async with hub.batch() as batch:
                    for number in group:
                        batch.start(parked, number, instance_id=instance_name(number))
            for group in _groups(entities):
                async with hub.batch() as batch:
                    for number in group:
                        batch.signal_entity(Account.at(entity_key(number)), Account.deposit, 1)
            await hub.wait_idle()
        memory = anonymous_megabytes()
        commits = hub.statistics().commits
    created = orchestrations + entities
    bare = await _program("bare", run)
    reopened = await _program("reopen", run)
    run.foreign_cpu.extend(reopened["foreign_cpu"])
    return [
        Figure("created", RATE, created / timer.seconds, operations=created, cpu_us=timer.cpu_us(created), commits=commits),
        Figure("memory after creating", MEGABYTES, memory, bare=bare, target=300),
        *(Figure(**figure) for figure in reopened["figures"]),
    ]


def _groups(amount: int) -> list[range]:
    return [range(first, min(first + _GROUP, amount)) for first in range(0, amount, _GROUP)]


async def _program(name: str, run: Run) -> Any:
    command = [sys.executable, "-m", "benchmarks.workloads.parked_hub", name, str(run.folder), str(run.scale)]
    done = await trio.run_process(command, capture_stdout=True)
    return json.loads(done.stdout)


WORKLOAD = Workload("parked", "100,000 waiting orchestrations and 200,000 entities: memory, opening, waking 1,000", _run)
