"""Is everything there, exactly once?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import frozen
from perdure.hub import TaskHub

from .figures import Figures, figures_of_file, figures_of_flights, figures_of_hub, published_for
from .flight import Flight
from .log_book import LogBook
from .reading import FlightFile
from .running import Crash


@frozen
class Outcome:
    """What came of the flights.

    Attributes:
      columns: the figures of each source, by its name; a source need not have all of them.
      faults: what is wrong, in words; empty if all is well.
    """

    columns: dict[str, Figures]
    faults: list[str]

    @property
    def names(self) -> list[str]:
        """The names of all figures, in the order of the file's."""
        names = [name for figures in self.columns.values() for name in figures]
        return list(dict.fromkeys([*self.columns["file"], *names]))

    @property
    def differing(self) -> list[str]:
        """The names of figures that are not the same in all sources that have them."""
        return [name for name in self.names if len({figures[name] for figures in self.columns.values() if name in figures}) > 1]


async def check(hub: TaskHub, book: LogBook, file: FlightFile, crashes: list[Crash]) -> Outcome:
    """Compare the hub and the log book, flight by flight, with the file, and with what was published of it."""
    lines = list(book.lines())
    columns = {
        "entities": await figures_of_hub(hub, file),
        "log book": figures_of_flights((line.flight for line in lines), sum(bool(line.ferried_from) for line in lines)),
        "file": figures_of_file(file),
        "published": published_for(file),
    }
    outcome = Outcome({name: figures for name, figures in columns.items() if figures}, [])
    if crashes:
        first = crashes[0]
        outcome.faults.append(f"{len(crashes):,} flights failed; the first was {first.flight.id}: {first.reason}")
    outcome.faults.extend(log_book_faults((line.flight for line in lines), file))
    if outcome.differing:
        outcome.faults.append(f"these totals differ: {', '.join(outcome.differing)}")
    return outcome


def log_book_faults(logged: Iterable[Flight], file: FlightFile) -> list[str]:
    """Why the log book does not hold each flight of the file exactly once; empty if it does."""
    held = Counter(logged)
    twice = [flight for flight, count in held.items() if count > 1]
    missing = [flight for flight in file.flights if flight not in held]
    return [
        f"{len(flights):,} flights {what}, such as {flights[0].id}"
        for flights, what in (
            (twice, "are in the log book more than once"),
            (missing, "are missing from the log book"),
            (foreign_flights(held, file), "are in the log book and not in the file"),
        )
        if flights
    ]


def foreign_flights(logged: Iterable[Flight], file: FlightFile) -> list[Flight]:
    """The logged flights that the file does not have."""
    wanted = set(file.flights)
    return [flight for flight in logged if flight not in wanted]
