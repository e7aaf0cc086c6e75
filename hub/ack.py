"""One caller that waits for one outcome.

A memory channel or an event for each call would cost more than the call. This uses Trio's lowest level: the waiting
task is rescheduled directly with its outcome.
"""

from __future__ import annotations

from typing import Any

import outcome
import trio


class Ack:
    """An outcome that will be there at some time, for at most one waiting task.

    Attributes:
      settled: the outcome is there.
    """

    __slots__ = ("_outcome", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._outcome: outcome.Outcome[Any] | None = None

    @property
    def settled(self) -> bool:
        """Whether the outcome is there."""
        return self._outcome is not None

    def succeed(self, value: Any) -> None:
        """Give the value; the first outcome counts."""
        self._settle(outcome.Value(value))

    def fail(self, error: BaseException) -> None:
        """Give an exception; the first outcome counts."""
        self._settle(outcome.Error(error))

    def _settle(self, result: outcome.Outcome[Any]) -> None:
        if self._outcome is None:
            self._outcome = result
            task, self._task = self._task, None
            if task is not None:
                trio.lowlevel.reschedule(task, result)

    async def wait(self) -> Any:
        """Wait for the outcome. Cancelling this takes back nothing of what was asked for."""
        if self._outcome is not None:
            await trio.lowlevel.checkpoint()
            return self._outcome.unwrap()
        self._task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)
