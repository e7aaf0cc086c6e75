"""``when_all`` and ``when_any`` (O6), in every order of finishing, nested, shared, empty and misused."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import pytest
from attrs import define, frozen
from hypothesis import given
from hypothesis import strategies as st
from perdure.orchestration import ActivityFailed, DurableTask, ForbiddenAwait, OrchestrationContext, RuntimeStatus, orchestrator

from .helpers import Bench
from .work import WORK, echo

LEAVES = 4


@frozen
class AllOf:
    """``when_all`` of what follows."""

    of: tuple[Tree, ...]


@frozen
class AnyOf:
    """``when_any`` of what follows."""

    of: tuple[Tree, ...]


Tree: TypeAlias = "int | AllOf | AnyOf"
"""A leaf is the number of an activity."""

trees: st.SearchStrategy[Tree] = st.recursive(
    st.integers(0, LEAVES - 1),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda of: AllOf(tuple(of))),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: AnyOf(tuple(of))),
    ),
    max_leaves=6,
)


@define
class Model:
    """When a tree finishes and with what, told from when and how its leaves do.

    Attributes:
      times: the place of each leaf in the order of finishing.
      bad: the leaves that fail.
    """

    times: dict[int, int]
    bad: frozenset[int]

    def time(self, tree: Tree) -> int:
        """When it finishes: with its last or with its first; 0 is at once."""
        if isinstance(tree, int):
            return self.times[tree]
        times = [self.time(each) for each in tree.of]
        return max(times, default=0) if isinstance(tree, AllOf) else min(times)

    def failing(self, tree: Tree) -> int | None:
        """The leaf whose failure it raises: the first in the order given. ``when_any`` raises nothing."""
        if isinstance(tree, int):
            return tree if tree in self.bad else None
        if isinstance(tree, AnyOf):
            return None
        return next((leaf for each in tree.of if (leaf := self.failing(each)) is not None), None)

    def check(self, tree: Tree, outcome: Any) -> None:
        """Compare with what the orchestrator found."""
        leaf = self.failing(tree)
        if leaf is not None:
            assert outcome == f"leaf {leaf}"
        elif isinstance(tree, int):
            assert outcome == tree
        elif isinstance(tree, AllOf):
            assert len(outcome) == len(tree.of)
            for each, inner in zip(tree.of, outcome, strict=True):
                self.check(each, inner)
        else:
            winner: int = outcome[0]
            assert self.time(tree.of[winner]) == self.time(tree)
            self.check(tree.of[winner], outcome[1])


@define
class Built:
    """A tree as tasks."""

    tree: Tree
    task: DurableTask[Any]
    of: list[Built]

    @classmethod
    def make(cls, ctx: OrchestrationContext, tree: Tree, leaves: list[DurableTask[Any]]) -> Built:
        """Build it."""
        if isinstance(tree, int):
            return cls(tree, leaves[tree], [])
        of: list[Built] = [cls.make(ctx, each, leaves) for each in tree.of]
        tasks = [each.task for each in of]
        return cls(tree, ctx.when_all(tasks) if isinstance(tree, AllOf) else ctx.when_any(tasks), of)

    def found(self) -> Any:
        """What a finished task gives: a value, a list, the winner's place and what it gives, or the text of a failure."""
        try:
            value = self.task.result
        except ActivityFailed as error:
            return error.failure.message
        if isinstance(self.tree, int):
            return value
        if isinstance(self.tree, AllOf):
            return [each.found() for each in self.of]
        place = next(place for place, each in enumerate(self.of) if each.task is value)
        return [place, self.of[place].found()]


