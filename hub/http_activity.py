"""The activity that each hub has for ``ctx.call_http``, and the client behind it.

There is one client for a hub, made with the first request and closed with the hub. A hub that makes no requests pays nothing
for this, not even its import, and needs no httpx.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from ..orchestration.decorators import activity
from ..orchestration.http_defaults import HTTP_ACTIVITY
from ..orchestration.http_message import HttpRequest, HttpResponse
from . import limits

if TYPE_CHECKING:
    import httpx

    from .http_client import HttpClient

_log = logging.getLogger(__name__)


class HttpActivity:
    """The activity of one hub.

    Attributes:
      activity: the activity itself.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._transport = transport
        self._client: HttpClient | None = None

        async def call_http(request: HttpRequest) -> HttpResponse:
            return await self._opened().send(request)

        self.activity = activity(name=HTTP_ACTIVITY, max_concurrent=limits.HTTP_REQUESTS_MAX)(call_http)

    def _opened(self) -> HttpClient:
        if self._client is None:
            try:
                from .http_client import HttpClient  # noqa: PLC0415 - httpx is an extra
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError("ctx.call_http needs httpx: pip install 'perdure[http]'", name=error.name) from error
            self._client = HttpClient(self._transport)
        return self._client

    async def aclose(self) -> None:
        """Close what was opened, whatever happens around; what goes wrong with it is logged."""
        if self._client is None:
            return
        with trio.move_on_after(limits.HTTP_CLOSE_SECONDS, shield=True):
            try:
                await self._client.aclose()
            except Exception:  # noqa: BLE001 - a transport may be the user's; the hub closes all the same
                _log.exception("the HTTP transport could not be closed")
