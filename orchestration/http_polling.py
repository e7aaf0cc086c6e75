"""Durable Functions' HTTP polling: what to do after a response.

A server that takes its time answers 202 (Accepted) and says in ``Location`` where to ask again. That place is asked with GET
until it answers with another status; that answer is the result. ``Retry-After`` says when to ask.

``Operation-Location`` is taken where there is no ``Location``. If both are there, ``Location`` wins: by Azure's convention it
alone answers 202 until the work is done, and then with the result. Azure's status monitors behind ``Operation-Location``
may answer 200 from the start and tell the state in the body; such an answer ends the polling.

Source: Azure's documentation ("Track asynchronous Azure operations", "Asynchronous operations (202 Accepted and Location
header)"); RFC 9110, 10.2.3 (Retry-After), 5.6.7 (dates).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from attrs import frozen

from ..entities.times import LATEST
from .errors import HttpError
from .http_message import HttpRequest, HttpResponse, first_of
from .http_url import place_of, resolved

POLL_SECONDS: Final = 30
"""Wait before a poll when the server does not say how long, as in Durable Functions."""

POLL_SECONDS_MIN: Final = 1
"""The shortest wait: each poll is a journaled step, and a server that says "at once" is not asked without a pause."""

_ACCEPTED: Final = 202
_SECOND: Final = 1_000_000
_DIGITS_MAX: Final = 12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Poll:
    """The next request of a call.

    Attributes:
      request: what to send.
      due: when, microseconds since 1970.
    """

    request: HttpRequest
    due: int


def next_poll(request: HttpRequest, response: HttpResponse, now: int, *, polling: bool) -> Poll | None:
    """What to do after a response; ``None`` if it is the answer.

    Args:
      request: what was asked.
      response: what came back.
      now: the time, microseconds since 1970.
      polling: the request was a poll itself. It is then repeated if its 202 says no other place; the 202 of a first request
        that says none is the answer.

    Raises:
      HttpError: the response says a place that cannot be asked.
    """
    if response.status_code != _ACCEPTED:
        return None
    location = first_of(response.headers, "location") or first_of(response.headers, "operation-location")
    if location is None:
        if not polling:
            return None
        target = request
    else:
        try:
            url = resolved(location, response.url)
        except ValueError as error:
            raise HttpError(f"{place_of(response.url)} answered 202 with a place to poll that cannot be asked: {error}") from None
        # By way of the URL that answered: if redirects led to another origin, the credentials stayed behind.
        target = request.moved_to(response.url).moved_to(url).as_get()
    return Poll(target, poll_due(first_of(response.headers, "retry-after"), now))


def poll_due(retry_after: str | None, now: int) -> int:
    """When to ask again, microseconds since 1970.

    Args:
      retry_after: seconds or an HTTP date. What is neither counts as left out.
      now: the time of the response, microseconds since 1970.
    """
    due = now + POLL_SECONDS * _SECOND
    text = "" if retry_after is None else retry_after.strip()
    if text.isascii() and text.isdigit():
        due = now + int(text) * _SECOND if len(text) <= _DIGITS_MAX else LATEST
    elif (date := _http_date(text)) is not None:
        due = date
    return min(max(due, now + POLL_SECONDS_MIN * _SECOND), LATEST)


def _http_date(text: str) -> int | None:
    """A date in any of HTTP's forms, microseconds since 1970."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser is lenient, and its ways to give up are several
        return None
    return (date.replace(tzinfo=date.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)
