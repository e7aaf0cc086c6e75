"""A worker process: runs activities for the hub that started it, one after another.

The main thread runs them. Another thread reads what the hub says, so that the end of the hub, which shows as the end of the
stream, is noticed during an attempt too: nobody waits for that any more, and the process ends at once. (Code that computes
without ever letting go of the interpreter lock is not interrupted by that; the process ends when it returns.)

Ctrl-C is for the hub: the whole foreground group of a terminal gets it, and here it is ignored. The hub blocks the signal while it
starts a worker, so that it does no harm before that.

The program's main module is known as ``__main__`` to the hub and as ``__mp_main__`` here. Its classes get back the name that the
hub has for them, which is in what is told of failures, and in values.
"""

from __future__ import annotations

import contextvars
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..orchestration.registry import Registry
from ..storage.values import Values
from .activity_context import ActivityContext, current
from .spawning import AnyActivity
from .worker_messages import LENGTH_BYTES, Attempt, Beat, Ready, decode_attempt, framed

if TYPE_CHECKING:
    import cattrs

NAME: Final = "perdure worker process"
_MAIN_MODULE: Final = "__mp_main__"


def serve(
    connection: socket.socket,
    activities: tuple[AnyActivity, ...],
    make_converter: Callable[[], cattrs.Converter] | None,
    value_bytes_max: int,
) -> None:
    """Run what the hub asks for, until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    connection.set_inheritable(False)  # what an activity starts must not keep it open
    multiprocessing.current_process().name = NAME
    if _MAIN_MODULE in sys.modules:
        _give_back_names(sys.modules[_MAIN_MODULE])
    registry = Registry(Values(None if make_converter is None else make_converter(), value_bytes_max), str)
    registry.define(activities)
    with connection:
        _Worker(connection, registry).run()


def _give_back_names(owner: object) -> None:
    for member in list(vars(owner).values()):
        if isinstance(member, type) and member.__module__ == _MAIN_MODULE:
            member.__module__ = "__main__"
            _give_back_names(member)


class _Worker:
    """The process's side of the connection."""

    def __init__(self, connection: socket.socket, registry: Registry) -> None:
        self._connection = connection
        self._registry = registry
        self._heartbeats = registry.values.codec(object, place="heartbeat")
        self._attempts: SimpleQueue[Attempt | None] = SimpleQueue()
        self._sending = threading.Lock()
        self._working = False

    def run(self) -> None:
        """Run attempts until the hub closes the connection."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        self._send(framed(Ready()))
        while (attempt := self._attempts.get()) is not None:
            outcome = contextvars.copy_context().run(self._outcome, attempt)
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):  # whatever the program has made of it
                    stream.flush()  # the process may be killed later
            message = framed(outcome)
            self._working = False  # before it is told: the next attempt may follow at once
            self._send(message)

    def _read(self) -> None:
        with self._connection.makefile("rb") as stream, suppress(OSError):
            while len(length := stream.read(LENGTH_BYTES)) == LENGTH_BYTES:
                attempt = decode_attempt(stream.read(int.from_bytes(length)))
                self._working = True
                self._attempts.put(attempt)
        if self._working:
            os._exit(1)  # as if it had been killed: nothing else ends code that is running
        self._attempts.put(None)

    def _send(self, message: bytes) -> None:
        with self._sending, suppress(OSError):  # the hub is gone, which the reader notices
            self._connection.sendall(message)

    def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            definition = self._registry.activities[attempt.name]
            current.set(lambda: self._context(attempt))
            arguments = definition.arguments.decode(attempt.arguments)
            return Success(definition.result.encode(definition.activity.function(*arguments)))
        except BaseException as error:  # noqa: BLE001 - whatever an activity raises is its failure
            return Failure(FailureDetails.from_exception(error))

    def _context(self, attempt: Attempt) -> ActivityContext:
        return ActivityContext(
            name=attempt.name,
            instance_id=attempt.instance_id,
            attempt=attempt.attempt,
            idempotency_key=attempt.idempotency_key,
            last_heartbeat=None if attempt.heartbeat is None else self._heartbeats.decode(attempt.heartbeat),
            beat=lambda details: self._send(framed(Beat(self._heartbeats.encode(details)))),
        )
