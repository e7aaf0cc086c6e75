"""The entities of a simulation: ledgers of what they have performed, and some that are deleted or expire."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, field

from ...entities import Entity, entity
from .world import NEVER, Program, Refused, outside

SCRIPT: Final = "script"
"""The orchestrator that ledgers start, by its name: it stands above them (:mod:`.performing`)."""

IDLE_SECONDS: Final = 60
"""How long a :class:`Guest` stays when nobody calls it."""


@define
class Ledger(Entity):
    """The ops that it performed.

    Attributes:
      log: their names, in order.
      balance: the sum of their amounts.
      sent: what it sent on: the op, a blank, and the key of the receiver.
      later: what it sent for later: the same, a blank, and the id of the signal.
      called_off: how many of those it has cancelled, the first ones first.
    """

    log: list[str] = field(factory=list[str])
    balance: int = 0
    sent: list[str] = field(factory=list[str])
    later: list[str] = field(factory=list[str])
    called_off: int = 0

    def note(self, op: str, amount: int) -> int:
        """Perform an op; the place that it got, from 1."""
        self.log.append(op)
        self.balance += amount
        return len(self.log)

    def take(self, op: str, amount: int) -> int:
        """Perform an op with a negative amount; fails, late, if there is not so much."""
        place = self.note(op, amount)
        if self.balance < 0:
            raise Refused(f"{-amount} is more than there is")
        return place

    async def note_slowly(self, op: str, amount: int, seconds: float) -> int:
        """Perform an op with I/O in its midst."""
        outside().operation_began(self.context.entity_id.key, op)
        await trio.sleep(seconds)
        return self.note(op, amount)

    def pass_on(self, op: str, amount: int, other: str) -> int:
        """Perform an op, and have another ledger perform one."""
        passed = f"@{self.context.entity_id.key}/{len(self.sent)}"
        self.sent.append(f"{passed} {other}")
        self.context.signal_entity(Ledger.at(other), Ledger.note, passed, 0)
        return self.note(op, amount)

    def put_off(self, op: str, amount: int, other: str, seconds: float) -> int:
        """Perform an op, and have another ledger perform one later (E10)."""
        passed = f"@{self.context.entity_id.key}+{len(self.later)}"
        signal_id = self.context.signal_entity(Ledger.at(other), Ledger.note, passed, 0, deliver_at=seconds)
        self.later.append(f"{passed} {other} {signal_id}")
        return self.note(op, amount)

    def call_off(self, op: str, amount: int) -> int:
        """Perform an op, and cancel what was put off first, if anything was."""
        if self.called_off < len(self.later):
            self.context.cancel_signal(self.later[self.called_off].split(" ")[2])
            self.called_off += 1
        return self.note(op, amount)

    def launch(self, op: str, amount: int, instance_id: str, program: Program) -> int:
        """Perform an op, start an orchestration, and raise an event to it."""
        self.context.start(SCRIPT, program, list[str](), instance_id=instance_id)
        self.context.raise_event(instance_id, "a", f"{op}!{instance_id}")
        return self.note(op, amount)

    def refuse(self, op: str, amount: int, other: str) -> int:
        """Do everything, then fail: nothing of it may remain (E4)."""
        self.context.signal_entity(Ledger.at(other), Ledger.note, f"{NEVER} {op}", 0)
        self.context.signal_entity(Ledger.at(other), Ledger.note, f"{NEVER} {op} later", 0, deliver_at=5)
        self.context.start(SCRIPT, [], list[str](), instance_id=f"{NEVER} {op}")
        self.call_off(op, amount + 1)
        self.sent.append(f"{NEVER} {other}")
        raise Refused(op)


@define
class Scratch(Entity):
    """A number that is deleted again and again (E3, E11)."""

    value: int = 0

    def add(self, amount: int) -> int:
        """Add to it; the new value."""
        self.value += amount
        return self.value


@entity(idle_ttl=IDLE_SECONDS)
@define
class Guest(Entity):
    """How often it was called since it came; it goes when nobody calls it for long."""

    calls: int = 0

    def call(self) -> int:
        """Call it; how often that was done."""
        self.calls += 1
        return self.calls
