"""Scopes and nurseries do what Trio's do (O7): random programs, run by Trio itself and by an orchestration, leave the same trace.

A program is a tree of sleeps, marks, failures, scopes with and without limits and shields, and nurseries. Each duration in it is
another power of two, so no two things that wait end at the same moment, except those that end each other. Every step that can be
seen waits for no time first, so that both notice a cancellation at the same place.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

from .virtual import hub_in, runtime_status

Step = tuple[Any, ...]
Trace = list[tuple[int, str]]


# --- programs


def _deeper(steps: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[list[Step]]:
    step = st.one_of(
        st.tuples(st.just("scope"), st.booleans(), st.booleans(), steps),
        st.tuples(st.just("nursery"), st.lists(steps, min_size=1, max_size=3), steps),
        st.tuples(st.just("catch"), steps),
        st.tuples(st.just("finally"), steps, steps),
        _LEAF,
    )
    return st.lists(step, min_size=1, max_size=4)


_LEAF: st.SearchStrategy[Step] = st.one_of(
    st.just(("sleep",)),
    st.just(("mark",)),
    st.just(("fail",)),
    st.tuples(st.just("cancel"), st.integers(0, 2)),
)
PROGRAMS = st.recursive(st.lists(_LEAF, min_size=1, max_size=3), _deeper, max_leaves=14)


@define
class Numbered:
    """Gives each step of a program its place, and each duration its power of two, in a shuffled order."""

    order: list[int]
    sleeps: int = 0
    places: Any = field(factory=itertools.count)

    def steps(self, program: list[Step]) -> list[Step]:
        """The program with a place or a duration in each step."""
        return [self._step(step) for step in program]

    def _duration(self) -> float:
        self.sleeps += 1
        return float(2 ** self.order[(self.sleeps - 1) % len(self.order)]) if self.sleeps <= len(self.order) else 0.0

    def _step(self, step: Step) -> Step:
        match step:
            case ("sleep",):
                return ("sleep", self._duration())
            case ("scope", limited, shield, body):
                return ("scope", next(self.places), self._duration() if limited else None, shield, self.steps(body))
            case ("nursery", children, body):
                tasks = [[("sleep", self._duration()), *self.steps(child)] for child in children]
                return ("nursery", tasks, [("sleep", self._duration()), *self.steps(body)])
            case ("catch", body):
                return ("catch", next(self.places), self.steps(body))
            case ("finally", body, last):
                return ("finally", self.steps(body), self.steps(last))
            case (kind, *rest):
                return (kind, next(self.places), *rest)
            case _:
                raise AssertionError(step)


# --- running one


@define
class World:
    """What a program runs in: Trio's functions, or those of a context."""

    now: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    scope: Callable[[float | None, bool], Any]
    nursery: Callable[[], Any]
    trace: Trace = field(factory=list[tuple[int, str]])

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now(), what))

    async def run(self, program: list[Step], scopes: list[Any]) -> None:
        """Run a program inside some scopes."""
        for step in program:
            await self._run(step, scopes)

    async def _run(self, step: Step, scopes: list[Any]) -> None:
        match step:
            case ("sleep", seconds):
                await self.sleep(seconds)
            case ("mark", place):
                await self.sleep(0)
                self.note(f"mark {place}")
            case ("fail", place):
                await self.sleep(0)
                raise ValueError(place)
            case ("cancel", place, depth):
                await self.sleep(0)
                if depth < len(scopes):
                    self.note(f"cancel {place}")
                    scopes[-1 - depth].cancel()
            case ("scope", place, seconds, shield, body):
                with self.scope(seconds, shield) as scope:
                    await self.run(body, [*scopes, scope])
                await self.sleep(0)
                self.note(f"left {place} {scope.cancelled_caught}")
            case ("nursery", tasks, body):
                async with self.nursery() as nursery:
                    for task in tasks:
                        nursery.start_soon(self.run, task, [*scopes, nursery.cancel_scope])
                    await self.run(body, [*scopes, nursery.cancel_scope])
            case ("catch", place, body):
                try:
                    await self.run(body, scopes)
                except Exception as error:
                    self.note(f"caught {place} {sorted(failures(error))}")
            case ("finally", body, last):
                try:
                    await self.run(body, scopes)
                finally:
                    await self.run(last, scopes)
            case _:
                raise AssertionError(step)


def failures(error: BaseException) -> list[int]:
    """The places of the failures in an exception, however deep in groups."""
    if isinstance(error, BaseExceptionGroup):
        return [place for member in error.exceptions for place in failures(member)]
    return [error.args[0]] if isinstance(error, ValueError) else []


def by_trio(program: list[Step]) -> Trace:
    """The trace of a program that Trio runs."""

    def scope(seconds: float | None, shield: bool) -> trio.CancelScope:
        deadline = float("inf") if seconds is None else trio.current_time() + seconds
        return trio.CancelScope(deadline=deadline, shield=shield)

    async def main() -> Trace:
        world = World(lambda: round(trio.current_time()), trio.sleep, scope, trio.open_nursery)
        await world.run([("catch", -1, program)], [])
        return sorted(world.trace)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def by_perdure(program: list[Step], cache: int) -> Trace:
    """The trace of the same program in an orchestration."""

    @orchestrator
    async def programmed(ctx: OrchestrationContext) -> list[list[Any]]:
        begin = ctx.now

        async def sleep(seconds: float) -> None:
            await ctx.sleep(seconds)

        def scope(seconds: float | None, shield: bool) -> Any:
            return ctx.CancelScope(shield=shield) if seconds is None else ctx.move_on_after(seconds, shield=shield)

        world = World(lambda: round((ctx.now - begin).total_seconds()), sleep, scope, ctx.open_nursery)
        await world.run([("catch", -1, program)], [])
        return [list(line) for line in world.trace]

    async def main() -> Trace:
        async with hub_in(MemoryStore(), programmed, cache_bytes=cache) as hub:
            instance = await hub.start(programmed)
            await trio.sleep(20_000)
            assert (await runtime_status(instance)).final, "it waits for ever"
            return sorted((time, what) for time, what in await instance.result())

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=150)
@given(program=PROGRAMS, order=st.permutations(range(12)), cache=st.sampled_from([64 << 20, 1]))
@example(program=[("scope", True, False, [("scope", True, True, [("sleep",)])]), ("mark",)], order=[0, 2, 5], cache=64 << 20).via(
    "a shield with a limit of its own, inside a scope that is cancelled first"
)
def test_O7_like_trio(program: list[Step], order: list[int], cache: int) -> None:
    """Whatever the program, the orchestration marks, catches and leaves the same at the same times as Trio."""
    numbered = Numbered(order)
    steps = numbered.steps(program)
    if numbered.sleeps > len(order):
        return  # too many durations to tell them apart
    assert by_perdure(steps, cache) == by_trio(steps)


@pytest.mark.parametrize("cache", [64 << 20, 1])
def test_the_comparison_notices(cache: int) -> None:
    """Traces hold what happened and when: a program with another order of its durations leaves another trace."""
    program: list[Step] = [("scope", True, False, [("sleep",), ("mark",)]), ("mark",)]
    quick, late = (Numbered(order).steps(program) for order in ([3, 1], [1, 3]))
    assert by_perdure(quick, cache) == by_trio(quick) == [(2, "left 0 False"), (2, "mark 1"), (2, "mark 2")]
    assert by_perdure(late, cache) == by_trio(late) != by_trio(quick)
