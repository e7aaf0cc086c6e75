"""The entities, orchestrations and activities that several workloads run."""

from __future__ import annotations

from attrs import define
from perdure.entities import Entity
from perdure.orchestration import OrchestrationContext, activity, orchestrator


@define
class Account(Entity):
    """A bank account."""

    balance: int = 0

    def deposit(self, amount: int) -> int:
        """Add to the balance, and return it."""
        self.balance += amount
        return self.balance

    def withdraw(self, amount: int) -> int:
        """Take from the balance, and return it."""
        if amount > self.balance:
            raise ValueError(f"{amount} > {self.balance}")
        self.balance -= amount
        return self.balance


async def greet(name: str) -> str:
    """What the activity does, to be called bare."""
    return f"Hello {name}"


@activity
async def hello(name: str) -> str:
    """Greet somebody."""
    return await greet(name)


@orchestrator
async def greetings(ctx: OrchestrationContext, count: int) -> list[str]:
    """Call an activity again and again, and return all results."""
    return [await ctx.call_activity(hello, f"city {number}") for number in range(count)]


def account_keys(count: int) -> list[str]:
    """That many keys."""
    return [f"account-{number}" for number in range(count)]
