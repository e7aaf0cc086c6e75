"""The context's verbs that wait, combine waits, and bound them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar, overload

from ..entities.times import due_time
from .combinators import WhenAll, WhenAny
from .context_base import ContextBase
from .events import EventTask
from .nursery import Nursery
from .registry import check_event_name
from .scopes import CancelScope
from .tasks import DurableTask

V = TypeVar("V")


class WaitVerbs(ContextBase):
    """Timers, external events, combinators, nurseries and cancel scopes."""

    __slots__ = ()

    def create_timer(self, fire_at: datetime | timedelta | float) -> DurableTask[None]:
        """A timer (O8): it finishes at or after its time, never before, and survives restarts.

        A timer that nobody awaits any more is forgotten when the orchestration ends.

        Args:
          fire_at: an aware datetime, or how long from ``now``: a timedelta or seconds.

        Raises:
          ValueError: a naive datetime, a duration below 0 or not finite, or a time beyond the year 9999.
          TypeError: something else.
        """
        due = due_time(fire_at, self._kernel.now)
        kernel = self._kernel
        number = kernel.next_number()
        return kernel.start_timer(number, due)

    def sleep(self, seconds: timedelta | float) -> DurableTask[None]:
        """Wait for a duration, durably (O8): ``await ctx.sleep(3600)``.

        Raises:
          ValueError, TypeError: as for :meth:`create_timer`.
        """
        if isinstance(seconds, datetime):
            raise TypeError("sleep takes a duration; use sleep_until for a point in time")
        return self.create_timer(seconds)

    def sleep_until(self, time: datetime) -> DurableTask[None]:
        """Wait until a point in time, durably (O8).

        Raises:
          ValueError, TypeError: as for :meth:`create_timer`.
        """
        if not isinstance(time, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"sleep_until takes an aware datetime, not {type(time).__name__}; use sleep for a duration")
        return self.create_timer(time)

    @overload
    def wait_for_external_event(self, name: str) -> DurableTask[Any]: ...
    @overload
    def wait_for_external_event(self, name: str, type: type[V]) -> DurableTask[V]: ...
    def wait_for_external_event(self, name: str, type: Any = object) -> DurableTask[Any]:  # noqa: A002 - the natural name
        """Wait for an external event (O9).

        The wait takes an event only while it is awaited, directly or in a combinator, or when its ``done`` is asked.

        Args:
          name: the event's name, compared without regard to case.
          type: what its value is converted to; any self-describing value if left out.

        Returns:
          A task; awaiting it gives the value. A value that does not fit the type raises there, and is consumed.

        Raises:
          ValueError, TypeError: the name is empty, too long or no text.
          NotStorable: there are no values of that type.
        """
        return self._waiting(name, type)()

    @overload
    def events(self, name: str) -> EventStream[Any]: ...
    @overload
    def events(self, name: str, type: type[V]) -> EventStream[V]: ...
    def events(self, name: str, type: Any = object) -> EventStream[Any]:  # noqa: A002 - the natural name
        """The events of a name, one after another (O9): ``async for order in ctx.events("order", Order): ...``.

        Args:
          name, type: as for :meth:`wait_for_external_event`.

        Raises:
          ValueError, TypeError, NotStorable: as for :meth:`wait_for_external_event`.
        """
        return EventStream(self._waiting(name, type))

    def _waiting(self, name: str, type_: Any) -> Callable[[], EventTask[Any]]:
        """Makes waits for an event; what is wrong with its name or type is told now."""
        kernel, folded = self._kernel, check_event_name(name)
        codec = self._registry.values.codec(type_, place=f"event {name!r}")

        def wait() -> EventTask[Any]:
            kernel.check_running("an event is waited for")
            kernel.waits += 1
            return EventTask(kernel, kernel.events, folded, codec, kernel.waits, kernel.now)

        return wait

    def when_all(self, tasks: Iterable[DurableTask[V]]) -> DurableTask[list[V]]:
        """A task that finishes when all have (O6): their results in order, or the first failure in order.

        Raises:
          TypeError: something in it is no task.
        """
        return WhenAll(self._kernel, tasks, "when_all")

    def when_any(self, tasks: Iterable[DurableTask[V]]) -> DurableTask[DurableTask[V]]:
        """A task that finishes with the first one, and whose value is that task (O6). It cancels nothing.

        Raises:
          TypeError: something in it is no task.
          ValueError: there is none.
        """
        any_of: WhenAny[Any] = WhenAny(self._kernel, tasks, "when_any")
        if not any_of.tasks:
            raise ValueError("when_any of no tasks would never finish")
        return any_of

    # --- structured concurrency

    def open_nursery(self) -> Nursery:
        """A nursery (O7): ``async with ctx.open_nursery() as nursery: nursery.start_soon(function, ...)``."""
        return Nursery(self._kernel)

    def CancelScope(self, *, shield: bool = False) -> CancelScope:  # noqa: N802 - Trio's name
        """A cancel scope without a time limit (O7).

        Raises:
          TypeError: ``shield`` is no bool.
        """
        return CancelScope(self._kernel, shield=shield)

    def move_on_after(self, seconds: timedelta | float, *, shield: bool = False) -> CancelScope:
        """A cancel scope that is cancelled after a durable time; the code after it goes on (O7).

        Raises:
          ValueError, TypeError: as for :meth:`create_timer`.
        """
        return self._limited(seconds, shield=shield, fail=False)

    def fail_after(self, seconds: timedelta | float, *, shield: bool = False) -> CancelScope:
        """Like :meth:`move_on_after`, but leaving a body that was cut off raises TooSlowError (O7).

        Raises:
          ValueError, TypeError: as for :meth:`create_timer`.
        """
        return self._limited(seconds, shield=shield, fail=True)

    def _limited(self, seconds: timedelta | float, *, shield: bool, fail: bool) -> CancelScope:
        """A scope with a time limit, which counts from entering it."""
        if seconds is None:  # pyright: ignore[reportUnnecessaryComparison] - callers are not always checked
            raise TypeError("a time limit is a number of seconds or a timedelta, not None; ctx.CancelScope() has none")
        return CancelScope(self._kernel, seconds=seconds, shield=shield, fail=fail)


class EventStream(Generic[V]):
    """An endless iterator over external events; a class and not an async generator, which Trio would finalise."""

    def __init__(self, wait: Callable[[], DurableTask[V]]) -> None:
        self._wait = wait

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> V:
        """The next event."""
        return await self._wait()
