"""An aggregator: entities that add up what many senders report.

A weather station is an entity: its reports are applied one after another, whoever sends them. It tells its region, another
entity, about new records. A report that is refused leaves no trace in the station, and is kept among its dead letters.
"""

from __future__ import annotations

import tempfile

import trio
from attrs import Factory, define
from perdure.entities import Entity
from perdure.hub import TaskHub

ABSOLUTE_ZERO = -273.15


@define
class Region(Entity):
    """The highest temperature of each of a region's stations, degrees Celsius."""

    records: dict[str, float] = Factory(dict[str, float])

    def note_record(self, station: str, celsius: float) -> None:
        """Keep a station's new record."""
        self.records[station] = celsius


@define
class Station(Entity):
    """A weather station's reports, added up.

    Attributes:
      last: the number of the last report; senders number their reports, so that one sent twice counts once.
      count: how many there were.
      total: the sum of the temperatures, degrees Celsius.
      highest: the highest temperature.
    """

    last: int = 0
    count: int = 0
    total: float = 0.0
    highest: float = ABSOLUTE_ZERO

    def report(self, number: int, celsius: float, region: str) -> None:
        """Add a report.

        Raises:
          ValueError: it is colder than anything can be.
        """
        if celsius < ABSOLUTE_ZERO:
            raise ValueError(f"{celsius} is below absolute zero")
        if number <= self.last:
            return
        self.last = number
        self.count += 1
        self.total += celsius
        if celsius > self.highest:
            self.highest = celsius
            self.context.signal_entity(Region.at(region), Region.note_record, self.context.entity_id.key, celsius)

    def average(self) -> float:
        """The average temperature, degrees Celsius."""
        return self.total / self.count


async def main() -> None:
    """Report a day of two stations, one report twice and one that is nonsense."""
    day = {"harbour": [11.5, 13.0, 17.5, 14.0], "hill": [7.5, 9.0, 12.5, -300.0]}
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Weather", [Station, Region], folder) as hub:
            async with hub.batch() as batch:  # one acknowledgement, and one fsync, for all of them
                for name, temperatures in day.items():
                    for number, celsius in enumerate(temperatures, 1):
                        batch.signal_entity(Station.at(name), Station.report, number, celsius, "north")
            await hub.signal_entity(Station.at("hill"), Station.report, 2, 9.0, "north")  # again: it changes nothing
            for name in day:
                print(f"{name}: on average {await hub.call_entity(Station.at(name), Station.average):.2f}")
            async for letter in hub.iter_dead_letters(Station.at("hill")):
                print(f"refused: {letter.failure.message}")
            await hub.wait_idle()
            print("records:", await hub.read_entity(Region.at("north")))


if __name__ == "__main__":
    trio.run(main)
