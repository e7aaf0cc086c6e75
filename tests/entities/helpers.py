"""Entities by hand, for function tests: messages go in, effects come out, and nothing else happens.

A :class:`Bench` defines entity classes, a :class:`Subject` is one machine with shorthands around it. The tests give each
message themselves and look at what a turn decided; what a hub would do with it is none of their business.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from perdure.entities.entity import Entity
from perdure.entities.failures import FailureDetails
from perdure.entities.ids import EntityId
from perdure.entities.machine import EntityMachine
from perdure.entities.messages import (
    Answer,
    EntityEffect,
    EntityMessage,
    Failure,
    Letter,
    Operation,
    SectionId,
    Success,
    WaitingClient,
)
from perdure.orchestration.registry import Registry
from perdure.storage.values import Values

NOW = datetime(2031, 5, 17, 12, 30, tzinfo=UTC)


class Pause:
    """Awaited in an ``async`` operation, it suspends it until the test goes on with it."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Bench:
    """Definitions, and machines of them."""

    def __init__(self, *definitions: object) -> None:
        ids = itertools.count(1)
        self.registry = Registry(Values(), lambda: f"generated-{next(ids)}")
        self.registry.define(definitions)

    def subject(self, entity_id: EntityId) -> Subject:
        """A machine of an entity that does not exist yet."""
        definition = self.registry.entities.get(entity_id.name)
        return Subject(self, EntityMachine(entity_id, definition, self.registry))

    def message(
        self, target: EntityId, operation: Any, *arguments: Any, caller: int | None = None, section: SectionId | None = None
    ) -> Operation:
        """An operation as a caller's verb would write it."""
        name, encoded = self.registry.operation(target, operation, arguments)
        return Operation(name, encoded, None if caller is None else WaitingClient(caller), section)

    def packed(self, *values: Any) -> bytes:
        """Arguments that no verb has checked, as a program of another version might send them."""
        return self.registry.values.codec(object).encode(list(values))

    def result(self, target: EntityId, operation: Any, outcome: Success | Failure) -> Any:
        """The decoded result of a call that must have gone well."""
        assert isinstance(outcome, Success), outcome
        return self.registry.operation_definition(target, operation).result.decode(outcome.value)


@define
class Subject:
    """One machine under test.

    Attributes:
      bench: where it comes from.
      machine: the machine.
    """

    bench: Bench
    machine: EntityMachine
    _tokens: Any = field(factory=lambda: itertools.count(1))

    @property
    def id(self) -> EntityId:
        """Its id."""
        return self.machine.entity_id

    @property
    def state(self) -> Any:
        """A copy of the state, ``None`` if the entity does not exist."""
        machine = self.machine
        if machine.state is None:
            return None
        assert machine.definition is not None
        return machine.definition.read(machine.entity_id, machine.state, machine.version)

    def send(self, operation: Any, *arguments: Any, caller: int | None = None, section: SectionId | None = None) -> Operation:
        """Put an operation into the mailbox: a signal, or a call if there is a caller."""
        message = self.bench.message(self.id, operation, *arguments, caller=caller, section=section)
        self.machine.accept(message)
        return message

    def accept(self, *messages: EntityMessage) -> None:
        """Put messages into the mailbox."""
        for message in messages:
            self.machine.accept(message)

    def run(self) -> list[EntityEffect]:
        """Give turns until nothing is ready, and take what they decided."""
        while self.machine.ready:
            assert self.machine.advance(NOW, 3) > 0, "a machine that is ready does something"
        return self.take()

    def take(self) -> list[EntityEffect]:
        """Take what was decided."""
        effects, self.machine.effects = self.machine.effects, []
        return effects

    def outcome(self, operation: Any, *arguments: Any) -> Success | Failure:
        """Call an operation, run, and give what was answered; nothing else may have been decided."""
        token = next(self._tokens)
        self.send(operation, *arguments, caller=token)
        effects = self.run()
        assert len(effects) == 1, effects
        answer = effects[0]
        assert isinstance(answer, Answer)
        assert answer.reply_to == WaitingClient(token)
        return answer.outcome

    def call(self, operation: Any, *arguments: Any) -> Any:
        """Call an operation that must go well, and give its result."""
        return self.bench.result(self.id, operation, self.outcome(operation, *arguments))

    def failure(self, operation: Any, *arguments: Any) -> FailureDetails:
        """Call an operation that must fail, and give how it did."""
        outcome = self.outcome(operation, *arguments)
        assert isinstance(outcome, Failure), outcome
        return outcome.failure

    def reopened(self) -> Subject:
        """The machine that a restart makes of what is stored: the record, and what waits in the mailbox."""
        old = self.machine
        fresh = EntityMachine(old.entity_id, old.definition, old.host, old.state, old.version, old.lock)
        waiting = sorted((*old.mailbox.queue, *old.mailbox.held, *old.mailbox.control), key=lambda entry: entry[0])
        for number, message in waiting:
            fresh.accept(message, number)
        return Subject(self.bench, fresh, self._tokens)

    # --- async operations

    def begin(self) -> None:
        """Begin the async operation that stands in front, and run it up to its first pause or its end."""
        assert self.machine.waiting_operation
        self.machine.begin(NOW)
        self.step()

    def step(self, given: Any = None) -> None:
        """Go on with the async operation under way, up to its next pause or its end."""
        run = self.machine.running
        assert run is not None
        try:
            run.coroutine.send(given)
        except StopIteration as stop:
            self.machine.finish(run, stop.value)
        except BaseException as error:
            self.machine.finish(run, error)

    def run_all(self) -> list[EntityEffect]:
        """Like :meth:`run`, async operations included, which may not pause."""
        while self.machine.ready or self.machine.waiting_operation:
            if self.machine.ready:
                self.machine.advance(NOW, 3)
            else:
                self.begin()
                assert self.machine.running is None, "the operation has paused"
        return self.take()


def fresh(cls: type[Entity], key: str = "k") -> Subject:
    """A machine of a class that needs no other definitions."""
    return Bench(cls).subject(cls.at(key))


def only_letter(effects: list[EntityEffect]) -> Letter:
    """The one dead letter, which must be all that was decided."""
    assert len(effects) == 1, effects
    letter = effects[0]
    assert isinstance(letter, Letter)
    return letter
