"""A task made of several journaled steps, one after another: attempts (O14), the requests and waits of an HTTP call.

What such a task does is a *plan*: a plain generator that yields the action of its next step, is sent the outcome of that
step, and returns the outcome of the whole. So a plan reads from top to bottom, and one plan is part of another by
``yield from``. Plans run inside the kernel, in the code's own turns and in replay alike; what they yield must follow from
outcomes, from ``kernel.now`` and from what they were made of, and from nothing else (O2).

A plan's steps carry the number of its task in their own, so they take no numbers from the code around them. All belong to
the cancel scope that the task was called in (O7). A plan is never told of a cancellation: it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from ..entities.failures import FailureDetails
from ..entities.messages import Failure, Outcome, Success
from ..storage.values import Codec
from .errors import TooSlowError
from .history import Work
from .kernel import Kernel
from .tasks import CANCELLED, WorkTask

T_co = TypeVar("T_co", covariant=True)

Plan: TypeAlias = Generator[Work, Outcome, Outcome]
"""The steps of a task. A timer that has fired comes back as a success without a value."""

NOTHING = Success(b"")


class PlannedTask(WorkTask[T_co]):
    """Stands for all steps of a plan; finishes with what the plan returns, or with the failure that it raises."""

    __slots__ = ("_drive", "_limit", "_plan", "_too_late", "_waiting_for")

    def __init__(
        self,
        kernel: Kernel,
        step: str,
        codec: Codec[Any],
        error: Callable[[FailureDetails], Exception],
        plan: Plan,
        *,
        limit: tuple[int, str] | None = None,
    ) -> None:
        """Begin the plan.

        Args:
          kernel: asked for the steps.
          step: the task's number.
          codec: of its value.
          error: makes the exception of a failure.
          plan: not begun yet.
          limit: when it is all too late, microseconds since 1970, and what the failure then says.
        """
        super().__init__(kernel, step, codec, error)
        self._drive = kernel
        self.scope = None if kernel.current is None else kernel.current.scope
        self._plan = plan
        self._waiting_for = ""
        self._limit = limit
        self._too_late = False
        if limit is not None:
            kernel.start_timer(limit_id(step), limit[0], on_settled=self._time_is_up)
        self._go_on(None)

    def _go_on(self, outcome: Outcome | None) -> None:
        kernel = self._drive
        try:
            action = next(self._plan) if outcome is None else self._plan.send(outcome)
        except StopIteration as stop:
            self._end(stop.value)
        except Exception as error:  # noqa: BLE001 - a fault in what the user gave, such as a predicate, is the task's failure
            self._end(Failure(FailureDetails.from_exception(error)))
        else:
            self._waiting_for = action.id
            kernel.ask(action)
            kernel.work(action.id, None, None, on_settled=self._step_ended).scope = self.scope

    def _step_ended(self, value: bytes | None, failure: FailureDetails | None) -> None:
        if failure is CANCELLED:
            self._plan.close()
            if self._too_late and self._limit is not None:
                self._end(Failure(FailureDetails.from_exception(TooSlowError(self._limit[1]))))
            else:
                self._forget_limit()
                self.settle_cancelled()
        elif failure is not None:
            self._go_on(Failure(failure))
        else:
            self._go_on(NOTHING if value is None else Success(value))

    def _end(self, outcome: Outcome) -> None:
        self._forget_limit()
        if isinstance(outcome, Success):
            self.settle(outcome.value)
        else:
            self._drive.note_failed(self)
            self.settle(None, outcome.failure)

    def _time_is_up(self, _: bytes | None, failure: FailureDetails | None) -> None:
        if failure is None:
            self._too_late = True
            self._cancel()

    def _forget_limit(self) -> None:
        if self._limit is not None:
            self._drive.cancel_work(limit_id(self.id))

    def _cancel(self) -> None:
        self._drive.cancel_work(self._waiting_for)  # which settles this task too


def limit_id(step: str) -> str:
    """The id of the timer that limits a planned task as a whole."""
    return f"{step}t"
