"""External events (O9): buffered by name, taken only by waits that are wanted, in order, and never eaten by the abandoned."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, TypeAlias

import pytest
from attrs import define, field
from hypothesis import example, given
from hypothesis import strategies as st
from perdure.orchestration import DurableTask, OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage.errors import ValueUnreadable

from .helpers import Bench, Subject
from .work import WORK, echo

NAMES = ("a", "b")
Kind: TypeAlias = Literal["wait", "done", "make", "race", "all"]
Command: TypeAlias = "tuple[Kind, tuple[str, ...]]"

names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
commands: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.sampled_from(["wait", "done", "make"]), st.sampled_from(NAMES).map(lambda name: (name,))),
    st.tuples(st.sampled_from(["race", "all"]), names),
)


async def obey(ctx: OrchestrationContext, command: Command) -> object:
    """Do what a command says, and tell what came of it."""
    kind, wanted = command
    waits: list[DurableTask[Any]] = [ctx.wait_for_external_event(name) for name in wanted]
    match kind:
        case "wait":
            return await waits[0]
        case "done":
            return waits[0].result if waits[0].done else None
        case "make":
            return None
        case "all":
            return await ctx.when_all(waits)
        case "race":
            gate = ctx.call_activity(echo, "gate")
            return (await ctx.when_any([*waits, gate])).result


@define
class Model:
    """What the commands give, told from the rule.

    Attributes:
      buffers: what nobody has taken, by name.
      left: commands that are still to begin.
      seen: what the ended ones gave.
      filled: what the waits of the open command have, by place; ``None`` while there is no open command.
      gates: how many activities were asked for.
    """

    left: deque[Command]
    buffers: dict[str, deque[int]] = field(factory=lambda: {name: deque() for name in NAMES})
    seen: list[Any] = field(factory=list[Any])
    filled: dict[int, int] | None = None
    gates: int = 0

    def advance(self) -> None:
        """Begin commands, and end those that need not wait."""
        while self.filled is None and self.left:
            kind, wanted = self.left[0]
            self.filled = {}
            self.gates += kind == "race"
            for place, name in enumerate(wanted):
                if kind != "make" and self.buffers[name] and not (kind == "race" and self.filled):
                    self.filled[place] = self.buffers[name].popleft()
            self.look()

    def look(self) -> None:
        """End the open command if it has what it needs."""
        assert self.filled is not None
        kind, wanted = self.left[0]
        if kind in ("done", "make"):
            self.end(self.filled.get(0))
        elif kind == "all" and len(self.filled) == len(wanted):
            self.end([self.filled[place] for place in range(len(wanted))])
        elif kind != "all" and self.filled:
            self.end(next(iter(self.filled.values())))

    def end(self, found: Any) -> None:
        """The open command ends."""
        self.left.popleft()
        self.seen.append(found)
        self.filled = None

    def event(self, name: str, value: int) -> None:
        """An event arrives: the newest wait that wants one takes it."""
        free = [
            place
            for place, wanted in enumerate(self.left[0][1] if self.filled is not None else ())
            if wanted == name and place not in (self.filled or {})
        ]
        if free and self.filled is not None:
            self.filled[free[-1]] = value
            self.look()
            self.advance()
        else:
            self.buffers[name].append(value)

    def gate(self) -> None:
        """The activity of the open race ends it."""
        self.end("gate")
        self.advance()


@example([("wait", ("b",)), ("wait", ("a",)), ("wait", ("b",)), ("wait", ("a",))], ["a", "b", "a", "b"], False)
@example([("race", ("a",)), ("wait", ("b",)), ("wait", ("a",))], ["gate", "a", "evict", "b"], False)
@example([("race", ("a", "b")), ("all", ("b", "b", "a"))], ["a", "b", "b", "a"], False)
@given(st.lists(commands, max_size=6), st.lists(st.sampled_from([*NAMES, "gate", "evict"]), max_size=14), st.booleans())
def test_O9_events_go_where_the_rule_says(script: list[Command], happenings: list[str], all_at_once: bool) -> None:
    """For any code and any order of events, each event is taken once, by the wait that the rule names, or stays unread."""
    seen: list[Any] = []

    @orchestrator
    async def obedient(ctx: OrchestrationContext) -> None:
        seen.clear()
        for command in script:
            seen.append(await obey(ctx, command))

    subject, model = Bench(obedient, *WORK).subject(obedient), Model(deque(script))
    model.advance()
    waiting: list[Any] = []
    for value, happening in enumerate(happenings):
        if subject.machine.finished:
            break
        if happening in NAMES:
            model.event(happening, value)
            waiting.append(subject.raised(happening.upper(), value))
            if not all_at_once:
                subject.run(1, *waiting)
                waiting.clear()
        else:
            subject.run(5, *waiting)
            waiting.clear()
            if happening == "evict":
                subject.evict()
            elif not subject.machine.finished and model.filled is not None and model.left[0][0] == "race":
                subject.completes(str(model.gates), "gate")
                model.gate()
    subject.run(5, *waiting)

    assert seen == model.seen
    assert subject.machine.finished == (not model.left)
    if not model.left and not all_at_once:
        assert subject.record.unread_events == sum(map(len, model.buffers.values()))


def test_O9_an_abandoned_wait_eats_nothing() -> None:
    """The reported fault: a wait that lost its race takes no later event; the next wait of that name gets it."""

    @orchestrator
    async def impatient(ctx: OrchestrationContext) -> object:
        for attempt in range(3):
            lost = ctx.wait_for_external_event("answer")
            winner = await ctx.when_any([lost, ctx.call_activity(echo, attempt)])
            assert winner is not lost
        return await ctx.wait_for_external_event("answer")

    subject = Bench(impatient, *WORK).subject(impatient)
    for step in ("1", "2", "3"):
        subject.completes(step)
    subject.event("answer", "for the last")
    assert subject.output == "for the last"


@pytest.mark.parametrize("loser", ["plain", "nested", "awaited twice"])
def test_O9_an_event_that_comes_after_the_race_waits_for_the_next_wait(loser: str) -> None:
    """While the code waits for something else, an event is kept though an abandoned wait of its name is still about."""

    @orchestrator
    async def busy(ctx: OrchestrationContext) -> list[object]:
        lost: DurableTask[Any] = ctx.wait_for_external_event("answer")
        if loser == "nested":
            lost = ctx.when_all([ctx.when_any([lost]), ctx.wait_for_external_event("answer")])
        for attempt in range(2 if loser == "awaited twice" else 1):
            await ctx.when_any([lost, ctx.call_activity(echo, attempt)])
        return [await ctx.wait_for_external_event("between"), await ctx.wait_for_external_event("answer"), lost.done]

    subject = Bench(busy, *WORK).subject(busy)
    subject.completes("1")
    if loser == "awaited twice":
        subject.completes("2")
    subject.event("answer", 1)
    subject.event("between", 2)
    assert subject.output == [2, 1, False]


def test_O9_a_loser_may_be_awaited_again() -> None:
    """A wait that lost a race takes an event when it is awaited once more, not before."""

    @orchestrator
    async def stubborn(ctx: OrchestrationContext) -> list[object]:
        wait = ctx.wait_for_external_event("answer")
        await ctx.when_any([wait, ctx.call_activity(echo, 1)])
        first = await ctx.wait_for_external_event("answer")
        return [first, await wait]

    subject = Bench(stubborn, *WORK).subject(stubborn)
    subject.completes("1")
    subject.event("answer", "first")
    subject.event("answer", "second")
    assert subject.output == ["first", "second"]


def test_O9_an_abandoned_nested_wait_eats_nothing() -> None:
    """Waits deep in a combinator that lost are abandoned with it, at the moment when it lost."""

    @orchestrator
    async def deep(ctx: OrchestrationContext) -> object:
        waits = [ctx.wait_for_external_event("x") for _ in range(3)]
        inner = ctx.when_all([ctx.when_any([waits[0], waits[1]]), waits[2]])
        gate = ctx.call_activity(echo, 1)
        await ctx.when_any([ctx.when_all([inner, waits[0]]), gate])
        assert waits[2].done
        return await ctx.wait_for_external_event("x")

    subject = Bench(deep, *WORK).subject(deep)
    subject.event("x", "taken while it was awaited")
    subject.completes("1")
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("x", "after the race")
    assert subject.output == "after the race"


def test_O9_the_newest_awaiting_wait_takes_first() -> None:
    """Of several waits of one name that are awaited, the last one made gets the first event."""

    @orchestrator
    async def three(ctx: OrchestrationContext) -> list[object]:
        waits = [ctx.wait_for_external_event("x") for _ in range(3)]
        return await ctx.when_all([waits[1], waits[2], waits[0]])

    subject = Bench(three).subject(three)
    for value in range(3):
        subject.event("x", value)
    assert subject.output == [1, 0, 2]


@pytest.mark.parametrize(("raised", "waited"), [("GO", "go"), ("Größe", "GRÖSSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("a b/c", "A B/C")])
def test_O9_names_compare_without_regard_to_case(raised: str, waited: str) -> None:
    """An event reaches a wait whose name differs only in case, also beyond ASCII."""

    @orchestrator
    async def waiting(ctx: OrchestrationContext) -> object:
        return await ctx.wait_for_external_event(waited)

    subject = Bench(waiting).subject(waiting)
    subject.event(raised, 5)
    assert subject.output == 5


@pytest.mark.parametrize("name", ["", "x" * 201, None, 3])
def test_O9_impossible_names_are_refused(name: Any) -> None:
    """A wait or an event without a proper name is refused at the call, with ValueError or TypeError."""

    @orchestrator
    async def careless(ctx: OrchestrationContext) -> None:
        with pytest.raises((ValueError, TypeError), match="event's name"):
            ctx.wait_for_external_event(name)
        with pytest.raises((ValueError, TypeError), match="event's name"):
            ctx.raise_event("other", name)

    assert Bench(careless).subject(careless).status is RuntimeStatus.COMPLETED


def test_O9_events_before_the_first_wait_are_kept_in_order() -> None:
    """Two thousand events that arrive before anybody waits, the first before the first turn, are all taken in order."""

    @orchestrator
    async def late(ctx: OrchestrationContext) -> list[object]:
        await ctx.wait_for_external_event("begin")
        return [await ctx.wait_for_external_event("x") for _ in range(2000)]

    subject = Subject(Bench(late))
    subject.create(late)
    subject.run(100, *[subject.raised("x", value) for value in range(2000)])
    subject.evict()
    subject.event("begin")
    assert subject.output == list(range(2000))


def test_O9_done_takes_an_event() -> None:
    """Asking ``done`` takes an event that is there and keeps it for that wait; without one it takes nothing later."""

    @orchestrator
    async def polling(ctx: OrchestrationContext) -> list[object]:
        wait, other = ctx.wait_for_external_event("x"), ctx.wait_for_external_event("x")
        seen: list[object] = [wait.done]
        await ctx.wait_for_external_event("tick")
        seen += [wait.done, other.done, wait.result, await wait]
        return seen

    subject = Bench(polling).subject(polling)
    subject.event("x", 7)
    subject.event("tick")
    assert subject.output == [False, True, False, 7, 7]


def test_O9_a_value_of_the_wrong_type_raises_at_the_wait_and_is_consumed() -> None:
    """The wait that took it raises, each time; the next wait gets the next event."""

    @orchestrator
    async def strict(ctx: OrchestrationContext) -> int:
        wait = ctx.wait_for_external_event("number", int)
        for _ in range(2):
            with pytest.raises(ValueUnreadable, match="number"):
                await wait
        return await ctx.wait_for_external_event("number", int)

    subject = Bench(strict).subject(strict)
    subject.event("number", "twelve")
    assert subject.status is RuntimeStatus.RUNNING
    subject.evict()
    subject.event("number", 12)
    assert subject.output == 12


def test_O9_a_wrong_value_in_a_combinator_raises_where_it_is_taken() -> None:
    """``when_any`` gives the wait as its winner and does not raise; ``when_all`` raises when all have finished."""

    @orchestrator
    async def strict(ctx: OrchestrationContext) -> str:
        winner = await ctx.when_any([ctx.wait_for_external_event("number", int)])
        with pytest.raises(ValueUnreadable):
            _ = winner.result
        with pytest.raises(ValueUnreadable):
            await ctx.when_all([ctx.wait_for_external_event("number", int), ctx.wait_for_external_event("end", str)])
        return "both raised"

    subject = Bench(strict).subject(strict)
    subject.event("number", "one")
    subject.event("number", "two")
    assert subject.status is RuntimeStatus.RUNNING
    subject.event("end", "x")
    assert subject.output == "both raised"


def test_O9_a_stream_gives_the_events_one_after_another() -> None:
    """``async for`` over ``ctx.events`` takes them in order, converted; leaving the loop leaves the rest in the buffer."""

    @orchestrator
    async def summing(ctx: OrchestrationContext) -> int:
        total = 0
        async for number in ctx.events("Number", int):
            if number == 0:
                break
            total += number
        return total

    subject = Bench(summing).subject(summing)
    subject.run(100, *[subject.raised("number", value) for value in (1, 2, 3, 0, 4, 5)])
    assert subject.output == 6
    assert subject.status is RuntimeStatus.COMPLETED


def test_O9_waits_are_no_steps() -> None:
    """More waits, other names and another order of waiting fit an old journal: none of that is journaled (O3)."""

    @orchestrator(name="grown")
    async def before(ctx: OrchestrationContext) -> object:
        await ctx.wait_for_external_event("x")
        return await ctx.call_activity(echo, 1)

    @orchestrator(name="grown")
    async def after(ctx: OrchestrationContext) -> object:
        ctx.wait_for_external_event("never")
        await ctx.when_any([ctx.wait_for_external_event("y"), ctx.wait_for_external_event("x")])
        return await ctx.call_activity(echo, 1)

    subject = Bench(before, *WORK).subject(before)
    subject.event("x")
    grown = subject.reopened(Bench(after, *WORK))
    grown.completes("1", "fits")
    assert grown.output == "fits"
