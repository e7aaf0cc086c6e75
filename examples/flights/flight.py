"""One flown flight, as a row of the file says it."""

from __future__ import annotations

from attrs import frozen


@frozen
class Flight:
    """A flight that was flown.

    Attributes:
      scheduled: when it should have departed, local time as the file has it, such as ``2013-01-01T05:15``.
      carrier: the airline's code, such as ``UA``.
      number: the airline's number for the flight.
      aircraft: the tail number.
      origin, destination: codes of airports, such as ``EWR``.
      miles: the distance.
    """

    scheduled: str
    carrier: str
    number: str
    aircraft: str
    origin: str
    destination: str
    miles: int

    @property
    def id(self) -> str:
        """What tells it from all others: an airline has one flight of a number at a time from an airport."""
        return f"{self.scheduled} {self.carrier}{self.number} {self.origin}"
