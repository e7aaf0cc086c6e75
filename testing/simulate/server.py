"""The HTTP server of a simulation: it takes the place of the client that sends the requests of ``ctx.call_http``.

A place on it says what is asked for: ``http://server/OP?polls=2&wait=5`` answers 202 twice, each time with the place to ask
next and the seconds to wait, and then 200 with the op as its body.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import trio

from ...hub import activity_context
from ...hub.http_activity import HttpActivity
from ...orchestration import HttpResponse
from ...orchestration.http_message import HttpHeaders, HttpRequest
from ..determinism import Replacement
from .world import Refused, outside

_OK: Final = 200
_ACCEPTED: Final = 202


def url_of(op: str, polls: int, wait: int) -> str:
    """The place that answers with an op after so many polls, and so many seconds before each."""
    return f"http://server/{quote(op)}?polls={polls}&wait={wait}"


class Server:
    """Answers requests, each within the activity that makes it."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Answer a request, or fail, as the world decides."""
        context = activity_context()
        effort = outside().activity_began(context.instance_id, context.idempotency_key, context.attempt, context.last_heartbeat)
        await trio.sleep(sum(effort.seconds))
        if effort.fails:
            raise Refused(request.url)
        place = urlsplit(request.url)
        op, asked = unquote(place.path[1:]), parse_qs(place.query)
        polls, wait = int(asked["polls"][0]), int(asked["wait"][0])
        if polls:
            headers = HttpHeaders((("Location", url_of(op, polls - 1, wait)), ("Retry-After", str(wait))))
            return HttpResponse(_ACCEPTED, headers, b"", request.url)
        return HttpResponse(_OK, HttpHeaders(), op.encode(), request.url)

    async def aclose(self) -> None:
        """Nothing is open."""


def _opened(_: HttpActivity) -> Server:
    return Server()


IN_PLACE_OF_THE_CLIENT: Final[Replacement] = (HttpActivity, "_opened", _opened)
"""Has hubs send their requests to a server of this kind."""
