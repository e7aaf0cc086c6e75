"""Trio tasks that run one coroutine after another, so that short ones need no task of their own.

A task costs more than most of what is run here: a network answer that is there already, a small calculation, a mock. So one task takes
jobs from a queue and drives their coroutines by hand. One that ends without having waited for anything costs a few function
calls, and the task takes the next. One that waits keeps its task for as long as it takes, as if it had been started in
it, and another task goes on with the queue. So however many jobs wait, none of them holds up another.

What a coroutine must not notice:

- *Context variables*: it is stepped in a context of its own, a copy of that in which it was added. What it sets is gone when it ends.
- *Cancellation*: each task has a cancel scope, which belongs to one job while that waits; a task that was
  cancelled makes itself a new scope. The hub's nursery is above, as for any task.
- *Time*: after a slice of short jobs other tasks run.
"""

from __future__ import annotations

import contextvars
import math
import types
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any, Final

import trio

from . import limits

_NAME: Final = "perdure task"


class Job(ABC):
    """Something to run.

    Attributes:
      scope: cancels it while it waits for something; ``None`` while it does not.
      context: what it is stepped in.
    """

    __slots__ = ()
    scope: trio.CancelScope | None
    context: contextvars.Context

    @property
    @abstractmethod
    def name(self) -> str:
        """What its task is called while it waits."""

    @abstractmethod
    def begin(self) -> Coroutine[Any, Any, Any]:
        """Make its coroutine."""

    @abstractmethod
    def ended(self, value: Any) -> None:
        """It has returned that."""

    @abstractmethod
    def dropped(self) -> None:
        """It was cancelled, or the hub is closing, however the coroutine took that."""


class TaskPool:
    """Tasks in one nursery.

    Attributes:
      made: how many tasks were made.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._jobs: deque[Job] = deque()
        self._parked: list[trio.lowlevel.Task] = []
        self._taken = False  # a task takes jobs at present
        self.made = 0

    def add(self, job: Job) -> None:
        """Run a job; it begins when the event loop comes to it."""
        self._jobs.append(job)
        self._have_jobs_taken()

    def _have_jobs_taken(self) -> None:
        if self._taken or not self._jobs:
            return
        self._taken = True
        if self._parked:
            trio.lowlevel.reschedule(self._parked.pop())
        else:
            self.made += 1
            self._nursery.start_soon(self._work, name=_NAME)

    async def _work(self) -> None:
        chosen = True  # as the one that takes jobs
        while True:
            with trio.CancelScope() as scope:
                while not scope.cancel_called:
                    if not chosen and not self._take_over():
                        if len(self._parked) >= limits.TASKS_PARKED_MAX:
                            return
                        await self._park()
                    chosen = False
                    await self._take_jobs(scope)

    def _take_over(self) -> bool:
        """Be the one that takes jobs, if there are any and nobody does."""
        if self._taken or not self._jobs:
            return False
        self._taken = True
        return True

    async def _park(self) -> None:
        """Wait to be chosen as the one that takes jobs."""
        task = trio.lowlevel.current_task()
        self._parked.append(task)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._parked.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _take_jobs(self, scope: trio.CancelScope) -> None:
        """Run jobs until there are none, or one has waited for something, and somebody else takes the others."""
        slice_ends = perf_counter() + limits.SLICE_SECONDS
        while self._jobs:
            job = self._jobs.popleft()
            try:
                value = await self._drive(job, scope)
            except trio.Cancelled:
                job.scope = None
                job.dropped()
                raise
            if job.scope is not None:
                job.scope = None
                trio.lowlevel.current_task().name = _NAME
                if trio.current_effective_deadline() == -math.inf:
                    job.dropped()
                else:
                    job.ended(value)
                return
            job.ended(value)
            if perf_counter() > slice_ends:
                await trio.lowlevel.checkpoint()
                slice_ends = perf_counter() + limits.SLICE_SECONDS
        self._taken = False

    @types.coroutine
    def _drive(self, job: Job, scope: trio.CancelScope) -> Generator[Any, Any, Any]:
        """Step a job's coroutine to its end; when it waits, others take the jobs behind it."""
        run, coroutine = job.context.run, job.begin()
        try:
            trap = run(coroutine.send, None)
        except StopIteration as stop:
            return stop.value
        job.scope = scope
        trio.lowlevel.current_task().name = job.name
        self._taken = False
        self._have_jobs_taken()
        while True:
            step: Callable[[Any], Any] = coroutine.send
            try:
                given = yield trap
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step, given = coroutine.throw, error
            try:
                trap = run(step, given)
            except StopIteration as stop:
                return stop.value
