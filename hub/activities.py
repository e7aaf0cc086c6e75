"""Running activities (O5): at least once, after the commit that scheduled them, the first result counts.

An ``async`` activity runs as a Trio task, a plain one in a worker thread. Its row in storage goes in the same batch that
holds its result; so an activity that was running when the program died runs again, with the same idempotency key.
"""

from __future__ import annotations

import contextvars
import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import trio
from attrs import define, field, frozen

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..orchestration.registry import ActivityDefinition, Registry
from ..orchestration.retry import step_and_attempt
from .records import ActivityRecord

_log = logging.getLogger(__name__)


@define(eq=False)
class _Wanted:
    """Whether an activity is still wanted; read from its thread.

    Attributes:
      gone: nobody waits for it any more.
      scope: around an async activity.
    """

    gone: bool = False
    scope: trio.CancelScope = field(factory=trio.CancelScope)


@frozen
class ActivityContext:
    """What an activity may know of itself; see :func:`activity_context`.

    Attributes:
      name: the activity's name.
      instance_id: the orchestration that called it.
      attempt: 1 for the first start, higher when it was started again after the program stopped.
      idempotency_key: the same for every attempt, and different for every call: hand it to whatever must happen once.
    """

    name: str
    instance_id: str
    attempt: int
    idempotency_key: str
    _wanted: _Wanted = field(factory=_Wanted, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its result any more; a plain activity that takes long should look now and then."""
        return self._wanted.gone


_current: Final[contextvars.ContextVar[ActivityContext]] = contextvars.ContextVar("perdure_activity")


def activity_context() -> ActivityContext:
    """The context of the activity that is running, in its Trio task or its thread.

    Raises:
      RuntimeError: no activity is running here.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("activity_context() works inside a running activity only") from None


@define(eq=False)
class _Slots:
    """How many of one activity run, and which wait."""

    limit: int | None
    running: int = 0
    waiting: deque[tuple[bytes, ActivityRecord]] = field(factory=deque)


class ActivityRunner:
    """Runs activities.

    Attributes:
      running: how many run, or wait for a free place.
      parked: scheduled activities that are not defined to this hub; they run after a restart that defines them (O18).
    """

    def __init__(
        self,
        registry: Registry,
        nursery: trio.Nursery,
        threads_max: int,
        deliver: Callable[[bytes, ActivityRecord, Outcome | None], None],
    ) -> None:
        self._registry = registry
        self._nursery = nursery
        self._threads = trio.CapacityLimiter(threads_max)
        self._deliver = deliver
        self._slots: dict[str, _Slots] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self.running = 0
        self.parked = 0

    def start(self, activities: dict[bytes, ActivityRecord]) -> None:
        """Start activities whose batch is durable."""
        for key, record in activities.items():
            definition = self._registry.find_activity(record.name)
            if definition is None:
                self.parked += 1
                _log.warning("activity %r waits: it is not defined to this hub", record.name)
                continue
            self.running += 1
            self._wanted[key] = _Wanted()
            limit = definition.activity.max_concurrent
            if limit is not None:
                slots = self._slots.setdefault(record.name, _Slots(limit))
                if slots.running >= limit:
                    slots.waiting.append((key, record))
                    continue
                slots.running += 1
            self._nursery.start_soon(self._run, key, record, definition, name=record.name)

    def cancel(self, keys: list[bytes]) -> None:
        """Cancel activities that nobody waits for any more; plain ones are told. What has ended is not changed."""
        for key in keys:
            wanted = self._wanted.get(key)
            if wanted is not None:
                wanted.gone = True
                wanted.scope.cancel()

    async def _run(self, key: bytes, record: ActivityRecord, definition: ActivityDefinition) -> None:
        wanted = self._wanted[key]
        outcome: Outcome | None = None
        if not wanted.gone:
            with wanted.scope if definition.activity.is_async else nullcontext():
                outcome = await self._outcome(record, definition, wanted)
        del self._wanted[key]
        self.running -= 1
        if trio.current_effective_deadline() == -math.inf:
            return  # the hub is closing; however the activity took that, it runs again
        slots = self._slots.get(record.name)
        if slots is not None:
            if slots.waiting:
                self._nursery.start_soon(self._run, *slots.waiting.popleft(), definition, name=record.name)
            else:
                slots.running -= 1
        self._deliver(key, record, outcome)

    async def _outcome(self, record: ActivityRecord, definition: ActivityDefinition, wanted: _Wanted) -> Outcome:
        reply_to = record.reply_to
        key = f"{reply_to.execution}:{step_and_attempt(reply_to.task)[0]}"
        _current.set(ActivityContext(record.name, reply_to.instance_id, record.attempt, key, wanted))
        activity = definition.activity
        try:
            arguments = definition.arguments.decode(record.arguments)
            with nullcontext() if record.timeout is None else trio.move_on_after(record.timeout):
                if activity.is_async:
                    result: Any = await activity.function(*arguments)
                else:
                    result = await trio.to_thread.run_sync(
                        activity.function, *arguments, limiter=self._threads, abandon_on_cancel=record.timeout is not None
                    )
                return Success(definition.result.encode(result))
            raise TimeoutError(f"attempt {record.attempt} of activity {record.name!r} took longer than {record.timeout} s")
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an activity raises is its failure
            return Failure(FailureDetails.from_exception(error))
