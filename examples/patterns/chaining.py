"""Function chaining with compensation: one step after another, and what is undone when one fails.

The steps are activities. Each has a counterpart that undoes it, and the orchestrator notes that counterpart *before* it
takes the step: a step that failed, or was cut off, may have had its effect all the same. So undoing what was never done
must be harmless, which it is when the caller chooses the booking's id.
"""

from __future__ import annotations

import tempfile
from uuid import UUID

import trio
from perdure.hub import TaskHub
from perdure.orchestration import (
    Activity,
    ActivityFailed,
    Cancelled,
    OrchestrationContext,
    OrchestrationFailed,
    RetryPolicy,
    activity,
    orchestrator,
)

PERSISTENT = RetryPolicy(max_attempts=10, first_interval=1, coefficient=2, max_interval=600)


class CardDeclined(Exception):
    """The bank said no."""


@activity
async def book_flight(booking: UUID, city: str) -> None:
    """Book a flight under an id of our own."""
    print(f"  booked a flight to {city}")


@activity
async def book_hotel(booking: UUID, city: str) -> None:
    """Book a hotel under an id of our own."""
    print(f"  booked a hotel in {city}")


@activity
async def charge_card(card: str, amount: int) -> None:
    """Take the money.

    Raises:
      CardDeclined: the bank does not give it.
    """
    if card.startswith("0000"):
        raise CardDeclined(f"card {card} has no {amount}")
    print(f"  charged {amount} to card {card}")


@activity(retry=PERSISTENT)
async def cancel_flight(booking: UUID) -> None:
    """Cancel a flight; harmless if it was never booked."""
    print("  cancelled the flight")


@activity(retry=PERSISTENT)
async def cancel_hotel(booking: UUID) -> None:
    """Cancel a hotel; harmless if it was never booked."""
    print("  cancelled the hotel")


@orchestrator
async def book_trip(ctx: OrchestrationContext, city: str, card: str, amount: int) -> str:
    """Book a flight and a hotel and pay for both, or leave nothing behind."""
    undo: list[tuple[Activity[None, UUID], UUID]] = []
    try:
        flight = ctx.uuid4()
        undo.append((cancel_flight, flight))
        await ctx.call_activity(book_flight, flight, city)
        hotel = ctx.uuid4()
        undo.append((cancel_hotel, hotel))
        await ctx.call_activity(book_hotel, hotel, city)
        await ctx.call_activity(charge_card, card, amount)
    except (ActivityFailed, Cancelled):
        for cancel, booking in reversed(undo):
            await ctx.call_activity(cancel, booking)
        raise
    return f"a trip to {city} for {amount}"


async def main() -> None:
    """Book two trips; the second cannot be paid."""
    definitions = [book_trip, book_flight, book_hotel, charge_card, cancel_flight, cancel_hotel]
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Trips", definitions, folder) as hub:
            for city, card in (("Lisbon", "4929-1234"), ("Oslo", "0000-5678")):
                trip = await hub.start(book_trip, city, card, 900)
                try:
                    print("booked:", await trip.result())
                except OrchestrationFailed as error:
                    if not error.failure.is_caused_by(CardDeclined):
                        raise
                    print(f"not booked: {city}, and nothing is left of it")


if __name__ == "__main__":
    trio.run(main)
