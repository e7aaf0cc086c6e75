"""The task hub: what a program opens, and its own client.

A verb checks everything first (names, arguments, the state of its target), then puts its message into the engine in one
go, without an ``await`` in between, and then waits until the batch that holds it is durable. So a verb that refused has
done nothing, and one that returned has happened (D3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import trio

from . import limits
from .cleaning import CleanVerbs
from .client_batch import ClientBatch
from .clock import wall_clock
from .delayed_verbs import DelayedVerbs
from .describe_verbs import DescribeVerbs
from .entity_verbs import EntityReadVerbs, EntityVerbs
from .letter_verbs import LetterVerbs
from .opening import HubOptions
from .orchestration_verbs import OrchestrationVerbs
from .statistics import HubStatistics, statistics_of

if TYPE_CHECKING:
    import cattrs
    import httpx

    from ..storage.record_codec import RecordCodec
    from ..storage.store import Store


class TaskHub(EntityVerbs, EntityReadVerbs, DelayedVerbs, LetterVerbs, CleanVerbs, OrchestrationVerbs, DescribeVerbs):
    """A task hub: entities and orchestrations on one store, driven by one Trio task.

    An async context manager, to be entered once. While it is open it runs what is ready, and its methods are the client.

    Args:
      name: 3 to 45 letters and digits, compared without regard to case (I4).
      definitions: entity classes, orchestrators, activities, and modules that hold them.
      storage: a folder, in which the hub has a sub-folder of its own; or a store.
      paused: as after :meth:`pause`, until :meth:`unpause`.
      cache_bytes: instances kept in memory, by estimated size.
      threads_max: plain activities that run at a time, each in a worker thread.
      processes_max: activities with ``process=True`` that run at a time, each in a worker process; as many as processors by default.
      process_calls_max: after so many attempts of activities a worker process is replaced.
      request_ttl: how long request ids are kept, seconds (D8).
      request_limit: how many request ids are kept at most (D8).
      retention: finished instances are removed so long after their end, seconds or a timedelta (O16); by default they are kept.
      poison_attempts: what takes the process down so often in a row is set aside, so that the rest goes on (O20).
      on_storage_error: ``"retry"`` goes on trying to commit, ``"stop"`` ends the hub with the error (D4).
      clock: gives the time in microseconds since 1970; the system's by default.
      converter: a converter from ``perdure.storage.values.make_converter``, with hooks of your own for values; or the function
        that makes it, which activities with ``process=True`` need.
      http_transport: sends the requests of ``ctx.call_http``, and is closed with the hub: ``httpx.AsyncHTTPTransport(...)`` with
        certificates or a proxy of your own, in tests ``httpx.MockTransport(handler)``. By default httpx's own.
      value_bytes_max: how many bytes one value (arguments, a result, a state, an event) may take, encoded; 64 KiB to 1 GiB.
        What takes more is refused where it is handed over, with ``NotStorable``.
      payload_bytes_min: from this size on, states, inputs, outputs and custom statuses are stored apart, so that they are
        not read for listings and not written again when only a status or a lock changes.
      codec: encrypts or compresses what is stored; see :mod:`perdure.storage.record_codec` for what it covers, and what stays
        readable. A hub is opened with the codec that it was created with, or not at all.
      quota: bytes that the hub's data may have; beyond it new work is refused (``StorageFull``), and what runs goes on.
      free_space_floor: bytes that must be free, on the disk and in the hub's file, for new work to be accepted.
      allow_network_filesystem: let a network file system pass, on which LMDB is not reliable.

    Raises:
      ValueError, TypeError: a name or setting is not allowed.
      DefinitionError: something is no definition, or an unusable one.
    """

    def __init__(
        self,
        name: str,
        definitions: Iterable[object],
        storage: str | Path | Store,
        *,
        paused: bool = False,
        cache_bytes: int = limits.CACHE_BYTES,
        threads_max: int = limits.THREADS_MAX,
        processes_max: int = limits.PROCESSES_MAX,
        process_calls_max: int = limits.PROCESS_CALLS_MAX,
        request_ttl: float = limits.REQUEST_TTL_SECONDS,
        request_limit: int = limits.REQUESTS_MAX,
        retention: timedelta | float | None = None,
        poison_attempts: int = limits.POISON_ATTEMPTS_MAX,
        on_storage_error: Literal["retry", "stop"] = "retry",
        clock: Callable[[], int] = wall_clock,
        converter: cattrs.Converter | Callable[[], cattrs.Converter] | None = None,
        http_transport: httpx.AsyncBaseTransport | None = None,
        value_bytes_max: int = limits.VALUE_BYTES_MAX,
        payload_bytes_min: int = limits.PAYLOAD_BYTES_MIN,
        codec: RecordCodec | None = None,
        quota: int | None = None,
        free_space_floor: int = limits.FREE_SPACE_FLOOR_BYTES,
        allow_network_filesystem: bool = False,
    ) -> None:
        options = HubOptions(
            paused,
            cache_bytes,
            threads_max,
            processes_max,
            process_calls_max,
            request_ttl,
            request_limit,
            retention,
            poison_attempts,
            on_storage_error,
            clock,
            converter,
            http_transport,
            value_bytes_max,
            payload_bytes_min,
            codec,
            quota,
            free_space_floor,
            allow_network_filesystem,
        )
        super().__init__(name, definitions, storage, options)

    def __repr__(self) -> str:
        return f"<TaskHub {self.name!r}>"

    def batch(self) -> ClientBatch:
        """Collect signals, starts and events, accepted all or none when the block is left, with one acknowledgement.

        Raises:
          HubClosed: the hub is not open.
        """
        return ClientBatch(self._open_runtime())

    def pause(self) -> None:
        """Run no more turns; clients are still accepted. What they send waits, and so does what comes due."""
        self._set_paused(True)

    def unpause(self) -> None:
        """Run turns again."""
        self._set_paused(False)

    def statistics(self) -> HubStatistics:
        """Figures of the hub now.

        Raises:
          HubClosed: the hub is not open.
        """
        return statistics_of(self._open_runtime())

    async def wait_idle(self) -> None:
        """Wait until nothing is ready, running or due, and everything is durable (D2). Waiting instances do not count."""
        await self._open_runtime().scheduler.wait_idle()

    async def run_forever(self) -> None:
        """Wait until cancelled, which loses nothing (D7); for programs whose hub is all that they do."""
        self._open_runtime()
        await trio.sleep_forever()
