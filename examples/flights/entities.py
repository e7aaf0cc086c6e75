"""The durable objects: aircraft, by tail number, and airports, by code."""

from __future__ import annotations

from attrs import define
from perdure.entities import Entity


@define
class Aircraft(Entity):
    """An aircraft.

    Attributes:
      location: the airport where it stands, empty before its first flight.
      flights: how often it has flown.
      ferries: how often it was found elsewhere than where its next flight began.
      miles: how far it has flown; ferry flights not counted, since nobody recorded them.
    """

    location: str = ""
    flights: int = 0
    ferries: int = 0
    miles: int = 0

    def fly(self, origin: str, destination: str, miles: int) -> str:
        """Fly from one airport to another.

        Returns:
          Where it had to be ferried from, empty if it stood at the origin. The file has departures from New York only,
          so an aircraft that went elsewhere comes back unseen.
        """
        ferried_from = self.location if self.location != origin else ""
        if ferried_from:
            self.ferries += 1
        self.location = destination
        self.flights += 1
        self.miles += miles
        return ferried_from


@define
class Airport(Entity):
    """An airport, and how many flights have left it and come to it."""

    departures: int = 0
    arrivals: int = 0

    def depart(self) -> None:
        """Count a flight that leaves."""
        self.departures += 1

    def arrive(self) -> None:
        """Count a flight that comes in."""
        self.arrivals += 1
