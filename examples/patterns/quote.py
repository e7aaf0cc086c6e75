"""A quote with a time limit: asking several, and taking what comes in time.

Each supplier is asked by a task of a nursery; the scope around the nursery ends them all when the time is up, and with them
the activities that are still under way. A supplier that fails says nothing, and does not spoil the others' answers.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta

import trio
from attrs import frozen
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, OrchestrationContext, activity, orchestrator


@frozen
class Quote:
    """What a supplier asks for."""

    supplier: str
    price: int


@activity
async def ask_supplier(supplier: str, item: str) -> int:
    """Ask a supplier for a price; here it is made up, and some take their time.

    Raises:
      ConnectionError: it cannot be reached.
    """
    if supplier == "closed":
        raise ConnectionError(f"{supplier} cannot be reached")
    try:
        await trio.sleep({"quick": 0.1, "cheap": 0.3}.get(supplier, 60))
    except trio.Cancelled:
        print(f"  {supplier} is not waited for any longer")
        raise
    print(f"  {supplier} has answered")
    return {"quick": 95, "cheap": 70}.get(supplier, 50) + len(item)


@orchestrator
async def best_quote(ctx: OrchestrationContext, item: str, suppliers: list[str], patience: timedelta) -> Quote | None:
    """The lowest price that comes in time, ``None`` if none does."""
    quotes: list[Quote] = []

    async def ask(supplier: str) -> None:
        try:
            quotes.append(Quote(supplier, await ctx.call_activity(ask_supplier, supplier, item)))
        except ActivityFailed as error:
            ctx.log.info("no quote from %s: %s", supplier, error.failure.message)

    with ctx.move_on_after(patience):
        async with ctx.open_nursery() as nursery:
            for supplier in suppliers:
                nursery.start_soon(ask, supplier)
    return min(quotes, key=lambda quote: quote.price, default=None)


async def main() -> None:
    """Ask four suppliers and give them a second and a half."""
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Quotes", [best_quote, ask_supplier], folder) as hub:
            suppliers = ["quick", "cheap", "closed", "slow"]
            asking = await hub.start(best_quote, "a printer", suppliers, timedelta(seconds=1.5))
            print("the best is", await asking.result())


if __name__ == "__main__":
    trio.run(main)
