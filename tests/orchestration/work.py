"""Activities and entities that the tests of this folder call; the function tests answer for them."""

from __future__ import annotations

from attrs import define
from perdure.entities import Entity
from perdure.orchestration import activity


@activity
async def add(left: int, right: int) -> int:
    """A sum."""
    return left + right


@activity
def shout(text: str) -> str:
    """Upper case, in a thread."""
    return text.upper()


@activity
async def echo(value: object) -> object:
    """What it was given."""
    return value


@define
class Counter(Entity):
    """A number."""

    value: int = 0

    def add(self, amount: int) -> int:
        """Add to it; the new value."""
        self.value += amount
        return self.value


WORK = (add, shout, echo, Counter)
