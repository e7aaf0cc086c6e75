"""The worker processes of a hub: for activities that compute (``@activity(process=True)``).

A process runs one attempt at a time, and is used again until it has run so many. It is *spawned*, never forked: LMDB and locks do
not survive a fork. There are none before the first attempt needs one.

A thread cannot be stopped, a process can: an attempt that is cancelled or takes too long is ended by killing its process. One that
dies by itself fails the attempt that it ran, and no other. In both cases the next attempt gets a fresh one.

How they end: closing the hub closes their connections, and kills those that work or do not go. If the hub itself is killed, they
see the end of the connection (:mod:`.worker_process`).

Why not trio-parallel, which starts and kills processes in the same way: it has no way for an attempt to say anything before its
end, and so no heartbeats; and it pickles what it carries.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Final

import trio

from ..entities.messages import Outcome
from ..orchestration.definition import Activity
from . import limits
from .errors import WorkerProcessDied
from .spawning import STARTING, WorkerSettings
from .worker_messages import LENGTH_BYTES, Attempt, Beat, Ready, decode_report, framed
from .worker_process import serve

_SPAWN: Final = multiprocessing.get_context("spawn")

# An activity crosses as a function does: by name.
ForkingPickler.register(Activity, lambda activity: activity.function.__qualname__)


class _ConnectionLost(Exception):
    """The process has ended, or will."""


class WorkerPool:
    """Starts worker processes by need, up to a number, and keeps them.

    Args:
      nursery: the hub's; when it is cancelled, all processes are ended before it is left.
      settings: what they need.

    Attributes:
      count: how many there are.
    """

    def __init__(self, nursery: trio.Nursery, settings: WorkerSettings) -> None:
        self._nursery = nursery
        self._settings = settings
        self._places = trio.CapacityLimiter(settings.processes_max)
        self._idle: list[Worker] = []
        self._closing = False
        self.count = 0
        nursery.start_soon(self._close_at_the_end, name="perdure worker processes")

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[Worker]:
        """A process to run one attempt in; waits, in the order of asking, while all are busy.

        Raises:
          WorkerProcessDied: one was started, and ended at once.
          OSError: none can be started.
        """
        async with self._places:
            worker = self._take() or await self._start()
            try:
                yield worker
            finally:
                if worker.ended:
                    self.count -= 1
                elif worker.attempts >= self._settings.calls_max or self._closing:
                    self._nursery.start_soon(self._retire, worker)
                else:
                    self._idle.append(worker)

    def _take(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()  # the one that was used last: its memory is warm
            if worker.alive:
                return worker
            self._nursery.start_soon(self._retire, worker)  # somebody killed it while it was idle
        return None

    async def _start(self) -> Worker:
        self.count += 1
        try:
            return await Worker.start(self._settings)
        except BaseException:
            self.count -= 1
            raise

    async def _retire(self, worker: Worker) -> None:
        await worker.end()
        self.count -= 1

    async def _close_at_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._closing = True
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for worker in self._idle:
                        nursery.start_soon(self._retire, worker)
                    self._idle = []


class Worker:
    """One worker process, as the hub sees it.

    Attributes:
      attempts: how many it was given.
      ended: it is gone.
    """

    def __init__(self, process: SpawnProcess, stream: trio.SocketStream) -> None:
        self._process = process
        self._stream = stream
        self.attempts = 0
        self.ended = False

    @classmethod
    async def start(cls, settings: WorkerSettings) -> Worker:
        """Start a process, and wait until it has imported the program.

        Raises:
          WorkerProcessDied: it ended before it was ready.
          OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = _SPAWN.Process(
                target=serve,
                args=(theirs, settings.activities, settings.make_converter, settings.value_bytes_max),
                name=STARTING,
                daemon=True,  # so that no exit of the program waits for it
            )
            try:
                await trio.to_thread.run_sync(_start, process)
            except BaseException:
                ours.close()
                raise
        worker = cls(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        try:
            ready = await worker._receive()
            assert isinstance(ready, Ready)
        except _ConnectionLost:
            raise WorkerProcessDied(
                f"a worker process for activities {await worker._death()} before it was ready; what it wrote to stderr says why. It "
                "imports the program's modules, the main module too: what starts the hub must be under \"if __name__ == '__main__':\""
            ) from None
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self._process.is_alive()

    async def run(self, attempt: Attempt, beat: Callable[[bytes], None]) -> Outcome:
        """Run one attempt; cancelling it kills the process.

        Args:
          attempt: what to run.
          beat: called with each heartbeat, encoded.

        Raises:
          WorkerProcessDied: the process ended before the attempt did.
        """
        self.attempts += 1
        try:
            with suppress(trio.BrokenResourceError):  # it has ended; what it said before that can still be read
                await self._stream.send_all(framed(attempt))
            while True:
                report = await self._receive()
                if isinstance(report, Beat):
                    beat(report.details)
                else:
                    assert not isinstance(report, Ready)
                    return report
        except _ConnectionLost:
            raise WorkerProcessDied(
                f"the worker process that ran attempt {attempt.attempt} of activity {attempt.name!r} {await self._death()}"
            ) from None
        except BaseException:
            await self.kill()
            raise

    async def end(self) -> None:
        """End an idle process, and wait until it is gone."""
        with trio.CancelScope(shield=True):
            await self._stream.aclose()
        await self._gone()

    async def kill(self) -> None:
        """Kill the process, and wait until it is gone."""
        self._process.kill()
        await self.end()

    async def _death(self) -> str:
        """Have a process end that has closed its connection, and say how it did."""
        await self.end()
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        return f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")

    async def _gone(self) -> None:
        self.ended = True
        for wait in (limits.WORKER_CLOSE_SECONDS, limits.WORKER_CLOSE_SECONDS):
            with trio.move_on_after(wait, shield=True):
                await trio.to_thread.run_sync(self._process.join, abandon_on_cancel=True)
                return
            self._process.kill()

    async def _receive(self) -> Ready | Beat | Outcome:
        length = int.from_bytes(await self._exactly(LENGTH_BYTES))
        return decode_report(await self._exactly(length))

    async def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                more = await self._stream.receive_some(count - len(data))
            except trio.BrokenResourceError:
                more = b""
            if not more:
                raise _ConnectionLost
            data += more
        return bytes(data)


def _start(process: SpawnProcess) -> None:
    """Start a process with SIGINT blocked, in whatever thread this is."""
    resource_tracker.ensure_running()  # started with the first process otherwise, and that unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
