"""Saying what an orchestrator awaited that it may not, and what to use instead (O2)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from .errors import ForbiddenAwait

_INSTEAD: Final = (
    ("sleep", "ctx.sleep or ctx.create_timer"),
    ("move_on_", "ctx.move_on_after"),
    ("fail_", "ctx.fail_after"),
    ("nursery", "ctx.open_nursery"),
    ("TaskGroup", "ctx.open_nursery"),
    ("CancelScope", "ctx.move_on_after, ctx.fail_after or ctx.CancelScope"),
    ("hub's", "the verbs of the context: self.context in an entity, ctx in an orchestrator"),
    ("gather", "ctx.when_all"),
    ("Event", "ctx.wait_for_external_event"),
    ("receive", "ctx.wait_for_external_event"),
)
_OTHERWISE: Final = "an activity (ctx.call_activity), which may wait and do I/O"


def forbidden(what: str) -> ForbiddenAwait:
    """The error for entering or awaiting ``what``, with the context's own means for that purpose."""
    instead = next((means for word, means in _INSTEAD if word in what), _OTHERWISE)
    return ForbiddenAwait(
        f"an orchestrator awaits only what its context gives it, and cannot use {what}: it could not be replayed. Use {instead}"
    )


def forbidden_await(coroutine: Coroutine[Any, Any, Any], trap: object) -> ForbiddenAwait:
    """The error for what a coroutine just yielded: names the function of the other library that was awaited."""
    home = _module(coroutine).partition(".")[0]
    awaited: Any = coroutine
    while (awaited := getattr(awaited, "cr_await", None)) is not None:
        module = _module(awaited)
        if module and module.partition(".")[0] not in (home, "perdure"):
            return forbidden(f"{module.partition('.')[0]}.{awaited.__qualname__}")
    return forbidden(f"an awaitable that yields {type(trap).__module__}.{type(trap).__qualname__}")


def _module(awaited: Any) -> str:
    frame = getattr(awaited, "cr_frame", None)
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))
