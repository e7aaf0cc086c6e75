"""Running activities (O5): at least once, after the commit that scheduled them, the first result counts.

An ``async`` activity runs as a Trio task, a plain one in a worker thread or a worker process. Its row in storage goes in the
same batch that holds its result; so an activity that was running when the program died runs again, with the same idempotency key.

What may stop an activity (a cancellation, a time limit) cancels a Trio task, kills a worker process, and can only tell a thread.
A time limit is for the attempt; waiting for a worker process does not count.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from attrs import define, field

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..orchestration.definition import Activity
from ..orchestration.registry import ActivityDefinition, Registry
from ..orchestration.retry import step_and_attempt
from .activity_context import ActivityContext, Running, current
from .records import ActivityRecord
from .spawning import WorkerSettings
from .worker_messages import Attempt

if TYPE_CHECKING:
    from .worker_pool import Worker, WorkerPool

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
        workers: WorkerSettings,
        deliver: Callable[[bytes, ActivityRecord, Outcome | None], None],
        store_heartbeat: Callable[[bytes, ActivityRecord], None],
    ) -> None:
        self._registry = registry
        self._nursery = nursery
        self._threads = trio.CapacityLimiter(threads_max)
        self._worker_settings = workers
        self._workers: WorkerPool | None = None
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

    @property
    def processes(self) -> int:
        """How many worker processes there are."""
        return 0 if self._workers is None else self._workers.count

    def runs(self, key: bytes) -> bool:
        """Whether an activity runs, or waits for a free place."""
        return key in self._running

    def cancel(self, keys: list[bytes]) -> None:
        """Cancel activities that nobody waits for any more; those in threads are told. What has ended is not changed."""
        for key in keys:
            running = self._running.get(key)
            if running is not None:
                running.gone = True
                running.scope.cancel()

    async def _run(self, key: bytes, record: ActivityRecord, definition: ActivityDefinition) -> None:
        running = self._running[key]
        outcome: Outcome | None = None
        activity = definition.activity
        if not running.gone:
            with running.scope if activity.is_async or activity.process else nullcontext():
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
        try:
            async with self._place(definition.activity) as worker:
                with _limit(record.timeout), _limit(record.heartbeat_timeout) as silence:
                    running.silence = silence
                    if worker is not None:
                        return await worker.run(_attempt(record), partial(self._beat, key, record, running))
                    current.set(self._context(key, record, running, definition.activity.is_async))
                    arguments = definition.arguments.decode(record.arguments)
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

    def _place(self, activity: Activity[Any, *tuple[Any, ...]]) -> AbstractAsyncContextManager[Worker | None]:
        """Where an activity runs, if that is a process; threads are limited when they are begun."""
        if not activity.process:
            return nullcontext()
        if self._workers is None:
            from .worker_pool import WorkerPool  # noqa: PLC0415 - multiprocessing is for those who use it

            self._workers = WorkerPool(self._nursery, self._worker_settings)
        return self._workers.worker()

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

        return ActivityContext(
            name=record.name,
            instance_id=record.reply_to.instance_id,
            attempt=record.attempt,
            idempotency_key=_idempotency_key(record),
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


def _idempotency_key(record: ActivityRecord) -> str:
    return f"{record.reply_to.execution}:{step_and_attempt(record.reply_to.task)[0]}"


def _attempt(record: ActivityRecord) -> Attempt:
    """An activity as a worker process is told of it."""
    instance_id = record.reply_to.instance_id
    return Attempt(record.name, record.arguments, instance_id, record.attempt, _idempotency_key(record), record.heartbeat)


def _limit(seconds: float | None) -> AbstractContextManager[trio.CancelScope | None]:
    return nullcontext() if seconds is None else trio.move_on_after(seconds)
