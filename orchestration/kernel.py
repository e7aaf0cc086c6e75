"""The replay kernel: a small deterministic scheduler that drives one execution of an orchestrator.

The kernel steps the coroutine with ``send``; the only thing that a coroutine may yield to it is one of its own tasks.
It is given the events of the journal one after another (:meth:`apply`), runs the code after each until everything
waits, and collects the actions that the code asked for. Runs are first in, first out, and nothing else decides their
order, so the same events give the same actions.

Replay
  :meth:`replay` gives the kernel the whole journal. Whatever the code asks for is compared with the journaled action of
  the same number; the first difference is kept in ``mismatch``, and nothing of the code runs any more (O3).

Refusal
  Whatever else a coroutine yields belongs to another library (a Trio sleep, an asyncio future). The kernel raises
  :class:`ForbiddenAwait` at that very line, and lets the hub withdraw what the library has noted down (O2).

Closing
  Dropping a coroutine runs its ``finally`` and ``with`` blocks. :meth:`close` seals the kernel first, so that nothing
  comes out of that (O19): sealed, it answers every request with a task that is never done. An await in such a block is
  ended like the one before it, so that ordinary cleaning up is left quietly. Code that goes on asking is answered by a
  yield in the end, which makes Python give up instead of going round for ever.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from ..entities.failures import FailureDetails
from ..storage.values import Codec
from .cancellation import Cancellation
from .choices import Choices
from .closing import close_coroutine
from .errors import Cancelled, ContinueAsNew, NondeterminismError
from .history import (
    ACTIONS,
    EVENTS,
    WORK,
    Action,
    CancelRequested,
    Event,
    EventReceived,
    ExecutionStarted,
    HistoryEntry,
    LockTaken,
    StartTimer,
    TaskCompleted,
    TaskFailed,
    TimerFired,
    TurnStarted,
    UpdateReceived,
    answered_updates,
    shown,
)
from .refusal import forbidden_await
from .retry import step_and_attempt
from .section import Section
from .strand import Ending, Rewriter, Strand
from .tasks import WorkTask, as_task

AWAITS_WHILE_CLOSING_MAX: Final = 1000
"""How many awaits of one task are ended quietly while it is closed: more than any cleaning up has."""


class ReplayStopped(BaseException):
    """Ends code whose replay no longer fits its journal; not an error that code could handle."""


class Kernel(Cancellation, Choices):
    """Drives one execution."""

    __slots__ = ()

    # --- events in

    def replay(self, history: list[HistoryEntry], context: Any) -> None:
        """Run the code against its journal.

        Sets ``mismatch`` if the code asks for something else, or ends before it has asked for everything.
        """
        self._expected = {entry.id: entry for entry in history if isinstance(entry, ACTIONS)}
        self.knows_answered(history)
        self.replaying = True
        for entry in history:
            if type(entry) is TurnStarted:
                self.now = entry.at
            elif isinstance(entry, EVENTS):
                self.apply(entry, context)
            if self.mismatch is not None:
                return
        self.replaying = False
        if self._expected:
            missing = next(iter(self._expected.values()))
            self.mismatch = NondeterminismError(missing.id, shown(missing), None)
            self.sealed = True

    def knows_answered(self, history: list[HistoryEntry]) -> None:
        """Remember which updates a journal says were answered."""
        answered = answered_updates(history)
        if answered:
            self.handlers.answered = answered

    @contextmanager
    def rewinds(self, rewriter: Rewriter, old: dict[str, Action]) -> Generator[None]:
        """While this is open, the code is run again over an old journal, and what it asks for makes a new one (O16)."""
        self.rewinding, self.replaying, self._expected = rewriter, True, dict(old)
        try:
            yield
        finally:
            self.rewinding, self.replaying, self._expected = None, False, {}

    def apply(self, event: Event, context: Any) -> None:
        """Let an event happen, and run the code until everything waits."""
        try:
            self._happen(event, context)
            self._run()
        except ReplayStopped:
            pass  # a step that follows from an event by itself, such as another attempt, differs; mismatch says how
        except RecursionError as error:  # combinators of combinators of combinators ...
            self.ending = Ending(failure=FailureDetails.from_exception(error))

    def _happen(self, event: Event, context: Any) -> None:
        if isinstance(event, TaskCompleted):
            self._settle(event.task, event.value, None)
        elif isinstance(event, EventReceived):
            self.events.arrived(event.name, event.value)
        elif isinstance(event, (LockTaken, TimerFired)):
            self._settle(event.task, None, None)
        elif isinstance(event, TaskFailed):
            if event.heartbeat is not None:
                self.heartbeats[step_and_attempt(event.task)[0]] = event.heartbeat
            self._settle(event.task, None, event.failure)
        elif isinstance(event, CancelRequested):
            self._interrupt()
        elif isinstance(event, UpdateReceived):
            strand = self.handlers.received(event)
            if strand is not None:
                self.spawn(strand)
        else:
            self._start(event, context)

    def _start(self, event: ExecutionStarted, context: Any) -> None:
        try:
            coroutine = self.body.coroutine(context, self.body.arguments.decode(event.arguments))
        except Exception as error:  # noqa: BLE001 - arguments that do not fit are the instance's failure
            self.ending = Ending(failure=FailureDetails.from_exception(error))
            return
        self.spawn(Strand(coroutine, "", contextvars.Context()))

    def spawn(self, strand: Strand) -> None:
        """Take a task of the code; it runs when its turn comes."""
        self._strands[strand] = None
        self.runnable.append(strand)

    def wake(self, strands: list[Strand]) -> None:
        """Let strands run again, in this order."""
        self.runnable.extend(strands)

    def _settle(self, number: str, value: bytes | None, failure: FailureDetails | None) -> None:
        self.open.pop(number, None)
        task = self.tasks.pop(number, None)
        if task is None:
            return  # the code no longer asks for it; the end of the replay reports that
        if task.on_settled is not None:
            task.on_settled(value, failure)
        elif failure is not None:
            self.note_failed(task)
        task.settle(value, failure)

    # --- the scheduler

    def _run(self) -> None:
        while self.runnable:
            strands, self.runnable = self.runnable, []
            for strand in strands:
                if self.ending is not None or self.mismatch is not None:
                    return
                self.current = strand
                try:
                    self._step(strand)
                finally:
                    self.current = None

    def _step(self, strand: Strand) -> None:
        step: Callable[[Any], Any] = strand.coroutine.send
        strand.awaiting = None
        given: Any = None
        try:
            while True:
                trap: object = strand.variables.run(step, given)
                if self.mismatch is not None:
                    return
                task = as_task(trap)
                if task is not None and task.belongs_to(self):
                    strand.awaiting = task
                    task.add_waiter(strand)
                    return
                step, given = strand.coroutine.throw, forbidden_await(strand.coroutine, trap)
                self._on_foreign(trap)
        except StopIteration as stop:
            self._ended(strand, stop.value, None)
        except ReplayStopped:
            return
        except BaseException as error:  # noqa: BLE001 - whatever an orchestrator raises is its failure
            self._ended(strand, None, error)

    def _ended(self, strand: Strand, value: object, error: BaseException | None) -> None:
        del self._strands[strand]
        if strand.nursery is not None:
            strand.nursery.child_ended(strand, error)
            return
        self.ending = self._how_it_ended(value, error)

    def _how_it_ended(self, value: object, error: BaseException | None) -> Ending:
        if isinstance(error, ContinueAsNew):
            return Ending(continued=error)
        if isinstance(error, Cancelled) and self.cancel_requested:
            return Ending(cancelled=True)
        if error is None:
            try:
                return Ending(self.body.result.encode(value))
            except Exception as unstorable:  # noqa: BLE001 - a result that cannot be kept is a failure
                error = unstorable
        if self.rewinding is not None:
            self.rewinding.error = error
        return Ending(failure=FailureDetails.from_exception(error))

    # --- what the context asks

    def check_running(self, what: str) -> None:
        """Refuse what does not come from the code that is being stepped.

        Raises:
          RuntimeError: something else uses the context or a task: another task of the program, an activity.
        """
        if self.current is None and (self.closed or not self.sealed):
            raise RuntimeError(
                f"{what} outside of orchestration {self.instance_id!r}: its context and its tasks work only in its own code, "
                "not in activities, callbacks or other tasks"
            )

    def next_number(self) -> str:
        """The number of the step that the running code is about to ask for."""
        self.check_running("the context is used")
        return "" if self.current is None else self.current.next_number()

    def ask(self, action: Action) -> None:
        """Take an action from the code; while replaying, compare it with the journal.

        Raises:
          ReplayStopped: it differs. Code that swallows this gets no further either.
        """
        if self.sealed:
            return
        if isinstance(action, WORK):
            self.open[action.id] = action
        if self.replaying:
            journaled = self._expected.pop(action.id, None)
            if self.rewinding is not None:
                self.rewinding.asked(action, journaled)
            elif journaled != action:
                self.mismatch = NondeterminismError(action.id, None if journaled is None else shown(journaled), shown(action))
                self.sealed = True
                raise ReplayStopped
            return
        self.actions.append(action)

    def work(
        self,
        number: str,
        codec: Codec[Any] | None,
        error: Callable[[FailureDetails], Exception] | None,
        *,
        in_scope: bool = True,
        on_settled: Callable[[bytes | None, FailureDetails | None], None] | None = None,
    ) -> WorkTask[Any]:
        """A task for the work of that number, which was just asked for.

        Args:
          number: the step.
          codec: of its value.
          error: makes the exception of a failure.
          in_scope: it is cancelled with the scope that the code is in; at once, if that is cancelled already (O7).
          on_settled: told how it ended, before whoever awaits it.
        """
        task: WorkTask[Any] = WorkTask(self, number, codec, error)
        task.on_settled = on_settled
        if not self.sealed:
            self.tasks[number] = task
            if in_scope and self.current is not None:
                task.scope = self.current.scope
                if task.scope is not None and task.scope.effective:
                    self.cancel_work(number)
        return task

    def start_timer(
        self,
        number: str,
        due: int,
        *,
        in_scope: bool = True,
        on_settled: Callable[[bytes | None, FailureDetails | None], None] | None = None,
    ) -> WorkTask[Any]:
        """Ask for a timer, and return its task."""
        self.ask(StartTimer(number, due))
        return self.work(number, None, None, in_scope=in_scope, on_settled=on_settled)

    @property
    def section(self) -> Section | None:
        """The critical section that the running code is in."""
        return None if self.current is None else self.current.section

    @property
    def in_nursery(self) -> bool:
        """Whether the running code is a task of a nursery, or in the block of one."""
        return self.current is not None and (self.current.nursery is not None or self.current.nurseries > 0)

    # --- the end

    def close(self) -> RuntimeError | None:
        """Drop the code (O19). Returns the error if some of it refused to be closed; it is then lost, without effect."""
        self.sealed = True
        self.runnable.clear()
        refused: RuntimeError | None = None
        while self._strands:
            strand, _ = self._strands.popitem()  # the youngest first: tasks before the nursery that waits for them
            strand.awaiting = None
            self._awaits_left = AWAITS_WHILE_CLOSING_MAX
            refused = close_coroutine(strand.coroutine, strand.variables) or refused
        self.closed = True
        # Tasks know their kernel. Letting go of them here frees everything at once, without the garbage collector.
        self.tasks.clear()
        self.failed = self._events = None
        return refused
