"""A failed operation leaves no trace (E4), whatever it had done before it failed; an old message runs again (E5).

The property test drives one entity with scripts: each operation changes the state, sends what it is told to, perhaps
deletes, and then ends well or in one of several bad ways. A dictionary is the model of what must be left.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities.entity import Entity
from perdure.entities.ids import EntityId
from perdure.entities.messages import (
    Answer,
    EntityEffect,
    Failure,
    Letter,
    Operation,
    RaiseEvent,
    Send,
    StartInstance,
    Success,
    WaitingClient,
)
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.errors import NotStorable

from .helpers import Bench, Subject, fresh, only_letter

Ending = Literal["well", "raise", "raise base", "bad result", "bad state", "bad argument", "bad send"]


@frozen
class Script:
    """What one operation does, in this order.

    Attributes:
      add: numbers that it appends to the state.
      signals, starts, events: what it sends, by a number each.
      delete: it deletes the entity.
      ending: how it ends.
    """

    add: list[int]
    signals: list[int]
    starts: list[int]
    events: list[int]
    delete: bool
    ending: Ending


class Abort(BaseException):
    """No ``Exception``: passes what catches only those."""


@define
class Target(Entity):
    """Gets the signals."""

    def hear(self, number: int) -> None: ...


@orchestrator
async def chore(ctx: OrchestrationContext, number: int) -> None:
    """Gets started."""


@define
class Actor(Entity):
    """Does what a script says."""

    numbers: list[int] = field(factory=list)
    extra: Any = None

    def act(self, script: Script) -> Any:
        self.numbers += script.add
        for number in script.signals:
            self.context.signal_entity(Target.at(str(number)), Target.hear, number)
        for number in script.starts:
            self.context.start(chore, number, instance_id=f"i{number}")
        for number in script.events:
            self.context.raise_event(f"i{number}", "news", number)
        if script.delete:
            self.context.delete()
        return self._end(script.ending)

    async def act_async(self, script: Script) -> Any:
        return self.act(script)

    def _end(self, ending: Ending) -> Any:
        match ending:
            case "raise":
                raise ValueError("as told")
            case "raise base":
                raise Abort("as told")
            case "bad result":
                return object()
            case "bad state":
                self.extra = object()
            case "bad send":
                self.context.raise_event("i", "news", object())
            case _:
                pass
        return len(self.numbers)


small = st.lists(st.integers(0, 5), max_size=2)
scripts = st.builds(
    Script,
    small, small, small, small, st.booleans(),
    st.one_of(st.just("well"), st.sampled_from(["raise", "raise base", "bad result", "bad state", "bad argument", "bad send"])),
)  # fmt: skip
steps = st.lists(
    st.tuples(scripts, st.sampled_from(["act", "act_async"]), st.booleans(), st.sampled_from(["go on", "reopen", "gather"])),
    max_size=8,
)


@define
class Model:
    """The state that must be there, ``None`` if there is no entity."""

    numbers: list[int] | None = None

    def step(self, bench: Bench, script: Script, message: Operation) -> list[EntityEffect | type[Failure]]:
        """Do what a script does, and give the effects that it must have; a failure is given as its class."""
        fails = script.ending != "well" and not (script.ending == "bad state" and script.delete)
        if fails:
            return [Failure]
        numbers = [*(self.numbers or []), *script.add]
        self.numbers = None if script.delete else numbers
        sent: list[EntityEffect | type[Failure]] = []
        for number in script.signals:
            sent.append(Send(Target.at(str(number)), bench.message(Target.at(str(number)), "hear", number)))
        for number in script.starts:
            name, version, encoded = bench.registry.orchestration(chore, (number,))
            sent.append(StartInstance(name, encoded, f"i{number}", version))
        for number in script.events:
            sent.append(RaiseEvent(f"i{number}", "news", bench.registry.event_value("news", number)))
        if message.reply_to is not None:
            result = bench.registry.operation_definition(Actor.at("k"), "act").result.encode(len(numbers))
            sent.append(Answer(message.reply_to, Success(result)))
        return sent


def agree(found: list[EntityEffect], expected: list[tuple[Operation, list[EntityEffect | type[Failure]]]]) -> None:
    """Check what was decided against the model, effect by effect."""
    wanted: list[Any] = [(message, effect) for message, effects in expected for effect in effects]
    assert len(found) == len(wanted), (found, wanted)
    for effect, (message, model) in zip(found, wanted, strict=True):
        if model is not Failure:
            assert effect == model
        elif message.reply_to is None:
            assert isinstance(effect, Letter)
            assert effect.message == message
        else:
            assert isinstance(effect, Answer)
            assert effect.reply_to == message.reply_to
            assert isinstance(effect.outcome, Failure)


def send(subject: Subject, script: Script, name: str, caller: int | None) -> Operation:
    """Send a script; one with a bad argument as only an unchecked sender could."""
    if script.ending != "bad argument":
        return subject.send(name, script, caller=caller)
    message = Operation(name, subject.bench.packed("no script"), None if caller is None else WaitingClient(caller))
    subject.accept(message)
    return message


@settings(max_examples=2 * settings().max_examples)
@given(steps=steps)
def test_E4_any_sequence_leaves_what_the_good_ones_did(steps: list[tuple[Script, str, bool, str]]) -> None:
    """State and effects are those of the good operations, in order, plus one answer or letter for each failed one.

    So it is for plain and async operations, for many in one turn or one at a time, and across restarts.
    """
    subject = Bench(Actor, Target, chore).subject(Actor.at("k"))
    model, expected = Model(), list[Any]()
    for number, (script, name, called, then) in enumerate(steps):
        message = send(subject, script, name, number if called else None)
        expected.append((message, model.step(subject.bench, script, message)))
        if then != "gather":
            agree(subject.run_all(), expected)
            expected = []
            assert (None if subject.state is None else subject.state.numbers) == model.numbers
        if then == "reopen":
            subject = subject.reopened()
    agree(subject.run_all(), expected)
    assert (None if subject.state is None else subject.state.numbers) == model.numbers
    assert subject.machine.empty == (model.numbers is None)


# --- single cases, in words


@define
class Account(Entity):
    """Fails after changing."""

    balance: int = 0
    tags: Any = None

    def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def overdraw(self) -> None:
        self.balance -= 1000
        self.context.signal_entity(Account.at("bank"), Account.deposit, 1000)
        raise ValueError("not covered")

    def spoil(self) -> int:
        self.balance = -1
        self.tags = {"made of": object()}
        return 0

    def mistype(self) -> int:
        self.balance = "much"  # type: ignore[assignment]
        return 0

    def lie(self) -> int:
        self.balance = -1
        return "no int"  # type: ignore[return-value]

    def close(self) -> None:
        self.context.delete()
        raise ValueError("not today")

    def swallow(self) -> int:
        try:
            self.context.raise_event("", "x")
        except ValueError:
            self.balance += 1
        return self.balance


BAD = ["overdraw", "spoil", "mistype", "lie", "close"]


@pytest.mark.parametrize("bad", BAD)
def test_E4_creation_is_undone(bad: str) -> None:
    """An entity whose first operation fails does not exist afterwards, and nothing was sent."""
    account = fresh(Account)
    account.failure(bad)
    assert account.state is None
    assert account.machine.empty


@pytest.mark.parametrize("bad", BAD)
def test_E4_changes_and_deletion_are_undone(bad: str) -> None:
    """The state before a failed operation is the state after it, and the next operation finds it."""
    account = fresh(Account)
    account.call(Account.deposit, 5)
    before = account.machine.state
    account.failure(bad)
    assert account.machine.state == before
    assert account.call(Account.deposit, 1) == 6


@pytest.mark.parametrize("bad", BAD)
def test_E4_neighbours_are_not_touched(bad: str) -> None:
    """In one turn with a failing operation between them, the earlier and the later operation both count."""
    account = fresh(Account)
    account.send(Account.deposit, 5)
    account.send(bad)
    account.send(Account.deposit, 2)
    letter = only_letter(account.run())
    assert letter.message.name == bad
    assert account.state == Account(7)


def test_E4_a_failed_signal_is_a_letter() -> None:
    """A failed signal becomes one dead letter with its message, as it was sent, and what went wrong."""
    account = fresh(Account)
    sent = account.send("overdraw")
    letter = only_letter(account.run())
    assert letter.message == sent
    assert letter.failure.type_name == "ValueError"
    assert letter.failure.message == "not covered"


def test_E4_a_failed_call_is_an_answer() -> None:
    """A failed call is answered with what went wrong, and is no dead letter."""
    failure = fresh(Account).failure("overdraw")
    assert (failure.type_name, failure.message) == ("ValueError", "not covered")
    assert "overdraw" in failure.traceback


@pytest.mark.parametrize(
    ("bad", "place"), [("spoil", r"state\.tags\['made of'\]"), ("mistype", r"state\.balance"), ("lie", "result.*'lie'")]
)
def test_E4_the_failure_says_what_cannot_be_kept(bad: str, place: str) -> None:
    """A state or result that cannot be kept fails the operation with NotStorable and the place of the value."""
    failure = fresh(Account).failure(bad)
    assert failure.is_caused_by(NotStorable)
    assert re.search(place, failure.message)


def test_E4_a_refusal_that_is_handled_is_no_failure() -> None:
    """An operation may catch what a verb of its context raises, and ends well then, without that effect."""
    assert fresh(Account).call("swallow") == 1


def test_E4_effects_of_the_good_ones_keep_their_order() -> None:
    """What two operations sent, with a failing one between them, goes out in the order of the operations."""
    bench = Bench(Actor, Target, chore)
    subject = bench.subject(Actor.at("k"))
    endings: list[Ending] = ["well", "raise", "well"]
    for number, ending in enumerate(endings, 1):
        subject.send("act", Script([], [number, number], [], [], False, ending))
    sent = [effect.target for effect in subject.run() if isinstance(effect, Send)]
    assert sent == [EntityId("target", key) for key in ("1", "1", "3", "3")]
