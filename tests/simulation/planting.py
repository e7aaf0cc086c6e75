"""Planting faults in the product, one at a time, to see whether the simulator finds them (invariant 30).

Each is a defect that a hub like this one could have, or had. It is planted by putting another function in the place of the
product's own; the product has no switches for this. ``PLANTED`` has them all, by what they do: :mod:`.planted_core` and
:mod:`.planted_services` fill it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from perdure.testing.determinism import replaced

Places = list[tuple[object, str, object]]
PLANTED: Final[dict[str, Callable[[], Places]]] = {}


def plant(function: Callable[[], Places]) -> Callable[[], Places]:
    """Add a fault; its name says what it does."""
    PLANTED[function.__name__.replace("_", " ")] = function
    return function


@contextmanager
def planted(name: str) -> Generator[None]:
    """The product has this fault in the block."""
    with ExitStack() as stack:
        for place in PLANTED[name]():
            stack.enter_context(replaced(*place))
        yield


def every(count: int, skipped: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does ``other`` the ``count``-th time, and again after as many times more."""
    calls = itertools.count(1)
    return lambda *args, **options: (other if next(calls) % count == 0 else skipped)(*args, **options)


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""
