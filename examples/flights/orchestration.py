"""What a flight does, step by step.

The definitions are made for one log book, which the activity needs and nothing else may touch.
"""

from __future__ import annotations

from attrs import frozen
from perdure.hub import activity_context
from perdure.orchestration import OrchestrationContext, Orchestrator, activity, orchestrator

from .entities import Aircraft, Airport
from .flight import Flight
from .log_book import LogBook
from .log_line import LogLine


@frozen
class FlightPlan:
    """The definitions for a hub.

    Attributes:
      fly: the orchestrator of a flight.
      all: everything that the hub must know.
    """

    fly: Orchestrator[None, Flight]
    all: list[object]


def plan_for(book: LogBook) -> FlightPlan:
    """The definitions that write into a log book."""

    @activity
    async def log(flight: Flight, ferried_from: str) -> None:
        """Write the flight's line, once: the key is the same for every attempt."""
        await book.write(LogLine(activity_context().idempotency_key, flight, ferried_from))

    @orchestrator
    async def fly(ctx: OrchestrationContext, flight: Flight) -> None:
        """Move an aircraft from one airport to another, which nobody sees half done, then log it."""
        aircraft = Aircraft.at(flight.aircraft)
        origin, destination = Airport.at(flight.origin), Airport.at(flight.destination)
        async with ctx.lock_entities(aircraft, origin, destination):
            departure = ctx.call_entity(origin, Airport.depart)
            flying = ctx.call_entity(aircraft, Aircraft.fly, flight.origin, flight.destination, flight.miles)
            arrival = ctx.call_entity(destination, Airport.arrive)
            await departure
            await arrival
            ferried_from = await flying
        await ctx.call_activity(log, flight, ferried_from)

    return FlightPlan(fly, [Aircraft, Airport, fly, log])
