"""A billing issuer: an invoice for each customer and month, exactly once.

Three things together make it exact. The orchestration of a customer's year has an id of its own, so there is one of it.
The customer entity closes a month once, and answers with the same invoice when it is asked again. And the activity
that sends an invoice, which may run more than once, puts it where a second run changes nothing.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from attrs import Factory, define, frozen
from perdure.entities import Entity
from perdure.hub import Instance, TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator


@frozen
class Month:
    """A month, such as ``2026-01``, and when its invoice is due."""

    name: str
    closes_at: datetime


@frozen
class Invoice:
    """An invoice; its number says whose and for which month it is."""

    number: str
    minutes: int


@define
class Customer(Entity):
    """What a customer has used since the last invoice, and the invoices so far, by month."""

    minutes: int = 0
    invoices: dict[str, Invoice] = Factory(dict[str, Invoice])

    def use(self, minutes: int) -> None:
        """Add to what is used."""
        self.minutes += minutes

    def close(self, month: str) -> Invoice:
        """Close a month, once: what is used from now on is in the next one's invoice."""
        if month not in self.invoices:
            self.invoices[month] = Invoice(f"{self.context.entity_id.key}-{month}", self.minutes)
            self.minutes = 0
        return self.invoices[month]


@activity
def send_invoice(invoice: Invoice, outbox: str) -> None:
    """Put an invoice into the outbox, whole or not at all; a second run replaces it by the same."""
    path = Path(outbox, f"{invoice.number}.txt")
    part = path.with_suffix(".part")
    part.write_text(f"Invoice {invoice.number}: {invoice.minutes} minutes\n")
    part.replace(path)


@orchestrator
async def bill(ctx: OrchestrationContext, customer: str, months: list[Month], outbox: str) -> int:
    """Send a customer an invoice for each month, when the month is over; returns the minutes of all of them."""
    minutes = 0
    for month in months:
        await ctx.sleep_until(month.closes_at)
        invoice = await ctx.call_entity(Customer.at(customer), Customer.close, month.name)
        await ctx.call_activity(send_invoice, invoice, outbox)
        minutes += invoice.minutes
    return minutes


def months_of(year: int) -> list[Month]:
    """The months of a year; each closes when the next one begins (UTC)."""
    firsts = [datetime(year, month, 1, tzinfo=UTC) for month in range(1, 13)]
    ends = [*firsts[1:], datetime(year + 1, 1, 1, tzinfo=UTC)]
    return [Month(f"{first:%Y-%m}", end) for first, end in zip(firsts, ends, strict=True)]


async def start_billing(hub: TaskHub, customer: str, year: int, months: list[Month], outbox: str) -> Instance[int]:
    """Start a customer's year, or find it if it was started before."""
    return await hub.start(bill, customer, months, outbox, instance_id=f"bill {customer} {year}", if_exists="return")


async def main() -> None:
    """A year of months that last a tenth of a second; the program stops before summer and goes on."""
    begin = datetime.now(UTC)
    year = [Month(month.name, begin + timedelta(seconds=0.1) * n) for n, month in enumerate(months_of(2026), 3)]
    with tempfile.TemporaryDirectory() as folder:
        outbox = trio.Path(folder, "outbox")
        await outbox.mkdir()
        for run in (1, 2):
            async with TaskHub("Billing", [Customer, bill, send_invoice], Path(folder, "hub")) as hub:
                years = [await start_billing(hub, name, 2026, year, str(outbox)) for name in ("ann", "bob")]
                if run == 1:
                    await hub.signal_entity(Customer.at("ann"), Customer.use, 40)
                    await hub.signal_entity(Customer.at("bob"), Customer.use, 2)
                    await trio.sleep(0.6)
                else:
                    print("minutes billed:", [await instance.result() for instance in years])
            print(f"run {run} ends with {len(list(await outbox.iterdir()))} invoices in the outbox")


if __name__ == "__main__":
    trio.run(main)
