"""Opening and closing a hub: the async context manager behind :class:`TaskHub` (D5, D7).

Exceptions of the body come out as they are, and so does what stopped the hub: a user who writes
``except ValueError`` around ``async with TaskHub(...)`` need not know that there is a nursery inside.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import trio

from ..entities.failures import members_of
from ..entities.ids import check_hub_name
from ..entities.times import due_time
from ..orchestration.http_defaults import HTTP_ACTIVITY
from ..orchestration.registry import Registry
from ..storage.coded_store import CodedStore
from ..storage.errors import StorageError
from ..storage.record_codec import RecordCodec, check_codec
from ..storage.values import Values
from . import collecting, limits
from .clock import HubClock, wall_clock
from .committed import CommittedHub
from .committer import last_time
from .errors import HubClosed
from .random_ids import new_instance_id
from .retention_setting import adopt_retention, retention_differs
from .runtime import Runtime
from .space import Space
from .spawning import WorkerSettings, activities_for_processes, refuse_in_starting_worker

if TYPE_CHECKING:
    import cattrs
    import httpx

    from ..orchestration.definition import Activity
    from ..storage.store import CommittedStore, Store
    from .http_activity import HttpActivity


_log = logging.getLogger(__name__)


class HubOptions(msgspec.Struct, frozen=True):
    """The settings of a hub; see :class:`TaskHub` for what they mean."""

    paused: bool = False
    cache_bytes: int = limits.CACHE_BYTES
    threads_max: int = limits.THREADS_MAX
    processes_max: int = limits.PROCESSES_MAX
    process_calls_max: int = limits.PROCESS_CALLS_MAX
    request_ttl: float = limits.REQUEST_TTL_SECONDS
    request_limit: int = limits.REQUESTS_MAX
    retention: timedelta | float | None = None
    poison_attempts: int = limits.POISON_ATTEMPTS_MAX
    on_storage_error: Literal["retry", "stop"] = "retry"
    clock: Callable[[], int] = wall_clock
    converter: cattrs.Converter | Callable[[], cattrs.Converter] | None = None
    http_transport: httpx.AsyncBaseTransport | None = None
    value_bytes_max: int = limits.VALUE_BYTES_MAX
    payload_bytes_min: int = limits.PAYLOAD_BYTES_MIN
    codec: RecordCodec | None = None
    quota: int | None = None
    free_space_floor: int = limits.FREE_SPACE_FLOOR_BYTES
    allow_network_filesystem: bool = False

    def __post_init__(self) -> None:
        for name in (
            "cache_bytes",
            "threads_max",
            "processes_max",
            "process_calls_max",
            "request_ttl",
            "request_limit",
            "poison_attempts",
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} is a number above 0, not {value!r}")
        if isinstance(self.retention, datetime):
            raise TypeError("retention is a duration, a timedelta or seconds, not a point in time")
        if self.retention is not None:
            due_time(self.retention, 0)
        least, most = limits.VALUE_BYTES_FLOOR, limits.VALUE_BYTES_CEILING
        if type(self.value_bytes_max) is not int or not least <= self.value_bytes_max <= most:
            raise ValueError(f"value_bytes_max is a number of bytes, {least:,} to {most:,}, not {self.value_bytes_max!r}")
        if type(self.payload_bytes_min) is not int or self.payload_bytes_min < 1:
            raise ValueError(f"payload_bytes_min is a number of bytes, 1 or more, not {self.payload_bytes_min!r}")
        for name, least in (("quota", 1), ("free_space_floor", 0)):
            value = getattr(self, name)
            missing = name == "quota" and value is None
            if not missing and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} is a number of bytes, {least} or more, not {value!r}")
        if self.on_storage_error not in ("retry", "stop"):
            raise ValueError(f"on_storage_error is 'retry' or 'stop', not {self.on_storage_error!r}")
        if self.http_transport is not None and not hasattr(self.http_transport, "handle_async_request"):
            raise TypeError(
                "http_transport is an asynchronous transport, such as httpx.AsyncHTTPTransport() or httpx.MockTransport(function), "
                f"not {type(self.http_transport).__name__}: {self.http_transport!r}"
            )


class OpenableHub(CommittedHub):
    """A hub that can be opened once, and the access to its parts while it is open."""

    def __init__(self, name: str, definitions: Iterable[object], storage: str | Path | Store, options: HubOptions) -> None:
        self._name = check_hub_name(name)
        self._options = options
        converter = options.converter() if callable(options.converter) else options.converter
        self._registry = Registry(Values(converter, options.value_bytes_max), new_instance_id)
        self._http: HttpActivity | None = None
        self._registry.provide(HTTP_ACTIVITY, self._http_activity)
        self._registry.define(definitions)
        activities = (definition.activity for definition in self._registry.activities.values())
        self._workers = WorkerSettings(
            activities_for_processes(activities, options.converter),
            options.converter if callable(options.converter) else None,
            options.value_bytes_max,
            options.processes_max,
            options.process_calls_max,
        )
        if not isinstance(storage, str | Path) and not hasattr(storage, "submit"):
            raise TypeError(f"storage is the path of a folder, or a store, not {type(storage).__name__}: {storage!r}")
        if isinstance(storage, str | Path):
            from ..storage.lmdb_store import LmdbStore  # noqa: PLC0415 - 4 ms, and a hub in another store needs no LMDB

            storage = LmdbStore(Path(storage) / self._name, allow_network_filesystem=options.allow_network_filesystem)
        elif options.allow_network_filesystem:
            raise ValueError(
                "allow_network_filesystem goes with the path of a folder; a store of your own has such an option itself"
            )
        self._store: Store = storage if options.codec is None else CodedStore(storage, options.codec)
        self._runtime: Runtime | None = None
        self._nursery: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._scope: trio.CancelScope | None = None
        self._entered = False

    @property
    def name(self) -> str:
        """The hub's name, folded to lower case (I4)."""
        return self._name

    def _open_runtime(self) -> Runtime:
        """The running hub.

        Raises:
          HubClosed: it was not entered, or has been left.
          ForkedHub: this process is a fork of the owner.
        """
        runtime = self._runtime
        if runtime is None:
            raise HubClosed(f"hub {self._name!r} is not open: use it inside 'async with TaskHub(...) as hub'")
        runtime.check()
        return runtime

    def _committed(self) -> CommittedStore:
        return self._open_runtime().store

    async def __aenter__(self) -> Self:
        """Open the storage, take up what was waiting, and run.

        Raises:
          HubInUse: another process, or another hub object of this one, runs it (D5).
          StorageUnusable: the storage cannot be used.
          RuntimeError: this object was entered before; make a new one. Or a worker process is importing the program.
        """
        refuse_in_starting_worker()
        if self._entered:
            raise RuntimeError(f"hub {self._name!r} was entered before; make a new TaskHub to open it again")
        self._entered = True
        await trio.lowlevel.checkpoint()
        epoch = self._store.open()
        options = self._options
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        self._scope = nursery.cancel_scope
        try:
            if options.codec is None:
                check_codec(self._store, None, new=False)
            self._runtime = Runtime(
                self._store,
                epoch,
                self._registry,
                nursery,
                clock=HubClock(options.clock, last_time(self._store)),
                cache_bytes=options.cache_bytes,
                payload_bytes_min=options.payload_bytes_min,
                threads_max=options.threads_max,
                workers=self._workers,
                request_ttl=options.request_ttl,
                request_limit=options.request_limit,
                retention=None if options.retention is None else due_time(options.retention, 0),
                poison_attempts=options.poison_attempts,
                stop_on_storage_error=options.on_storage_error == "stop",
                space=Space(self._store, options.quota, options.free_space_floor),
            )
        except BaseException:
            await self._nursery.__aexit__(None, None, None)
            self._store.close()
            raise
        self._runtime.scheduler.paused = options.paused
        nursery.start_soon(self._runtime.run, name=f"perdure hub {self._name}")
        if retention_differs(self._runtime):
            nursery.start_soon(_adopt_retention, self._runtime)
        collecting.hub_opened()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Stop what runs (it runs again after the next opening), and close the storage.

        Raises:
          StorageInDoubt, StorageError: what stopped the hub, if it stopped by itself.
        """
        runtime, nursery, scope = self._runtime, self._nursery, self._scope
        assert runtime is not None
        assert nursery is not None
        assert scope is not None
        # The hub's own tasks are stopped whatever happens around: nothing may cut this short.
        scope.shield = True
        scope.cancel()
        try:
            # If the hub stopped by itself it has cancelled the body, and that cancellation ends here.
            stopped = runtime.crash is not None
            await nursery.__aexit__(*((exc_type, exc, traceback) if stopped else (None, None, None)))
        except BaseExceptionGroup as group:
            if runtime.crash is None:
                # An activity or operation was interrupted (Ctrl-C); nobody wants to see that in a group of one.
                raise _sole_leaf(group) from None
            # What the body raised beside that cancellation, without the hub's own group around it.
            inner = members_of(group)[0] if len(members_of(group)) == 1 else group
            if not _follows_from_a_stop(inner):
                raise inner from None
        finally:
            try:
                runtime.close()
            finally:
                collecting.hub_closed()
                if self._http is not None:
                    await self._http.aclose()
        if runtime.crash is not None and (exc is None or _follows_from_a_stop(exc)):
            raise runtime.crash
        return None

    def _http_activity(self) -> Activity[Any, *tuple[Any, ...]]:
        """What makes the requests of ``ctx.call_http``; asked for with the first one."""
        from .http_activity import HttpActivity  # noqa: PLC0415 - most programs make none

        self._http = HttpActivity(self._options.http_transport)
        return self._http.activity

    def _set_paused(self, paused: bool) -> None:
        runtime = self._open_runtime()
        runtime.scheduler.paused = paused
        runtime.scheduler.wake()


async def _adopt_retention(runtime: Runtime) -> None:
    try:
        await adopt_retention(runtime)
    except (HubClosed, StorageError) as error:
        _log.warning("not all finished instances know the retention period yet; the next opening tries again: %s", error)


def _follows_from_a_stop(exc: BaseException) -> bool:
    """Whether an exception, with all members of a group, is only what a body notices of a hub that has stopped."""
    members = members_of(exc)
    return all(map(_follows_from_a_stop, members)) if members else isinstance(exc, trio.Cancelled | HubClosed)


def _sole_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group of groups of one, else the group."""
    inner: BaseException = group
    while len(members := members_of(inner)) == 1:
        inner = members[0]
    return group if members else inner


def checked_seconds(value: Any, what: str) -> float | None:
    """A limit in seconds, or ``None``.

    Raises:
      ValueError: it is negative or no number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{what} is a number of seconds, 0 or more, not {value!r}")
    return float(value)
