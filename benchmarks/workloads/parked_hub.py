"""The programs of the workload parked that need a process of their own: see :mod:`benchmarks.workloads.parked`.

``python -m benchmarks.workloads.parked_hub reopen FOLDER SCALE`` opens what was created, raises events, and prints its
figures as JSON; ``... bare FOLDER SCALE`` prints how much memory as many plain objects and suspended coroutines take.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Generator
from pathlib import Path
from time import perf_counter

import lmdb
import trio
from attrs import asdict
from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account
from ..figures import MEGABYTES, SECONDS, Figure
from ..measuring import HUB_NAME, Run, anonymous_megabytes, check


@orchestrator
async def parked(ctx: OrchestrationContext, number: int) -> int:
    """Wait for an event, and return what it brings, added to the number."""
    return number + await ctx.wait_for_external_event("go", int)


def instance_name(number: int) -> str:
    """The id of the instance of that number."""
    return f"parked-{number}"


def orchestration_count(run: Run) -> int:
    """How many orchestrations are parked."""
    return run.count(100_000, 10)


def entity_count(run: Run) -> int:
    """How many entities there are."""
    return run.count(200_000, 10)


def entity_key(number: int) -> str:
    """The key of the entity of that number."""
    return f"account-{number}"


async def reopen(run: Run) -> list[Figure]:
    """Open the hub that was created, and let some of the instances go on."""
    amount = orchestration_count(run)
    woken = range(0, amount, max(1, amount // 1000))
    started = perf_counter()
    async with run.hub([Account, parked]) as (hub, watch):
        await hub.wait_idle()
        opened = perf_counter() - started
        memory = anonymous_megabytes()
        with watch.stretch() as stretch:
            async with hub.batch() as batch:
                for number in woken:
                    batch.raise_event(instance_name(number), "go", 1)
            results = [await hub.instance(instance_name(number)).result() for number in woken]
        check("the sum of the results", sum(results), sum(woken) + len(woken))
    return [
        Figure("opening", SECONDS, opened, lmdb=_open_lmdb(run.folder / "hub" / HUB_NAME.lower()), target=1),
        Figure("memory after opening", MEGABYTES, memory),
        stretch.duration("1,000 events to completion", len(woken), bare_seconds=None),
        Figure("memory after the events", MEGABYTES, anonymous_megabytes()),
    ]


def _open_lmdb(folder: Path) -> float:
    """Seconds for LMDB alone to open the same data and read one record."""
    started = perf_counter()
    with lmdb.open(str(folder), map_size=64 << 30, max_dbs=1, readonly=True) as environment:
        handle = environment.open_db(b"instances", create=False)
        with environment.begin(handle) as transaction, transaction.cursor() as cursor:
            check("there is a record", cursor.first(), True)
    return perf_counter() - started


def bare_megabytes(run: Run) -> float:
    """Memory of as many plain objects in a dictionary, and suspended coroutines in another."""

    @types.coroutine
    def wait() -> Generator[None, int, int]:
        return (yield)

    async def waiting(number: int) -> int:
        return number + await wait()

    accounts = {entity_key(number): Account(1) for number in range(entity_count(run))}
    coroutines = {instance_name(number): waiting(number) for number in range(orchestration_count(run))}
    for coroutine in coroutines.values():
        coroutine.send(None)
    megabytes = anonymous_megabytes()
    for coroutine in coroutines.values():
        coroutine.close()
    check("the number of plain objects", len(accounts), entity_count(run))
    return megabytes


def main(program: str, folder: str, scale: str) -> None:
    """Run one of the programs and print what it found as JSON."""
    run = Run(Path(folder), float(scale))
    if program == "reopen":
        figures = trio.run(reopen, run)
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "foreign_cpu": run.foreign_cpu}))
    else:
        print(json.dumps(bare_megabytes(run)))


if __name__ == "__main__":
    main(*sys.argv[1:])
