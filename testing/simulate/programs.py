"""Random programs for the orchestrator of a simulation; see :class:`~perdure.testing.simulate.performing.Performer`."""

from __future__ import annotations

import random
from typing import Any, Final

from attrs import frozen

from .world import Program

KEYS: Final = ("", "a", "b", "ç/#", "z")
"""The keys of the ledgers: few, so that they are fought over."""

INSTANCES: Final = tuple(f"i{number}" for number in range(6))
"""Ids that are used again and again."""

EVENTS: Final = ("a", "b")
DEPTH_MAX: Final = 2


@frozen
class Programs:
    """Makes programs.

    Attributes:
      chance: where they come from.
    """

    chance: random.Random

    def seconds(self) -> float:
        """A short time, mostly."""
        return self.chance.choice((0.0, 0.5, 3.0, 3.0, 20.0, 200.0))

    def key(self) -> str:
        """A ledger."""
        return self.chance.choice(KEYS)

    def event(self) -> str:
        """The name of an event."""
        return self.chance.choice(EVENTS)

    def amount(self) -> int:
        """What is added to a balance."""
        return self.chance.randrange(-4, 8)

    def program(self, depth: int = 0) -> Program:
        """A program of a few instructions; deeper ones are shorter."""
        return [self.instruction(depth) for _ in range(self.chance.randrange(1, 5 - depth))]

    def instruction(self, depth: int) -> list[Any]:
        """One instruction."""
        chance = self.chance
        plain = (
            "signal",
            "signal",
            "call",
            "call",
            "slow",
            "refuse",
            "abandon",
            "later",
            "later",
            "work",
            "work",
            "http",
            "sleep",
            "event",
            "race",
            "lock",
        )
        if depth >= DEPTH_MAX:
            return self._plain(chance.choice(plain))
        nested = (
            "lock",
            "within",
            "child",
            "children",
            "nursery",
            "try",
            "careful",
            "drop",
            "start",
            "raise",
            "status",
            "continue",
            "fail",
        )
        return self._nested(chance.choice(nested), depth + 1) if chance.random() < 0.5 else self._plain(chance.choice(plain))

    def _plain(self, name: str) -> list[Any]:  # noqa: PLR0911 - a table
        chance = self.chance
        match name:
            case "signal":
                return [name, self.key(), abs(self.amount())]
            case "call":
                return [name, self.key(), self.amount()]
            case "slow":
                return [name, self.key(), self.seconds()]
            case "refuse":
                return [name, self.key(), self.key()]
            case "abandon":
                return [name, self.key()]
            case "later":
                return [name, self.key(), abs(self.amount()), self.seconds(), chance.choice((None, 0.0, self.seconds()))]
            case "work":
                return [name, chance.choice((1, 1, 2, 4)), chance.choice((None, None, 5.0)), chance.choice((None, None, 10.0))]
            case "http":
                return [name, chance.randrange(3), chance.choice((1, 5, 40)), chance.choice((1, 3)), chance.choice((None, 60.0))]
            case "sleep":
                return [name, self.seconds()]
            case "event":
                return [name, self.event()]
            case "race":
                return [name, self.seconds(), self.event()]
            case _:
                return self._lock()

    def _lock(self) -> list[Any]:
        chance = self.chance
        names = chance.sample(KEYS, chance.randrange(1, 4))
        inner: list[list[Any]] = []
        for _ in range(chance.randrange(0, 4)):
            name = chance.choice(("call", "call", "slow", "abandon", "work", "sleep", "race", "fail"))
            if name == "fail":
                inner.append([name] if chance.random() < 0.3 else ["status", 0])
            elif name in ("call", "slow", "abandon"):
                inner.append([name, chance.choice(names), *self._plain(name)[2:]])
            else:
                inner.append(self._plain(name))
        return ["lock", names, chance.choice((None, None, 2.0)), inner]

    def _nested(self, name: str, depth: int) -> list[Any]:  # noqa: PLR0911 - a table
        chance = self.chance
        match name:
            case "within":
                return [name, self.seconds(), self.program(depth)]
            case "child":
                return [name, self.program(depth), chance.choice((None, None, *INSTANCES[:2]))]
            case "children" | "nursery":
                return [name, [self.program(depth) for _ in range(chance.randrange(1, 4))]]
            case "drop":
                return [name, chance.choice(("work", "timer", "child")), self.seconds()]
            case "try":
                return [name, self.program(depth)]
            case "careful":
                return [name, self.program(depth), self.key()]
            case "start":
                return [name, chance.choice(INSTANCES), self.program(depth)]
            case "raise":
                return [name, chance.choice(INSTANCES), self.event()]
            case "status":
                return [name, chance.randrange(100)]
            case "continue":
                return [name, self.program(depth)]
            case "fail":
                return [name]
            case _:
                return self._lock()
