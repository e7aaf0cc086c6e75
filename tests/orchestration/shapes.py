"""A shape: one orchestration of the corpus, what happens to it, and what must come out; and what the shapes call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from attrs import define, field, frozen
from perdure.entities import Entity
from perdure.orchestration import Orchestrator, activity

F = TypeVar("F")


@frozen
class Happening:
    """An event from outside, raised when everything before it has been worked off."""

    name: str
    value: Any = None
    instance_id: str = "shape"


@frozen
class Shape:
    """One shape.

    Attributes:
      orchestrator: it is started as the instance ``shape``.
      arguments: with these arguments.
      happenings: then these events are raised.
      result: and it completes with that; ``None`` if it fails.
      failure: a part of the message that it fails with.
      draws: it sends random or time values along, so two runs of it have different arguments in their journals.
    """

    orchestrator: Orchestrator[Any, *tuple[Any, ...]]
    arguments: tuple[Any, ...] = ()
    happenings: tuple[Happening, ...] = ()
    result: Any = None
    failure: str | None = None
    draws: bool = field(default=False)

    def __str__(self) -> str:
        return self.orchestrator.name


@frozen
class Corpus:
    """Shapes, and the definitions that they need."""

    shapes: list[Shape] = field(factory=list[Shape])
    definitions: list[object] = field(factory=list[object])

    def define(self, definition: F) -> F:
        """Take a definition; a decorator."""
        self.definitions.append(definition)
        return definition

    def shape(self, *arguments: Any, events: tuple[Happening, ...] = (), **expected: Any) -> Callable[[F], F]:
        """Take an orchestrator as a shape; a decorator."""

        def take(orchestrator: F) -> F:
            self.definitions.append(orchestrator)
            self.shapes.append(Shape(cast("Any", orchestrator), arguments, events, **expected))
            return orchestrator

        return take


CORPUS = Corpus()


# --- what the shapes use


@CORPUS.define
@activity
async def plus(left: int, right: int) -> int:
    """A sum."""
    return left + right


@CORPUS.define
@activity
def loud(text: str) -> str:
    """Upper case, in a thread."""
    return text.upper()


@CORPUS.define
@activity
async def same(value: object) -> object:
    """What it was given."""
    return value


@CORPUS.define
@activity
async def united(some: set[str], others: frozenset[str], named: dict[str, set[int]]) -> set[str]:
    """Sets, whose order depends on hashes."""
    return some | others | {f"{name}{len(numbers)}" for name, numbers in named.items()}


@CORPUS.define
@activity
async def broken(text: str) -> int:
    """Fails."""
    raise ValueError(text)


@CORPUS.define
@define
class Purse(Entity):
    """Some money."""

    coins: int = 0

    def put(self, amount: int) -> int:
        """Add; the new amount."""
        self.coins += amount
        return self.coins

    def take(self, amount: int) -> int:
        """Take; the new amount."""
        if amount > self.coins:
            raise ValueError(f"only {self.coins} coins")
        self.coins -= amount
        return self.coins
