"""Operations that only read (E13): the promise, and what happens when it is broken. In their place in the queue, here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import DefinitionError, Entity, EntityContext, ReadOnlyViolation, entity, read_only
from perdure.orchestration import OrchestrationContext, orchestrator

from .helpers import Bench, Pause, Subject, fresh, only_letter


@orchestrator
async def chore(ctx: OrchestrationContext) -> None:
    """Gets started."""


@define
class Shelf(Entity):
    """Things."""

    things: list[str] = field(factory=list[str])
    seen: set[str] = field(factory=set[str])
    identity: UUID = field(factory=uuid4)

    def put(self, thing: str) -> None:
        self.things.append(thing)

    @read_only
    def count(self) -> int:
        return len(self.things)

    @read_only
    def all_things(self) -> list[str]:
        return self.things

    @read_only
    def name(self) -> UUID:
        return self.identity

    @read_only
    def change_and_put_back(self) -> str:
        self.things.append("x")
        return self.things.pop()

    @read_only
    def take(self) -> str:
        return self.things.pop()

    @read_only
    def note(self) -> None:
        self.seen.add("x")
        self.things.append("x")

    @read_only
    def break_state(self) -> None:
        self.things.append(object())  # type: ignore[arg-type]

    @read_only
    def send(self, what: str) -> None:
        match what:
            case "signal":
                self.context.signal_entity(Shelf.at("other"), Shelf.put, "x")
            case "signal later":
                self.context.signal_entity(Shelf.at("other"), Shelf.put, "x", deliver_at=60.0)
            case "cancel":
                self.context.cancel_signal("0" * 48)
            case "start":
                self.context.start(chore)
            case "event":
                self.context.raise_event("instance", "go")
            case _:
                self.context.delete()

    @read_only
    def send_quietly(self) -> None:
        try:
            self.context.signal_entity(Shelf.at("other"), Shelf.put, "x")
        except ReadOnlyViolation:
            self.context.delete()

    @read_only
    async def count_slowly(self) -> int:
        await Pause()
        return len(self.things)

    @read_only
    async def take_slowly(self) -> str:
        await Pause()
        return self.things.pop()


def shelf(*things: str) -> Subject:
    """A shelf that exists if there are any things."""
    it = Bench(Shelf, chore).subject(Shelf.at("k"))
    for thing in things:
        it.call(Shelf.put, thing)
    return it


def test_E13_it_answers_in_its_place() -> None:
    """In the queue a read-only operation sees what the operations before it did, and nothing is stored for it."""
    it = shelf("a")
    stored = it.machine.state
    assert it.call(Shelf.count) == 1
    assert it.machine.state is stored
    it.call(Shelf.put, "b")
    assert it.call(Shelf.all_things) == ["a", "b"]
    assert it.reopened().call(Shelf.count) == 2


def test_E13_it_creates_nothing() -> None:
    """On an entity that does not exist it sees the defaults, one object's for one operation, and the entity still does not exist (E3)."""
    it = shelf()
    assert it.call(Shelf.count) == 0
    assert isinstance(it.call(Shelf.name), UUID)
    assert it.machine.empty


def test_E13_what_is_put_back_is_no_change() -> None:
    """Only the state at the end counts."""
    it = shelf("a")
    assert it.call(Shelf.change_and_put_back) == "x"
    assert it.state.things == ["a"]


@pytest.mark.parametrize(
    ("operation", "arguments", "what"),
    [
        (Shelf.take, (), r"changed state\.things\."),
        (Shelf.note, (), r"changed state\.things, state\.seen\."),
        (Shelf.send, ("signal",), r"called signal_entity\."),
        (Shelf.send, ("signal later",), r"called signal_entity\."),
        (Shelf.send, ("cancel",), r"called cancel_signal\."),
        (Shelf.send, ("start",), r"called start\."),
        (Shelf.send, ("event",), r"called raise_event\."),
        (Shelf.send, ("delete",), r"deleted the entity\."),
        (Shelf.send_quietly, (), r"deleted the entity\."),
    ],
)
def test_E13_a_broken_promise_fails_and_leaves_no_trace(operation: Any, arguments: tuple[Any, ...], what: str) -> None:
    """Changing the state or asking for an effect fails the operation with an error that says which, and nothing is kept (E4)."""
    it = shelf("a", "b")
    before = it.machine.state
    failure = it.failure(operation, *arguments)
    assert failure.is_caused_by(ReadOnlyViolation)
    with pytest.raises(AssertionError, match=rf"of @shelf@k is marked read-only, but {what} Do not mark it"):
        raise AssertionError(failure.message)
    assert it.machine.state == before
    assert it.call(Shelf.all_things) == ["a", "b"]


def test_E13_a_state_that_cannot_be_kept_fails() -> None:
    """A change to what cannot be stored fails with the place, and is undone."""
    it = shelf("a")
    assert "state.things[1]" in it.failure(Shelf.break_state).message
    assert it.state.things == ["a"]


def test_E13_a_change_to_an_entity_that_does_not_exist_fails() -> None:
    """The defaults are a state that may not be changed either."""
    it = shelf()
    assert it.failure(Shelf.note).is_caused_by(ReadOnlyViolation)
    assert it.machine.empty


