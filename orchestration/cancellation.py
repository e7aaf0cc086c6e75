"""What the kernel does when something is cancelled: a scope (O7), one piece of work, or the whole instance (O13)."""

from __future__ import annotations

from typing import Any

from .errors import Cancelled
from .execution_state import ExecutionState
from .history import Action, CancelWork, StartTimer
from .strand import Scope, Strand
from .tasks import CANCELLED, DurableTask, SignalTask


class Cancellation(ExecutionState):
    """The part of the kernel that cancels."""

    __slots__ = ()

    def ask(self, action: Action) -> None:
        """Take an action from the code."""
        raise NotImplementedError

    def wake(self, strands: list[Strand]) -> None:
        """Let strands run again, in this order."""
        raise NotImplementedError

    def check_cancelled(self) -> None:
        """Raise where the running code waits, if it is being closed, or a scope around it is cancelled (O7).

        Raises:
          GeneratorExit: it is being closed.
          Cancelled: one is.
        """
        if self._awaits_left:
            self._awaits_left -= 1
            raise GeneratorExit
        strand = self.current
        if strand is not None and strand.cancel_pending:
            strand.cancel_pending = False
            raise Cancelled(interruption=True)
        if strand is not None and strand.scope is not None and strand.scope.effective:
            raise Cancelled

    def scope_cancelled(self, scope: Scope) -> None:
        """Cancel what was called inside a scope, and wake what waits inside it."""
        for number, task in list(self.tasks.items()):
            if task.scope is not None and task.scope.within(scope):
                self.cancel_work(number)
        for strand in self._strands:
            task = strand.awaiting
            if task is None or isinstance(task, SignalTask) or strand.scope is None or not strand.scope.within(scope):
                continue
            self._interrupt_wait(strand, task)

    def scope_left(self, scope: Scope) -> None:
        """Forget the timers that were started directly inside a scope, and that nobody waits for any more (O8)."""
        for number, task in list(self.tasks.items()):
            if task.scope is scope and task.abandoned and isinstance(self.open.get(number), StartTimer):
                self.cancel_work(number)

    def _interrupt(self) -> None:
        """Interrupt whatever waits at this moment, once; awaits after that work (O13)."""
        self.cancel_requested = True
        for strand in self._strands:
            task = strand.awaiting
            if task is not None and not isinstance(task, SignalTask):
                strand.cancel_pending = True
                self._interrupt_wait(strand, task)

    def _interrupt_wait(self, strand: Strand, task: DurableTask[Any]) -> None:
        if task.remove_waiter(strand):
            self.wake([strand])

    def cancel_work(self, number: str) -> None:
        """Cancel the work of a step, if it is unfinished; its task is settled as cancelled."""
        task = self.tasks.pop(number, None)
        if task is None or self.sealed:
            return
        self.cancelled[number] = self.open.pop(number, None)
        self.ask(CancelWork(f"{number}x", number))
        if task.on_settled is not None:
            task.on_settled(None, CANCELLED)
        task.settle_cancelled()
