"""Running turns where nothing of Trio can attach to the scheduler (O2).

Turns of plain operations and of orchestrators run inside the scheduler's Trio task. Three things of that task must be
out of their reach, each seen to do harm: a cancel scope that is entered there attaches to the scheduler; a nursery
starts real children; an async generator that is left early is finalised by Trio's hooks, at some time, outside of its
turn.

So while turns run, Trio is shown a stand-in for the current task. Whatever asks it for something is refused at that
line with :class:`ForbiddenAwait`: no scope is attached and no child is started. There is no public way to do this, so
the one private name of Trio that is used is checked at import.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import trio
from trio._core import _run  # pyright: ignore[reportPrivateUsage] - see above

from ..orchestration.refusal import forbidden

_log = logging.getLogger(__name__)
_trio_thread: Any = _run.GLOBAL_RUN_CONTEXT


class _NoTask:
    """Stands in for the current Trio task; refuses everything."""

    __slots__ = ("custom_sleep_data",)

    def __getattribute__(self, name: str) -> Any:
        if name == "custom_sleep_data":
            return object.__getattribute__(self, name)
        raise forbidden(_who_asks())

    def __setattr__(self, name: str, value: object) -> None:
        # A note that Trio's waits leave just before they yield. Refusing it here would come between their entry into a
        # queue and the yield, where the refusal takes that entry back with the help of this note (see withdraw).
        if name != "custom_sleep_data":
            raise forbidden(_who_asks())
        object.__setattr__(self, name, value)


def _who_asks() -> str:
    """The outermost function of Trio on the stack: the one that the user's code called."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] - documented, if only for CPython
    name = "a function of Trio"
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != "trio":
            break
        if "<locals>" not in frame.f_code.co_qualname:  # the wrappers of Trio's decorators say nothing
            name = f"trio.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return name.replace(".__enter__", "").replace(".__aenter__", "").replace("NurseryManager", "open_nursery")


_NO_TASK = _NoTask()


@contextmanager
def no_trio() -> Generator[None]:
    """Hide the current Trio task and Trio's async generator hooks while turns run."""
    task = _trio_thread.task
    hooks = sys.get_asyncgen_hooks()
    _trio_thread.task = _NO_TASK
    sys.set_asyncgen_hooks(None, _finalize)
    try:
        yield
    finally:
        _trio_thread.task = task
        sys.set_asyncgen_hooks(*hooks)


def _finalize(generator: AsyncGenerator[Any, Any]) -> None:
    """Close an abandoned async generator on the spot; it may not wait for anything any more."""
    closing: Any = generator.aclose()
    try:
        closing.send(None)
    except StopIteration:
        return
    except BaseException as error:  # noqa: BLE001 - nobody is there to handle it
        _log.warning("an abandoned async generator %r failed while it was closed: %r", generator, error)
        return
    _log.warning("an abandoned async generator %r awaited something while it was closed; it is dropped", generator)


def refuse_inside_turns(what: str) -> None:
    """Refuse what may not be used by the code of a turn.

    Raises:
      ForbiddenAwait: a turn is running.
    """
    if getattr(_trio_thread, "task", None) is _NO_TASK:
        raise forbidden(what)


def withdraw(trap: object) -> None:
    """Take back what a library noted down for an await that was refused.

    Trio's own waits hand over a function for just that: without calling it, setting a ``trio.Event`` later would try to
    wake the stand-in.
    """
    abort = getattr(trap, "abort_func", None)
    if callable(abort):

        def refuse() -> NoReturn:
            raise trio.TrioInternalError("a refused wait was resumed")

        abort(refuse)


def _checked() -> None:
    """Fail at import, with a clear message, if this Trio keeps its current task elsewhere."""
    if not hasattr(_run, "GLOBAL_RUN_CONTEXT"):
        raise ImportError(f"this version of Trio ({trio.__version__}) is not supported by perdure: its run context has moved")


_checked()
