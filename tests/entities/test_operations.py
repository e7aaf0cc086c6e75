"""Plain operations of one entity: order, first use, values, unknown ones, and what is left at the end (E1, E3, E6, E7, E11)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities.entity import Entity
from perdure.entities.errors import UnknownEntity, UnknownOperation
from perdure.entities.ids import EntityId
from perdure.entities.messages import Answer, Failure, Operation, Success, WaitingClient
from perdure.storage.errors import NotStorable

from .helpers import NOW, Bench, Subject, fresh, only_letter


@define
class Journal(Entity):
    """Remembers what ran."""

    lines: list[Any] = field(factory=list)
    size: int = 0

    def write(self, line: Any) -> int:
        self.lines.append(line)
        self.size += 1
        return self.size

    def read(self) -> list[Any]:
        return self.lines

    def reset(self, lines: list[Any]) -> list[Any]:
        self.lines = lines
        return self.lines

    def fail(self) -> None:
        raise ValueError("no")

    def leave(self) -> str:
        self.context.delete()
        self.lines.append("too late")
        return "gone"


@pytest.fixture
def journal() -> Subject:
    return fresh(Journal)


# --- E1


@given(chunks=st.lists(st.integers(0, 5), max_size=8), budget=st.integers(1, 7))
def test_E1_order_of_arrival(chunks: list[int], budget: int) -> None:
    """However messages arrive and turns are cut, operations run one after another in the order of arrival, each once."""
    journal, arrived = fresh(Journal), 0
    for chunk in chunks:
        for _ in range(chunk):
            arrived += 1
            journal.send(Journal.write, arrived, caller=arrived)
        journal.machine.advance(NOW, budget)
    journal.machine.advance(NOW, 100)
    assert not journal.machine.ready
    assert [effect.reply_to for effect in journal.take() if isinstance(effect, Answer)] == [
        WaitingClient(number) for number in range(1, arrived + 1)
    ]
    assert (journal.state.lines if arrived else []) == list(range(1, arrived + 1))
    assert journal.machine.operations_run == arrived


@given(waiting=st.integers(0, 9), budget=st.integers(1, 9))
def test_E1_a_turn_keeps_to_its_budget(waiting: int, budget: int) -> None:
    """A turn works off as many messages as it may, says how many, and leaves the others in order."""
    journal = fresh(Journal)
    for number in range(waiting):
        journal.send(Journal.write, number)
    assert journal.machine.advance(NOW, budget) == min(waiting, budget)
    assert journal.machine.mailbox.waiting == max(0, waiting - budget)
    assert journal.machine.ready == (waiting > budget)


# --- E3


def test_E3_an_entity_exists_from_its_first_success_on() -> None:
    """A message alone makes no entity, nor does an operation that failed; the first that ends well does, from the defaults."""
    journal = fresh(Journal)
    journal.send(Journal.write, "a")
    assert journal.machine.state is None
    journal = fresh(Journal)
    journal.failure(Journal.fail)
    assert journal.state is None
    assert journal.call(Journal.write, "a") == 1
    assert journal.state == Journal(["a"], 1)


def test_E3_reading_creates_too(journal: Subject) -> None:
    """An operation that changes nothing is a first operation like any other: the entity then has the default state."""
    assert journal.call(Journal.read) == []
    assert journal.state == Journal()


@define
class Holder(Entity):
    """Its state can be anything."""

    value: Any = "default"

    def put(self, value: Any) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value


@pytest.mark.parametrize("value", [0, "", [], None, False, 0.0, {}, (), b""])
def test_E3_falsy_states_are_states(value: object) -> None:
    """A state of a falsy value is kept, across a restart too; it is not taken for no state."""
    holder = fresh(Holder)
    holder.call(Holder.put, value)
    found = holder.reopened().call(Holder.get)
    assert (found, type(found)) == (value, type(value))
    assert not holder.machine.empty


@define
class Empty(Entity):
    """Has no attributes at all."""

    def touch(self) -> None: ...


def test_E3_a_state_without_attributes_is_a_state() -> None:
    """An entity of a class without attributes exists after its first operation, too."""
    empty = fresh(Empty)
    empty.call(Empty.touch)
    assert empty.state == Empty()


@pytest.mark.parametrize("delete", ["delete", "leave"])
def test_E3_an_operation_after_deletion_starts_afresh(journal: Subject, delete: str) -> None:
    """After the implicit delete, and after one by the context, the next operation finds the defaults."""
    for _ in range(2):
        journal.call(Journal.write, "a")
    journal.call(delete)
    assert journal.state is None
    assert journal.call(Journal.write, "b") == 1
    assert journal.state == Journal(["b"], 1)


def test_E3_deleting_what_does_not_exist_succeeds(journal: Subject) -> None:
    """Deleting an entity that never was, and deleting one twice, succeed and leave nothing."""
    for _ in range(2):
        assert journal.call("delete") is None
        assert journal.call("leave") == "gone"
    assert journal.machine.empty


def test_E3_defaults_are_made_anew() -> None:
    """A default that is a list belongs to one entity: another one starts from an empty list again."""
    bench = Bench(Journal)
    first, second = bench.subject(Journal.at("1")), bench.subject(Journal.at("2"))
    first.call(Journal.write, "a")
    assert second.call(Journal.read) == []


# --- E6


def test_E6_arguments_are_copies(journal: Subject) -> None:
    """Changing a list after it was passed changes neither the message nor the state that was made of it."""
    passed = ["a"]
    journal.send(Journal.reset, passed)
    passed.append("b")
    journal.run()
    passed.append("c")
    assert journal.call(Journal.read) == ["a"]


def test_E6_results_are_copies(journal: Subject) -> None:
    """A result is what the list was when the operation returned it, and changing it changes nothing in the entity."""
    journal.send(Journal.reset, ["a"], caller=1)
    journal.send(Journal.write, "b")
    answer = journal.run()[0]
    assert isinstance(answer, Answer)
    result = journal.bench.result(journal.id, Journal.reset, answer.outcome)
    assert result == ["a"]
    result.append("x")
    assert journal.state.lines == ["a", "b"]


def test_E6_one_argument_in_two_messages(journal: Subject) -> None:
    """Each message has its own copy of an object that was passed twice, as has each entity."""
    passed: list[str] = []
    other = journal.bench.subject(Journal.at("other"))
    for subject in (journal, other, journal):
        subject.send(Journal.reset, passed)
        subject.send(Journal.write, subject.id.key)
        subject.run()
    assert journal.state.lines == ["k"]
    assert other.state.lines == ["other"]


def test_E6_states_that_were_read_are_copies(journal: Subject) -> None:
    """Changing a state that was read changes nothing in the entity, and its context raises (E9)."""
    journal.call(Journal.write, "a")
    read = journal.state
    read.lines.append("x")
    assert journal.call(Journal.read) == ["a"]
    with pytest.raises(RuntimeError, match="is a copy"):
        _ = read.context


def test_E6_subclasses_are_refused_rather_than_narrowed() -> None:
    """What would come back as something else (a bool for an int, an object of some class) is refused at the call."""

    @define
    class Adder(Entity):
        def add(self, amount: int) -> None: ...

    adder, holder = fresh(Adder), fresh(Holder)
    with pytest.raises(NotStorable, match="amount"):
        adder.send(Adder.add, True)
    with pytest.raises(NotStorable, match="value"):
        holder.send(Holder.put, object())
    assert not adder.machine.mailbox.waiting + holder.machine.mailbox.waiting


# --- E7


def test_E7_unknown_names_are_refused_at_the_call(journal: Subject) -> None:
    """Where the class is known, an unknown operation is refused at the call with those that there are; so is an unknown class."""
    with pytest.raises(UnknownOperation, match=r"no operation 'burn'; it has: delete, fail, leave, read"):
        journal.send("burn")
    with pytest.raises(UnknownEntity, match=r"'ledger'.*journal"):
        journal.bench.message(EntityId("ledger", "k"), "write")


@pytest.mark.parametrize("arguments", [(), (1, 2)])
def test_E7_a_wrong_number_of_arguments_is_refused_at_the_call(journal: Subject, arguments: tuple[int, ...]) -> None:
    """Too few and too many arguments are a TypeError at the call that names what the operation takes."""
    with pytest.raises(TypeError, match="line"):
        journal.send(Journal.write, *arguments)
    with pytest.raises(TypeError):
        journal.send("delete", "argument")


def test_E7_elsewhere_the_operation_fails() -> None:
    """A message with an unknown name, a wrong number of arguments or one that does not fit fails as an operation does."""

    @define
    class Adder(Entity):
        total: int = 0

        def add(self, amount: int) -> int:
            self.total += amount
            return self.total

    adder = fresh(Adder)
    packed = adder.bench.packed
    for name, arguments in (
        ("burn", packed()), ("add", packed()), ("add", packed(1, 2)), ("add", packed("1")), ("add", packed(True)),
        ("add", b"\xc1"), ("add", b""), ("delete", packed(1)), ("_private", packed()), ("__init__", packed(5)),
    ):  # fmt: skip
        adder.accept(Operation(name, arguments, WaitingClient(1)), Operation(name, arguments))
        answer, letter = adder.run()
        assert isinstance(answer, Answer)
        assert isinstance(answer.outcome, Failure)
        assert only_letter([letter]).message == Operation(name, arguments)
        assert adder.state is None
    assert adder.call(Adder.add, 2) == 2


def test_E7_an_unknown_operation_says_so(journal: Subject) -> None:
    """The failure of an unknown operation is an UnknownOperation, which its caller can ask for."""
    journal.accept(Operation("burn", journal.bench.packed()))
    assert only_letter(journal.run()).failure.is_caused_by(UnknownOperation)


def test_O18_an_undefined_class_waits() -> None:
    """Messages for a class that this program does not define wait, and run in order where it is defined."""
    known = Bench(Journal)
    messages = [known.message(Journal.at("k"), Journal.write, line) for line in ("a", "b")]
    unknown = Bench(Holder).subject(EntityId("journal", "k"))
    unknown.accept(*messages)
    assert not unknown.machine.ready
    assert not unknown.machine.waiting_operation
    waiting = known.subject(Journal.at("k"))
    for number, message in unknown.machine.mailbox.queue:
        waiting.machine.accept(message, number)
    assert waiting.run() == []
    assert waiting.state.lines == ["a", "b"]


# --- E5, E11


def test_E5_what_was_not_stored_runs_again(journal: Subject) -> None:
    """A machine made of the stored record and mailbox computes what the lost one had computed."""
    journal.call(Journal.write, "a")
    journal.send(Journal.write, "b", caller=7)
    journal.send(Journal.fail, caller=8)
    journal.send(Journal.write, "c", caller=9)
    again = journal.reopened()
    effects = journal.run()
    repeated = again.run()
    assert [type(effect) for effect in effects] == [type(effect) for effect in repeated] == [Answer] * 3
    assert (effects[0], effects[2]) == (repeated[0], repeated[2])
    assert again.state == journal.state == Journal(["a", "b", "c"], 3)


def test_E11_nothing_is_left_of_a_deleted_entity(journal: Subject) -> None:
    """An entity is empty before its first message and after its deletion, and neither with a state nor with messages."""
    assert journal.machine.empty
    journal.send(Journal.write, "a")
    assert not journal.machine.empty
    journal.run()
    assert not journal.machine.empty
    journal.send("delete")
    journal.run()
    assert journal.machine.empty
    journal.send("delete")
    assert not journal.machine.empty


def test_E3_a_result_of_nothing(journal: Subject) -> None:
    """An operation without a result answers with None, which is an answer."""
    assert isinstance(journal.outcome("delete"), Success)
