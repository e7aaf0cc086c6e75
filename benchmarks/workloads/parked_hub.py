"""A hub with parked orchestrations and entities: the programs, each a process of its own, that make one and wake it again.

``python -m benchmarks.workloads.parked_hub create FOLDER ORCHESTRATIONS ENTITIES`` makes it, prints what that took as a line
of JSON, and then waits for the end of its input, or for being killed. ``... wake FOLDER ORCHESTRATIONS``
opens it again, lets all go on, and prints figures. ``... bare FOLDER ORCHESTRATIONS ENTITIES`` prints how much memory as many
plain objects and suspended coroutines take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import trio
from attrs import asdict
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, greetings, hello
from ..measuring import HUB_NAME, Run, Timer, check, closed_loop
from ..memory import anonymous_megabytes, watched_memory

if TYPE_CHECKING:
    from perdure.hub import ClientBatch

_GROUP = 1000
_CREATORS = 4
_CLIENTS = 64


@orchestrator
async def parked(ctx: OrchestrationContext, number: int) -> int:
    """Wait for an event, and return what it brings, added to the number."""
    return number + await ctx.wait_for_external_event("go", int)


DEFINITIONS = (Account, parked, hello, greetings)


def instance_name(number: int) -> str:
    """The id of the instance of that number; ids sort as their numbers do."""
    return f"parked-{number:08}"


def entity_key(number: int) -> str:
    """The key of the entity of that number; keys sort as their numbers do."""
    return f"account-{number:08}"


def told_then_ended(command: list[str], *, kill: bool) -> Any:
    """Run a program until it has printed its line of JSON, and end it: with SIGKILL, or by the end of its input. What it printed."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if kill:
            process.kill()
        else:
            process.communicate()
    return json.loads(line)


async def tell_and_wait(told: object) -> None:
    """The other side of it: print, and wait for the end of the input, or of this process."""
    print(json.dumps(told), flush=True)
    await trio.to_thread.run_sync(sys.stdin.read)


def program(name: str) -> list[str]:
    """The command of one of these programs, without its arguments."""
    return [sys.executable, "-m", "benchmarks.workloads.parked_hub", name]


async def create(folder: str, orchestrations: str, entities: str) -> None:
    """Make the hub, print what it took, and wait."""
    run = Run(Path(folder), 1.0)
    amount = int(orchestrations) + int(entities)
    async with TaskHub(HUB_NAME, DEFINITIONS, storage=run.folder / "hub") as hub:
        with Timer(run) as timer:
            await _in_groups(hub, int(orchestrations), _start)
            await _in_groups(hub, int(entities), _deposit)
            await hub.wait_idle()
        told = {
            "rate": amount / timer.seconds,
            "cpu_us": timer.cpu_us(amount),
            "commits": hub.statistics().commits,
            "memory": anonymous_megabytes(),
        }
        await tell_and_wait(told)


def _start(batch: ClientBatch, number: int) -> None:
    batch.start(parked, number, instance_id=instance_name(number))


def _deposit(batch: ClientBatch, number: int) -> None:
    batch.signal_entity(Account.at(entity_key(number)), Account.deposit, 1)


async def _in_groups(hub: TaskHub, amount: int, add: Callable[[ClientBatch, int], None]) -> None:
    """As fast as it goes: some clients send batches of 1,000, each its next one when its last was acknowledged."""

    async def client(firsts: Iterator[int]) -> None:
        for first in firsts:
            async with hub.batch() as batch:
                for number in range(first, min(first + _GROUP, amount)):
                    add(batch, number)

    groups = iter(range(0, amount, _GROUP))
    async with trio.open_nursery() as nursery:
        for _ in range(_CREATORS):
            nursery.start_soon(client, groups)


async def first_result(hub: TaskHub) -> float:
    """Run a new orchestration; the monotonic time when its result was there: the hub works."""
    check("a new result", await (await hub.start(greetings, 1)).result(), ["Hello city 0"])
    return monotonic()


async def wake(folder: str, orchestrations: str) -> None:
    """Open the hub, raise an event to each instance, wait for all results, and print the figures."""
    run, amount = Run(Path(folder), 1.0), int(orchestrations)
    async with run.hub(DEFINITIONS) as (hub, watch), watched_memory() as peak:
        ready = await first_result(hub)
        memory = anonymous_megabytes()

        async def go(number: int) -> None:
            await hub.instance(instance_name(number)).raise_event("go", 1)

        async def result(number: int) -> None:
            check("a result", await hub.instance(instance_name(number)).result(), number + 1)

        with watch.stretch() as stretch:
            await closed_loop(_CLIENTS, amount, go)
            await closed_loop(_CLIENTS, amount, result)
    figure = stretch.duration("events to all results", amount, bare_seconds=None)
    told = {"ready": ready, "memory": memory, "peak": peak.megabytes, "figure": asdict(figure), "foreign_cpu": run.foreign_cpu}
    print(json.dumps(told))


async def bare(_: str, orchestrations: str, entities: str) -> None:
    """Print the memory of as many plain objects in a dictionary, and suspended coroutines in another."""

    @types.coroutine
    def wait() -> Generator[None, int, int]:
        return (yield)

    async def waiting(number: int) -> int:
        return number + await wait()

    accounts = {entity_key(number): Account(1) for number in range(int(entities))}
    coroutines = {instance_name(number): waiting(number) for number in range(int(orchestrations))}
    for coroutine in coroutines.values():
        coroutine.send(None)
    print(json.dumps(anonymous_megabytes()))
    for coroutine in coroutines.values():
        coroutine.close()
    check("the number of plain objects", len(accounts), int(entities))


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {main.__name__: main for main in (create, wake, bare)}

if __name__ == "__main__":
    trio.run(PROGRAMS[sys.argv[1]], *sys.argv[2:])
