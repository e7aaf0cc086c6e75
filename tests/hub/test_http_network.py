"""``ctx.call_http`` over real sockets: httpx's own transport on Trio, and a small server on h11 on the loopback interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import httpx
import pytest
import trio
import trio.testing
from attrs import define, field
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, HttpError, OrchestrationContext, TaskCancelled, orchestrator
from perdure.storage.memory_store import MemoryStore

from .helpers import STUCK_SECONDS, until

Context = OrchestrationContext


@define(eq=False)
class Exchange:
    """One request on a connection of the server, and the means to answer it."""

    request: h11.Request
    body: bytes
    stream: trio.SocketStream
    connection: h11.Connection

    @property
    def target(self) -> str:
        """The path that was asked for."""
        return self.request.target.decode()

    async def send(self, *events: Any) -> None:
        """Send parts of an answer."""
        for event in events:
            await self.stream.send_all(self.connection.send(event) or b"")

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer."""
        fields = [("Content-Length", str(len(body))), *headers.items()]
        await self.send(h11.Response(status_code=status, headers=fields), h11.Data(data=body), h11.EndOfMessage())


@define(eq=False)
class Server:
    """A server on the loopback interface.

    Attributes:
      url: its origin.
      seen: method, target and body of each request.
      connections: how many are open.
    """

    handle: Callable[[Exchange], Awaitable[None]]
    url: str = ""
    seen: list[tuple[str, str, bytes]] = field(factory=list[tuple[str, str, bytes]])
    connections: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve a connection until the client closes it."""
        self.connections += 1
        try:
            await self._requests(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(stream)

    async def _requests(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request, body = None, b""
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:  # the client has closed
                    return
            assert request is not None
            exchange = Exchange(request, body, stream, connection)
            self.seen.append((request.method.decode(), exchange.target, body))
            await self.handle(exchange)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


@asynccontextmanager
async def serving(handle: Callable[[Exchange], Awaitable[None]]) -> AsyncGenerator[Server]:
    """A server, while the block runs."""
    server = Server(handle)
    with trio.fail_after(STUCK_SECONDS):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
            server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            yield server
            nursery.cancel_scope.cancel()


@orchestrator
async def calls(ctx: Context, method: str, url: str, content: str | None, bytes_max: int) -> list[Any]:
    """One call; what came of it."""
    try:
        answer = await ctx.call_http(method, url, content=content, timeout=20, response_bytes_max=bytes_max)
    except ActivityFailed as error:
        kinds = (HttpError, TimeoutError, httpx.ConnectError, httpx.RemoteProtocolError)
        return [kind.__name__ for kind in kinds if error.failure.is_caused_by(kind)]
    return [answer.status_code, answer.text, answer.url]


async def called(url: str, method: str = "GET", content: str | None = None, bytes_max: int = 1000) -> list[Any]:
    """Make one call from a hub of its own."""
    async with TaskHub("Net", [calls], MemoryStore()) as hub:
        return await (await hub.start(calls, method, url, content, bytes_max)).result()


async def test_a_real_exchange() -> None:
    """A request goes over the network as asked for, by way of a redirect; the closed hub leaves no connection."""

    async def handle(exchange: Exchange) -> None:
        if exchange.target == "/old":
            await exchange.answer(308, Location="/new?x=%C3%BC")
        else:
            await exchange.answer(201, b"made", X_y="z")

    async with serving(handle) as server:
        assert await called(f"{server.url}/old", "PUT", "größer") == [201, "made", f"{server.url}/new?x=%C3%BC"]
        assert server.seen == [("PUT", "/old", "größer".encode()), ("PUT", "/new?x=%C3%BC", "größer".encode())]
        await until(lambda: server.connections == 0)


async def test_one_client_for_a_hub() -> None:
    """Calls of one hub, also of different instances, share a connection while it is free."""
    most = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal most
        most = max(most, server.connections)
        await exchange.answer(200)

    async with serving(handle) as server, TaskHub("Net", [calls], MemoryStore()) as hub:
        for _ in range(3):
            await (await hub.start(calls, "GET", server.url, None, 10)).result()
        assert (most, server.connections, len(server.seen)) == (1, 1, 3)


async def test_an_answer_without_end_is_given_up() -> None:
    """A body that never ends is given up when it is too long, and its connection is closed."""

    async def handle(exchange: Exchange) -> None:
        await exchange.send(h11.Response(status_code=200, headers=[]))
        while True:
            await exchange.send(h11.Data(data=b"x" * 1000))

    async with serving(handle) as server:
        assert await called(server.url, bytes_max=100_000) == ["HttpError"]
        await until(lambda: server.connections == 0)


async def test_nobody_listens() -> None:
    """A port where nobody listens is a failed connection."""
    async with serving(lambda exchange: exchange.answer(200)) as server:
        url = server.url
    assert await called(url) == ["ConnectError"]


async def test_what_is_no_http_is_a_failure() -> None:
    """A server that talks something else is a failure, not an answer."""

    async def handle(exchange: Exchange) -> None:
        await exchange.stream.send_all(b"220 smtp.example ready\r\n\r\n")
        exchange.connection.send_failed()

    async with serving(handle) as server:
        assert await called(server.url) == ["RemoteProtocolError"]


async def silence(exchange: Exchange) -> None:
    """Never answer; end when the client does."""
    await exchange.stream.receive_some()
    exchange.connection.send_failed()


async def test_a_server_that_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    """After the timeout of one request the call fails with a TimeoutError, and the connection is closed."""
    begun = trio.current_time()
    async with serving(silence) as server:
        assert await called(server.url) == ["TimeoutError"]
        assert trio.current_time() - begun >= 20
        await until(lambda: server.connections == 0)


async def test_O7_a_cancelled_call_closes_its_connection() -> None:
    """Cancelling the task ends the request that is under way: the server sees its connection go."""

    @orchestrator
    async def cancels(ctx: Context, url: str) -> str:
        task = ctx.call_http("GET", url)
        await ctx.wait_for_external_event("enough")
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task
        return "cancelled"

    async with serving(silence) as server, TaskHub("Net", [cancels], MemoryStore()) as hub:
        instance = await hub.start(cancels, server.url)
        await until(lambda: bool(server.seen))
        await instance.raise_event("enough")
        assert await instance.result() == "cancelled"
        await until(lambda: server.connections == 0)


async def test_D7_closing_the_hub_ends_a_request_and_the_next_hub_makes_it_again() -> None:
    """A request that is under way when the hub closes is cut off, and made again after the next opening (O5)."""
    store = MemoryStore()

    async def handle(exchange: Exchange) -> None:
        if len(server.seen) == 1:
            await silence(exchange)
        else:
            await exchange.answer(200, b"again")

    async with serving(handle) as server:
        async with TaskHub("Net", [calls], store) as hub:
            await hub.start(calls, "POST", server.url, "x", 10, instance_id="job")
            await until(lambda: bool(server.seen))
        await until(lambda: server.connections == 0)
        async with TaskHub("Net", [calls], store) as hub:
            assert await hub.instance("job").result() == [200, "again", server.url]
        assert server.seen == [("POST", "/", b"x")] * 2
