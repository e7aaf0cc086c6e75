"""A line of the log book: which flight it records, and the key that makes it the only one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .flight import Flight

COLUMNS: Final = ("key", "scheduled", "carrier", "flight", "tail_number", "origin", "destination", "miles", "ferried_from")


@frozen
class LogLine:
    """One line.

    Attributes:
      key: the idempotency key of the activity that writes it.
      flight: the flight.
      ferried_from: where the aircraft had to be fetched, empty if it stood at the origin.
    """

    key: str
    flight: Flight
    ferried_from: str

    def to_csv(self) -> str:
        """The line, with its end."""
        flight = self.flight
        return csv_line(
            (
                self.key, flight.scheduled, flight.carrier, flight.number, flight.aircraft, flight.origin, flight.destination,
                str(flight.miles), self.ferried_from,
            )
        )  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Sequence[str]) -> LogLine:
        """A line that was read.

        Raises:
          ValueError: it is none.
        """
        key, scheduled, carrier, number, aircraft, origin, destination, miles, ferried_from = fields
        return cls(key, Flight(scheduled, carrier, number, aircraft, origin, destination, int(miles)), ferried_from)


def csv_line(fields: Sequence[str]) -> str:
    """One line of CSV, with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()
