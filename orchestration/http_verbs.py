"""``ctx.call_http``: Durable Functions' HTTP call, which polls a server that answers 202 until it is done.

What it does is in :mod:`.http_call`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from .calls import CallVerbs
from .http_defaults import HTTP_ACTIVITY, HTTP_RESPONSE_BYTES_MAX, HTTP_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from .http_message import HttpResponse
    from .retry import RetryPolicy
    from .tasks import DurableTask


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
        from .http_call import http_call  # noqa: PLC0415 - most programs make none: see .http_defaults
        from .http_message import request_of  # noqa: PLC0415 - the same

        request = request_of(method, url, headers, content, secret_headers, response_bytes_max)
        definition = self._registry.activity(HTTP_ACTIVITY)
        return http_call(self._kernel, definition, request, timeout, total_timeout, retry, polls=asynchronous_pattern)
