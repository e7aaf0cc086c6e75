"""What an operation may do, and what not (E8), and until when its context works."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from attrs import define, field
from perdure.entities.context import EntityContext
from perdure.entities.entity import Entity
from perdure.entities.errors import UnknownEntity, UnknownOperation
from perdure.entities.ids import EntityId
from perdure.entities.messages import Operation, RaiseEvent, Send, StartInstance
from perdure.orchestration import OrchestrationContext, UnknownOrchestrator, orchestrator
from perdure.storage.errors import NotStorable

from .helpers import NOW, Bench, Pause, Subject

kept: list[EntityContext] = []
"""Contexts that operations have kept beyond their end."""


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    kept.clear()


@define
class Ear(Entity):
    """Is signalled."""

    heard: list[int] = field(factory=list)

    def hear(self, number: int, twice: bool = False) -> None:
        self.heard.append(number)


@orchestrator
async def chore(ctx: OrchestrationContext, number: int) -> None:
    """Is started."""


@orchestrator(version="7")
async def versioned(ctx: OrchestrationContext) -> None:
    """Is started, too."""


@define
class Hand(Entity):
    """Does things with its context."""

    done: int = 0

    def send_all(self) -> str:
        context = self.context
        context.signal_entity(Ear.at("1"), Ear.hear, 1)
        context.raise_event("i", "news", {"a": (1, 2)})
        context.signal_entity(EntityId("ear", "2"), "hear", 2, True)
        started = context.start(chore, 3, instance_id="mine")
        context.signal_entity(Hand.at("k"), Hand.send_all)
        return started

    def start_unnamed(self) -> list[str]:
        return [self.context.start(chore, 1), self.context.start("chore", 2), self.context.start(versioned)]

    def look(self) -> tuple[str, str, bool]:
        context = self.context
        return str(context.entity_id), context.operation, context.now == NOW

    def keep(self) -> None:
        kept.append(self.context)

    def keep_and_fail(self) -> None:
        kept.append(self.context)
        raise ValueError("kept")

    def keep_and_return_badly(self) -> Any:
        kept.append(self.context)
        return object()

    async def keep_and_wait(self) -> None:
        kept.append(self.context)
        await Pause()

    async def keep_wait_and_fail(self) -> None:
        kept.append(self.context)
        await Pause()
        raise ValueError("kept")

    def reach_for(self, name: str) -> None:
        getattr(self.context, name)

    def misuse(self, what: str) -> None:
        context: Any = self.context
        self.done += 1
        match what:
            case "unknown operation":
                context.signal_entity(Ear.at("1"), "see", 1)
            case "foreign operation":
                context.signal_entity(Ear.at("1"), Hand.keep)
            case "unknown entity":
                context.signal_entity(EntityId("eye", "1"), "see")
            case "number of arguments":
                context.signal_entity(Ear.at("1"), Ear.hear)
            case "argument":
                context.signal_entity(Ear.at("1"), Ear.hear, "1")
            case "unknown orchestrator":
                context.start("nothing")
            case "start arguments":
                context.start(chore)
            case "instance id":
                context.start(chore, 1, instance_id="@mine")
            case "empty instance id":
                context.start(chore, 1, instance_id="")
            case "event receiver":
                context.raise_event("", "name")
            case "event name":
                context.raise_event("i", "")
            case "event value":
                context.raise_event("i", "name", object())
            case _:
                raise AssertionError(what)


@pytest.fixture
def hand() -> Subject:
    return Bench(Ear, Hand, chore, versioned).subject(Hand.at("k"))


# --- allowed


def test_E8_signals_starts_and_events_in_order(hand: Subject) -> None:
    """What an operation asked for is sent when it has ended, in the order in which it asked, before its answer."""
    hand.send(Hand.send_all, caller=1)
    effects = hand.run()
    bench = hand.bench
    assert effects[:-1] == [
        Send(Ear.at("1"), bench.message(Ear.at("1"), Ear.hear, 1)),
        RaiseEvent("i", "news", bench.registry.event_value("news", {"a": (1, 2)})),
        Send(Ear.at("2"), bench.message(Ear.at("2"), Ear.hear, 2, True)),
        StartInstance("chore", bench.registry.orchestration(chore, (3,))[2], "mine"),
        Send(hand.id, bench.message(hand.id, Hand.send_all)),
    ]
    assert bench.result(hand.id, Hand.send_all, effects[-1].outcome) == "mine"  # type: ignore[union-attr]


def test_E8_signals_of_an_operation_are_plain_signals(hand: Subject) -> None:
    """A signal from an operation has no caller and belongs to no critical section."""
    hand.send(Hand.send_all)
    messages = [effect.message for effect in hand.run() if isinstance(effect, Send)]
    assert len(messages) == 3
    for message in messages:
        assert isinstance(message, Operation)
        assert message.reply_to is None
        assert message.section is None


def test_E8_starts_get_an_id_at_once(hand: Subject) -> None:
    """A start without an id gets a generated one of its own, which the operation can return or keep, and its version."""
    hand.send(Hand.start_unnamed, caller=1)
    *starts, answer = hand.run()
    ids = hand.bench.result(hand.id, Hand.start_unnamed, answer.outcome)  # type: ignore[union-attr]
    assert ids == [start.instance_id for start in starts if isinstance(start, StartInstance)]
    assert len(set(ids)) == 3
    assert [start.version for start in starts if isinstance(start, StartInstance)] == [None, None, "7"]


def test_E8_what_a_context_tells(hand: Subject) -> None:
    """A context knows its entity, its operation and the time of the turn, which is aware."""
    assert hand.call(Hand.look) == ("@hand@k", "look", True)
    assert NOW.tzinfo is not None


# --- refused


@pytest.mark.parametrize("name", ["call_entity", "lock_entities", "call_activity"])
def test_E8_there_is_no_waiting(hand: Subject, name: str) -> None:
    """There is no method to wait for another entity or for work; who reaches for it is told why, and what to do instead."""
    assert not callable(inspect.getattr_static(EntityContext, name))
    failure = hand.failure(Hand.reach_for, name)
    assert failure.is_caused_by(AttributeError)
    assert name in failure.message
    assert "deadlock" in failure.message
    assert "signal_entity" in failure.message


def test_E8_other_names_are_just_missing(hand: Subject) -> None:
    """Any other name is an ordinary missing attribute."""
    failure = hand.failure(Hand.reach_for, "send_mail")
    assert failure.message == "'EntityContext' object has no attribute 'send_mail'"


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("unknown operation", UnknownOperation, "'see'"),
        ("foreign operation", UnknownOperation, "keep"),
        ("unknown entity", UnknownEntity, "'eye'"),
        ("number of arguments", TypeError, "number"),
        ("argument", NotStorable, "number"),
        ("unknown orchestrator", UnknownOrchestrator, "'nothing'"),
        ("start arguments", TypeError, "number"),
        ("instance id", ValueError, "@"),
        ("empty instance id", ValueError, "empty"),
        ("event receiver", ValueError, "empty"),
        ("event name", ValueError, "name"),
        ("event value", NotStorable, "object"),
    ],
)
def test_E8_wrong_use_fails_the_operation(hand: Subject, what: str, kind: type[BaseException], reason: str) -> None:
    """A wrong name, id or value is refused at that line, by its error type and with what was wrong; the operation fails."""
    failure = hand.failure(Hand.misuse, what)
    assert failure.is_caused_by(kind)
    assert reason in failure.message
    assert hand.state is None


# --- for how long


VERBS = ["signal", "start", "event", "delete"]


def use(context: EntityContext, verb: str) -> None:
    """Ask a context for something."""
    match verb:
        case "signal":
            context.signal_entity(Ear.at("1"), Ear.hear, 1)
        case "start":
            context.start(chore, 1)
        case "event":
            context.raise_event("i", "name", 1)
        case _:
            context.delete()


@pytest.mark.parametrize("verb", VERBS)
def test_E8_a_kept_context_refuses(hand: Subject, verb: str) -> None:
    """A context that was kept beyond its operation refuses everything, says whose it was, and nothing comes out of it."""
    hand.call(Hand.keep)
    with pytest.raises(RuntimeError, match=r"'keep' of @hand@k has ended.*Do not keep a context"):
        use(kept[0], verb)
    assert hand.run() == []
    assert hand.state == Hand()


@pytest.mark.parametrize("operation", ["keep_and_fail", "keep_and_return_badly"])
@pytest.mark.parametrize("verb", VERBS)
def test_E8_a_kept_context_of_a_failed_operation_refuses(hand: Subject, operation: str, verb: str) -> None:
    """So does one whose operation has failed: what is asked of it would be lost without a word."""
    hand.failure(operation)
    with pytest.raises(RuntimeError, match=rf"'{operation}' of @hand@k has ended"):
        use(kept[0], verb)


@pytest.mark.parametrize("operation", ["keep_and_wait", "keep_wait_and_fail"])
@pytest.mark.parametrize("verb", VERBS)
def test_E8_a_context_of_an_async_operation(hand: Subject, operation: str, verb: str) -> None:
    """The context of an async operation works while it is suspended, and refuses once it has ended, well or not."""
    hand.send(operation)
    hand.begin()
    use(kept[0], verb)
    hand.step()
    hand.take()
    with pytest.raises(RuntimeError, match="has ended"):
        use(kept[0], verb)


def test_E8_no_context_outside_of_an_operation() -> None:
    """An object that was made by hand has no context, and says why."""
    with pytest.raises(RuntimeError, match="no operation of this Hand is running"):
        _ = Hand().context


def test_E8_each_operation_has_its_own_context(hand: Subject) -> None:
    """Two operations of one entity get two contexts."""
    hand.call(Hand.keep)
    hand.call(Hand.keep)
    assert kept[0] is not kept[1]
