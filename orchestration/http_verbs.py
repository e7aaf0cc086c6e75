"""``ctx.call_http``: Durable Functions' HTTP call, which polls a server that answers 202 until it is done.

Each request is an activity, each wait a durable timer; so a call that polls for hours survives restarts, and while it waits
it holds no thread and no connection. Poll ``n`` of step ``3`` has the number ``3p{n}``, its attempts and waits are numbered
like those of any step (:mod:`.retry`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ..entities.messages import Failure
from ..entities.times import due_time
from .calls import CallVerbs
from .errors import ActivityFailed
from .history import ScheduleActivity, StartTimer
from .http_message import HTTP_RESPONSE_BYTES_MAX, HttpRequest, HttpResponse, request_of
from .http_polling import next_poll
from .http_url import place_of
from .plan import Plan, PlannedTask
from .retry import RetryPolicy, checked_retry, wait_id
from .retrying import attempts

if TYPE_CHECKING:
    from ..entities.messages import Outcome
    from .kernel import Kernel
    from .registry import ActivityDefinition
    from .tasks import DurableTask

HTTP_ACTIVITY: Final = "perdure.http"
"""The name of the activity that makes a request; each hub defines it."""

HTTP_TIMEOUT_SECONDS: Final = 100.0
"""How long one request may take if the call does not say, as in Durable Functions."""


class HttpVerbs(CallVerbs):
    """HTTP calls."""

    __slots__ = ()

    def call_http(
        self,
        method: str,
        url: str,
        *,
        content: object = None,
        headers: Mapping[str, str] | None = None,
        asynchronous_pattern: bool = True,
        timeout: timedelta | float | None = HTTP_TIMEOUT_SECONDS,
        total_timeout: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
        secret_headers: Iterable[str] = (),
        response_bytes_max: int = HTTP_RESPONSE_BYTES_MAX,
    ) -> DurableTask[HttpResponse]:
        """Make an HTTP request, and poll while the server answers 202 (O5, O8). Needs ``perdure[http]``.

        While the answer is 202 with a ``Location`` (or else ``Operation-Location``), that place is asked with GET when its
        ``Retry-After`` (seconds or a date; 30 seconds without one, at least 1) has passed. The first answer with another
        status is the result.

        Requests are made at least once (O5): a program that dies in the midst of one makes it again. Hand a service that
        supports it a key: ``headers={"Idempotency-Key": str(ctx.uuid4())}`` is the same in every attempt.

        ``Authorization``, ``Cookie``, ``Proxy-Authorization``, ``x-functions-key`` and ``secret_headers`` go to the origin
        (scheme, host and port) of ``url`` only; polls and redirects to another one are made without them. The journal keeps
        the request as it is, its headers too.

        Cancelling the task, or its scope, ends the request that is under way, or forgets the wait.

        Args:
          method: such as ``"POST"``.
          url: absolute, http or https, without user and password.
          content: the body: bytes as they are, a str as UTF-8 text, anything else as JSON (dict, list, number, bool).
          headers: header names and values, ASCII. A Content-Type that fits the content is added if there is none.
          asynchronous_pattern: poll; without it a 202 is an answer like any other.
          timeout: how long one request may take, redirects included: seconds or a timedelta; ``None`` for no limit.
          total_timeout: how long all may take, polls, waits and retries included; counted from the call, also while the
            program does not run.
          retry: when a request that failed is tried again (O14); each poll begins with a fresh count. An answer with an
            error status is no failure.
          secret_headers: names of more headers that are credentials.
          response_bytes_max: the longest body of an answer, bytes, decoded.

        Returns:
          A task; awaiting it gives the answer, whatever its status. It raises ActivityFailed if a request failed: no
          connection, ``timeout`` (a TimeoutError), ``total_timeout`` (TooSlowError), an answer that cannot be used
          (HttpError: its body is too long, too many redirects, a 202 with an impossible ``Location``).

        Raises:
          ValueError: the URL, a header, a duration or a number is not allowed.
          TypeError: something is of another type, or the content is nothing that JSON can say.
        """
        request = request_of(method, url, headers, content, secret_headers, response_bytes_max)
        checked_retry(retry)
        kernel = self._kernel
        limit = None
        if total_timeout is not None:
            due = due_time(total_timeout, kernel.now)
            limit = (due, f"the total timeout of {(due - kernel.now) / 1_000_000:g} s has passed")
        seconds = None if timeout is None else due_time(timeout, 0) / 1_000_000
        definition = self._registry.activity(HTTP_ACTIVITY)
        what = f"{request.method} {place_of(request.url)}"
        number = kernel.next_number()
        plan = _calling(kernel, definition, number, request, seconds, retry, polls=asynchronous_pattern)
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
