"""Running activities (O5): at least once, after the commit that scheduled them, the first result counts.

An ``async`` activity runs as a Trio task, a plain one in a worker thread. Its row in storage goes in the same batch that
holds its result; so an activity that was running when the program died runs again, with the same idempotency key.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import msgspec
import trio
from attrs import define, field

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..orchestration.registry import ActivityDefinition, Registry
from ..orchestration.retry import step_and_attempt
from .activity_context import ActivityContext, Running, current
from .records import ActivityRecord

_log = logging.getLogger(__name__)


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
        store_heartbeat: Callable[[bytes, ActivityRecord], None],
    ) -> None:
        self._registry = registry
        self._nursery = nursery
        self._threads = trio.CapacityLimiter(threads_max)
        self._deliver = deliver
        self._store_heartbeat = store_heartbeat
        self._heartbeats = registry.values.codec(object, place="heartbeat")
        self._slots: dict[str, _Slots] = {}
        self._running: dict[bytes, Running] = {}
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
            self._running[key] = Running()
            limit = definition.activity.max_concurrent
            if limit is not None:
                slots = self._slots.setdefault(record.name, _Slots(limit))
                if slots.running >= limit:
                    slots.waiting.append((key, record))
                    continue
                slots.running += 1
            self._nursery.start_soon(self._run, key, record, definition, name=record.name)

    def runs(self, key: bytes) -> bool:
        """Whether an activity runs, or waits for a free place."""
        return key in self._running

    def cancel(self, keys: list[bytes]) -> None:
        """Cancel activities that nobody waits for any more; plain ones are told. What has ended is not changed."""
        for key in keys:
            running = self._running.get(key)
            if running is not None:
                running.gone = True
                running.scope.cancel()

    async def _run(self, key: bytes, record: ActivityRecord, definition: ActivityDefinition) -> None:
        running = self._running[key]
        outcome: Outcome | None = None
        if not running.gone:
            with running.scope if definition.activity.is_async else nullcontext():
                outcome = await self._outcome(key, record, definition, running)
        del self._running[key]
        self.running -= 1
        if trio.current_effective_deadline() == -math.inf:
            return  # the hub is closing; however the activity took that, it runs again
        slots = self._slots.get(record.name)
        if slots is not None:
            if slots.waiting:
                self._nursery.start_soon(self._run, *slots.waiting.popleft(), definition, name=record.name)
            else:
                slots.running -= 1
        self._deliver(key, self._with_heartbeat(record, running), outcome)

    async def _outcome(self, key: bytes, record: ActivityRecord, definition: ActivityDefinition, running: Running) -> Outcome:
        current.set(self._context(key, record, running, definition.activity.is_async))
        try:
            arguments = definition.arguments.decode(record.arguments)
            with _limit(record.timeout), _limit(record.heartbeat_timeout) as silence:
                running.silence = silence
                return Success(definition.result.encode(await self._call(record, definition, arguments)))
            silent = running.silence is not None and running.silence.cancelled_caught
            raise TimeoutError(
                f"attempt {record.attempt} of activity {record.name!r} "
                + (f"gave no heartbeat for {record.heartbeat_timeout} s" if silent else f"took longer than {record.timeout} s")
            )
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an activity raises is its failure
            return Failure(FailureDetails.from_exception(error))

    async def _call(self, record: ActivityRecord, definition: ActivityDefinition, arguments: tuple[Any, ...]) -> Any:
        activity = definition.activity
        if activity.is_async:
            return await activity.function(*arguments)
        limited = record.timeout is not None or record.heartbeat_timeout is not None
        return await trio.to_thread.run_sync(activity.function, *arguments, limiter=self._threads, abandon_on_cancel=limited)

    def _context(self, key: bytes, record: ActivityRecord, running: Running, is_async: bool) -> ActivityContext:
        token = None if is_async else trio.lowlevel.current_trio_token()

        def beat(details: object) -> None:
            encoded = self._heartbeats.encode(details)
            if token is None:
                self._beat(key, record, running, encoded)
            else:
                with suppress(trio.RunFinishedError):  # the program is over, and so is whoever wanted to know
                    token.run_sync_soon(self._beat, key, record, running, encoded)

        reply_to = record.reply_to
        return ActivityContext(
            name=record.name,
            instance_id=reply_to.instance_id,
            attempt=record.attempt,
            idempotency_key=f"{reply_to.execution}:{step_and_attempt(reply_to.task)[0]}",
            last_heartbeat=None if record.heartbeat is None else self._heartbeats.decode(record.heartbeat),
            running=running,
            beat=beat,
        )

    def _beat(self, key: bytes, record: ActivityRecord, running: Running, encoded: bytes) -> None:
        if self._running.get(key) is not running or running.gone:
            return  # it was given up: this comes from its thread
        running.heartbeat = encoded
        if running.silence is not None and record.heartbeat_timeout is not None:
            running.silence.deadline = trio.current_time() + record.heartbeat_timeout
        self._store_heartbeat(key, self._with_heartbeat(record, running))

    @staticmethod
    def _with_heartbeat(record: ActivityRecord, running: Running) -> ActivityRecord:
        return record if running.heartbeat is None else msgspec.structs.replace(record, heartbeat=running.heartbeat)


def _limit(seconds: float | None) -> AbstractContextManager[trio.CancelScope | None]:
    return nullcontext() if seconds is None else trio.move_on_after(seconds)
