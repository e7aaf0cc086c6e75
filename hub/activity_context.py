"""What an activity may know of itself, and say of itself while it runs (O5)."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, Final

from attrs import field, frozen


class Running:
    """An activity that runs; read from its thread.

    Attributes:
      gone: nobody waits for it any more.
    """

    __slots__ = ("gone",)

    def __init__(self) -> None:
        self.gone = False


@frozen
class ActivityContext:
    """What an activity may know of itself; see :func:`activity_context`.

    Attributes:
      name: the activity's name.
      instance_id: the orchestration that called it.
      attempt: 1 for the first start, higher when it was started again after a failure, or after the program stopped.
      idempotency_key: the same for every attempt, and different for every call: hand it to whatever must happen once.
      last_heartbeat: the details of the last heartbeat that an earlier attempt gave, ``None`` without one.
    """

    name: str
    instance_id: str
    attempt: int
    idempotency_key: str
    last_heartbeat: Any = None
    _running: Running = field(factory=Running, repr=False, alias="running")
    _beat: Callable[[object], None] = field(default=lambda _: None, repr=False, alias="beat")

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its result any more; a plain activity that takes long should look now and then."""
        return self._running.gone

    def heartbeat(self, details: object = None) -> None:
        """Say that it goes on, and how far it is.

        The details are stored with the next commit, so that another attempt (after a failure, or after the program stopped) can go on
        from there; it finds them in ``last_heartbeat``. It may be called in the activity's thread, and returns at once.

        Args:
          details: any value that describes itself (no class instances).

        Raises:
          NotStorable: the details cannot be kept exactly.
        """
        self._beat(details)


current: Final[contextvars.ContextVar[Callable[[], ActivityContext]]] = contextvars.ContextVar("perdure_activity")
"""Makes the context of the activity that runs here; most never ask for it."""


def activity_context() -> ActivityContext:
    """The context of the activity that is running, in its Trio task or its thread.

    Raises:
      RuntimeError: no activity is running here.
    """
    try:
        make = current.get()
    except LookupError:
        raise RuntimeError("activity_context() works inside a running activity only") from None
    return make()
