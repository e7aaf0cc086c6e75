"""What clients ask for, what they are told, and whether that may be so (D2, D3, D8, E9)."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from attrs import define, field

from ...entities import EntityOperationFailed
from ...hub import HubClosed, Instance, LimitReached, TaskHub
from ...orchestration import (
    CannotQuery,
    CannotRewind,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    OrchestrationCanceled,
    OrchestrationFailed,
    OrchestrationTerminated,
    UpdateFailed,
)
from ...storage import StorageError
from .effects import must_be_there
from .known import Fault, Known
from .ops import Op
from .trace import Trace

REFUSALS: Final = (CannotQuery, CannotRewind, InstanceExists, InstanceFinished, InstanceNotFound, LimitReached, ValueError)
ENDINGS: Final = (OrchestrationCanceled, OrchestrationFailed, OrchestrationTerminated, TimeoutError, UpdateFailed)
UNKNOWN: Final = (StorageError, HubClosed)
BATCHES: Final = 2
"""Batches that what was accepted may be in when its caller is gone: the one on its way to disk, and the open one."""

Check = Callable[["Request", Any], Iterator[Fault]]


def nothing_to_check(request: Request, value: object) -> Iterator[Fault]:
    """Any answer will do."""
    del request, value
    return iter(())


@define(eq=False)
class Request:
    """Something that a client asks for, once or again.

    Attributes:
      what: how the trace calls it.
      send: asks for it.
      ops: what it sends.
      instance_id: the instance that it is about, if any.
      starts: it starts that instance.
      wakes: it may make a suspended instance go on.
      restarts: it starts that instance again, with what it had collected.
      purges: it purges that instance.
      request_id: makes it safe to repeat.
      check: what is wrong with an answer.
      begins: the model is to allow for what it may do from now on.
      has_ended: whatever it does has been done.
      attempts: how often it was asked for.
      answer: what the client was told first, ``None`` while it was told nothing.
      starts_before: how often its instance was to be started before.
      existed: its instance was there when it was asked for first, and was not about to be purged with many.
      asked_at: the number of the last commit before it was asked for first.
    """

    what: str
    send: Callable[[TaskHub], Awaitable[Any]]
    ops: list[Op] = field(factory=list)
    instance_id: str | None = None
    starts: bool = False
    wakes: bool = False
    restarts: bool = False
    purges: bool = False
    request_id: str | None = None
    check: Check = nothing_to_check
    begins: Callable[[], object] = lambda: None
    has_ended: Callable[[], object] = lambda: None
    attempts: int = 0
    answer: tuple[str, Any] | None = None
    starts_before: int = 0
    existed: bool = False
    asked_at: int = 0


@define(eq=False)
class Desk:
    """Where clients ask.

    Attributes:
      known: the model, which is told what is asked for and answered.
      trace: the trace.
      life: the number of the hub that is open; its clients are one sender (E2).
      faults: what was found wrong with answers.
      repeatable: requests that may be asked for again.
    """

    known: Known
    trace: Trace
    life: int = 0
    faults: list[Fault] = field(factory=list)
    repeatable: list[Request] = field(factory=list)
    _cooling: list[list[Any]] = field(factory=list)
    _order: Iterator[int] = field(factory=itertools.count)

    async def ask(self, hub: TaskHub, request: Request) -> None:
        """Ask for something, and look at the answer."""
        life = self.life
        self._asked(request)
        try:
            answer = await self._answer(hub, request)
        finally:
            self._cooling.append([request, BATCHES])
        if life == self.life:
            self._told(request, *answer)

    def committed(self) -> None:
        """A commit is done: what was answered or given up some commits ago has its effect by now."""
        for cooling in self._cooling:
            cooling[1] -= 1
            request, left = cooling
            if not left:
                request.has_ended()
                if request.wakes and request.instance_id is not None:
                    self.known.woken[request.instance_id] -= 1
        self._cooling = [cooling for cooling in self._cooling if cooling[1]]

    async def _answer(self, hub: TaskHub, request: Request) -> tuple[str, Any]:
        try:
            value = await request.send(hub)
            return "ok", value.id if isinstance(value, Instance) else value
        except EntityOperationFailed:
            return "failed", None
        except ENDINGS as ending:
            return "ended", type(ending).__name__
        except REFUSALS as refusal:
            return "refused", type(refusal).__name__
        except UNKNOWN as error:
            return "unknown", type(error).__name__

    def _asked(self, request: Request) -> None:
        request.attempts += 1
        known = self.known
        if request.attempts == 1:
            request.asked_at = known.stored.commit_number
        for op in request.ops:
            if known.ops.add(op) is op and request.attempts == 1 and not op.due_at:
                op.sender, op.sequence = f"client {self.life}", next(self._order)
            else:
                op.sender, op.refused = None, False
        request.begins()
        if request.purges and request.instance_id is not None:
            known.purged[request.instance_id] = request.asked_at
        if request.instance_id is not None:
            if request.attempts == 1:
                request.starts_before = known.starts[request.instance_id]
                request.existed = known.exists(request.instance_id) and not known.purging
            if request.restarts:
                known.copied(request.instance_id)
            changing = known.woken[request.instance_id] or known.purging
            kept = request.request_id in known.stored.requests and not changing
            if request.starts and (request.attempts == 1 or not kept):
                known.starting(request.instance_id)
            known.woken[request.instance_id] += request.wakes
        if request.attempts == 1 and request.request_id is not None:
            self.repeatable.append(request)
        self.trace.note(f"{request.what} is asked for, time {request.attempts}")

    def _told(self, request: Request, kind: str, value: Any) -> None:
        self.trace.note(f"{request.what}: {kind} {value!r}"[:300])
        if kind == "unknown":
            return
        first = request.attempts == 1
        if kind == "refused":
            self._refused(request, value, first=first)
            return
        if request.answer is not None and request.answer != (kind, value) and request.request_id is not None:
            self.faults.append((5, f"{request.what} was answered {request.answer!r}, and then {(kind, value)!r}"))
        request.answer = request.answer or (kind, value)
        kept = None if request.request_id is None else self.known.stored.requests.get(request.request_id)
        if kept is not None and request.ops and request.ops[0].answered and kept.outcome is None:
            self.faults.append((5, f"{request.what} was answered, and its answer is not kept"))
        if kind == "failed":
            for op in request.ops:
                op.refused = True
                if self.known.ops.places[op.name]:
                    self.faults.append((9, f"op {op.name!r} failed, and is there"))
        elif kind == "ok":
            for op in request.ops:
                starts = self.known.starts[op.target] - request.starts_before - request.starts
                self.faults += must_be_there(self.known, op, only_execution=starts <= 0)
            self.faults += request.check(request, value)

    def _refused(self, request: Request, value: object, *, first: bool) -> None:
        if first:
            for op in request.ops:
                op.refused = True
                if self.known.ops.places[op.name]:
                    self.faults.append((4, f"op {op.name!r} was refused, and is there"))
            if request.starts and request.instance_id is not None:
                self.known.may_begin[request.instance_id] -= 1
        elif request.answer is not None and not request.starts:
            self.faults.append((5, f"{request.what} was answered {request.answer!r}, and then refused: {value}"))