def test_E13_an_effect_that_is_refused_and_ignored_is_not_sent() -> None:
    """The refusal stands where the effect is asked for: an operation that goes on after it has sent nothing."""

    @define
    class Quiet(Entity):
        @read_only
        def look(self) -> str:
            try:
                self.context.signal_entity(Shelf.at("other"), "put", "x")
            except ReadOnlyViolation:
                return "refused"
            return "sent"

    it = Bench(Quiet, Shelf, chore).subject(Quiet.at("k"))
    assert it.call(Quiet.look) == "refused"


def test_E13_an_async_one_in_the_queue() -> None:
    """It begins in its turn, others wait for it, and it keeps its promise or fails."""
    it = shelf("a")
    it.send(Shelf.count_slowly, caller=1)
    it.send(Shelf.put, "b")
    it.begin()
    assert it.machine.running is not None
    it.step()
    it.run()
    assert it.state.things == ["a", "b"]
    it.send(Shelf.take_slowly)
    it.begin()
    it.step()
    assert only_letter(it.take()).failure.is_caused_by(ReadOnlyViolation)
    assert it.state.things == ["a", "b"]


def test_E13_a_signal_may_be_read_only() -> None:
    """Its result is dropped; a broken promise makes it a dead letter."""
    it = shelf("a")
    it.send(Shelf.count)
    assert it.run() == []
    sent = it.send(Shelf.take)
    assert only_letter(it.run()).message == sent


# --- where the mark may stand


@define
class Base(Entity):
    @read_only
    def look(self) -> str:
        return "base"

    @read_only
    def peek(self) -> str:
        return "base"


@define
class Derived(Base):
    looked: int = 0

    def look(self) -> str:
        self.looked += 1
        return "derived"


def test_E13_an_override_has_its_own_mark() -> None:
    """The mark belongs to the function: what a subclass overrides may change the state, what it inherits may not."""
    it = fresh(Derived)
    assert it.call(Base.look) == "derived"
    assert it.state.looked == 1
    operation_of = it.bench.registry.operation_definition
    assert not operation_of(it.id, "look").read_only
    assert operation_of(it.id, "peek").read_only
    assert not operation_of(it.id, "delete").read_only


@pytest.mark.parametrize("wrong", [property(lambda self: 1), staticmethod(len), 3, Shelf])
def test_E13_the_mark_is_for_methods(wrong: Any) -> None:
    """Marking what is no function is refused where it is written."""
    with pytest.raises(TypeError, match=r"stands directly above its 'def'"):
        read_only(wrong)


def test_E13_a_marked_method_that_is_no_operation() -> None:
    """A private method is no operation, so the mark on it would mean nothing: it is refused."""

    @define
    class Hidden(Entity):
        @read_only
        def _look(self) -> int:
            return 1

    with pytest.raises(DefinitionError, match="'_look' of entity class Hidden is marked @read_only, and is no operation"):
        Bench(Hidden)


@pytest.mark.parametrize("options", [{"read_only": ["count"]}, {"upgrade": lambda state, version: state}])
def test_options_of_functions_are_not_for_classes(options: dict[str, Any]) -> None:
    """A class marks its methods and has a class method: the options of functions are refused, and the error says so."""
    with pytest.raises(TypeError, match="class Shelf a class method 'upgrade', and mark its methods with @read_only"):
        entity(**options)(Shelf)


# --- functions


@entity(read_only=["get", "set", "delete", "send"])
def box(ctx: EntityContext) -> object:
    """Most of its operations only read, or should."""
    value = ctx.get_state(list[int], [])
    match ctx.operation:
        case "put" | "set":
            ctx.set_state([*value, 1])
        case "delete":
            ctx.delete()
        case "send":
            ctx.signal_entity(box.at("other"), "put")
        case _:
            value.append(5)  # a copy
            return value
    return None


@pytest.mark.parametrize(
    ("operation", "what"), [("set", "called set_state"), ("delete", "deleted the entity"), ("send", "called signal_entity")]
)
def test_E13_a_function_that_breaks_its_promise(operation: str, what: str) -> None:
    """A function entity names its read-only operations; in those, set_state, delete and sending are refused."""
    it = Bench(box).subject(box.at("k"))
    it.call("put")
    assert what in it.failure(operation).message
    assert it.call("get") == [1, 5]
    assert it.state == [1]


# --- any of them, in any order


def _put(it: Subject, model: list[str]) -> None:
    it.call(Shelf.put, "x")
    model.append("x")


def _count(it: Subject, model: list[str]) -> None:
    assert it.call(Shelf.count) == len(model)


def _take(it: Subject, model: list[str]) -> None:
    it.failure(Shelf.take)


def _note(it: Subject, model: list[str]) -> None:
    it.failure(Shelf.note)


def _delete(it: Subject, model: list[str]) -> None:
    it.call("delete")
    model.clear()


@given(steps=st.lists(st.sampled_from([_put, _count, _take, _note, _delete]), max_size=12))
def test_E13_read_only_operations_change_nothing_whatever_they_do(steps: list[Callable[[Subject, list[str]], None]]) -> None:
    """In any order with others, well or not, read-only operations leave the bytes that are stored as they are."""
    it, model = shelf(), list[str]()
    for step in steps:
        before = it.machine.state
        step(it, model)
        if step not in (_put, _delete):
            assert it.machine.state == before
    assert (it.state.things if it.state else []) == model
