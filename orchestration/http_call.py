"""The plan of an HTTP call: requests, and polls while the server answers 202.

Each request is an activity, each wait a durable timer; so a call that polls for hours survives restarts, and while it waits
it holds no thread and no connection. Poll ``n`` of step ``3`` has the number ``3p{n}``, its attempts and waits are numbered
like those of any step (:mod:`.retry`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..entities.messages import Failure
from ..entities.times import due_time
from .errors import ActivityFailed
from .history import ScheduleActivity, StartTimer
from .http_defaults import HTTP_ACTIVITY
from .http_polling import next_poll
from .http_url import place_of
from .plan import Plan, PlannedTask
from .retry import checked_retry, wait_id
from .retrying import attempts

if TYPE_CHECKING:
    from datetime import timedelta

    from ..entities.messages import Outcome
    from .http_message import HttpRequest, HttpResponse
    from .kernel import Kernel
    from .registry import ActivityDefinition
    from .retry import RetryPolicy
    from .tasks import DurableTask


def http_call(
    kernel: Kernel,
    definition: ActivityDefinition,
    request: HttpRequest,
    timeout: timedelta | float | None,
    total_timeout: timedelta | float | None,
    retry: RetryPolicy | None,
    *,
    polls: bool,
) -> DurableTask[HttpResponse]:
    """Begin a call; see ``ctx.call_http``.

    Args:
      kernel: the execution that calls.
      definition: the activity that makes a request.
      request: the first request.
      timeout, total_timeout: how long one request, and all together, may take.
      retry: when a request that failed is tried again.
      polls: a 202 is polled.
    """
    checked_retry(retry)
    limit = None
    if total_timeout is not None:
        due = due_time(total_timeout, kernel.now)
        limit = (due, f"the total timeout of {(due - kernel.now) / 1_000_000:g} s has passed")
    seconds = None if timeout is None else due_time(timeout, 0) / 1_000_000
    what = f"{request.method} {place_of(request.url)}"
    number = kernel.next_number()
    plan = _calling(kernel, definition, number, request, seconds, retry, polls=polls)
    return PlannedTask(kernel, number, definition.result, lambda failure: ActivityFailed(what, failure), plan, limit=limit)


def _calling(
    kernel: Kernel,
    definition: ActivityDefinition,
    step: str,
    request: HttpRequest,
    timeout: float | None,
    retry: RetryPolicy | None,
    *,
    polls: bool,
) -> Plan:
    """A request, and the polls that follow from its answers."""

    def sending(number: str, encoded: bytes) -> Plan:
        return attempts(kernel, number, retry, lambda attempt: ScheduleActivity(attempt, HTTP_ACTIVITY, encoded, timeout))

    number, polled = step, 0
    while True:
        outcome: Outcome = yield from sending(number, definition.arguments.encode((request,)))
        if not polls or isinstance(outcome, Failure):
            return outcome
        poll = next_poll(request, definition.result.decode(outcome.value), kernel.now, polling=polled > 0)
        if poll is None:
            return outcome
        polled += 1
        number, request = f"{step}p{polled}", poll.request
        yield StartTimer(wait_id(number, 1), poll.due)
