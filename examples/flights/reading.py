"""Reading the file of flights: CSV, gzipped or not, with a header that names the columns.

A row is a scheduled flight. It was flown if its departure delay is given (else it was cancelled) and its tail number is
known; other rows are counted and left out. Whatever does not fit is refused with its line, before anything is flown.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from sys import intern
from typing import IO, Final

from attrs import frozen

from .flight import Flight

COLUMNS: Final = (
    "scheduled",
    "carrier",
    "flight",
    "tail_number",
    "origin",
    "destination",
    "distance_miles",
    "departure_delay_minutes",
)
"""The columns that are needed, in any order; others are ignored."""

_TEXT_MAX: Final = 40
_GZIP: Final = b"\x1f\x8b"


class FileProblem(Exception):
    """The file of flights cannot be used; the message says why, and where."""


@frozen
class FlightFile:
    """What a file holds.

    Attributes:
      path: the file.
      rows: scheduled flights.
      flights: those that were flown, in the order of the file.
    """

    path: Path
    rows: int
    flights: list[Flight]


def read_flights(path: Path) -> FlightFile:
    """Read a file.

    Raises:
      FileProblem: it cannot be read, lacks a column, or a row does not fit.
    """
    flights: list[Flight] = []
    line_of: dict[str, int] = {}
    rows = 0
    try:
        with _open(path) as file:
            for line, row in _rows(path, file):
                rows += 1
                if not (row["departure_delay_minutes"] and row["tail_number"]):
                    continue
                flight = _flight(path, line, row)
                before = line_of.setdefault(flight.id, line)
                if before != line:
                    raise _problem(path, line, f"it is the same flight as line {before}: {flight.id}")
                flights.append(flight)
    except FileNotFoundError:
        raise FileProblem(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise FileProblem(f"{path} cannot be read as CSV in UTF-8, gzipped or not: {error}") from error
    if not flights:
        raise FileProblem(f"{path} holds no flown flight: none of its {rows:,} rows has a departure delay and a tail number")
    return FlightFile(path, rows, flights)


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        gzipped = file.read(2) == _GZIP
    return gzip.open(path, "rt", encoding="utf-8", newline="") if gzipped else path.open(encoding="utf-8", newline="")


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by the names of its columns, with the number of its line."""
    reader = csv.reader(file, strict=True)
    header = next(reader, list[str]())
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise _problem(path, 1, f"the header lacks {', '.join(missing)}; it is {','.join(header)!r}"[:500])
    for row in reader:
        if len(row) != len(header):
            raise _problem(path, reader.line_num, f"it has {len(row)} fields, and the header has {len(header)}")
        yield reader.line_num, dict(zip(header, row, strict=True))


def _flight(path: Path, line: int, row: dict[str, str]) -> Flight:
    def text(column: str) -> str:
        value = row[column]
        if 0 < len(value) <= _TEXT_MAX and value.isprintable():
            return intern(value)
        raise _problem(path, line, f"{column} is a text of 1 to {_TEXT_MAX} printable characters, not {value[:60]!r}")

    def number(column: str) -> int:
        value = row[column]
        if value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 9:
            return int(value)
        raise _problem(path, line, f"{column} is a whole number, not {value[:60]!r}")

    number("departure_delay_minutes")
    miles = number("distance_miles")
    if miles < 0:
        raise _problem(path, line, f"distance_miles is 0 or more, not {miles}")
    flight = Flight(
        text("scheduled"), text("carrier"), text("flight"), text("tail_number"), text("origin"), text("destination"), miles
    )
    if flight.origin == flight.destination:
        raise _problem(path, line, f"origin and destination are both {flight.origin}")
    return flight


def _problem(path: Path, line: int, what: str) -> FileProblem:
    return FileProblem(f"{path}, line {line:,}: {what}")
