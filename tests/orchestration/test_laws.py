"""Laws that hold for every orchestration (O1 to O3), over the corpus, in any order of what happens."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities.messages import Success
from perdure.orchestration import RuntimeStatus
from perdure.orchestration.context import OrchestrationContext
from perdure.orchestration.history import ACTIONS, Action, ExecutionEnded, HistoryEntry, TaskCompleted, TaskFailed, TurnStarted
from perdure.orchestration.kernel import Kernel
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.messages import EventRaised, Resume, TaskResult, Terminate

from .corpus import DEFINITIONS, SHAPES, Shape
from .world import World, first

EACH = pytest.mark.parametrize("shape", SHAPES, ids=str)
ORDERS = st.lists(st.integers(0, 11), max_size=60)


def played(shape: Shape, order: list[int] | None = None, *, evicting: bool = False) -> World:
    """A world in which the shape has been played; the order says which lane is next, and then the oldest is."""
    numbers = iter(order or ())
    world = World(DEFINITIONS, lambda count: next(numbers, 0) % count, evicting=evicting)
    machine = world.play(shape)
    record = machine.record
    assert record is not None
    if shape.failure is None:
        assert record.status is RuntimeStatus.COMPLETED, record.failure
        assert record.output is not None
        assert world.registry.orchestrator(record.name).result.decode(record.output) == shape.result
    else:
        assert record.status is RuntimeStatus.FAILED, record.status
        assert shape.failure in str(record.failure)
    return world


def fresh_kernel(world: World, machine: OrchestrationMachine) -> tuple[Kernel, OrchestrationContext]:
    """A kernel for an instance, with nothing behind it."""
    record = machine.record
    assert record is not None
    kernel = Kernel(world.registry.orchestrator(record.name), record.instance_id, record.execution, lambda _: None)
    parent = None if record.parent is None else record.parent.instance_id
    return kernel, OrchestrationContext(kernel, world.registry, record.version, parent)


def rerun(world: World, machine: OrchestrationMachine, journal: list[HistoryEntry]) -> tuple[list[Action], Kernel]:
    """What the code asks for when the events of a journal happen to it anew, without the journal's actions at hand."""
    kernel, context = fresh_kernel(world, machine)
    asked: list[Action] = []
    for entry in journal:
        if isinstance(entry, TurnStarted):
            kernel.now = entry.at
        elif not isinstance(entry, (*ACTIONS, ExecutionEnded)):
            kernel.apply(entry, context)
            asked += kernel.actions
            kernel.actions = []
    return asked, kernel


@EACH
def test_the_corpus_does_what_it_should(shape: Shape) -> None:
    """Each shape ends as it says, when nothing special happens."""
    played(shape)


@EACH
def test_O3_the_same_events_give_the_same_actions(shape: Shape) -> None:
    """Run anew with the events of its journal, the code of every instance asks for exactly the journaled actions, and ends alike."""
    world = played(shape)
    for instance_id, machine in world.machines.items():
        journal = world.journals[instance_id]
        asked, kernel = rerun(world, machine, journal)
        assert asked == [entry for entry in journal if isinstance(entry, ACTIONS)]
        ending, last = kernel.ending, journal[-1]
        assert ending is not None
        assert isinstance(last, ExecutionEnded)
        assert ending.value == last.output
        assert (ending.failure and ending.failure.message) == (last.failure and last.failure.message)
        kernel.close()


@EACH
def test_O3_the_journal_up_to_any_turn_replays(shape: Shape) -> None:
    """A replay of the journal up to the end of any turn fits, and asks for nothing beyond it."""
    world = played(shape)
    for instance_id, machine in world.machines.items():
        journal = world.journals[instance_id]
        turns = [place for place, entry in enumerate(journal) if isinstance(entry, TurnStarted)]
        for end in [*turns[1:], len(journal)][:: 1 + len(turns) // 12]:
            kernel, context = fresh_kernel(world, machine)
            kernel.replay(journal[:end], context)
            assert kernel.mismatch is None
            assert kernel.actions == []
            assert (kernel.ending is not None) == isinstance(journal[end - 1], ExecutionEnded)
            kernel.close()


@EACH
def test_O1_evicting_before_every_turn_changes_nothing(shape: Shape) -> None:
    """With a replay before each turn everything is the same to the last byte: journals, records, entities. No replay does anything.

    That a replay with nothing new is a fixed point is asserted in the world itself, each time.
    """
    live, evicted = played(shape), played(shape, evicting=True)
    assert evicted.journals == live.journals
    for instance_id, machine in live.machines.items():
        assert _without_traceback(evicted.machines[instance_id]) == _without_traceback(machine)
    assert {ref: machine.state for ref, machine in evicted.entities.items()} == {
        ref: machine.state for ref, machine in live.entities.items()
    }


@settings(max_examples=2)
@EACH
@given(order=ORDERS)
def test_O1_in_any_order_of_happenings(shape: Shape, order: list[int]) -> None:
    """Whatever comes first, the shape ends as it says, with and without evictions, and both journals are equal."""
    assert played(shape, order).journals == played(shape, order, evicting=True).journals


@EACH
def test_O10_a_settled_instance_never_changes(shape: Shape) -> None:
    """Whatever message reaches a finished instance, its record, its journal and the rest of the world stay as they are."""
    world = played(shape)
    for instance_id, machine in world.machines.items():
        assert machine.record is not None
        before = msgspec.msgpack.encode(machine.record)
        steps = [entry.id for entry in world.journals[instance_id] if isinstance(entry, ACTIONS)]
        late = [TaskResult(machine.record.execution, step, Success(b"\xc0")) for step in [*steps, "999"]]
        for message in (*late, EventRaised("x", b"\xc0"), Terminate("late"), Resume(None)):
            machine.accept(message)
            while machine.ready:
                machine.advance(world.now, 3)
        assert (machine.journal, machine.effects) == ([], [])
        assert msgspec.msgpack.encode(machine.record) == before


@EACH
def test_O5_a_settled_step_never_changes(shape: Shape) -> None:
    """Each answer given twice, the second time with another outcome, leaves actions and ending as with one answer."""
    world = played(shape)
    machine, journal = world.machines["shape"], world.journals["shape"]
    doubled: list[HistoryEntry] = []
    for entry in journal:
        doubled.append(entry)
        if isinstance(entry, TaskCompleted | TaskFailed):
            doubled.append(TaskCompleted(entry.task, b"\xc0"))
    asked, kernel = rerun(world, machine, doubled)
    assert asked == [entry for entry in journal if isinstance(entry, ACTIONS)]
    assert kernel.ending is not None
    assert isinstance(journal[-1], ExecutionEnded)
    assert kernel.ending.value == journal[-1].output
    kernel.close()


def _without_traceback(machine: OrchestrationMachine) -> object:
    """A record, its failure as text."""
    assert machine.record is not None
    failure = machine.record.failure
    return msgspec.structs.replace(machine.record, failure=None), failure and str(failure)


def test_the_world_is_fair() -> None:
    """The world really replays when it evicts, and really takes another order when it is given one."""
    shape = next(shape for shape in SHAPES if shape.orchestrator.name == "first_come")
    assert played(shape, evicting=True).replays >= 8
    forward, backward = World(DEFINITIONS, first), World(DEFINITIONS, lambda count: count - 1)
    orders: list[list[str]] = []
    for world in (forward, backward):
        world.play(shape)
        orders.append([entry.task for entry in world.journals["shape"] if isinstance(entry, TaskCompleted)])
    assert orders[0] == orders[1][::-1] == [str(step) for step in range(1, 9)]
