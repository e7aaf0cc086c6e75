"""The parts of a running hub, put together: what lies behind the verbs of :class:`TaskHub`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ..entities.messages import Failure, Outcome
from ..orchestration.registry import Registry
from ..orchestration.status import OrchestrationRecord
from ..storage import forking, tables
from ..storage.errors import ForkedHub, StorageError
from ..storage.store import Store
from .ack import Ack
from .activities import ActivityRunner
from .batch import OpenBatch
from .careful import Careful
from .cells import EntityCell
from .clock import HubClock
from .committer import Committer
from .engine import Engine
from .errors import HubClosed
from .guard import refuse_inside_turns
from .lookups import find_stored
from .operations import OperationRunner
from .random_ids import new_instance_id
from .records import ActivityRecord, encode
from .recovery import Recovery
from .requests import Requests
from .residence import Residence
from .scheduler import Scheduler
from .space import Space
from .spawning import WorkerSettings
from .timers import Timers
from .watching import Watchers

_log = logging.getLogger(__name__)


class Runtime:
    """One opened hub.

    Attributes:
      store: its storage, owned by it.
      registry: its definitions.
      clock: its clock.
      space: whether it has room for new work.
      residence, engine, committer, requests, timers, scheduler, activities, operations: its parts.
      result_waiters: clients that wait for an instance to finish, by instance id.
      finished_lately: instances that finished with the last commit and have left memory; clients often ask for them next.
      watchers: clients that wait for something else of an instance.
      crash: what stopped the hub, if anything did.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        registry: Registry,
        nursery: trio.Nursery,
        *,
        clock: HubClock,
        cache_bytes: int,
        payload_bytes_min: int,
        threads_max: int,
        workers: WorkerSettings,
        request_ttl: float,
        request_limit: int,
        retention: int | None,
        poison_attempts: int,
        stop_on_storage_error: bool,
        space: Space,
    ) -> None:
        self.store = store
        self.registry = registry
        self.clock = clock
        self.space = space
        self.residence = Residence(store, registry, cache_bytes, payload_bytes_min)
        self.committer = Committer(store, epoch, clock, self.residence, self._durable, self._tell_waiting)
        self.residence.under_way = self.committer.writes_under_way
        self.requests = Requests(store, clock.now, request_ttl, request_limit)
        self.timers = Timers(store)
        self.engine = Engine(self.residence, self.requests, self.timers, clock, self.committer.open, new_instance_id, retention)
        self.activities = ActivityRunner(registry, nursery, threads_max, workers, self._activity_ended, self._heartbeat)
        self.operations = OperationRunner(nursery, clock, self._operation_ended)
        self.careful = Careful(store, epoch, self.engine, self.activities, self.operations, poison_attempts)
        self.scheduler = Scheduler(
            self.engine,
            self.committer,
            Recovery(store, self.engine),
            self.careful,
            stop_on_storage_error=stop_on_storage_error,
            busy_elsewhere=lambda: bool(self.activities.running or self.operations.running),
        )
        self.watchers = Watchers(self.residence, lambda instance_id: find_stored(store, instance_id))
        self.result_waiters: dict[str, list[Ack]] = {}
        self.finished_lately: dict[str, OrchestrationRecord] = {}
        self.crash: BaseException | None = None
        self._nursery = nursery
        self._generation = forking.generation()
        self._open = True

    async def run(self) -> None:
        """Drive the hub until its nursery is cancelled; what goes wrong is kept in ``crash`` and cancels the nursery."""
        try:
            await self.scheduler.run()
        except Exception as error:  # noqa: BLE001 - handed to the hub's own exit
            _log.critical("the hub has stopped: %s", error)
            crash = self.crash = error
            self._fail_everyone(lambda: crash)
            self._nursery.cancel_scope.cancel()

    # --- for the verbs

    async def admit(self) -> None:
        """Check that the hub takes new work, and wait while it has too much.

        Raises:
          HubClosed, ForkedHub: it does not.
          StorageError: storage fails at present (D4).
        """
        self.check()
        await self.scheduler.admit()
        self.check()
        failure = self.committer.failure
        if failure is not None:
            raise StorageError(f"storage fails at present, and no new work is taken until it works again: {failure}") from failure

    def check(self) -> None:
        """Refuse a hub that is not open, or belongs to another process.

        Raises:
          HubClosed: it is closed.
          ForkedHub: this process is a fork of the owner.
          ForbiddenAwait: the code of an orchestration or a plain operation asks.
        """
        refuse_inside_turns("the hub's own verbs")
        if forking.generation() != self._generation:
            raise ForkedHub("this process was forked from the one that opened the hub; open a hub of your own in it")
        if self.crash is not None:
            raise HubClosed(f"the hub has stopped: {self.crash}") from self.crash
        if not self._open:
            raise HubClosed("the hub is closed")

    async def durable(self) -> None:
        """Wait until the open batch is durable: what was put into it has happened (D3)."""
        ack = Ack()
        self.engine.batch.acks.append((ack, None))
        self.scheduler.wake()
        await ack.wait()

    # --- what follows from commits, activities and operations

    def _durable(self, batch: OpenBatch) -> None:
        for ack, value in batch.acks:
            ack.succeed(value)
        self.finished_lately = {}
        for record in batch.finished:
            for ack in self.result_waiters.pop(record.instance_id, ()):
                ack.succeed(record)
            dropped = self.residence.finished(record.instance_id, batch.number)
            if dropped is not None:
                self.finished_lately[record.instance_id] = dropped
        self.watchers.committed(batch)
        self.requests.committed(batch)
        self.timers.committed(batch)
        self.engine.delayed.committed(batch)
        if not self._open:
            return
        if batch.cancelled:
            self.careful.cancel_activities(batch.cancelled)
            self.activities.cancel(batch.cancelled)
        if batch.activities:
            (self.careful.hold_activities if self.careful.active else self.activities.start)(batch.activities)
        if batch.operations:
            (self.careful.hold_operations if self.careful.active else self.operations.begin)(batch.operations)
        self.residence.evict(batch.number, 2 * len(batch.cells) + 64)

    def _activity_ended(self, key: bytes, record: ActivityRecord, outcome: Outcome | None) -> None:
        """Take over an outcome; ``None`` from an activity that was cancelled, whose row is gone."""
        heartbeat = record.heartbeat if isinstance(outcome, Failure) else None
        if outcome is not None and self.engine.task_result(record.reply_to, outcome, heartbeat):
            self.engine.batch.writes[tables.ACTIVITIES][key] = None
        self.scheduler.wake()

    def _heartbeat(self, key: bytes, record: ActivityRecord) -> None:
        """Store how far an activity is, with the next commit; not if it was cancelled or purged, and has yet to hear of that."""
        if any(writes[tables.ACTIVITIES].get(key, b"") is None for writes in self.committer.writes_under_way()):
            return
        self.engine.batch.writes[tables.ACTIVITIES][key] = encode(record)
        self.scheduler.wake()

    def _operation_ended(self, cell: EntityCell) -> None:
        self.engine.after_step(cell)
        self.scheduler.wake()

    def _tell_waiting(self, error: StorageError) -> None:
        """A commit has failed: nobody is acknowledged, everybody who waits is told (D4)."""
        for batch in (self.committer.under_way, self.engine.batch):
            if batch is not None:
                acks, batch.acks = batch.acks, []
                for ack, _ in acks:
                    ack.fail(_copy_of(error))
        calls, self.engine.calls = self.engine.calls, {}
        for ack in calls.values():
            ack.fail(_copy_of(error))
        self.requests.fail_all(lambda: _copy_of(error))

    def _fail_everyone(self, error: Callable[[], BaseException]) -> None:
        for batch in (self.committer.under_way, self.engine.batch):
            if batch is not None:
                for ack, _ in batch.acks:
                    ack.fail(error())
        for acks in ([*self.engine.calls.values()], *self.result_waiters.values()):
            for ack in acks:
                ack.fail(error())
        self.requests.fail_all(error)
        self.watchers.fail_all(error)
        self.scheduler.fail_all(error())

    # --- the end

    def close(self) -> None:
        """Write what is left, free everything, and close the store (D7). The nursery has ended."""
        if not self._open:
            return
        self._open = False
        if forking.generation() != self._generation:
            return
        if self.crash is None:
            self.careful.rest(closing=True, wrote=self.committer.commits > 0)
            self.committer.finish()
        self._fail_everyone(lambda: HubClosed("the hub was closed while this call waited for it"))
        self.residence.drop_all()
        self.store.close()


def _copy_of(error: StorageError) -> StorageError:
    """A fresh exception for each waiting caller, so that their tracebacks do not mix."""
    copy = type(error)(*error.args)
    copy.__cause__ = error
    return copy
