"""The totals: counted from the hub, from the log book, from the file, and as they were published.

Figures are numbers (or a text) by name. Whoever processes the file exactly once has the same ones, wherever they are
counted; one flight lost or flown twice, and they differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from perdure.hub import TaskHub

from .entities import Aircraft, Airport
from .flight import Flight
from .reading import FlightFile

Figures: TypeAlias = dict[str, int | str]
"""Totals by name."""

PUBLISHED: Final[tuple[Figures, ...]] = (
    {
        "rows": 27_004,
        "flights flown": 26_483,
        "from EWR": 9_655,
        "from JFK": 9_061,
        "from LGA": 7_767,
        "aircraft": 3_141,
        "miles": 26_859_611,
        "most miles": 84_473,
        "by aircraft": "N328AA",
    },
    {
        "rows": 336_776,
        "flights flown": 328_521,
        "from EWR": 117_596,
        "from JFK": 109_416,
        "from LGA": 101_509,
        "aircraft": 4_037,
        "miles": 344_477_462,
        "most miles": 929_090,
        "by aircraft": "N328AA",
    },
)
"""The totals of the files whose totals were published: January 2013, and all of 2013."""


def published_for(file: FlightFile) -> Figures:
    """The published totals of a file, which is known by its numbers of rows and flights; empty for any other file."""
    for figures in PUBLISHED:
        if (figures["rows"], figures["flights flown"]) == (file.rows, len(file.flights)):
            return figures
    return {}


def figures_of_file(file: FlightFile) -> Figures:
    """What the file says, counted with plain dictionaries and without any hub."""
    location: dict[str, str] = {}
    ferried: list[bool] = []
    for flight in file.flights:
        ferried.append(location.get(flight.aircraft, flight.origin) != flight.origin)
        location[flight.aircraft] = flight.destination
    return {"rows": file.rows, **figures_of_flights(file.flights, sum(ferried))}


def figures_of_flights(flights: Iterable[Flight], ferries: int) -> Figures:
    """Add up flights."""
    departures, arrivals = Counter[str](), Counter[str]()
    miles = Counter[str]()
    for flight in flights:
        departures[flight.origin] += 1
        arrivals[flight.destination] += 1
        miles[flight.aircraft] += flight.miles
    return _figures(departures.total(), departures, arrivals.total(), miles, ferries)


async def figures_of_hub(hub: TaskHub, file: FlightFile) -> Figures:
    """Add up the entities of all aircraft and airports of the file."""
    flown = ferries = 0
    departures, arrivals, miles = Counter[str](), Counter[str](), Counter[str]()
    for tail_number in {flight.aircraft for flight in file.flights}:
        aircraft = await hub.read_entity(Aircraft.at(tail_number))
        if aircraft is not None:
            flown += aircraft.flights
            ferries += aircraft.ferries
            miles[tail_number] = aircraft.miles
    for code in {code for flight in file.flights for code in (flight.origin, flight.destination)}:
        airport = await hub.read_entity(Airport.at(code))
        if airport is not None:
            departures[code], arrivals[code] = airport.departures, airport.arrivals
    return _figures(flown, departures, arrivals.total(), miles, ferries)


def _figures(flown: int, departures: Mapping[str, int], arrivals: int, miles: Mapping[str, int], ferries: int) -> Figures:
    tail_number, most = min(miles.items(), key=lambda item: (-item[1], item[0]), default=("none", 0))
    return {
        "flights flown": flown,
        **{f"from {code}": count for code, count in sorted(departures.items()) if count},
        "arrivals": arrivals,
        "aircraft": len(miles),
        "miles": sum(miles.values()),
        "most miles": most,
        "by aircraft": tail_number,
        "ferry flights": ferries,
    }
