"""Running activities (O5): at least once, after the commit that scheduled them, the first result counts.

An ``async`` activity runs in a Trio task, a plain one in a worker thread. Its row in storage goes in the same batch that
holds its result; so an activity that was running when the program died runs again, with the same idempotency key.
"""

from __future__ import annotations

import logging
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
from .workers import Job, Workers

_log = logging.getLogger(__name__)


@define(eq=False)
class _Activity:
    """One that runs, or waits for a free place."""

    key: bytes
    record: ActivityRecord
    definition: ActivityDefinition
    running: Running = field(factory=Running)
    job: Job | None = None

    @property
    def record_now(self) -> ActivityRecord:
        """Its record with its last heartbeat."""
        heartbeat = self.running.heartbeat
        return self.record if heartbeat is None else msgspec.structs.replace(self.record, heartbeat=heartbeat)


@define(eq=False)
class _Slots:
    """How many of one activity run, and which wait."""

    limit: int | None
    running: int = 0
    waiting: deque[_Activity] = field(factory=deque)


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
        self._tasks = Workers(nursery)
        self._threads = trio.CapacityLimiter(threads_max)
        self._deliver = deliver
        self._store_heartbeat = store_heartbeat
        self._heartbeats = registry.values.codec(object, place="heartbeat")
        self._slots: dict[str, _Slots] = {}
        self._running: dict[bytes, _Activity] = {}
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
            activity = _Activity(key, record, definition)
            self._running[key] = activity
            limit = definition.activity.max_concurrent
            if limit is not None:
                slots = self._slots.setdefault(record.name, _Slots(limit))
                if slots.running >= limit:
                    slots.waiting.append(activity)
                    continue
                slots.running += 1
            self._begin(activity)

    def _begin(self, activity: _Activity) -> None:
        job = activity.job = Job(
            activity.record.name,
            lambda: self._outcome(activity),
            lambda outcome: self._ended(activity, outcome),
            lambda: self._dropped(activity),
        )
        self._tasks.add(job)

    def runs(self, key: bytes) -> bool:
        """Whether an activity runs, or waits for a free place."""
        return key in self._running

    def cancel(self, keys: list[bytes]) -> None:
        """Cancel activities that nobody waits for any more; plain ones are told. What has ended is not changed."""
        for key in keys:
            activity = self._running.get(key)
            if activity is not None:
                activity.running.gone = True
                if activity.definition.activity.is_async and activity.job is not None and activity.job.scope is not None:
                    activity.job.scope.cancel()

    def _dropped(self, activity: _Activity) -> None:
        """It was cancelled; or the hub is closing: then it runs again."""
        if activity.running.gone:
            self._ended(activity, None)

    def _ended(self, activity: _Activity, outcome: Outcome | None) -> None:
        del self._running[activity.key]
        self.running -= 1
        slots = self._slots.get(activity.record.name)
        if slots is not None:
            if slots.waiting:
                self._begin(slots.waiting.popleft())
            else:
                slots.running -= 1
        self._deliver(activity.key, activity.record_now, outcome)

    async def _outcome(self, activity: _Activity) -> Outcome | None:
        record, definition, running = activity.record, activity.definition, activity.running
        if running.gone:
            return None
        token = None if definition.activity.is_async else trio.lowlevel.current_trio_token()
        current.set(lambda: self._context(activity, token))
        try:
            arguments = definition.arguments.decode(record.arguments)
            if record.timeout is None and record.heartbeat_timeout is None:
                return Success(definition.result.encode(await self._call(record, definition, arguments)))
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

    def _context(self, activity: _Activity, token: trio.lowlevel.TrioToken | None) -> ActivityContext:
        """What an activity may know of itself; with the token of the event loop, if it asks in a thread."""
        record = activity.record

        def beat(details: object) -> None:
            encoded = self._heartbeats.encode(details)
            if token is None:
                self._beat(activity, encoded)
            else:
                with suppress(trio.RunFinishedError):  # the program is over, and so is whoever wanted to know
                    token.run_sync_soon(self._beat, activity, encoded)

        reply_to = record.reply_to
        return ActivityContext(
            name=record.name,
            instance_id=reply_to.instance_id,
            attempt=record.attempt,
            idempotency_key=f"{reply_to.execution}:{step_and_attempt(reply_to.task)[0]}",
            last_heartbeat=None if record.heartbeat is None else self._heartbeats.decode(record.heartbeat),
            running=activity.running,
            beat=beat,
        )

    def _beat(self, activity: _Activity, encoded: bytes) -> None:
        running, record = activity.running, activity.record
        if self._running.get(activity.key) is not activity or running.gone:
            return  # it was given up: this comes from its thread
        running.heartbeat = encoded
        if running.silence is not None and record.heartbeat_timeout is not None:
            running.silence.deadline = trio.current_time() + record.heartbeat_timeout
        self._store_heartbeat(activity.key, activity.record_now)


def _limit(seconds: float | None) -> AbstractContextManager[trio.CancelScope | None]:
    return nullcontext() if seconds is None else trio.move_on_after(seconds)
