"""Ops: who sent each, to whom, and in which places of the store it is.

An op has one place at a time: a mailbox, a log, the dead letters of an entity, the delayed signals, or the events and updates of
an instance. So an op with two places was delivered twice, and one that must be somewhere and is not was lost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from attrs import define, field

from ...entities.messages import Operation
from ...hub.records import DueRecord, SignalRecord
from ...orchestration.history import EventReceived, UpdateReceived
from ...orchestration.messages import EventRaised, UpdateRequested
from ..stored import StoredEntity, StoredOrchestration
from .ledgers import Ledger

LEDGER: Final = Ledger.at("").name
decode = msgspec.msgpack.decode


@define(eq=False)
class Op:
    """An op.

    Attributes:
      name: its name.
      operation: what performs it: an operation of a ledger, ``"event"`` or ``"update"``.
      target: the key of the ledger, or the id of the instance.
      amount: what it adds to the balance.
      sender: who sent it, ``None`` if that says nothing about its order.
      sequence: its place in what the sender sent.
      section: the critical section that it was called in.
      due: it was acknowledged, or sent by a committed step: it must be somewhere.
      refused: it was refused for certain, so it must be nowhere.
      answered: somebody waits for its answer; if it fails it leaves nothing.
      launches: the instance that it starts.
      due_at: it is to be delivered then or later, microseconds since 1970; 0 if it was sent for at once.
      withdrawn: somebody wanted to cancel or discard it, so it may be nowhere.
      seen: it was somewhere in the store at some time.
    """

    name: str
    operation: str
    target: str
    amount: int = 0
    sender: object = None
    sequence: int = 0
    section: object = None
    due: bool = False
    refused: bool = False
    answered: bool = False
    launches: str | None = None
    due_at: int = 0
    withdrawn: bool = False
    seen: bool = False

    @property
    def of_instance(self) -> bool:
        """Whether an instance performs it: it is let go when that ends."""
        return self.operation in ("event", "update")

    @property
    def fails(self) -> bool:
        """Whether it fails, or may."""
        return self.operation in ("refuse", "take")

    @property
    def leaves_nothing(self) -> bool:
        """Whether it may be nowhere in the end, its caller having been told that it failed."""
        return self.answered and self.fails


@define(eq=False)
class Ops:
    """All ops.

    Attributes:
      by_name: those that were sent, for all that is known.
      of_instances: those that instances perform, by instance.
      copied: events in the input of an instance that was started again, which nothing is known of any more.
      places: how often each is to be found, by name.
      later: those that wait among the delayed signals, by the key there.
      later_by_step: the delayed signal that a step of an execution has sent, by execution and step.
    """

    by_name: dict[str, Op] = field(factory=dict)
    of_instances: dict[str, list[Op]] = field(factory=lambda: defaultdict(list))
    copied: set[str] = field(factory=set)
    places: Counter[str] = field(factory=Counter)
    later: dict[bytes, str] = field(factory=dict)
    later_by_step: dict[tuple[str, str], str] = field(factory=dict)
    _held: dict[bytes, Counter[str]] = field(factory=dict)

    def add(self, op: Op) -> Op:
        """An op is sent; the first who says so knows it best."""
        known = self.by_name.setdefault(op.name, op)
        if known is op and op.of_instance:
            self.of_instances[op.target].append(op)
        return known

    def asked(self, execution: str, step: str, later: str | None) -> None:
        """A step has asked for something: for that op as a delayed signal, or for anything else.

        After a rewind it may be something else than before, and takes the place of a delayed signal that was not delivered yet.
        """
        before = self.later_by_step.pop((execution, step), None)
        if before not in (None, later) and before in self.by_name:
            self.by_name[before].withdrawn = True
        if later is not None:
            self.later_by_step[execution, step] = later

    def update(self, number: bytes, names: Counter[str]) -> set[str]:
        """What an instance has now, or what a delayed signal is; the ops that came or went."""
        before = self._held.get(number, Counter())
        touched = {name for name in before.keys() | names.keys() if before[name] != names[name]}
        for name in touched:
            self.places[name] += names[name] - before[name]
        if names:
            self._held[number] = names
        else:
            self._held.pop(number, None)
        return touched

    def update_later(self, key: bytes, due: DueRecord | None) -> set[str]:
        """What is under a key among what is due some time; the ops that came or went."""
        op = of_operation(due.message) if isinstance(due, SignalRecord) and due.name == LEDGER else None
        if op is None:
            self.later.pop(key, None)
            return self.update(key, Counter())
        self.later[key] = op[0]
        return self.update(key, Counter([op[0]]))


def of_operation(message: object) -> tuple[str, int] | None:
    """The op in a message for a ledger, and its amount."""
    if not isinstance(message, Operation) or message.name == "delete":
        return None
    name, amount, *_ = decode(message.arguments)
    return name, amount


def in_entity(entity: StoredEntity) -> Iterator[str]:
    """The ops that a ledger has performed, is to perform, or has failed to perform."""
    if entity.state is not None:
        yield from entity.state["log"]
    for message in (*entity.inbox.values(), *(letter.message for letter in entity.letters.values())):
        op = of_operation(message)
        if op is not None:
            yield op[0]


def sent_to(orchestration: StoredOrchestration) -> Iterator[str]:
    """The events and updates that an instance has received or is to receive: of its earlier executions, of this one, waiting ones."""
    record = orchestration.record
    if record is not None:
        arguments: list[Any] = decode(record.arguments)
        yield from arguments[1]
    yield from received(orchestration.journal.entries)
    for message in orchestration.inbox.values():
        if isinstance(message, EventRaised):
            yield decode(message.value)
        elif isinstance(message, UpdateRequested):
            yield decode(message.arguments)[0]


def received(entries: Iterable[object]) -> Iterator[str]:
    """The events and updates among some entries of a journal."""
    for entry in entries:
        if isinstance(entry, EventReceived):
            yield decode(entry.value)
        elif isinstance(entry, UpdateReceived):
            yield decode(entry.arguments)[0]
