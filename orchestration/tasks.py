"""Durable tasks: what an orchestrator awaits.

A task is work that was asked for and has a number, or a wait. Awaiting an unfinished task yields the task itself to
the kernel, which is the only thing that a coroutine of an orchestrator may yield.

Attention:
  A task knows how many awaits want it at this moment, directly or through a combinator. Work does not care, but a
  wait for an event takes one from its buffer only while it has attention (O9), so that a wait which lost a race and
  was abandoned eats nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from ..entities.failures import FailureDetails
from ..storage.values import Codec
from .errors import TaskCancelled
from .strand import Scope, Strand


class TaskHost(Protocol):
    """What tasks need of the kernel that they belong to."""

    finished_count: int

    def check_running(self, what: str) -> None:
        """Refuse what does not come from the code that is being stepped."""
        ...

    def check_cancelled(self) -> None:
        """Raise where the running code waits, if it is cancelled."""
        ...

    def cancel_work(self, number: str) -> None:
        """Cancel the work of a step."""
        ...

    def wake(self, strands: list[Strand]) -> None:
        """Let strands run again."""
        ...


T_co = TypeVar("T_co", covariant=True)

CANCELLED: Final = FailureDetails("perdure.orchestration.errors.TaskCancelled", "the task was cancelled")
"""What work that was cancelled settles with; compared by identity."""


def _cancelled(_: FailureDetails) -> Exception:
    return TaskCancelled("the task was cancelled before it finished")


class DurableTask(Generic[T_co]):
    """Work or a wait of one orchestration. Awaitable, any number of times.

    Attributes:
      id: the number of its step, empty for waits and combinators, which are not journaled.
    """

    __slots__ = (
        "_attention",
        "_error",
        "_failure",
        "_finished",
        "_kernel",
        "_ordinal",
        "_parents",
        "_raised",
        "_retrieved",
        "_strands",
        "_value",
        "id",
    )

    def __init__(self, kernel: TaskHost, task_id: str = "") -> None:
        self.id = task_id
        self._kernel = kernel
        self._finished = False
        self._ordinal = 0
        self._retrieved = False
        self._raised = False
        self._value: Any = None
        self._failure: FailureDetails | None = None
        self._error: Callable[[FailureDetails], Exception] | None = None
        self._strands: list[Strand] | None = None
        self._parents: list[DurableTask[Any]] | None = None
        self._attention = 0

    @property
    def done(self) -> bool:
        """Whether it has finished, well or not. Asking counts as wanting: a wait takes an event that is there (O9)."""
        self._kernel.check_running("a task is asked")
        return self.look()

    @property
    def result(self) -> T_co:
        """Its result.

        Raises:
          RuntimeError: it has not finished; await it instead.
          ActivityFailed, SubOrchestrationFailed, EntityOperationFailed: it failed.
        """
        if not self.done:
            raise RuntimeError("this task has not finished; await it, or ask .done first")
        return self._take()

    def cancel(self) -> None:
        """Cancel this work, or stop waiting; awaiting it then raises TaskCancelled (O7).

        A timer is forgotten, an activity or a child orchestration is cancelled (a plain activity is told). An entity call
        still runs, and its result is dropped. A finished task is not changed.
        """
        self._kernel.check_running("a task is cancelled")
        if not self._finished:
            self._cancel()

    def __await__(self) -> Generator[Any, None, T_co]:
        kernel = self._kernel
        kernel.check_running("a task is awaited")
        kernel.check_cancelled()
        if not self._finished:
            self._attend()
            try:
                while not self._finished:
                    yield self
                    kernel.check_cancelled()
            finally:
                self._unattend()
        return self._take()

    # --- for the kernel and the combinators

    def look(self) -> bool:
        """Whether it has finished; a wait takes an event that is there."""
        if not self._finished:
            self._look()
        return self._finished

    def belongs_to(self, kernel: TaskHost) -> bool:
        """Whether it is a task of that kernel's orchestration."""
        return self._kernel is kernel

    def add_waiter(self, strand: Strand) -> None:
        """Have a strand run again when this has finished."""
        if self._strands is None:
            self._strands = []
        self._strands.append(strand)

    def remove_waiter(self, strand: Strand) -> bool:
        """Take that back; false if it was not so."""
        if self._strands is None or strand not in self._strands:
            return False
        self._strands.remove(strand)
        return True

    @property
    def unretrieved_failure(self) -> FailureDetails | None:
        """How it failed, if nobody has asked."""
        return None if self._retrieved else self._failure

    @property
    def never_raised(self) -> bool:
        """Whether it failed, and the code has not met that failure; unlike above, being awaited in a group is not enough."""
        return self._failure is not None and not self._raised

    @property
    def abandoned(self) -> bool:
        """Whether nobody awaits it at this moment, and nothing else depends on it."""
        return not self._attention

    @property
    def pending(self) -> bool:
        """Whether it has not finished; unlike ``done`` this takes no event."""
        return not self._finished

    def _take(self) -> T_co:
        """The value, or the exception that stands for the failure; a fresh one each time."""
        self._retrieved = True
        if self._failure is not None:
            assert self._error is not None
            self._raised = True
            raise self._error(self._failure)
        return cast("T_co", self._value)

    def _look(self) -> None:
        """Finish now if that is possible without waiting."""

    def _cancel(self) -> None:
        """Stop it, and settle it as cancelled."""
        self.settle_cancelled()

    def settle_cancelled(self) -> None:
        """Settle it as cancelled."""
        self._error = _cancelled
        self._retrieved = True
        self.settle(None, CANCELLED)

    def _attend(self) -> None:
        self._attention += 1
        if self._attention == 1 and not self._finished:
            self._attention_began()

    def _unattend(self) -> None:
        self._attention -= 1
        if not self._attention and not self._finished:
            self._attention_ended()

    def _attention_began(self) -> None:
        """Somebody wants it now."""

    def _attention_ended(self) -> None:
        """Nobody wants it any more."""

    def settle(self, value: Any = None, failure: FailureDetails | None = None) -> None:
        """Finish it, once, with a value or a failure: wake whoever awaits it, and let the combinators that hold it look."""
        kernel = self._kernel
        self._value, self._failure = value, failure
        self._finished = True
        kernel.finished_count += 1
        self._ordinal = kernel.finished_count
        if self._strands is not None:
            kernel.wake(self._strands)
            self._strands = None
        if self._parents is not None:
            parents, self._parents = self._parents, None
            for parent in parents:
                if parent._attention:
                    parent._look()


