"""Closing coroutines that may refuse it (O19).

Closing a coroutine raises ``GeneratorExit`` at its await. Code that swallows it and awaits again makes Python give up with
an error, and leaves the coroutine, or one that it awaits, suspended. Python would run such code once more when it frees
it. So what is left suspended is kept for good: it is lost, but it does nothing.
"""

from __future__ import annotations

import contextvars
from collections.abc import Coroutine, Iterator
from typing import Any, Final

abandoned: Final[list[object]] = []
"""What refused to be closed."""

_AWAITED: Final = ("cr_await", "gi_yieldfrom", "ag_await")
_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")


def close_coroutine(coroutine: Coroutine[Any, Any, Any], variables: contextvars.Context) -> RuntimeError | None:
    """Close a coroutine in its context variables.

    Returns:
      The error if the code, or code that it awaits, refused; else ``None``, whatever its ``finally`` blocks raised.
    """
    chain = list(_awaited_by(coroutine))
    error: RuntimeError | None = None
    try:
        variables.run(coroutine.close)
    except RuntimeError as refused:
        error = refused
    except BaseException:  # noqa: BLE001, S110 - what a finally block raises while it is dropped concerns nobody
        pass
    suspended = [each for each in chain if _is_suspended(each)]
    abandoned.extend(suspended)
    return error if suspended else None


def _awaited_by(coroutine: object) -> Iterator[object]:
    """A coroutine, what it awaits, and so on."""
    awaited: object | None = coroutine
    while awaited is not None:
        yield awaited
        awaited = next((found for name in _AWAITED if (found := getattr(awaited, name, None)) is not None), None)


def _is_suspended(awaited: object) -> bool:
    return any(getattr(awaited, name, None) is not None for name in _FRAMES)
