"""The programs of the workload million that need a process of their own, once there is the hub.

``python -m benchmarks.workloads.million_hub reopen FOLDER`` opens it and prints when it was ready, and its memory, as JSON.
``... beside FOLDER SCALE ENTITIES`` also runs W1 to W5 on it and on an empty hub, prints how long they took on each, and waits
for the end of its input, or for being killed. W1 and W2 run on 1,000 entities of
their own, as without the million, and once more on 1,000 that are scattered among it. Both
hubs are open in one process, an idle one costs nothing; each load is run on the empty one, twice on the full one, and on the
empty one again, and all that a second time, so that a machine that becomes busier meanwhile counts on both sides.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import trio
from perdure.hub import TaskHub

from ..definitions import account_keys
from ..measuring import HUB_NAME, Run, check
from ..memory import anonymous_megabytes
from .call import call_all
from .fanout import spread, spread_out
from .parked_hub import DEFINITIONS as PARKED
from .parked_hub import entity_key, first_result, tell_and_wait
from .sequence3 import greet_all
from .signals_batch import send_groups, total_balance
from .signals_single import send_singly
from .transfer import move_all, open_accounts, pairs_of, transfer

DEFINITIONS = (*PARKED, spread, transfer)

Load = Callable[[TaskHub], Awaitable[object]]


async def reopen(folder: str) -> None:
    """Open the hub, and close it in good order."""
    async with TaskHub(HUB_NAME, DEFINITIONS, storage=Path(folder) / "hub") as hub:
        print(json.dumps({"ready": await first_result(hub), "memory": anonymous_megabytes()}))


async def beside(folder: str, scale: str, entities: str) -> None:
    """Open the hub, and run W1 to W5 on it and on an empty one."""
    run = Run(Path(folder), float(scale))
    own = account_keys(run.count(1000, 2))
    scattered = [entity_key(number) for number in range(0, int(entities), max(1, int(entities) // 1000))]
    loads = _loads(run, own, scattered)
    async with TaskHub(HUB_NAME, DEFINITIONS, storage=run.folder / "hub") as full:
        told = {"ready": await first_result(full), "memory": anonymous_megabytes()}
        async with TaskHub(HUB_NAME, DEFINITIONS, storage=run.folder / "empty") as empty:
            for hub in (empty, full):
                await open_accounts(hub, own)
                await open_accounts(hub, scattered)
            seconds = {name: await _seconds(load, empty, full) for name, load in loads.items()}
            check("the balances", await total_balance(full, own), await total_balance(empty, own))
            check("theirs", await total_balance(full, scattered), await total_balance(empty, scattered) + len(scattered))
            await tell_and_wait({**told, "seconds": seconds, "memory after": anonymous_megabytes()})


def _loads(run: Run, own: list[str], scattered: list[str]) -> dict[str, Load]:
    pairs = pairs_of(own)

    async def fan_out(hub: TaskHub) -> None:
        for _ in range(run.count(3)):
            await spread_out(hub, run.count(1000, 2))

    def on(keys: list[str], where: str) -> dict[str, Load]:
        return {
            f"W1{where}": lambda hub: send_singly(hub, keys, run.count(25_000), 256),
            f"W1 in batches{where}": lambda hub: send_groups(hub, keys, run.count(50, 2)),
            f"W2{where}": lambda hub: call_all(hub, keys, run.count(25_000), 256),
        }

    return {
        **on(own, ""),
        **on(scattered, " scattered"),
        "W3": lambda hub: greet_all(hub, 3, run.count(2000, 256), 256),
        "W4": fan_out,
        "W5": lambda hub: move_all(hub, pairs, run.count(2000, 64), 64),
    }


async def _seconds(load: Load, empty: TaskHub, full: TaskHub) -> dict[str, float]:
    """Seconds on each of the two hubs."""
    taken = {"empty": 0.0, "full": 0.0}
    for name, hub in (("empty", empty), ("full", full), ("full", full), ("empty", empty)) * 2:
        started = perf_counter()
        await load(hub)
        taken[name] += perf_counter() - started
    return taken


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {main.__name__: main for main in (reopen, beside)}

if __name__ == "__main__":
    trio.run(PROGRAMS[sys.argv[1]], *sys.argv[2:])
