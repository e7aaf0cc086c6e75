"""Reminders: an entity that comes back to itself later, and is gone when nobody comes back to it.

A shopping cart that was left is reminded of once. Whatever is done to it puts the reminder off: the old one is cancelled and
a new one sent, and both, like everything that an operation does, happen when the operation has gone well or not at all. A
cart that nobody touches for a month deletes itself, with nothing left behind.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta

import trio
from attrs import define, field
from perdure.entities import Entity, entity
from perdure.hub import TaskHub


@define
class Mailbox(Entity):
    """A customer's letters."""

    letters: list[str] = field(factory=list[str])

    def put(self, letter: str) -> None:
        """Deliver one."""
        self.letters.append(letter)


@entity(idle_ttl=timedelta(days=30))
@define
class Cart(Entity):
    """A customer's shopping cart.

    Attributes:
      items: what is in it.
      reminder: the id of the reminder that is under way.
    """

    items: list[str] = field(factory=list[str])
    reminder: str | None = None

    def add(self, item: str, patience: float) -> None:
        """Put something in; remind the customer if nothing happens for so many seconds."""
        self.items.append(item)
        self._drop_reminder()
        me = Cart.at(self.context.entity_id.key)
        self.reminder = self.context.signal_entity(me, Cart.remind, deliver_at=patience)

    def remind(self) -> None:
        """Write to the customer."""
        self.reminder = None
        mailbox = Mailbox.at(self.context.entity_id.key)
        self.context.signal_entity(mailbox, Mailbox.put, f"you left {', '.join(self.items)}")

    def buy(self) -> list[str]:
        """Take everything out; the cart is no longer needed."""
        self._drop_reminder()
        self.context.delete()
        return self.items

    def _drop_reminder(self) -> None:
        if self.reminder is not None:
            self.context.cancel_signal(self.reminder)
            self.reminder = None


async def main(patience: float = 1.0) -> None:
    """Two customers fill their carts, and one of them buys."""
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Shop", [Cart, Mailbox], folder) as hub:
            async with hub.batch() as batch:
                for customer, item in (("ann", "a kettle"), ("bob", "a drum"), ("bob", "sticks")):
                    batch.signal_entity(Cart.at(customer), Cart.add, item, patience)
            print("ann buys", await hub.call_entity(Cart.at("ann"), Cart.buy))
            async for signal in hub.iter_delayed_signals():
                print(f"{signal.entity_id.key}: {signal.operation} is under way")
            await trio.sleep(patience + 0.2)
            await hub.wait_idle()
            for customer in ("ann", "bob"):
                print(f"{customer}'s mailbox:", await hub.read_entity(Mailbox.at(customer)))


if __name__ == "__main__":
    trio.run(main)
