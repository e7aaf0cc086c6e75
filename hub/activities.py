"""Running activities (O5): at least once, after the commit that scheduled them, the first result counts.

An ``async`` activity runs in a Trio task, a plain one in a worker thread or a worker process. Its row in storage goes in the
same batch that holds its result; so an activity that was running when the program died runs again, with the same idempotency key.

What may stop an activity (a cancellation, a time limit) cancels its Trio task, kills a worker process, and can only tell a thread.
A time limit is for the attempt; waiting for a worker process does not count.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from attrs import define, field

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..orchestration.registry import ActivityDefinition, Registry
from ..orchestration.retry import step_and_attempt
from .activity_context import ActivityContext, Running, current
from .records import ActivityRecord
from .spawning import WorkerSettings
from .task_pool import Job, TaskPool
from .worker_messages import Attempt

if TYPE_CHECKING:
    from .worker_pool import WorkerPool

_log = logging.getLogger(__name__)


@define(eq=False)
class _Slots:
    """How many of one activity run, and which wait."""

    limit: int | None
    running: int = 0
    waiting: deque[RunningActivity] = field(factory=deque)


class ActivityRunner:
    """Runs activities.

    Attributes:
      running: how many run, or wait for a free place.
      parked: scheduled activities that are not defined to this hub; they run after a restart that defines them (O18).
      threads: limits how many run in threads.
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
        self._tasks = TaskPool(nursery)
        self.threads = trio.CapacityLimiter(threads_max)
        self._worker_settings = workers
        self._workers: WorkerPool | None = None
        self._deliver = deliver
        self._store_heartbeat = store_heartbeat
        self._heartbeats = registry.values.codec(object, place="heartbeat")
        self._token = trio.lowlevel.current_trio_token()
        self._thread = get_ident()
        self._slots: dict[str, _Slots] = {}
        self._running: dict[bytes, RunningActivity] = {}
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
            activity = self._running[key] = RunningActivity(self, key, record, definition)
            limit = definition.activity.max_concurrent
            if limit is not None:
                slots = self._slots.setdefault(record.name, _Slots(limit))
                if slots.running >= limit:
                    slots.waiting.append(activity)
                    continue
                slots.running += 1
            self._tasks.add(activity)

    @property
    def processes(self) -> int:
        """How many worker processes there are."""
        return 0 if self._workers is None else self._workers.count

    @property
    def worker_pool(self) -> WorkerPool:
        """The worker processes; made when they are first asked for."""
        if self._workers is None:
            from .worker_pool import WorkerPool  # noqa: PLC0415 - multiprocessing is for those who use it

            self._workers = WorkerPool(self._nursery, self._worker_settings)
        return self._workers

    def runs(self, key: bytes) -> bool:
        """Whether an activity runs, or waits for a free place."""
        return key in self._running

    def cancel(self, keys: list[bytes]) -> None:
        """Cancel activities that nobody waits for any more; those in threads are told. What has ended is not changed."""
        for key in keys:
            activity = self._running.get(key)
            if activity is not None:
                activity.cancel()

    def ended(self, activity: RunningActivity, outcome: Outcome | None) -> None:
        """An activity has ended; without an outcome if it was cancelled."""
        del self._running[activity.key]
        self.running -= 1
        slots = self._slots.get(activity.record.name)
        if slots is not None:
            if slots.waiting:
                self._tasks.add(slots.waiting.popleft())
            else:
                slots.running -= 1
        self._deliver(activity.key, activity.record_now, outcome)

    def take_heartbeat(self, activity: RunningActivity, details: object) -> None:
        """Take a heartbeat from the event loop's thread or any other: an ``async`` activity may use threads as well.

        Raises:
          NotStorable: the details cannot be kept exactly.
        """
        encoded = self._heartbeats.encode(details)
        if get_ident() == self._thread:
            self.beat(activity, encoded)
        else:
            with suppress(trio.RunFinishedError):  # the program is over, and so is whoever wanted to know
                self._token.run_sync_soon(self.beat, activity, encoded)

    def last_heartbeat(self, record: ActivityRecord) -> Any:
        """The details of the last heartbeat of an earlier attempt."""
        return None if record.heartbeat is None else self._heartbeats.decode(record.heartbeat)

    def beat(self, activity: RunningActivity, encoded: bytes) -> None:
        """Take a heartbeat; not from one that was given up, which goes on in its thread."""
        if self._running.get(activity.key) is activity and not activity.gone:
            activity.beats(encoded)
            self._store_heartbeat(activity.key, activity.record_now)