@given(trees, st.permutations(range(LEAVES)), st.frozensets(st.integers(0, LEAVES - 1)), st.integers(0, LEAVES), st.booleans())
def test_O6_any_tree_finishes_when_and_as_its_leaves_say(
    tree: Tree, order: list[int], bad: frozenset[int], before: int, evicted: bool
) -> None:
    """For every tree of combinators and every order of finishing, the await ends exactly when it should, with what it should.

    Some leaves finish before the combinators are made, leaves are shared and repeated, and the code may be evicted in between.
    """

    @orchestrator
    async def growing(ctx: OrchestrationContext) -> object:
        leaves: list[DurableTask[Any]] = [ctx.call_activity(echo, leaf) for leaf in range(LEAVES)]
        await ctx.wait_for_external_event("grow")
        built = Built.make(ctx, tree, leaves)
        try:
            await built.task
        except ActivityFailed:
            assert not isinstance(tree, AnyOf)
        return built.found()

    subject = Bench(growing, *WORK).subject(growing)
    model = Model({leaf: max(0, place + 1 - before) for place, leaf in enumerate(order)}, bad)
    for place, leaf in enumerate((*order, None)):
        if place == before:
            subject.event("grow")
        elif evicted:
            subject.evict()
        assert subject.machine.finished == (place >= before and model.time(tree) <= place - before)
        if leaf is None or subject.machine.finished:
            break
        if leaf in bad:
            subject.fails(str(leaf + 1), ValueError(f"leaf {leaf}"))
        else:
            subject.completes(str(leaf + 1), leaf)

    model.check(tree, subject.output)


def test_O6_when_all_of_nothing_is_an_empty_list() -> None:
    """It finishes at once, without a wait."""

    @orchestrator
    async def empty(ctx: OrchestrationContext) -> list[int]:
        nothing: list[DurableTask[int]] = []
        assert ctx.when_all(nothing).done
        return await ctx.when_all(nothing)

    assert Bench(empty).subject(empty).output == []


def test_O6_when_any_of_nothing_is_refused() -> None:
    """It would never finish, so it is a ValueError at the call."""

    @orchestrator
    async def empty(ctx: OrchestrationContext) -> None:
        nothing: list[DurableTask[int]] = []
        with pytest.raises(ValueError, match="never finish"):
            ctx.when_any(nothing)

    assert Bench(empty).subject(empty).status is RuntimeStatus.COMPLETED


@pytest.mark.parametrize("what", [None, 3, "task"], ids=repr)
def test_O6_what_is_no_task_is_refused(what: object) -> None:
    """A TypeError that shows the value, at the call, from both combinators."""

    @orchestrator
    async def careless(ctx: OrchestrationContext) -> None:
        for combine in (ctx.when_all, ctx.when_any):
            with pytest.raises(TypeError, match=repr(what)):
                combine([ctx.wait_for_external_event("x"), what])  # type: ignore[list-item]

    assert Bench(careless).subject(careless).status is RuntimeStatus.COMPLETED


@frozen
class Handed:
    """Hands a task to whoever drives the code, without asking the task."""

    task: DurableTask[Any]

    def __await__(self) -> Generator[object, None, None]:
        yield self.task


def test_O6_a_task_of_another_orchestration_is_refused() -> None:
    """A task that leaked from another instance is a ValueError at the call, and awaiting it is refused too."""
    leaked: list[DurableTask[Any]] = []

    @orchestrator
    async def leaking(ctx: OrchestrationContext) -> None:
        leaked.append(ctx.call_activity(echo, 1))
        await leaked[0]

    @orchestrator
    async def using(ctx: OrchestrationContext) -> None:
        for combine in (ctx.when_all, ctx.when_any):
            with pytest.raises(ValueError, match="another orchestration"):
                combine([leaked[0]])
        with pytest.raises(RuntimeError):
            await leaked[0]
        with pytest.raises(ForbiddenAwait):
            await Handed(leaked[0])

    bench = Bench(leaking, using, *WORK)
    victim = bench.subject(leaking)
    assert bench.subject(using).status is RuntimeStatus.COMPLETED

    victim.completes("1", 1)
    assert victim.status is RuntimeStatus.COMPLETED


def test_O6_when_all_waits_for_the_rest_after_a_failure() -> None:
    """The failure of one child does not end the wait; what is raised is the first failure in the order given, not in time."""

    @orchestrator
    async def three(ctx: OrchestrationContext) -> str:
        try:
            await ctx.when_all([ctx.call_activity(echo, number) for number in range(3)])
        except ActivityFailed as error:
            return error.failure.message
        return "no failure"

    subject = Bench(three, *WORK).subject(three)
    subject.fails("3", ValueError("third"))
    subject.fails("2", ValueError("second"))
    assert subject.status is RuntimeStatus.RUNNING

    subject.completes("1", None)
    assert subject.output == "second"


