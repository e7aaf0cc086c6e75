"""The world around a simulated hub: its clock, and what activities and async operations do outside."""

from __future__ import annotations

import random
from typing import Final

import trio
from attrs import define, field

from .known import Fault, Known
from .manner import Manner
from .ops import LEDGER, of_operation
from .trace import Trace
from .world import Effort

START: Final = 1_900_000_000_000_000
"""The wall clock when Trio's is 0, microseconds since 1970."""
SECOND: Final = 1_000_000
PARTS_MAX: Final = 3
"""Into so many parts an activity divides its work at most."""


@define(eq=False)
class Surroundings:
    """The world around a hub; see :class:`~perdure.testing.simulate.world.Outside`.

    Attributes:
      known: the model, which is told.
      trace: the trace.
      manner: how often things go wrong.
      chance: what decides.
      calm: nothing goes wrong any more.
      paused: the hub runs no turns.
      faults: what began before it was durable.
    """

    known: Known
    trace: Trace
    manner: Manner
    chance: random.Random
    calm: bool = False
    paused: bool = False
    faults: list[Fault] = field(factory=list)
    _offset: int = START

    def clock(self) -> int:
        """The wall clock: Trio's time, and whatever it was set to."""
        now = self._offset + round(trio.current_time() * SECOND)
        self.known.clock_max = max(self.known.clock_max, now)
        return now

    def set_clock(self, seconds: int) -> None:
        """Set the wall clock forward, or back."""
        self.trace.note(f"the clock is set by {seconds} s")
        self._offset += seconds * SECOND

    def heal(self) -> None:
        """Nothing goes wrong any more, and the wall clock shows at least the latest time that it has shown."""
        self.calm = True
        self._offset += max(0, self.known.clock_max - self.clock())

    def operation_began(self, key: str, op: str) -> None:
        """An async operation may begin only when its message is durable (D2)."""
        entity = self.known.stored.entity(LEDGER, key)
        waiting = [] if entity is None else [of_operation(message) for message in entity.inbox.values()]
        if not any(found is not None and found[0] == op for found in waiting):
            self.faults.append((4, f"the async operation of {op!r} began before its message was durable"))
        self.trace.note(f"{key!r} began {op}")

    def execution_runs(self, instance_id: str, tag: str) -> None:
        """An execution runs, whose ops begin with the tag."""
        self.known.tags[tag] = instance_id

    def starting(self, instance_id: str) -> None:
        """An orchestration is about to start another one."""
        self.known.starting(instance_id)

    def cancelling(self, op: str) -> None:
        """An orchestration is about to cancel a delayed signal."""
        self.known.cancelling.add(op)

    def activity_began(self, instance_id: str, idempotency_key: str, attempt: int, last_heartbeat: int | None) -> Effort:
        """An activity may begin only when it is durable that it was scheduled; it is told how far the last attempt was (O5)."""
        execution, _, step = idempotency_key.partition(":")
        if (execution, step, attempt) not in self.known.scheduled:
            self.faults.append((4, f"an activity of {instance_id} began before it was durable that it was scheduled"))
        durable, said = self.known.beats.get((execution, step), (0, 0))
        if not durable <= (last_heartbeat or 0) <= said:
            what = f"was told that it was at {last_heartbeat}: it has said {said}, and {durable} is durable"
            self.faults.append((4, f"activity {step} of {instance_id}, attempt {attempt}, {what}"))
        self.trace.note(f"activity {step} of {instance_id} began, attempt {attempt}, at {last_heartbeat}")
        if self.calm:
            return Effort((), fails=False)
        seconds = self.chance.uniform(0.0, self.manner.slowness)
        parts = self.chance.randrange(1, PARTS_MAX + 1)
        return Effort((seconds / parts,) * parts, self.chance.random() < self.manner.failures)

    def heartbeat(self, idempotency_key: str, beat: int) -> None:
        """An activity says how far it is."""
        execution, _, step = idempotency_key.partition(":")
        durable, said = self.known.beats.get((execution, step), (0, 0))
        self.known.beats[execution, step] = durable, max(said, beat)

    def saw(self, number: int, what: str) -> None:
        """User code has seen what it should not have seen."""
        self.faults.append((number, what))
