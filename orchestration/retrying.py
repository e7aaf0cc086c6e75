"""A task that is tried again when it fails (O14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..entities.failures import FailureDetails
from ..storage.values import Codec
from .history import Action
from .kernel import Kernel
from .retry import RetryPolicy, attempt_id, wait_id
from .tasks import CANCELLED, WorkTask

T_co = TypeVar("T_co", covariant=True)


class RetryingTask(WorkTask[T_co]):
    """Stands for all attempts of one step; finishes with the first success, or with the last failure."""

    __slots__ = ("_action_of", "_attempt", "_called_at", "_drive", "_policy", "_step", "_waiting_for")

    def __init__(
        self,
        kernel: Kernel,
        step: str,
        codec: Codec[Any],
        error: Callable[[FailureDetails], Exception],
        policy: RetryPolicy,
        action_of: Callable[[str], Action],
    ) -> None:
        super().__init__(kernel, step, codec, error)
        self._drive = kernel
        self.scope = None if kernel.current is None else kernel.current.scope
        self._step = step
        self._policy = policy
        self._action_of = action_of
        self._attempt = 1
        self._called_at = kernel.now
        self._waiting_for = step
        self._begin()

    def _begin(self) -> None:
        kernel = self._drive
        number = self._waiting_for = attempt_id(self._step, self._attempt)
        kernel.ask(self._action_of(number))
        kernel.work(number, None, None, on_settled=self._ended).scope = self.scope

    def _ended(self, value: bytes | None, failure: FailureDetails | None) -> None:
        kernel = self._drive
        if failure is None:
            self._finish(value)
            return
        if failure is CANCELLED:
            self.settle_cancelled()
            return
        seed = f"{kernel.execution}:{self._step}:{self._attempt}"
        try:
            begin = self._policy.next_attempt_at(self._attempt, failure, self._called_at, kernel.now, seed)
        except Exception as error:  # noqa: BLE001 - a predicate with a fault ends the retrying with that fault
            begin, failure = None, FailureDetails.from_exception(error)
        if begin is None:
            kernel.failed.append(self)
            self._finish(None, failure)
            return
        self._attempt += 1
        number = self._waiting_for = wait_id(self._step, self._attempt)
        kernel.start_timer(number, begin, on_settled=self._time_has_come).scope = self.scope

    def _time_has_come(self, _: bytes | None, failure: FailureDetails | None) -> None:
        if failure is CANCELLED:
            self.settle_cancelled()
        else:
            self._begin()

    def _cancel(self) -> None:
        self._drive.cancel_work(self._waiting_for)  # which settles this task too
