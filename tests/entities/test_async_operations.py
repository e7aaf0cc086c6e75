"""Async operations: begun when their message is durable, one at a time, run again after a crash (E1, E4, E5, D2)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from perdure.entities.entity import Entity
from perdure.entities.messages import Answer, Failure, LockRelease, LockRequest, Send, Success, WaitingClient

from .helpers import NOW, Bench, Pause, Subject, fresh, only_letter
from .locking import section, set_of


@define
class Journal(Entity):
    """Writes at once, or in two halves with a pause between them."""

    lines: list[str] = field(factory=list)

    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    def read(self) -> list[str]:
        return self.lines

    async def write_slowly(self, line: str) -> int:
        self.lines.append(f"{line} begun")
        given = await Pause()
        self.lines.append(f"{line} ended" if given is None else f"{line} {given}")
        self.context.signal_entity(Journal.at("copy"), Journal.write, line)
        return len(self.lines)

    async def fail_slowly(self) -> None:
        self.lines.append("begun")
        self.context.signal_entity(Journal.at("copy"), Journal.write, "x")
        await Pause()
        raise ValueError("late")

    async def spoil_slowly(self) -> Any:
        await Pause()
        self.lines.append(object())  # type: ignore[arg-type]

    async def return_badly(self) -> Any:
        self.lines.append("x")
        return object()

    async def leave(self) -> None:
        self.context.delete()
        await Pause()

    async def write_at_once(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


@pytest.fixture
def journal() -> Subject:
    return fresh(Journal)


def numbers(subject: Subject) -> list[Any]:
    """What waits, by caller."""
    return [message.reply_to.token for _, message in subject.machine.mailbox.queue if message.reply_to]  # type: ignore[union-attr]


# --- D2


def test_D2_the_machine_stops_in_front_of_it(journal: Subject) -> None:
    """A turn runs what comes before an async operation and nothing from it on; the hub is shown that it waits."""
    journal.send(Journal.write, "a")
    journal.send(Journal.write_slowly, "b")
    journal.send(Journal.write, "c")
    assert journal.machine.advance(NOW, 10) == 1
    assert journal.machine.waiting_operation
    assert not journal.machine.ready
    assert journal.state.lines == ["a"]
    assert journal.machine.advance(NOW, 10) == 0


# --- E1


def test_E1_nothing_runs_while_one_is_suspended(journal: Subject) -> None:
    """While an async operation is suspended no other runs, plain or async; they follow in the order of arrival."""
    journal.send(Journal.write_slowly, "a", caller=1)
    journal.begin()
    journal.send(Journal.write, "b", caller=2)
    journal.send(Journal.write_slowly, "c", caller=3)
    journal.send(Journal.write, "d", caller=4)
    assert not journal.machine.ready
    assert not journal.machine.waiting_operation
    assert journal.run() == []
    journal.step()
    journal.run()
    assert journal.state.lines == ["a begun", "a ended", "b"]
    journal.begin()
    journal.step()
    answers = [effect.reply_to for effect in journal.run() if isinstance(effect, Answer)]
    assert journal.state.lines == ["a begun", "a ended", "b", "c begun", "c ended", "d"]
    assert answers[-2:] == [WaitingClient(3), WaitingClient(4)]


def test_E1_a_state_is_encoded_at_the_end_only(journal: Subject) -> None:
    """What a suspended operation has changed is not in the state before it ends; what is read then is the old one."""
    journal.call(Journal.write, "a")
    before = journal.machine.state
    journal.send(Journal.write_slowly, "b")
    journal.begin()
    assert journal.machine.state == before
    assert journal.state == Journal(["a"])
    journal.step()
    assert journal.state == Journal(["a", "b begun", "b ended"])


def test_E1_effects_come_at_the_end_only(journal: Subject) -> None:
    """What a suspended operation has asked for is sent when it has ended, before its answer."""
    journal.send(Journal.write_slowly, "a", caller=1)
    journal.begin()
    assert journal.take() == []
    journal.step()
    signal, answer = journal.take()
    assert isinstance(signal, Send)
    assert isinstance(answer, Answer)
    assert journal.bench.result(journal.id, Journal.write_slowly, answer.outcome) == 2


def test_E1_an_async_operation_that_never_waits(journal: Subject) -> None:
    """One that ends without waiting counts like any other, and plain operations after it see its state."""
    journal.send(Journal.write_at_once, "a")
    journal.begin()
    assert journal.machine.running is None
    assert journal.call(Journal.write, "b") == 2


def test_E1_the_object_of_a_plain_operation_is_not_shared(journal: Subject) -> None:
    """An async operation works on a copy: one that fails after plain ones ran leaves what they did."""
    journal.call(Journal.write, "a")
    journal.send(Journal.fail_slowly, caller=1)
    journal.begin()
    journal.step()
    journal.take()
    assert journal.call(Journal.read) == ["a"]
    assert journal.call(Journal.write, "b") == 2


# --- E4


@pytest.mark.parametrize("name", ["fail_slowly", "spoil_slowly", "return_badly"])
def test_E4_a_failing_async_operation_leaves_no_trace(journal: Subject, name: str) -> None:
    """An async operation that raises, or whose state or result cannot be kept, changes and sends nothing."""
    journal.call(Journal.write, "a")
    journal.send(name, caller=1)
    journal.send(name)
    journal.send(Journal.write, "b")
    effects = []
    while journal.machine.waiting_operation or journal.machine.running:
        if journal.machine.running:
            journal.step()
        else:
            journal.begin()
        effects += journal.run()
    answer, letter = effects
    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failure)
    assert only_letter([letter]).message.name == name
    assert journal.state.lines == ["a", "b"]


def test_E4_creation_is_undone(journal: Subject) -> None:
    """An entity whose first operation is async and fails does not exist afterwards."""
    journal.send(Journal.fail_slowly)
    journal.begin()
    journal.step()
    journal.take()
    assert journal.machine.empty


def test_E4_arguments_that_do_not_fit(journal: Subject) -> None:
    """An async operation whose arguments do not fit fails without having run."""
    message = journal.send(Journal.write_slowly, "a", caller=1)
    journal.machine.mailbox.queue.clear()
    journal.accept(type(message)(message.name, journal.bench.packed(1, 2), message.reply_to))
    journal.begin()
    assert journal.machine.running is None
    (answer,) = journal.take()
    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failure)


def test_E3_an_async_operation_can_delete(journal: Subject) -> None:
    """A deletion by an async operation takes effect when it has ended."""
    journal.call(Journal.write, "a")
    journal.send(Journal.leave)
    journal.begin()
    assert journal.state == Journal(["a"])
    journal.step()
    assert journal.state is None
    assert journal.machine.empty


# --- E5


def test_E5_it_runs_again_after_a_crash(journal: Subject) -> None:
    """The message of a suspended operation stays in the mailbox, so that a machine made of what is stored runs it again."""
    journal.call(Journal.write, "a")
    journal.send(Journal.write_slowly, "b", caller=1)
    journal.send(Journal.write, "c", caller=2)
    journal.begin()
    assert numbers(journal) == [1, 2]
    again = journal.reopened()
    assert again.machine.waiting_operation
    again.begin()
    again.step("ended again")
    effects = again.run()
    assert again.state.lines == ["a", "b begun", "b ended again", "c"]
    assert [effect.reply_to for effect in effects if isinstance(effect, Answer)] == [WaitingClient(1), WaitingClient(2)]


def test_E5_its_message_goes_when_it_has_ended(journal: Subject) -> None:
    """The message of an operation that has ended, well or not, is consumed, and not run again."""
    for name, arguments in (("write_slowly", ("a",)), ("fail_slowly", ())):
        journal.send(name, *arguments)
        journal.machine.mailbox.seal()
        journal.begin()
        assert not any(journal.machine.mailbox.seal())
        journal.step()
        fresh_messages, consumed = journal.machine.mailbox.seal()
        assert fresh_messages == []
        assert len(consumed) == 1
        assert not journal.reopened().machine.waiting_operation
        journal.take()


# --- with a lock


def test_L4_a_release_does_not_wait_for_it() -> None:
    """While the holder's async call is suspended, a release goes on to the next entity; this one is free when the call ends."""
    bench = Bench(Journal)
    first, second = bench.subject(Journal.at("1")), Journal.at("2")
    mine, other = section("mine"), section("other")
    first.accept(LockRequest(mine, set_of(first.id, second), 0))
    first.run()
    first.send(Journal.write_slowly, "a", caller=1, section=mine)
    first.accept(LockRequest(other, set_of(first.id), 0))
    first.begin()
    first.accept(LockRelease(mine))
    assert first.run() == [Send(second, LockRelease(mine))]
    assert first.machine.lock is not None
    assert first.machine.lock.section == mine
    first.step()
    first.run()
    assert first.machine.lock is not None
    assert first.machine.lock.section == other
    assert first.state.lines == ["a begun", "a ended"]


def test_L2_a_request_waits_for_it() -> None:
    """A lock request that arrives while an async operation is suspended is granted when that has ended."""
    journal = fresh(Journal)
    journal.send(Journal.write_slowly, "a", caller=1)
    journal.begin()
    journal.accept(LockRequest(section("mine"), set_of(journal.id), 0))
    assert not journal.machine.ready
    journal.step()
    journal.run()
    assert journal.machine.lock is not None
    assert isinstance(journal.state, Journal)


def test_E4_success_of_a_call(journal: Subject) -> None:
    """The caller of an async operation gets its result."""
    journal.send(Journal.write_slowly, "a", caller=9)
    journal.begin()
    journal.step()
    answer = journal.take()[-1]
    assert isinstance(answer, Answer)
    assert answer.reply_to == WaitingClient(9)
    assert isinstance(answer.outcome, Success)
