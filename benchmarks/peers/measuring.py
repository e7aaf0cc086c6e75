"""What the programs of peers have in common: clients on asyncio, figures, and the command line.

Counted as for Perdure: from the first call of a client to the last result in a client's hands.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from time import perf_counter

FIRST_KEYS = 1000
"""Entities, or rows, or whatever the peer has of them."""

STEPS = ("Tokyo", "Seattle", "London")

Figures = list[dict[str, object]]
Operation = Callable[[int], Awaitable[object]]
Workload = Callable[[Path, float], Coroutine[None, None, Figures]]


async def closed_loop(
    clients: int, seconds: float, operation: Operation, *, most: int | None = None
) -> tuple[list[float], float]:
    """Clients do operations, each its next one when its last has ended; none is begun after that time.

    Returns:
      The latencies, and the time from the first call to the last result, in seconds.
    """
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
    return latencies, perf_counter() - begun


async def one_and_many(operation: Operation, together: Operation, scale: float) -> Figures:
    """The figures that call and sequence3 share: one client's latency, and the rates of 64 and 256 clients."""
    alone, _ = await closed_loop(1, 5 * scale, operation)
    figures = [latency("one at a time, p50", alone, 0.5), latency("one at a time, p99", alone, 0.99)]
    for clients in (64, 256):
        latencies, seconds = await closed_loop(clients, 8 * scale, together)
        figures.append(rate(f"{clients} clients", len(latencies), seconds))
    return figures


def rate(name: str, operations: int, seconds: float) -> dict[str, object]:
    """Operations a second."""
    return {"name": name, "unit": "/s", "value": operations / seconds, "operations": operations}


def latency(name: str, latencies: list[float], share: float) -> dict[str, object]:
    """A percentile, in milliseconds."""
    ordered = sorted(latencies)
    value = 1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]
    return {"name": name, "unit": "ms", "value": value, "operations": len(ordered)}


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
