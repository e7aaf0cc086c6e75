"""A benchmark: a name, a line about it, and what does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from .figures import Figure
from .measuring import Run


@frozen
class Workload:
    """A benchmark.

    Attributes:
      name: its name on the command line.
      measures: one line about it; begins with its W number if peers do the same.
      run: does it, once; raises if a result is wrong.
      asked_only: it takes minutes, and runs only if it is named.
    """

    name: str
    measures: str
    run: Callable[[Run], Awaitable[list[Figure]]]
    asked_only: bool = False
