"""The flights of the example: each an orchestration that locks an aircraft and two airports, calls them, and writes a log line.

The 26,483 flights of January 2013, which are part of the examples. A thousand are under way at a time, of which most wait for one of three airports. Counted from the first start
until all have landed; then all totals of the entities and of the log book are compared with the file's. Bare Python: the
same operations on objects in dictionaries.
"""

from __future__ import annotations

import gc
from pathlib import Path
from time import perf_counter

from examples.flights.checking import check as compared
from examples.flights.entities import Aircraft, Airport
from examples.flights.flight import Flight
from examples.flights.log_book import open_log_book
from examples.flights.orchestration import plan_for
from examples.flights.program import JANUARY
from examples.flights.reading import FlightFile, read_flights
from examples.flights.running import fly_all

from ..figures import Figure
from ..measuring import Run, check
from ..workload import Workload


async def _run(run: Run) -> list[Figure]:
    return [await fly_file(run, JANUARY)]


async def fly_file(run: Run, path: Path) -> Figure:
    """Fly all flights of a file; how many a second."""
    whole = read_flights(path)
    gc.freeze()  # as the example does: the flights stay to the end, and need not be looked through again and again
    amount = run.count(len(whole.flights))
    file = FlightFile(path, whole.rows, whole.flights[:amount])
    async with open_log_book(run.folder / "log-book.csv") as book:
        plan = plan_for(book)
        async with run.hub(plan.all) as (hub, watch):
            with watch.stretch() as stretch:
                crashes = await fly_all(hub, plan, file.flights, lambda _: None)
            outcome = await compared(hub, book, file, crashes)
    check("what is wrong with the totals", outcome.faults, [])
    return stretch.rate("1,000 under way", amount, bare_seconds=_bare_seconds(file.flights))


def _bare_seconds(flights: list[Flight]) -> float:
    """Seconds for the same operations on plain objects."""
    fleet = {flight.aircraft: Aircraft() for flight in flights}
    airports = {code: Airport() for flight in flights for code in (flight.origin, flight.destination)}
    started = perf_counter()
    for flight in flights:
        airports[flight.origin].depart()
        fleet[flight.aircraft].fly(flight.origin, flight.destination, flight.miles)
        airports[flight.destination].arrive()
    return perf_counter() - started


WORKLOAD = Workload("flights", "the 26,483 flights of January 2013, three locks and a log line each", _run)
