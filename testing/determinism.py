"""One seed decides a whole run: the order of Trio's tasks, ids, and the hub's own looks at the time.

A hub takes a few things from outside: random ids, tokens for waiting callers, and two clocks that bound its slices and
batches. Trio puts the tasks that are ready into a random order. :func:`run` replaces all of them while a program runs, and
puts them back. So the same seed gives the same run, whatever ``PYTHONHASHSEED`` is; what the program itself leaves to chance
it must take from a ``random.Random`` of its own.

The replacements are names of modules, and so of the whole process: run one such program at a time. Worker threads would
bring chance back in: plain (``def``) activities have no place here.

Trio has no public way to order its tasks; the two private names that are used (pytest-trio uses them too) are checked when
a program is run.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias, TypeVar

import trio
import trio.testing
from attrs import define, field
from trio._core import _run  # pyright: ignore[reportPrivateUsage] - see above

from ..hub import asking, committer, engine, limits, random_ids, task_pool

T = TypeVar("T")

Replacement: TypeAlias = tuple[object, str, object]
"""An owner, the name of an attribute of it, and what the attribute becomes."""


@define
class Chance:
    """What a hub takes from outside.

    Attributes:
      random: where ids come from.
      turn_seconds: how long the hub takes a turn to be; it decides after how many it lets others run.
    """

    random: random.Random
    turn_seconds: float
    _ticks: float = 0.0
    _tokens: itertools.count[int] = field(factory=itertools.count)

    def urandom(self, size: int, /) -> bytes:
        """A random UUID, of which instance and execution ids are made."""
        return self.random.randbytes(size)

    def ticks(self) -> float:
        """The clock by which slices are cut, seconds: each look takes the time of a turn."""
        self._ticks += self.turn_seconds
        return self._ticks

    def monotonic(self) -> float:
        """The clock by which batches age and commits are tried again, seconds: Trio's, and the time that turns took."""
        return trio.current_time() + self._ticks

    def replacements(self) -> list[Replacement]:
        """Which name of which module becomes what."""
        return [
            (engine, "perf_counter", self.ticks),
            (task_pool, "perf_counter", self.ticks),
            (committer, "monotonic", self.monotonic),
            (random_ids, "urandom", self.urandom),
            (random_ids, "AT_ONCE", 1),
            (random_ids, "_ready", []),
            (asking, "_tokens", self._tokens),
        ]


@contextmanager
def replaced(owner: object, name: str, value: object) -> Generator[None]:
    """An attribute has another value in this block.

    Raises:
      AttributeError: there is no such attribute.
    """
    before: Any = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _ordered_tasks(seed: str) -> Generator[None]:
    """Trio takes its tasks in an order that the seed decides."""
    order: random.Random = _run._r  # pyright: ignore[reportPrivateUsage] - see the module
    state = order.getstate()
    with replaced(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        order.seed(seed)
        try:
            yield
        finally:
            order.setstate(state)


def run(
    program: Callable[[], Awaitable[T]],
    *,
    seed: str,
    turn_seconds: float = 0.0,
    bounds: Mapping[str, object] | None = None,
) -> T:
    """Run a Trio program in virtual time, as the seed says.

    Trio's clock jumps ahead whenever everything waits; give hubs a ``clock`` that follows it, and a store in memory.

    Args:
      program: what to run.
      seed: what decides.
      turn_seconds: how long a hub takes a turn to be; 0 lets it run all turns that are ready before others have theirs.
      bounds: other values for names of :mod:`perdure.hub.limits`.

    Raises:
      AttributeError: there is no such bound, or this version of Trio orders its tasks otherwise.
      Whatever the program raises.
    """
    chance = Chance(random.Random(f"{seed}/ids"), turn_seconds)  # noqa: S311 - a seed is the purpose
    with ExitStack() as stack:
        stack.enter_context(_ordered_tasks(f"{seed}/tasks"))
        for owner, name, value in chance.replacements():
            stack.enter_context(replaced(owner, name, value))
        for name, value in (bounds or {}).items():
            stack.enter_context(replaced(limits, name, value))
        return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0.0))