class RunningActivity(Running, Job):
    """An attempt that runs, or waits for a free place.

    Attributes:
      key: of its row.
      record: that row.
      heartbeat: its last one, encoded.
    """

    __slots__ = ("_definition", "_runner", "_silence", "context", "heartbeat", "key", "record", "scope")

    def __init__(self, runner: ActivityRunner, key: bytes, record: ActivityRecord, definition: ActivityDefinition) -> None:
        super().__init__()
        self.scope: trio.CancelScope | None = None
        self.context = contextvars.copy_context()
        self.key = key
        self.record = record
        self.heartbeat: bytes | None = None
        self._runner = runner
        self._definition = definition
        self._silence: trio.CancelScope | None = None

    @property
    def name(self) -> str:
        """The activity's name."""
        return self.record.name

    @property
    def record_now(self) -> ActivityRecord:
        """Its record with its last heartbeat."""
        return self.record if self.heartbeat is None else msgspec.structs.replace(self.record, heartbeat=self.heartbeat)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.gone = True
        activity = self._definition.activity
        if self.scope is not None and (activity.is_async or activity.process):
            self.scope.cancel()

    def beats(self, encoded: bytes) -> None:
        """It is alive."""
        self.heartbeat = encoded
        if self._silence is not None and self.record.heartbeat_timeout is not None:
            self._silence.deadline = trio.current_time() + self.record.heartbeat_timeout

    # --- as a job

    def begin(self) -> Coroutine[Any, Any, Any]:
        """Make its coroutine."""
        return self._outcome()

    def ended(self, value: Any) -> None:
        """It has an outcome."""
        self._runner.ended(self, value)

    def dropped(self) -> None:
        """It was cancelled; or the hub is closing, and it will run again."""
        if self.gone:
            self._runner.ended(self, None)

    async def _outcome(self) -> Outcome | None:
        """Run it, and encode what comes of it; ``None`` if it was cancelled before it began."""
        if self.gone:
            return None
        record = self.record
        try:
            if self._definition.activity.process:
                async with self._runner.worker_pool.worker() as worker:
                    with self._limits():
                        return await worker.run(_attempt(record), lambda encoded: self._runner.beat(self, encoded))
            elif record.timeout is not None or record.heartbeat_timeout is not None:
                with self._limits():
                    return await self._call()
            elif self._definition.activity.is_async:
                return Success(self._definition.result.encode(await self._begun()))
            else:
                return await self._call()
            raise self._too_late()
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an activity raises is its failure
            return Failure(FailureDetails.from_exception(error))

    def _limits(self) -> AbstractContextManager[object]:
        """Its time limits."""
        stack = ExitStack()
        stack.enter_context(_limit(self.record.timeout))
        self._silence = stack.enter_context(_limit(self.record.heartbeat_timeout))
        return stack

    def _too_late(self) -> TimeoutError:
        record, silence = self.record, self._silence
        silent = silence is not None and silence.cancelled_caught
        return TimeoutError(
            f"attempt {record.attempt} of activity {record.name!r} "
            + (f"gave no heartbeat for {record.heartbeat_timeout} s" if silent else f"took longer than {record.timeout} s")
        )

    async def _call(self) -> Success:
        """Run its function in this task or in a thread."""
        definition, record = self._definition, self.record
        activity = definition.activity
        if activity.is_async:
            result = await self._begun()
        else:
            current.set(self._context)
            arguments = definition.arguments.decode(record.arguments)
            limited = record.timeout is not None or record.heartbeat_timeout is not None
            result = await trio.to_thread.run_sync(
                activity.function, *arguments, limiter=self._runner.threads, abandon_on_cancel=limited
            )
        return Success(definition.result.encode(result))

    def _begun(self) -> Awaitable[Any]:
        """Its ``async`` function, begun in this task."""
        current.set(self._context)
        return self._definition.activity.function(*self._definition.arguments.decode(self.record.arguments))

    # --- what it may know of itself

    def _context(self) -> ActivityContext:
        record = self.record
        return ActivityContext(
            name=record.name,
            instance_id=record.reply_to.instance_id,
            attempt=record.attempt,
            idempotency_key=_idempotency_key(record),
            last_heartbeat=self._runner.last_heartbeat(record),
            running=self,
            beat=lambda details: self._runner.take_heartbeat(self, details),
        )


def _idempotency_key(record: ActivityRecord) -> str:
    return f"{record.reply_to.execution}:{step_and_attempt(record.reply_to.task)[0]}"


def _attempt(record: ActivityRecord) -> Attempt:
    """An activity as a worker process is told of it."""
    instance_id = record.reply_to.instance_id
    return Attempt(record.name, record.arguments, instance_id, record.attempt, _idempotency_key(record), record.heartbeat)


def _limit(seconds: float | None) -> AbstractContextManager[trio.CancelScope | None]:
    return nullcontext() if seconds is None else trio.move_on_after(seconds)
