"""An HTTP client on httpx, for the requests of orchestrations. Imported with a hub's first request: httpx is an extra.

Redirects are followed here, not by httpx: which headers may go along to where is said in one place, for redirects and polls
(:meth:`HttpRequest.moved_to`). Cookies that servers set are not kept: they would reach other orchestrations.

A body is taken while it comes, and given up when it is too long. It is counted decoded, after each piece that came, so a
compressed body can exceed the limit in memory by what one piece unfolds to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from ..orchestration.errors import HttpError
from ..orchestration.http_message import HttpHeaders, HttpRequest, HttpResponse
from ..orchestration.http_url import place_of
from . import limits


class HttpClient:
    """The client of one hub.

    Args:
      transport: sends the requests; httpx's own by default.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=None,  # noqa: S113 - the time is limited by the activity
            limits=httpx.Limits(max_connections=limits.HTTP_REQUESTS_MAX),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Make a request, and follow redirects.

        Raises:
          HttpError: the body is too long, or there are too many redirects.
          httpx.HTTPError: there is no connection, or the server does not speak HTTP.
        """
        for _ in range(1 + limits.HTTP_REDIRECTS_MAX):
            response = await self._exchange(request)
            target = request.redirected(response)
            if target is None:
                return response
            request = target
        raise HttpError(f"more than {limits.HTTP_REDIRECTS_MAX} redirects, the last one to {place_of(request.url)}")

    async def _exchange(self, request: HttpRequest) -> HttpResponse:
        limit = request.response_bytes_max
        async with self._client.stream(
            request.method,
            request.url,
            headers=list(request.headers.fields),
            content=request.content,
            follow_redirects=False,
        ) as answer:
            body, pieces = bytearray(), answer.aiter_bytes()
            async for piece in pieces:
                body += piece
                if len(body) > limit:
                    await _give_up(answer, pieces)
                    raise HttpError(
                        f"the answer of {place_of(request.url)} is longer than {limit} bytes; allow more with "
                        "response_bytes_max=, or have an activity of your own fetch it and keep it elsewhere"
                    )
            headers = HttpHeaders(tuple(answer.headers.multi_items()))
            return HttpResponse(answer.status_code, headers, bytes(body), request.url)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


async def _give_up(answer: httpx.Response, pieces: AsyncIterator[bytes]) -> None:
    """Read no further.

    The pieces come through generators of httpx, one inside another; closing the outermost would leave the others to the
    garbage collector. On a closed connection all of them run to their ends.
    """
    await answer.aclose()
    with suppress(httpx.HTTPError, httpx.StreamError):
        async for _ in pieces:
            pass
