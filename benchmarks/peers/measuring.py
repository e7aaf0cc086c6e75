"""What the programs of peers have in common: clients on asyncio, figures, and the command line.

Counted as for Perdure: from the first call of a client to the last result in a client's hands.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

FIRST_KEYS = 1000
"""Entities, or rows, or whatever the peer has of them."""

STEPS = ("Tokyo", "Seattle", "London")

Figures = list[dict[str, object]]
Operation = Callable[[int], Awaitable[object]]
Workload = Callable[[Path, float], Coroutine[None, None, Figures]]


@dataclass(frozen=True)
class Stretch:
    """What clients did together.

    Attributes:
      latencies: of each operation, in seconds.
      seconds: from the first call to the last result.
      cpu_seconds: process time meanwhile, of this process and of all that descend from it, such as a server.
    """

    latencies: list[float]
    seconds: float
    cpu_seconds: float

    def rate(self, name: str, operations: int = 0) -> dict[str, object]:
        """Operations a second; as many as there are latencies, if it is not said."""
        amount = operations or len(self.latencies)
        return self._figure(name, "/s", amount / self.seconds, amount)

    def latency(self, name: str, share: float) -> dict[str, object]:
        """A percentile, in milliseconds."""
        ordered = sorted(self.latencies)
        return self._figure(name, "ms", 1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * share))], len(ordered))

    def _figure(self, name: str, unit: str, value: float, operations: int) -> dict[str, object]:
        return {
            "name": name,
            "unit": unit,
            "value": value,
            "operations": operations,
            "cpu_us": 1e6 * self.cpu_seconds / operations,
        }


async def timed(work: Callable[[], Awaitable[list[float]]]) -> Stretch:
    """Do something that returns latencies, and time it."""
    cpu, begun = _cpu_seconds(), perf_counter()
    latencies = await work()
    return Stretch(latencies, perf_counter() - begun, _cpu_seconds() - cpu)


async def closed_loop(clients: int, seconds: float, operation: Operation, *, most: int | None = None) -> list[float]:
    """Clients do operations, each its next one when its last has ended; none is begun after that time. Their latencies in seconds."""
    latencies: list[float] = []
    numbers = iter(range(most if most is not None else sys.maxsize))
    begun = perf_counter()

    async def client() -> None:
        for number in numbers:
            started = perf_counter()
            if number and started - begun > seconds:
                return
            await operation(number)
            latencies.append(perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


async def one_and_many(operation: Operation, together: Operation, scale: float) -> Figures:
    """The figures that call and sequence3 share: one client's latency, and the rates of 64 and 256 clients."""
    alone = await timed(lambda: closed_loop(1, 5 * scale, operation))
    some = await timed(lambda: closed_loop(64, 8 * scale, together))
    many = await timed(lambda: closed_loop(256, 8 * scale, together))
    return [
        alone.latency("one at a time, p50", 0.5),
        alone.latency("one at a time, p99", 0.99),
        some.rate("64 clients"),
        many.rate("256 clients"),
    ]


def _cpu_seconds() -> float:
    """Process time of this process and of all living ones that descend from it, user and system."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            process = int(folder.name)
            parents[process], ticks[process] = int(fields[1]), int(fields[11]) + int(fields[12])

    def is_ours(process: int) -> bool:
        while process not in {0, os.getpid()}:
            process = parents.get(process, 0)
        return process != 0

    return sum(ticks[process] for process in ticks if is_ours(process)) / os.sysconf("SC_CLK_TCK")


def check(what: str, actual: object, expected: object) -> None:
    """Stop if a result is wrong.

    Raises:
      RuntimeError: it is.
    """
    if actual != expected:
        raise RuntimeError(f"{what}: {actual!r} instead of {expected!r}; this run gives no figures")


def run(workloads: dict[str, Workload], name: str, folder: str, scale: str) -> None:
    """Run one of the workloads, and print its figures."""
    if name not in workloads:
        sys.exit(f"this peer has no workload {name!r}; it has {', '.join(workloads)}")
    figures = asyncio.run(workloads[name](Path(folder), float(scale)))
    print(json.dumps({"figures": figures, "foreign_cpu": []}))
