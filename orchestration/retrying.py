"""Work that is tried again when it fails (O14), as a plan."""

from __future__ import annotations

from collections.abc import Callable

from ..entities.messages import Success
from .history import StartTimer, Work
from .kernel import Kernel
from .plan import Plan
from .retry import RetryPolicy, attempt_id, wait_id


def attempts(kernel: Kernel, step: str, policy: RetryPolicy | None, action_of: Callable[[str], Work]) -> Plan:
    """All attempts of one step; returns the first success, or the last failure.

    Args:
      kernel: tells the time.
      step: the step's number.
      policy: when there is another attempt; without one there is none.
      action_of: the action of an attempt, by the attempt's number.
    """
    called_at = kernel.now
    attempt = 1
    while True:
        outcome = yield action_of(attempt_id(step, attempt))
        if policy is None or isinstance(outcome, Success):
            return outcome
        seed = f"{kernel.execution}:{step}:{attempt}"
        begin = policy.next_attempt_at(attempt, outcome.failure, called_at, kernel.now, seed)
        if begin is None:
            return outcome
        attempt += 1
        yield StartTimer(wait_id(step, attempt), begin)
