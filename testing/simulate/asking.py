"""What all random clients have: names for what they send, programs for what they start, and what they know of the store."""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from attrs import define, field

from .known import Known
from .ledgers import Ledger
from .ops import LEDGER, Op
from .programs import INSTANCES, Programs
from .requests import Request


@define(eq=False)
class Asking(ABC):
    """Makes requests, each named after the verb of a hub that it asks for.

    Attributes:
      known: what answers are compared with.
      chance: what decides.
    """

    known: Known
    chance: random.Random
    _names: Iterator[int] = field(factory=lambda: itertools.count(1))
    _programs: Programs = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._programs = Programs(self.chance)

    @abstractmethod
    def _instance(self) -> str:
        """An instance to ask about."""

    def _touched(self, request: Request) -> bool:
        """Whether the instance has changed since the request was made, or somebody wanted it to be purged."""
        instance_id = request.instance_id or ""
        purged_at = self.known.purged.get(instance_id, -1)
        return max(self.known.touched_at.get(instance_id, 0), purged_at + 1) > request.asked_at

    def _request_id(self, name: str) -> str | None:
        return f"r-{name}" if self.chance.random() < 0.5 else None

    def _name(self) -> str:
        return f"c{next(self._names)}"

    def _op(self, operation: Any, key: str) -> tuple[Op, tuple[Any, ...]]:
        """An op for a ledger, and the arguments that send it."""
        chance, name = self.chance, self._name()
        amount = -chance.randrange(1, 9) if operation is Ledger.take else chance.randrange(9)
        op = Op(name, operation.__name__, key, amount)
        if operation is Ledger.note_slowly:
            return op, (name, amount, self._programs.seconds())
        if operation in (Ledger.pass_on, Ledger.refuse):
            return op, (name, amount, self._programs.key())
        if operation is Ledger.put_off:
            return op, (name, amount, self._programs.key(), self._programs.seconds())
        if operation is Ledger.launch:
            op.launches = chance.choice(INSTANCES)
            return op, (name, amount, op.launches, self._programs.program(1))
        return op, (name, amount)

    def _is_performed(self, name: str, key: str, place: int) -> bool:
        """Whether an op has a place in the log of a ledger, durably."""
        entity = self.known.stored.entity(LEDGER, key)
        log: list[str] = [] if entity is None or entity.state is None else entity.state["log"]
        return log[place - 1 : place] == [name]