class WorkTask(DurableTask[T_co]):
    """Work with a number: an activity, a child, an entity call, a timer, a lock. Its value is decoded when it is first taken.

    Attributes:
      scope: the cancel scope that it was called in.
      on_settled: told how it ended, before whoever awaits it.
    """

    __slots__ = ("_codec", "on_settled", "scope")

    def __init__(
        self, kernel: TaskHost, task_id: str, codec: Codec[Any] | None, error: Callable[[FailureDetails], Exception] | None
    ) -> None:
        super().__init__(kernel, task_id)
        self._codec = codec
        self._error = error
        self.scope: Scope | None = None
        self.on_settled: Callable[[bytes | None, FailureDetails | None], None] | None = None

    @property
    def abandoned(self) -> bool:
        """Whether nobody awaits it at this moment, and nothing else depends on it."""
        return not self._attention and self.on_settled is None

    def _cancel(self) -> None:
        self._kernel.cancel_work(self.id)

    def _take(self) -> T_co:
        codec = self._codec
        if codec is not None and self._failure is None:
            self._retrieved = True
            self._value = codec.decode(self._value)
            self._codec = None
            return cast("T_co", self._value)
        return super()._take()


class SignalTask(DurableTask[None]):
    """Something within the orchestration's own code that is waited for; not journaled, and not cut off by cancellation."""

    __slots__ = ()

    def set(self) -> None:
        """It has happened."""
        self.settle()

    def __await__(self) -> Generator[Any, None, None]:
        while not self._finished:
            yield self


def as_task(trap: object) -> DurableTask[Any] | None:
    """What a coroutine yielded, if that is a task."""
    return cast("DurableTask[Any]", trap) if isinstance(trap, DurableTask) else None
