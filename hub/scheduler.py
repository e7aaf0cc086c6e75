"""The loop that drives a hub: turns, batches, and the waiting in between.

One Trio task does it all. In each round it runs turns for a fraction of a millisecond, looks after the batch under way,
seals the open one when that is due, and lets other tasks run. While a commit is under way it does not park, but goes
round with short real sleeps (:meth:`Committer.settle`), which is what lets the writer thread work at all; when nothing
is to be done it parks until it is woken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from . import limits
from .ack import Ack

if TYPE_CHECKING:
    from .careful import Careful
    from .committer import Committer
    from .engine import Engine
    from .recovery import Recovery


class Scheduler:
    """Drives turns and commits.

    Attributes:
      paused: no turns are run, and what is due waits; clients are still accepted.
    """

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        recovery: Recovery,
        careful: Careful,
        *,
        stop_on_storage_error: bool,
        busy_elsewhere: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._committer = committer
        self._recovery = recovery
        self._careful = careful
        self._stop_on_storage_error = stop_on_storage_error
        self._parked = trio.Event()
        self._gate: list[Ack] = []
        self._admitted = 0  # clients that have left the gate and have not sent yet
        self._idle: list[Ack] = []
        self._turns = 0
        self.paused = False
        self._busy_elsewhere = busy_elsewhere

    def wake(self) -> None:
        """Something was put into the engine from outside of the loop."""
        self._parked.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Drive the hub until cancelled.

        Raises:
          StorageInDoubt: the outcome of a commit cannot be known (D10).
          StorageError: a commit failed, and the hub is to stop at that.
        """
        engine, committer, careful = self._engine, self._committer, self._careful
        careful.found(self._recovery.take_up_activities())
        while True:
            failing = committer.failure is not None
            if committer.failure is not None and self._stop_on_storage_error:
                raise committer.failure
            if not self.paused:
                engine.fire_timers(committer.under_way, self._room_for_what_is_due())
                if careful.active and not failing:
                    careful.step(committer.committed)
                elif engine.ready and not failing:
                    engine.run(self._slice_seconds())
            working = bool(engine.ready) and not self.paused and not careful.active
            if committer.under_way is not None:
                await self._attend_commit(working)
            if committer.due(working and not failing, engine.turns, len(engine.ready)):
                engine.batch = committer.seal()
                # A store that commits inline, or a very fast one, has settled already: do not lose a round. If nobody has anything to
                # do meanwhile, wait here.
                committer.settle(0.0 if engine.ready or self._others_are_runnable() else limits.IDLE_YIELD_SECONDS)
            if self._gate and engine.backlog < limits.BACKLOG_MAX:
                self._open_gate()
            if not careful.over and self._recovery.done and not self.paused:
                careful.look(committer.committed)
            if len(engine.ready) < limits.RECOVERY_PAGE and not self._recovery.done:
                self._recovery.take_up_more()
            elif not working and committer.idle:
                if careful.active and not careful.idle and not self.paused:
                    await trio.sleep(limits.IDLE_YIELD_SECONDS)
                else:
                    await self._park()
                continue
            await trio.lowlevel.checkpoint()

    def _room_for_what_is_due(self) -> int:
        """How much of what is due may happen: with turns to be run, no more than turns were run since the last time.

        So what comes due at once, however much, gets half of the hub, and the queue of those who are ready does not grow of it.
        """
        turns, self._turns = self._engine.turns - self._turns, self._engine.turns
        return min(max(1, turns), limits.DUE_AT_A_TIME) if self._engine.ready else limits.DUE_AT_A_TIME

    def _slice_seconds(self) -> float:
        """How long turns may run: short while anybody else wants the thread, other Trio tasks or the writer."""
        if self._committer.under_way is not None or self._others_are_runnable():
            return limits.SLICE_SECONDS
        return limits.LONE_SLICE_SECONDS

    @staticmethod
    def _others_are_runnable() -> bool:
        return trio.lowlevel.current_statistics().tasks_runnable > 0

    async def _attend_commit(self, working: bool) -> None:
        committer = self._committer
        wait = committer.retry_wait()
        if wait:
            with trio.move_on_after(wait):
                await trio.sleep_forever()
        committer.settle(limits.YIELD_SECONDS if working else limits.IDLE_YIELD_SECONDS)

    async def _park(self) -> None:
        engine = self._engine
        left = math.inf if self.paused else engine.timers.seconds_left(engine.clock.now())
        if self._idle and left and not self._engine.ready and not self._admitted and not self._busy_elsewhere():
            idle, self._idle = self._idle, []
            for ack in idle:
                ack.succeed(None)
        if left == math.inf:
            await self._parked.wait()
        else:
            # Not longer than a minute: the wall clock may be set forward meanwhile (D6).
            with trio.move_on_after(min(left, limits.PARK_SECONDS_MAX) if engine.clock.may_step else left):
                await self._parked.wait()
        self._parked = trio.Event()

    def _open_gate(self) -> None:
        if not self._admitted:
            self._admitted = 1
            self._gate.pop(0).succeed(None)

    # --- for clients

    async def admit(self) -> None:
        """Wait while more work is ready than the hub takes on (back-pressure)."""
        if not self._gate and not self._admitted and self._engine.backlog < limits.BACKLOG_MAX:
            return
        ack = Ack()
        self._gate.append(ack)
        try:
            await ack.wait()
        finally:
            # One at a time, in the order of asking: the next one is let in when this one has sent (E2), which it does
            # before anything else runs.
            if ack in self._gate:
                self._gate.remove(ack)
            else:
                self._admitted -= 1
                self.wake()

    async def wait_idle(self) -> None:
        """Wait until no work is ready or running, no timer is due, and everything is durable."""
        ack = Ack()
        self._idle.append(ack)
        self.wake()
        await ack.wait()

    def fail_all(self, error: BaseException) -> None:
        """Tell whoever waits at the gate, or for idleness, that the hub has stopped."""
        for ack in (*self._gate, *self._idle):
            ack.fail(error)
        self._gate, self._idle = [], []
