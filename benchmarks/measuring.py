"""One run of a workload: its folder and size, hubs, and timed stretches.

Every count of a workload is written for full size and multiplied by ``scale``, so that one code serves a full run, a quick
look and a test.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter, process_time
from types import TracebackType
from typing import Self

import trio
from attrs import define, field
from perdure.hub import TaskHub

from .figures import MILLISECONDS, RATE, SECONDS, Figure
from .lmdb_alone import commit_seconds, one_put_seconds
from .recording import BatchShape, RecordingStore

HUB_NAME = "Bench"

_TELLING_SECONDS = 0.2
"""Use of the cores is counted in ticks of 10 ms, so that a shorter stretch says nothing about it."""


@define
class Run:
    """One run.

    Attributes:
      folder: a fresh folder of its own.
      scale: the size; 1 is full.
      flights: the file of flights for the workload flights-year, if one was given.
      foreign_cpu: for each timed stretch, the share of all cores that other processes used, 0 to 1; only for
        stretches that are long enough to tell.
    """

    folder: Path
    scale: float
    flights: Path | None = None
    foreign_cpu: list[float] = field(factory=list[float])
    _folders: int = 0

    def count(self, full: int, least: int = 1) -> int:
        """A count that is ``full`` at full size, and never below ``least``."""
        return max(least, round(full * self.scale))

    @asynccontextmanager
    async def hub(self, definitions: Iterable[object]) -> AsyncGenerator[tuple[TaskHub, Stopwatch]]:
        """A durable hub with default settings, and a stopwatch for it."""
        store = RecordingStore(self.folder / "hub" / HUB_NAME.lower())
        async with TaskHub(HUB_NAME, definitions, storage=store) as hub:
            yield hub, Stopwatch(self, store)

    def lmdb_alone(self, before: Sequence[BatchShape], measured: Sequence[BatchShape]) -> list[float]:
        """See :func:`benchmarks.lmdb_alone.commit_seconds`."""
        return commit_seconds(self._lmdb_folder(), before, measured)

    def one_puts(self, amount: int) -> list[float]:
        """See :func:`benchmarks.lmdb_alone.one_put_seconds`."""
        return one_put_seconds(self._lmdb_folder(), amount)

    def _lmdb_folder(self) -> Path:
        self._folders += 1
        return self.folder / f"lmdb-{self._folders}"


@define
class Stopwatch:
    """Makes timed stretches of one hub.

    Attributes:
      store: its store, with the batches that were written.
    """

    _run: Run
    store: RecordingStore

    def stretch(self) -> Stretch:
        """A stretch, to be entered with ``with``."""
        return Stretch(self._run, self.store)


@define
class Timer:
    """Times what is inside ``with``: wall clock, process time, and how much other processes disturbed.

    Attributes:
      seconds: how long it took.
      cpu_seconds: process time meanwhile, user and system, all threads, and of children that ended meanwhile.
    """

    _run: Run
    seconds: float = field(default=0.0, init=False)
    cpu_seconds: float = field(default=0.0, init=False)
    _busy: float = field(default=0.0, init=False)

    def __enter__(self) -> Self:
        """Begin, after a garbage collection."""
        gc.collect()
        self._busy = busy_seconds()
        self.cpu_seconds = _own_cpu_seconds()
        self.seconds = perf_counter()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """End."""
        self.seconds = perf_counter() - self.seconds
        self.cpu_seconds = _own_cpu_seconds() - self.cpu_seconds
        foreign = busy_seconds() - self._busy - self.cpu_seconds
        if self.seconds >= _TELLING_SECONDS:
            share = foreign / (self.seconds * (os.cpu_count() or 1))
            self._run.foreign_cpu.append(min(1.0, max(0.0, share)))  # ticks are coarse, and may add up to more than there was

    def cpu_us(self, operations: int) -> float:
        """Process time an operation, microseconds."""
        return 1e6 * self.cpu_seconds / operations


@define
class Stretch(Timer):
    """A timed stretch of a hub, and the figures that come of it."""

    _store: RecordingStore
    _first: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _replay: list[float] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Begin, after a garbage collection."""
        self._first = len(self._store.batches)
        return super().__enter__()

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        """End."""
        super().__exit__(exc_type, exc, traceback)
        self._last = len(self._store.batches)

    @property
    def commits(self) -> int:
        """Commits meanwhile."""
        return self._last - self._first

    def lmdb_commits(self) -> list[float]:
        """Seconds that LMDB alone took for each of the same commits; written when first asked for."""
        if self._replay is None:
            batches = self._store.batches
            self._replay = self._run.lmdb_alone(batches[: self._first], batches[self._first : self._last])
        return self._replay

    def rate(self, name: str, operations: int, *, bare_seconds: float | None) -> Figure:
        """Operations a second over the whole stretch."""
        lmdb = sum(self.lmdb_commits())
        return self._figure(name, RATE, operations / self.seconds, operations).with_limits(
            operations / lmdb if lmdb else None, operations / bare_seconds if bare_seconds else None
        )

    def duration(self, name: str, operations: int, *, bare_seconds: float | None) -> Figure:
        """The length of the stretch in seconds."""
        return self._figure(name, SECONDS, self.seconds, operations).with_limits(sum(self.lmdb_commits()), bare_seconds)

    def latency(
        self,
        name: str,
        latencies: Sequence[float],
        share: float,
        *,
        bare_seconds: float | None,
        commits_each: float | None = None,
    ) -> Figure:
        """A percentile of latencies, in milliseconds.

        LMDB's limit is the same percentile of its commits, times the number of commits an operation.

        Args:
          name: of the figure.
          latencies: seconds, in any order.
          share: 0.5 for the median.
          bare_seconds: one bare call.
          commits_each: commits that one operation has to wait for; by default those of the stretch, shared out evenly.
        """
        each = self.commits / len(latencies) if commits_each is None else commits_each
        lmdb = 1e3 * each * percentile(self.lmdb_commits(), share) if self.commits else None
        value = 1e3 * percentile(latencies, share)
        return self._figure(name, MILLISECONDS, value, len(latencies)).with_limits(
            lmdb, None if bare_seconds is None else 1e3 * bare_seconds
        )

    def _figure(self, name: str, unit: str, value: float, operations: int) -> Figure:
        return Figure(name, unit, value, None, None, operations, self.cpu_us(operations), self.commits)


async def closed_loop(
    clients: int, operations: int, operation: Callable[[int], Awaitable[object]], *, seconds: float = float("inf")
) -> list[float]:
    """Let clients do operations, each its next one when its last has ended; return the latencies in seconds.

    Args:
      clients: how many do so at a time, each a Trio task.
      operations: how many are done in all.
      operation: does the one of that number, from 0.
      seconds: none is begun after that time, but the first.
    """
    numbers = iter(range(operations))
    latencies: list[float] = []
    end = perf_counter() + seconds

    async def client() -> None:
        for number in numbers:
            started = perf_counter()
            if number and started > end:
                return
            await operation(number)
            latencies.append(perf_counter() - started)

    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(client)
    return latencies


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def check(what: str, actual: object, expected: object) -> None:
    """Stop the run if a result is wrong: a fast wrong answer is no figure.

    Raises:
      RuntimeError: it is.
    """
    if actual != expected:
        raise RuntimeError(f"{what}: {actual!r} instead of {expected!r}; this run gives no figures")


def _own_cpu_seconds() -> float:
    """Process time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def busy_seconds() -> float:
    """Time that all cores together have been busy since the machine started, in seconds; 0 where that is not told."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return 0.0
    user, nice, system = map(int, first.split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")
