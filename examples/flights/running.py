"""Flying all flights of a file, many at a time.

The hub remembers which flights exist, by their ids; so the program just starts them all, each time. What has landed
before is returned as it is, what was under way goes on by itself, and only the rest begins.

Order: a group of flights is started after the one before it, and locks are granted in the order in which they were asked
for. So each aircraft makes its flights in the order of the file, though hundreds of flights are under way at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio
from attrs import frozen
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationCanceled, OrchestrationFailed, OrchestrationTerminated

from .flight import Flight
from .nursery import open_plain_nursery
from .orchestration import FlightPlan

GROUP: Final = 250
"""Flights that are started with one acknowledgement."""

GROUPS_UNDER_WAY: Final = 4
"""Groups of which some flight has not landed, at most."""


@frozen
class Crash:
    """A flight that did not end well, and why."""

    flight: Flight
    reason: Exception


async def fly_all(hub: TaskHub, plan: FlightPlan, flights: Sequence[Flight], landed: Callable[[int], None]) -> list[Crash]:
    """Fly what was not flown yet, and return when all have landed, durably.

    Args:
      hub: the open hub.
      plan: its definitions.
      flights: the flights, in order of departure.
      landed: told how many more have landed, those of earlier runs included.

    Returns:
      Those that failed; the others flew all the same.
    """
    crashes: list[Crash] = []
    places = trio.Semaphore(GROUPS_UNDER_WAY)

    async def await_landings(group: Sequence[Flight]) -> None:
        for flight in group:
            try:
                await hub.instance(flight.id).result()
            except (OrchestrationFailed, OrchestrationTerminated, OrchestrationCanceled) as error:
                crashes.append(Crash(flight, error))
        places.release()
        landed(len(group))

    # What the last run left under way comes first, so that nothing overtakes it.
    await hub.wait_idle()
    async with open_plain_nursery() as nursery:
        for group in _groups(flights):
            await places.acquire()
            async with hub.batch() as batch:
                for flight in group:
                    batch.start(plan.fly, flight, instance_id=flight.id, if_exists="return")
            nursery.start_soon(await_landings, group)
    return crashes


def _groups(flights: Sequence[Flight]) -> Iterator[Sequence[Flight]]:
    for start in range(0, len(flights), GROUP):
        yield flights[start : start + GROUP]
