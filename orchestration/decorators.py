"""``@orchestrator`` and ``@activity``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple, overload

from .context import OrchestrationContext
from .definition import Activity, Orchestrator
from .retry import RetryPolicy

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@overload
def orchestrator(function: Callable[[OrchestrationContext, *Ts], Coroutine[Any, Any, R]], /) -> Orchestrator[R, *Ts]: ...
@overload
def orchestrator(
    *, name: str | None = None, version: str | None = None
) -> Callable[[Callable[[OrchestrationContext, *Ts], Coroutine[Any, Any, R]]], Orchestrator[R, *Ts]]: ...
def orchestrator(function: Any = None, /, *, name: str | None = None, version: str | None = None) -> Any:
    """Make an orchestrator of an async function of a context and arguments.

    Args:
      function: the function.
      name: what it is addressed by; the function's name if left out.
      version: kept with each instance that it starts; 1 to 100 characters.

    Raises:
      DefinitionError: the function is not ``async def``, or takes no context.
      ValueError, TypeError: the name or the version is not allowed.
    """

    def decorate(decorated: Callable[..., Any]) -> Orchestrator[Any, *tuple[Any, ...]]:
        return Orchestrator(decorated, name, version)

    return decorate if function is None else decorate(function)


@overload
def activity(function: Callable[[*Ts], Coroutine[Any, Any, R]], /) -> Activity[R, *Ts]: ...
@overload
def activity(function: Callable[[*Ts], R], /) -> Activity[R, *Ts]: ...
@overload
def activity(
    *,
    name: str | None = None,
    max_concurrent: int | None = None,
    retry: RetryPolicy | None = None,
    timeout: timedelta | float | None = None,
    heartbeat_timeout: timedelta | float | None = None,
    process: bool = False,
) -> ActivityDecorator: ...
def activity(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    max_concurrent: int | None = None,
    retry: RetryPolicy | None = None,
    timeout: timedelta | float | None = None,
    heartbeat_timeout: timedelta | float | None = None,
    process: bool = False,
) -> Any:
    """Make an activity of a function that may do I/O (O5).

    An activity runs at least once; ``activity_context()`` gives it a key that is the same for every attempt.

    Args:
      function: ``async def`` runs on Trio, ``def`` in a worker thread or, with ``process=True``, in a worker process.
      name: what it is addressed by; the function's name if left out.
      max_concurrent: how many may run at a time in one hub.
      retry: when it is tried again after a failure (O14); ``f.options(retry=...)`` overrides it for one call.
      timeout: how long one attempt may take: seconds or a timedelta. An ``async`` activity is cancelled then; the
        worker process of one is killed; a plain one goes on in its thread, and its result is dropped.
      heartbeat_timeout: how long an attempt may go without ``activity_context().heartbeat()``: seconds or a timedelta. An
        attempt that is silent for longer ends as by ``timeout``.
      process: run it in a worker process of the hub, for what computes long: a thread would hold up the hub, and cannot be
        stopped. The function must be found under its name in a module, and a time limit or a cancellation kills the process.

    Raises:
      DefinitionError: it is no plain or async function, or an async one that is to run in a process.
      ValueError: the name is not allowed, or ``max_concurrent`` is below 1.
      TypeError: ``retry`` is no RetryPolicy, or ``process`` no bool.
    """

    def decorate(decorated: Callable[..., Any]) -> Activity[Any, *tuple[Any, ...]]:
        return Activity(decorated, name, max_concurrent, retry, timeout, heartbeat_timeout, process)

    return decorate if function is None else decorate(function)


class ActivityDecorator:
    """The type of ``@activity(...)`` with options."""

    @overload
    def __call__(self, function: Callable[[*Ts], Coroutine[Any, Any, R]], /) -> Activity[R, *Ts]: ...
    @overload
    def __call__(self, function: Callable[[*Ts], R], /) -> Activity[R, *Ts]: ...
    def __call__(self, function: Any, /) -> Any:
        """Make the activity."""
        raise NotImplementedError