def test_O6_when_any_raises_nothing_and_cancels_nothing() -> None:
    """A failed winner is returned as a task; the loser goes on, and can be awaited afterwards."""

    @orchestrator
    async def two(ctx: OrchestrationContext) -> object:
        first, second = ctx.call_activity(echo, 1), ctx.call_activity(echo, 2)
        winner = await ctx.when_any([first, second])
        assert winner is second
        with pytest.raises(ActivityFailed):
            _ = winner.result
        return await first

    subject = Bench(two, *WORK).subject(two)
    assert subject.fails("2", ValueError("bad winner")) == []
    subject.completes("1", "loser")
    assert subject.output == "loser"


def test_O6_the_winner_is_the_one_that_finished_first() -> None:
    """Of tasks that have finished already, ``when_any`` gives the first to finish, whatever the order given."""

    @orchestrator
    async def late(ctx: OrchestrationContext) -> list[object]:
        tasks = [ctx.call_activity(echo, number) for number in range(3)]
        await ctx.wait_for_external_event("now")
        first = await ctx.when_any(tasks)
        return [first.result, (await ctx.when_any(reversed(tasks))).result, ctx.when_any(tasks).result.result]

    subject = Bench(late, *WORK).subject(late)
    for step in ("2", "3", "1"):
        subject.completes(step, step)
    subject.event("now")
    assert subject.output == ["2", "2", "2"]


def test_O6_a_task_in_many_combinators_and_twice_in_one() -> None:
    """One task may stand in several combinators and twice in one; each gives its value in each place."""

    @orchestrator
    async def shared(ctx: OrchestrationContext) -> list[object]:
        task, other = ctx.call_activity(echo, 1), ctx.call_activity(echo, 2)
        twice = await ctx.when_all([task, other, task])
        winner = await ctx.when_any([task, task])
        again = await ctx.when_all([ctx.when_all([task, task]), ctx.when_all([other])])
        return [twice, winner.result, again]

    subject = Bench(shared, *WORK).subject(shared)
    subject.completes("1", "one")
    subject.completes("2", "two")
    assert subject.output == [["one", "two", "one"], "one", [["one", "one"], ["two"]]]


def test_O6_any_iterable_of_tasks_will_do() -> None:
    """A generator is taken once; changing a list after the call changes nothing."""

    @orchestrator
    async def lazy(ctx: OrchestrationContext) -> list[object]:
        tasks = [ctx.call_activity(echo, number) for number in range(2)]
        both = ctx.when_all(task for task in tasks)
        first = ctx.when_any(tasks)
        tasks.clear()
        return [(await first).result, await both]

    subject = Bench(lazy, *WORK).subject(lazy)
    subject.completes("2", "b")
    subject.completes("1", "a")
    assert subject.output == ["b", ["a", "b"]]


def test_O6_a_wide_when_all_keeps_the_order_given() -> None:
    """Five hundred children that finish in the reverse order give their results in the order given."""

    @orchestrator
    async def wide(ctx: OrchestrationContext) -> list[object]:
        return await ctx.when_all([ctx.call_activity(echo, number) for number in range(500)])

    subject = Bench(wide, *WORK).subject(wide)
    subject.run(100, *[subject.answer(str(step), step) for step in range(500, 0, -1)])
    assert subject.output == list(range(1, 501))


@pytest.mark.parametrize("verb", ["when_all", "when_any"])
def test_O6_deep_nesting_harms_only_its_instance(verb: str) -> None:
    """Combinators in combinators, hundreds deep, as a loop makes them: the instance ends one way or the other, nothing is raised."""
    for depth in (100, 250, 400, 1000):

        @orchestrator
        async def deep(ctx: OrchestrationContext, depth: int) -> str:
            task: DurableTask[Any] = ctx.call_activity(echo, 1)
            for _ in range(depth):
                task = getattr(ctx, verb)([task])
            await task
            return "through"

        subject = Bench(deep, *WORK).subject(deep, depth)
        if not subject.machine.finished:
            subject.completes("1", "leaf")
        assert subject.machine.finished
        assert depth > 100 or subject.output == "through"
