"""What a simulation runs, and the world around it.

Everything that is sent carries an *op*, a short text that is never used twice. Entities note the ops that they performed, in
order, in their state (:mod:`.ledgers`); orchestrations note the events that they received in their arguments and results
(:mod:`.performing`). So what has happened to each op can be read from the store alone, by somebody who knows nothing of the hub
(:mod:`.effects`).

User code tells the :class:`Outside` what it begins, and what it saw and should not have seen.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from attrs import frozen

NEVER: Final = "never"
"""What the ops and instances of operations that fail are called: nobody may ever see one."""

Program = list[Any]


@frozen
class Effort:
    """What an activity has to do.

    Attributes:
      seconds: how long each part of it takes; after each it gives a heartbeat.
      fails: whether it fails in the end.
    """

    seconds: tuple[float, ...]
    fails: bool


class Outside(Protocol):
    """The world around the hub, in which activities and async operations have effects."""

    def operation_began(self, key: str, op: str) -> None:
        """An async operation of an entity has begun."""
        ...

    def execution_runs(self, instance_id: str, tag: str) -> None:
        """An execution of an instance runs, whose ops begin with the tag; it may be a replay."""
        ...

    def starting(self, instance_id: str) -> None:
        """An orchestration is about to start another one; it may be a replay."""
        ...

    def cancelling(self, op: str) -> None:
        """An orchestration is about to cancel a delayed signal; it may be a replay."""
        ...

    def activity_began(self, instance_id: str, idempotency_key: str, attempt: int, last_heartbeat: int | None) -> Effort:
        """An activity has begun; what it has to do."""
        ...

    def heartbeat(self, idempotency_key: str, beat: int) -> None:
        """An activity is about to say how far it is."""
        ...

    def saw(self, number: int, what: str) -> None:
        """User code has seen what it should not have seen: the number of the invariant, and what."""
        ...


_outside: Final[list[Outside]] = []


@contextmanager
def around(world: Outside) -> Generator[None]:
    """The world is around whatever runs in this process meanwhile: an orchestrator's own variables reach no further."""
    _outside.append(world)
    try:
        yield
    finally:
        _outside.pop()


def outside() -> Outside:
    """The world around the hub.

    Raises:
      IndexError: no simulation runs.
    """
    return _outside[-1]


class Refused(Exception):
    """An operation that fails after it has done everything that it can do."""
