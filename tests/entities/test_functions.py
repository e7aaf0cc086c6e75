"""Entities that are functions: what they see, what they may do, and that the rules for entities hold for them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import DefinitionError, EntityContext, EntityId, UnknownOperation, entity
from perdure.entities.messages import Operation, RaiseEvent, Send, StartInstance
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.errors import NotStorable, ValueUnreadable

from ..storage.value_strategies import fingerprint, plain_values, typed_values
from .helpers import Bench, Pause, Subject, only_letter


@define
class Item:
    """A class in a state."""

    name: str
    amounts: list[int] = field(factory=list[int])


@entity
def counter(ctx: EntityContext) -> object:
    """The one of the manual."""
    value = ctx.get_state(int, 0)
    match ctx.operation:
        case "add":
            ctx.set_state(value + ctx.get_input(int, 1))
        case "get":
            return value
        case "delete":
            ctx.delete()
        case "fail":
            ctx.set_state(99)
            ctx.signal_entity(counter.at("other"), "add", 1)
            ctx.start(chore, 1, instance_id="never")
            raise ValueError("after all of that")
        case other:
            raise UnknownOperation(f"a counter has no operation {other!r}")
    return None


@orchestrator
async def chore(ctx: OrchestrationContext, number: int) -> None:
    """Gets started."""


kept: list[EntityContext] = []
"""Contexts that an operation keeps, against the rule."""


@entity(name="Hand.v1")
def hand(ctx: EntityContext) -> Any:
    """Does by name what a test asks for."""
    match ctx.operation:
        case "keep":
            ctx.set_state(ctx.get_input())
        case "keep item":
            ctx.set_state(Item("a", [1]), Item)
        case "extend item":
            item = ctx.get_state(Item, Item("new"))
            item.amounts.append(len(item.amounts))
            if ctx.get_input(bool, True):
                ctx.set_state(item)
            return item.amounts
        case "keep twice":
            ctx.set_state(1)
            assert ctx.get_state(int) == 1
            ctx.set_state(2)
        case "undeclared":
            ctx.set_state(Item("a"))
        case "other type":
            ctx.get_state(int, 0)
            ctx.set_state("text")
        case "set after delete":
            ctx.delete()
            ctx.set_state(1)
        case "input":
            return ctx.get_input()
        case "int input":
            return ctx.get_input(int)
        case "item input":
            first, second = ctx.get_input(Item), ctx.get_input(Item)
            first.amounts.append(7)
            return second.amounts
        case "state":
            return ctx.get_state()
        case "bad default":
            return ctx.get_state(int)
        case "send":
            ctx.signal_entity(counter.at("x"), "add", 5)
            ctx.signal_entity(EntityId("counter", "y"), "add")
            ctx.start(chore, 1, instance_id="chore")
            ctx.raise_event("chore", "go", (1, 2))
        case "leak":
            kept.append(ctx)
        case _:
            return None
    return None


def subject(function: Any = counter) -> Subject:
    """An entity of a function that does not exist yet."""
    return Bench(counter, hand, slow, chore).subject(function.at("k"))


@entity
async def slow(ctx: EntityContext) -> int:
    """An async one."""
    value = ctx.get_state(int, 0)
    ctx.set_state(value + ctx.get_input(int))
    await Pause()
    if ctx.operation == "fail":
        raise ValueError("late")
    return ctx.get_state(int)


# --- the life of a state


def test_E3_a_function_entity_exists_once_it_has_set_a_state() -> None:
    """Reading the default creates nothing; setting does; deleting ends it, and the next operation starts afresh."""
    it = subject()
    assert it.call("get") == 0
    assert it.machine.empty
    it.call("add", 5)
    assert it.state == 5
    assert it.call("get") == 5
    it.call("delete")
    assert it.machine.empty
    assert it.call("get") == 0


@pytest.mark.parametrize("value", [0, "", None, [], {}, False])
def test_E3_an_empty_value_is_a_state(value: Any) -> None:
    """Falsy values are states like any other; None too is not the same as nothing."""
    it = subject(hand)
    it.call("keep", value)
    assert it.machine.state is not None
    assert it.call("state") == value
    assert it.reopened().call("state") == value


@given(value=plain_values())
def test_E6_any_plain_value_is_a_state_and_an_input(value: Any) -> None:
    """Any plain value comes back as it went in, as input, as state and as result, also after a restart."""
    it = subject(hand)
    it.call("keep", value)
    assert fingerprint(it.reopened().call("state")) == fingerprint(value)
    assert fingerprint(it.state) == fingerprint(value)
    assert fingerprint(it.call("input", value)) == fingerprint(value)


@given(pair=typed_values())
def test_E6_any_typed_value_is_a_state(pair: tuple[Any, Any]) -> None:
    """A value of any type that can be stored is a state when the function names the type, also after a restart."""
    tp, value = pair

    def keeper(ctx: EntityContext) -> None:
        if ctx.operation == "set":
            ctx.set_state(value, tp)
        else:
            seen.append(ctx.get_state(tp, value))

    seen: list[Any] = []
    it = Bench(made := entity(keeper)).subject(made.at("k"))
    it.call("set")
    it.reopened().call("get")
    assert fingerprint(seen[0]) == fingerprint(value)


def test_E4_a_failed_operation_leaves_no_trace() -> None:
    """State and everything that was to be sent is undone; the failed signal is a dead letter."""
    it = subject()
    it.call("add", 5)
    sent = it.send("fail")
    assert only_letter(it.run()).message == sent
    assert it.state == 5
    assert it.failure("fail").message == "after all of that"
    assert it.call("get") == 5


def test_E6_a_state_is_a_copy() -> None:
    """Changing what get_state gave changes nothing until it is set; the type it was read with is the one it is set with."""
    it = subject(hand)
    it.call("keep item")
    assert it.call("extend item", False) == [1, 1]
    assert it.call("extend item", False) == [1, 1]
    assert it.call("extend item") == [1, 1]
    assert it.call("extend item") == [1, 1, 2]
    assert it.state == {"name": "a", "amounts": [1, 1, 2]}


def test_E6_a_default_is_a_copy() -> None:
    """A default that is shared between operations is not changed by what is done to the state."""
    shared = Item("shared")

    def keeper(ctx: EntityContext) -> list[int]:
        item = ctx.get_state(Item, shared)
        item.amounts.append(1)
        return item.amounts

    it = Bench(made := entity(keeper)).subject(made.at("k"))
    assert [it.call("a"), it.call("b")] == [[1], [1]]
    assert shared.amounts == []


def test_E6_an_input_is_a_copy_each_time() -> None:
    """Plain data is read as a class that it fits, anew with each get_input."""
    it = subject(hand)
    assert it.call("item input", {"name": "a", "amounts": [1]}) == [1]


def test_an_operation_sees_what_it_set() -> None:
    """The last state that an operation sets counts, and reading in between gives what was set before."""
    it = subject(hand)
    it.call("keep twice")
    assert it.state == 2


# --- what is refused


@pytest.mark.parametrize(
    ("operation", "error", "reason"),
    [
        ("undeclared", NotStorable, r"state: an? Item .*ctx\.set_state\(value, type\)"),
        ("other type", NotStorable, "state: .*text.*int"),
        ("set after delete", RuntimeError, "'set after delete' of @hand.v1@k has deleted the state"),
        ("int input", TypeError, "'int input' was sent without an input"),
        ("bad default", NotStorable, "state: .*None.*int"),
    ],
)
def test_E4_misuse_fails_the_operation(operation: str, error: type[Exception], reason: str) -> None:
    """Each mistake fails the operation with an error that says which value is wrong, and leaves nothing."""
    it = subject(hand)
    failure = it.failure(operation)
    assert failure.is_caused_by(error)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(failure.message)
    assert it.machine.empty


def test_E4_an_input_of_another_type_fails_the_operation() -> None:
    """An input that does not fit the type that the function asks for fails there, by its place."""
    failure = subject(hand).failure("int input", "text")
    assert failure.is_caused_by(ValueUnreadable)
    assert "the input of operation 'int input'" in failure.message


def test_E7_an_operation_takes_one_input_at_most() -> None:
    """A second argument is refused at the call, and so is a value of a class, which no type is declared for."""
    it = subject()
    with pytest.raises(TypeError, match="0 to 1 are expected"):
        it.send("add", 1, 2)
    with pytest.raises(NotStorable, match=r"argument 'input': an? Item .*as plain data: of an object, a dict by attribute"):
        it.send("add", Item("a"))


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_E7_a_name_that_is_no_operation(name: str) -> None:
    """Any name of 1 to 200 characters is an operation; others are refused at the call, and fail when they arrive anyway."""
    it = subject()
    with pytest.raises(UnknownOperation, match="1 to 200 characters"):
        it.send(name)
    it.accept(Operation(name, it.bench.packed()))
    assert only_letter(it.run()).failure.is_caused_by(UnknownOperation)


def test_E7_a_lone_surrogate_is_no_operation() -> None:
    """A name that could not be stored is refused at the call."""
    with pytest.raises(UnknownOperation):
        subject().send("\ud800")


@pytest.mark.parametrize("operation", [counter, len, None, 7])
def test_E7_operations_of_a_function_are_named(operation: Any) -> None:
    """An operation of a function entity is given by name only."""
    with pytest.raises(TypeError, match="entity function 'counter' is given by its name, a str"):
        subject().send(operation)


def test_E7_what_the_function_does_not_know_fails() -> None:
    """A function that raises UnknownOperation fails the call with it."""
    assert subject().failure("jump").is_caused_by(UnknownOperation)


def test_E8_a_kept_context_is_refused() -> None:
    """Once its operation has ended, a context neither gives nor takes a state or an input."""
    kept.clear()
    it = subject(hand)
    it.call("keep", 1)
    it.call("leak")
    for verb in (kept[0].get_input, kept[0].get_state, lambda: kept[0].set_state(2)):
        with pytest.raises(RuntimeError, match="has ended"):
            verb()
    assert it.call("state") == 1


def test_E8_what_it_sends() -> None:
    """Signals, starts and events leave in the order of the calls when the operation has ended well."""
    it = subject(hand)
    it.send("send")
    effects = it.run()
    assert [type(effect) for effect in effects] == [Send, Send, StartInstance, RaiseEvent]
    assert effects[0] == Send(counter.at("x"), it.bench.message(counter.at("x"), "add", 5))


def test_E1_an_async_function_is_an_async_operation() -> None:
    """It waits in front of the queue until it may begin, others wait for it, and its state is kept when it ends."""
    it = subject(slow)
    it.send("first", 1)
    it.send("second", 2)
    assert not it.machine.ready
    it.begin()
    assert it.state is None
    assert it.machine.waiting_operation is None
    it.step()
    assert it.state == 1
    it.begin()
    it.step()
    assert it.state == 3


def test_E4_an_async_function_that_fails_leaves_no_trace() -> None:
    """What it had set before it failed is not kept."""
    it = subject(slow)
    it.send("fail", 1)
    it.begin()
    it.step()
    assert only_letter(it.take()).failure.message == "late"
    assert it.machine.empty


# --- definitions


def generates(ctx: EntityContext) -> Iterator[int]:
    """No operation."""
    yield 1


def lonely() -> None:
    """Takes no context."""


def greedy(ctx: EntityContext, amount: int) -> None:
    """Takes an argument."""


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (generates, "a plain or async function"),
        (len, "a plain or async function"),
        (lonely, "'lonely' is called with an EntityContext and nothing else"),
        (greedy, r"'greedy' is called .*'amount'.*ctx\.get_input"),
    ],
)
def test_a_function_that_cannot_be_an_entity(function: Any, reason: str) -> None:
    """What cannot be called with a context alone is refused where it is decorated."""
    with pytest.raises(DefinitionError, match=reason):
        entity(function)


def test_a_result_of_a_type_that_cannot_be_kept() -> None:
    """The annotation of the result is its type; one that cannot be stored is refused when it is defined."""

    def hands_out(ctx: EntityContext) -> Iterator[int]:
        return iter(())

    with pytest.raises(DefinitionError, match=r"the result of entity function 'hands_out'|has types that cannot be used"):
        Bench(entity(hands_out))


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"name": "1a"}, ValueError, "no entity name"),
        ({"version": -1}, ValueError, "0 or more"),
        ({"read_only": "get"}, TypeError, "a collection of operation names, not the text 'get'"),
        ({"read_only": [3]}, TypeError, "named by a str, not int"),
        ({"read_only": [""]}, ValueError, "1 to 200 characters"),
        ({"version": 1, "upgrade": lambda state: state}, DefinitionError, "upgrade of entity function 'receives'"),
        ({"version": 1, "upgrade": 7}, DefinitionError, r"a function of \(state, version\), not 7"),
        ({"upgrade": lambda state, version: state}, DefinitionError, "would never run"),
    ],
)
def test_options_of_a_function_are_checked(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    """A wrong option is refused where it is written."""

    def receives(ctx: EntityContext) -> None: ...

    with pytest.raises(error, match=reason):
        entity(**options)(receives)


def test_I1_a_function_has_a_name_like_a_class() -> None:
    """Its name is folded, the option comes first, ``at`` gives the id, and two entities of one name are refused."""
    assert hand.at("k") == EntityId("HAND.V1", "k")
    assert counter.at("") == EntityId("counter", "")
    with pytest.raises(ValueError, match="400"):
        counter.at("x" * 401)
    with pytest.raises(DefinitionError, match="two entities are named 'counter'"):
        Bench(counter, entity(name="Counter")(lonely_with_context))


def lonely_with_context(ctx: EntityContext) -> None:
    """Another function."""


def test_modules_hold_functions() -> None:
    """A module's function entities are defined with it."""
    module = types.ModuleType("shop")
    module.__dict__.update(counter=counter)
    assert set(Bench(module).registry.entities) == {"counter"}


def test_a_decorated_function_says_what_it_is() -> None:
    """It keeps its documentation and its module, and prints as what it is."""
    assert (counter.__doc__, counter.__module__, repr(counter)) == (
        "The one of the manual.", __name__, "<entity function 'counter'>",
    )  # fmt: skip


@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), max_size=5))
def test_E7_any_text_names_an_operation(names: list[str]) -> None:
    """A function sees exactly the name that was sent, whatever its characters."""

    def echo(ctx: EntityContext) -> str:
        return ctx.operation

    it = Bench(made := entity(echo)).subject(made.at("k"))
    assert [it.call(name) for name in names] == names
