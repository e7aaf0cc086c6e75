"""Orchestrators and activities: what the decorators make of a function.

The decorated function becomes a small object that carries its name, so that a call names the function and is checked
against its types: ``ctx.call_activity(send_receipt, "alice", 40)``. What depends on a hub (the codecs) is worked out
when the object is defined to one, in :mod:`.registry`.
"""

from __future__ import annotations

import copy
import enum
import inspect
import re
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

from ..entities.errors import DefinitionError
from ..entities.ids import check_no_surrogates
from ..entities.times import due_time
from .retry import RetryPolicy, checked_retry

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


class Unset(enum.Enum):
    """Tells an option that was left out from one that was set to ``None``."""

    UNSET = enum.auto()


UNSET: Final = Unset.UNSET


class Orchestrator(Generic[R_co, *Ts]):
    """An orchestrator: an async function of a context and arguments, made by :func:`orchestrator`.

    Attributes:
      name: what it is addressed by.
      version: its version, kept with each instance; ``None`` if it has none.
      function: the function itself.
      retry: when a child of it that failed is tried again.
    """

    def __init__(self, function: Callable[..., Coroutine[Any, Any, R_co]], name: str | None, version: str | None) -> None:
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"@orchestrator decorates an 'async def' function of a context, not {function!r}")
        if not inspect.signature(function).parameters:
            raise DefinitionError(f"orchestrator {function.__name__!r} takes no context: its first parameter is the context")
        self.function = function
        self.name = _checked_name(name, function.__name__)
        self.version = _checked_version(version)
        self.retry: RetryPolicy | None = None
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def options(self, *, retry: RetryPolicy | None = None) -> Orchestrator[R_co, *Ts]:
        """The same orchestrator with other options, for one call: ``ctx.call_sub_orchestrator(f.options(retry=...), ...)``.

        Args:
          retry: when a child that failed is tried again (O14, O15).

        Raises:
          TypeError: it is no RetryPolicy.
        """
        other = copy.copy(self)
        other.retry = checked_retry(retry)
        return other

    def __repr__(self) -> str:
        return f"<orchestrator {self.name!r}>"


class Activity(Generic[R_co, *Ts]):
    """An activity: a function that may do I/O, made by :func:`activity`.

    Attributes:
      name: what it is addressed by.
      max_concurrent: how many may run at a time in one hub; ``None`` for the hub's own limit.
      function: the function itself. ``async def`` runs on Trio, ``def`` in a worker thread or a worker process.
      is_async: whether it runs on Trio.
      process: whether it runs in a worker process.
      retry: when it is tried again after a failure.
      timeout: how long one attempt may take, seconds.
      heartbeat_timeout: how long it may go without a heartbeat, seconds.
    """

    def __init__(
        self,
        function: Callable[[*Ts], Any],
        name: str | None = None,
        max_concurrent: int | None = None,
        retry: RetryPolicy | None = None,
        timeout: timedelta | float | None = None,
        heartbeat_timeout: timedelta | float | None = None,
        process: bool = False,
    ) -> None:
        if not inspect.isfunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"@activity decorates a plain or an async function, not {function!r}")
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError(f"max_concurrent of activity {function.__name__!r} is 1 or more, not {max_concurrent}")
        self.function: Callable[..., Any] = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.process = _checked_process(process, function, self.is_async)
        self.name = _checked_name(name, function.__name__)
        self.max_concurrent = max_concurrent
        self.retry = checked_retry(retry)
        self.timeout = _checked_timeout(timeout)
        self.heartbeat_timeout = _checked_timeout(heartbeat_timeout)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def options(
        self,
        *,
        retry: RetryPolicy | Unset | None = UNSET,
        timeout: timedelta | float | Unset | None = UNSET,
        heartbeat_timeout: timedelta | float | Unset | None = UNSET,
    ) -> Activity[R_co, *Ts]:
        """The same activity with other options, for one call: ``ctx.call_activity(f.options(timeout=5), ...)``.

        Args:
          retry: when it is tried again after a failure (O14).
          timeout: how long one attempt may take: seconds or a timedelta.
          heartbeat_timeout: how long it may go without a heartbeat: seconds or a timedelta.

        Raises:
          ValueError, TypeError: a timeout is no duration, or ``retry`` no RetryPolicy.
        """
        other = copy.copy(self)
        if not isinstance(retry, Unset):
            other.retry = checked_retry(retry)
        if not isinstance(timeout, Unset):
            other.timeout = _checked_timeout(timeout)
        if not isinstance(heartbeat_timeout, Unset):
            other.heartbeat_timeout = _checked_timeout(heartbeat_timeout)
        return other

    def __repr__(self) -> str:
        return f"<activity {self.name!r}>"


def _checked_process(process: object, function: Callable[..., Any], is_async: bool) -> bool:
    if not isinstance(process, bool):
        raise TypeError(f"process is True or False, not {process!r}")
    if process and is_async:
        raise DefinitionError(
            f"activity {function.__name__!r} is 'async def', and runs on the hub's own Trio: process=True is for a plain 'def' that computes"
        )
    return process


def _checked_timeout(timeout: timedelta | float | None) -> float | None:
    return None if timeout is None else due_time(timeout, 0) / 1_000_000


def _checked_version(version: object) -> str | None:
    if version is None:
        return None
    if not isinstance(version, str):
        raise TypeError(f"a version is a str, such as '2', not {type(version).__name__}: {version!r}")
    if not 0 < len(version) <= 100:
        raise ValueError(f"a version has 1 to 100 characters, not {len(version)}")
    check_no_surrogates(version, "version")
    return version


def _checked_name(name: str | None, default: str) -> str:
    chosen = default if name is None else name
    if not isinstance(chosen, str) or _NAME.fullmatch(chosen) is None:  # pyright: ignore[reportUnnecessaryIsInstance] - users may pass anything
        raise ValueError(f"{chosen!r} is no name: 1 to 100 characters of [A-Za-z0-9_.-], the first a letter or '_'")
    return chosen
