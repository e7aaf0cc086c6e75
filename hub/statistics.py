"""Figures of a running hub, for people, tests and monitoring."""

from __future__ import annotations

from attrs import frozen

from ..storage.store import StoreStatistics
from .runtime import Runtime


@frozen
class HubStatistics:
    """Figures of a hub at one moment.

    Attributes:
      turns: turns run since it was opened.
      commits: batches that became durable since then.
      ready: instances that have something to do.
      backlog: messages that are ready to be worked off.
      entities_in_memory, orchestrations_in_memory: instances in memory.
      bytes_in_memory: their estimated size.
      evictions: instances dropped from memory since the hub was opened.
      activities_running: activities that run, or wait for a free place.
      activities_parked: scheduled activities that are not defined to this hub.
      worker_processes: processes for activities with ``process=True``, those included that are being started or ended.
      operations_running: async operations that run.
      request_ids: request ids that are kept.
      storage_failing: the last commit failed and is being tried again.
      storage_full: new work was refused for lack of room when a client last asked.
      store: figures of the store.
    """

    turns: int
    commits: int
    ready: int
    backlog: int
    entities_in_memory: int
    orchestrations_in_memory: int
    bytes_in_memory: int
    evictions: int
    activities_running: int
    activities_parked: int
    worker_processes: int
    operations_running: int
    request_ids: int
    storage_failing: bool
    storage_full: bool
    store: StoreStatistics


def statistics_of(runtime: Runtime) -> HubStatistics:
    """The figures of a runtime now."""
    return HubStatistics(
        turns=runtime.engine.turns,
        commits=runtime.committer.commits,
        ready=len(runtime.engine.ready),
        backlog=runtime.engine.backlog,
        entities_in_memory=len(runtime.residence.entities),
        orchestrations_in_memory=len(runtime.residence.orchestrations),
        bytes_in_memory=runtime.residence.bytes,
        evictions=runtime.residence.evictions,
        activities_running=runtime.activities.running,
        activities_parked=runtime.activities.parked,
        worker_processes=runtime.activities.processes,
        operations_running=runtime.operations.running,
        request_ids=runtime.requests.count,
        storage_failing=runtime.committer.failure is not None,
        storage_full=runtime.space.refusal is not None,
        store=runtime.store.statistics(),
    )
