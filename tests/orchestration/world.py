"""A hub without a hub, for laws: instances and entities by function calls, in an order that the caller decides.

What is under way stands in lanes, one for each pair of sender and receiver (order within a lane is kept, E2), one for each
activity. Whoever drives the world chooses the lane whose first message is delivered next, so one shape can be run in any
order of happenings, and the same order can be run twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from perdure.entities.failures import FailureDetails
from perdure.entities.ids import EntityId
from perdure.entities.machine import EntityMachine
from perdure.entities.messages import (
    Answer,
    CallingTask,
    EntityMessage,
    Failure,
    Granted,
    Outcome,
    RaiseEvent,
    Send,
    StartInstance,
    Success,
)
from perdure.orchestration import InstanceExists
from perdure.orchestration.history import HistoryEntry
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.messages import (
    EventRaised,
    OrchestrationMessage,
    SectionGranted,
    StartActivity,
    StartChild,
    StartExecution,
    TaskResult,
    TellChild,
)
from perdure.orchestration.registry import Registry
from perdure.storage.values import Values

from .shapes import Shape

SECOND = 1_000_000
Choose = Callable[[int], int]
"""Given how many lanes there are, which one is next."""

_encode = msgspec.msgpack.Encoder().encode
_decode_history = msgspec.msgpack.Decoder(list[HistoryEntry]).decode


def first(_: int) -> int:
    """Always the oldest lane."""
    return 0


class World:
    """Everything that one shape sets in motion.

    Attributes:
      evicting: the code of an instance is dropped and replayed before each of its turns.
      machines: the instances, by id.
      journals: their stored journals.
      replays: how often code was replayed.
    """

    def __init__(self, definitions: list[object], choose: Choose = first, *, evicting: bool = False) -> None:
        self.registry = Registry(Values(), self._new_id)
        self.registry.define(definitions)
        self.machines: dict[str, OrchestrationMachine] = {}
        self.journals: dict[str, list[HistoryEntry]] = {}
        self.entities: dict[EntityId, EntityMachine] = {}
        self.evicting = evicting
        self.replays = 0
        self.now = 1_936_000_000 * SECOND
        self._choose = choose
        self._ids = itertools.count(1)
        self._lanes: dict[object, list[Callable[[], None]]] = {}

    def _new_id(self) -> str:
        return f"{next(self._ids):032x}"

    # --- from outside

    def play(self, shape: Shape) -> OrchestrationMachine:
        """Run a shape to its end, and return its machine."""
        name, version, arguments = self.registry.orchestration(shape.orchestrator, shape.arguments)
        self._create("shape", StartExecution("", name, version, arguments))
        self.settle()
        for happening in shape.happenings:
            self._tell(
                happening.instance_id,
                EventRaised(happening.name.casefold(), self.registry.event_value(happening.name, happening.value)),
            )
            self.settle()
        return self.machines["shape"]

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        while self._lanes:
            lane = list(self._lanes)[self._choose(len(self._lanes))]
            waiting = self._lanes[lane]
            deliver = waiting.pop(0)
            if not waiting:
                del self._lanes[lane]
            deliver()

    # --- delivering

    def _later(self, sender: object, receiver: object, deliver: Callable[[], None]) -> None:
        self._lanes.setdefault((sender, receiver), []).append(deliver)

    def _create(self, instance_id: str, start: StartExecution) -> None:
        machine = self.machines.get(instance_id)
        if machine is None:
            machine = self.machines[instance_id] = OrchestrationMachine(instance_id, self.registry, lambda _: None)
        self.journals[instance_id] = []
        machine.create(msgspec.structs.replace(start, execution=self._new_id()), self.now)
        self._turn(machine)

    def _tell(self, instance_id: str, message: OrchestrationMessage) -> None:
        machine = self.machines.get(instance_id)
        if machine is not None:
            machine.accept(message)
            self._turn(machine)

    def _turn(self, machine: OrchestrationMachine) -> None:
        self.now += SECOND
        if self.evicting:
            machine.evict()
            if machine.needs_history:
                self._revive(machine)
        while machine.ready:
            machine.advance(self.now, 2)
        self.journals[machine.instance_id].extend(_decode_history(_encode(machine.journal)))
        machine.journal.clear()
        effects, machine.effects = machine.effects, []
        for effect in effects:
            self._carry_out(machine.instance_id, effect)

    def _revive(self, machine: OrchestrationMachine) -> None:
        """Replay; nothing may come out of a replay with nothing new."""
        self.replays += 1
        machine.changed = False
        record = _encode(machine.record)
        machine.revive(list(self.journals[machine.instance_id]), self.now)
        assert machine.record is not None
        assert machine.kernel is not None, machine.record.failure
        assert (machine.journal, machine.effects, machine.changed) == ([], [], False)
        assert _encode(machine.record) == record

    def _to_entity(self, target: EntityId, message: EntityMessage) -> None:
        machine = self.entities.get(target)
        if machine is None:
            definition = self.registry.entities.get(target.name)
            machine = self.entities[target] = EntityMachine(target, definition, self.registry)
        machine.accept(message)
        while machine.ready:
            machine.advance(datetime.fromtimestamp(self.now // SECOND, UTC), 2)
        effects, machine.effects = machine.effects, []
        for effect in effects:
            self._carry_out(target, effect)

    def _carry_out(self, sender: object, effect: object) -> None:
        match effect:
            case Send(target, message):
                self._later(sender, target, lambda: self._to_entity(target, message))
            case Answer(CallingTask() as caller, outcome):
                self._answer(sender, caller, outcome)
            case Granted(section, entities):
                self._later(sender, section.owner, lambda: self._tell(section.owner, SectionGranted(section, entities)))
            case RaiseEvent(instance_id, name, value):
                self._later(sender, instance_id, lambda: self._tell(instance_id, EventRaised(name, value)))
            case StartInstance(name, arguments, instance_id, version):
                start = StartExecution("", name, version, arguments)
                self._later(sender, instance_id, lambda: self._start(instance_id, start))
            case StartChild(instance_id, message):
                self._later(sender, instance_id, lambda: self._start_child(instance_id, message))
            case TellChild(instance_id, _, message):
                self._later(sender, instance_id, lambda: self._tell(instance_id, message))
            case StartActivity(caller, name, arguments):
                self._later(caller, "activity", lambda: self._answer("activity", caller, self._perform(name, arguments)))
            case _:
                pass

    def _answer(self, sender: object, caller: CallingTask, outcome: Outcome) -> None:
        result = TaskResult(caller.execution, caller.task, outcome)
        self._later(sender, caller.instance_id, lambda: self._tell(caller.instance_id, result))

    def _start(self, instance_id: str, start: StartExecution) -> None:
        if instance_id not in self.machines:
            self._create(instance_id, start)

    def _start_child(self, instance_id: str, start: StartExecution) -> None:
        existing = self.machines.get(instance_id)
        if existing is None or existing.finished:
            self._create(instance_id, start)
        elif start.parent is not None:
            failure = FailureDetails.from_exception(InstanceExists(instance_id))
            self._answer(instance_id, start.parent, Failure(failure))

    def _perform(self, name: str, arguments: bytes) -> Outcome:
        definition = self.registry.activity(name)
        try:
            value: Any = definition.activity.function(*definition.arguments.decode(arguments))
            if definition.activity.is_async:
                try:
                    value.send(None)
                except StopIteration as stop:
                    value = stop.value
            return Success(definition.result.encode(value))
        except Exception as error:
            return Failure(FailureDetails.from_exception(error))
