"""``ctx.call_http`` on a whole hub, in virtual time; a function of the test is the server."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from attrs import define, field
from perdure.entities import DefinitionError
from perdure.hub import HubClosed, TaskHub
from perdure.hub import limits as hub_limits
from perdure.orchestration import (
    ActivityFailed,
    HttpError,
    OrchestrationContext,
    RetryPolicy,
    TooSlowError,
    activity,
    orchestrator,
)
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, RestlessStore, hub_in, left_over

Context = OrchestrationContext
Clock = trio.testing.MockClock
HOUR = 3600.0


@define
class Server:
    """Answers, and notes what it was asked.

    Attributes:
      polls: how often it answers 202 before it is done.
      asked: time, method and URL of each request.
      headers: the headers of each request.
      transport: leads to it.
    """

    polls: int = 0
    answer: Callable[[httpx.Request], httpx.Response] | None = None
    asked: list[tuple[float, str, str]] = field(factory=list[tuple[float, str, str]])
    headers: list[httpx.Headers] = field(factory=list[httpx.Headers])
    closed: int = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.asked.append((round(trio.current_time(), 3), request.method, str(request.url)))
        self.headers.append(request.headers)
        if self.answer is not None:
            return self.answer(request)
        if self.polls:
            self.polls -= 1
            return httpx.Response(202, headers={"Location": "/jobs/7", "Retry-After": "3600"})
        return httpx.Response(200, text="42")

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """A transport that leads to it; a hub closes its own."""
        server = self

        class Transport(httpx.MockTransport):
            async def aclose(self) -> None:
                server.closed += 1

        return Transport(self.handle)

    @property
    def times(self) -> list[float]:
        """When it was asked."""
        return [time for time, _, _ in self.asked]


def calling(method: str = "GET", url: str = "https://api.example/jobs", **options: Any) -> Any:
    """An orchestrator that makes one call; it returns the answer, or how the call failed."""

    @orchestrator
    async def calls(ctx: Context) -> list[Any]:
        try:
            response = await ctx.call_http(method, url, **options)
        except ActivityFailed as error:
            known = (HttpError, TooSlowError, TimeoutError, httpx.ConnectError, ModuleNotFoundError)
            return [next((kind.__name__ for kind in known if error.failure.is_caused_by(kind)), "?"), str(error)]
        return [response.status_code, response.text, response.url]

    return calls


async def called(server: Server, cache: int = 64 << 20, **options: Any) -> list[Any]:
    """Make one call of that server from an orchestration; its end."""
    store, calls = MemoryStore(), calling(**options)
    async with hub_in(store, calls, cache_bytes=cache, http_transport=server.transport) as hub:
        result = await (await hub.start(calls)).result()
        await hub.wait_idle()
        assert hub.statistics().activities_running == 0
    assert left_over(store) == {}
    return result


# --- polling


@CACHES
async def test_O8_polls_of_hours(cache: int, autojump_clock: Clock) -> None:
    """A server that is done after three polls is asked once an hour, in memory or evicted after every turn."""
    server = Server(polls=3)
    assert await called(server, cache, method="POST", content={"job": 1}) == [
        200,
        "42",
        "https://api.example/jobs/7",
    ]
    assert server.times == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert [(method, url) for _, method, url in server.asked] == [
        ("POST", "https://api.example/jobs"),
        *[("GET", "https://api.example/jobs/7")] * 3,
    ]
    assert server.closed == 1


async def test_D7_restarts_between_polls(autojump_clock: Clock) -> None:
    """A hub that is closed between polls, also while the next is due, goes on polling where it was; nothing is asked twice."""
    server, store, calls = Server(polls=3), MemoryStore(), calling()
    async with hub_in(store, calls, http_transport=server.transport) as hub:
        await hub.start(calls, instance_id="job")
        await trio.sleep(0.5 * HOUR)
    async with hub_in(store, calls, http_transport=server.transport):
        await trio.sleep(1 * HOUR)
    await trio.sleep(1 * HOUR)  # the poll of hour 2 is late
    async with hub_in(store, calls, http_transport=server.transport) as hub:
        assert (await hub.instance("job").result())[0] == 200
    assert server.times == [0, HOUR, 2.5 * HOUR, 3.5 * HOUR]
    assert server.closed == 3


async def test_D1_restarted_after_every_commit(autojump_clock: Clock) -> None:
    """However often the process ends, right after each commit, the call ends with the same answer and leaves nothing behind."""
    calls = calling(total_timeout=100 * HOUR, retry=RetryPolicy(1000, 10))
    server = Server(answer=lambda request: _flaky(server, request))
    store, lifetimes, commits, result = RestlessStore(), 0, 1, None
    while result is None:
        lifetimes += 1
        assert lifetimes < 200, "it gets no further"
        before = len(server.asked)
        async with hub_in(store, calls, http_transport=server.transport) as hub:
            with trio.CancelScope() as scope:
                store.after_commit(commits, scope.cancel)
                instance = await hub.start(calls, instance_id="job", request_id="job")
                result = await instance.result()
                await hub.wait_idle()
        commits = 1 if len(server.asked) != before else commits + 1
    assert result == [200, "done", "https://api.example/jobs/7"]
    assert lifetimes > 5
    assert left_over(store) == {}


def _flaky(server: Server, request: httpx.Request) -> httpx.Response:
    """Each second connection fails; a poll finds the work done when there were eight requests."""
    if len(server.asked) % 2:
        raise httpx.ConnectError("no route")
    if len(server.asked) < 8 or request.url.path == "/jobs":
        return httpx.Response(202, headers={"Location": "/jobs/7"})
    return httpx.Response(200, text="done")


async def test_no_connection_or_thread_while_it_waits(autojump_clock: Clock) -> None:
    """Between two polls the call is a timer in storage and nothing else: no activity, no code in memory."""
    server, store, calls = Server(polls=1), MemoryStore(), calling()
    async with hub_in(store, calls, http_transport=server.transport, cache_bytes=1) as hub:
        await hub.start(calls)
        await trio.sleep(60)
        figures = hub.statistics()
        assert (figures.activities_running, figures.orchestrations_in_memory) == (0, 0)
        assert left_over(store) == {"timers": 1}


# --- failures


async def test_O14_a_connection_that_fails_is_tried_again(autojump_clock: Clock) -> None:
    """Each request has its attempts: the waits are the policy's, and the failures do not end the call."""
    server = Server(answer=lambda request: _flaky(server, request))
    assert (await called(server, retry=RetryPolicy(3, 10)))[:2] == [200, "done"]
    assert server.times == [0, 10, 40, 50, 80, 90, 120, 130]


async def test_O5_a_connection_that_fails_is_a_failure(autojump_clock: Clock) -> None:
    """Without a policy, a failed connection fails the call; the failure is httpx's, and says the place."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    kind, said = await called(Server(answer=refuse))
    assert kind == "ConnectError"
    assert "'GET https://api.example/jobs' failed with httpx.ConnectError: no route" in said


async def test_an_error_status_is_an_answer(autojump_clock: Clock) -> None:
    """500 is what the server answered, and comes back as that."""
    server = Server(answer=lambda _: httpx.Response(500, text="sorry"))
    assert await called(server, retry=RetryPolicy(3, 10)) == [500, "sorry", "https://api.example/jobs"]
    assert len(server.asked) == 1


async def test_O8_the_total_timeout_counts_while_the_hub_is_closed(autojump_clock: Clock) -> None:
    """The limit of the whole is a time, not a sum: it passes while nothing runs, and then no request is made any more."""
    server, store, calls = Server(polls=9), MemoryStore(), calling(total_timeout=1.5 * HOUR)
    async with hub_in(store, calls, http_transport=server.transport) as hub:
        await hub.start(calls, instance_id="job")
        await trio.sleep(60)
    await trio.sleep(10 * HOUR)
    async with hub_in(store, calls, http_transport=server.transport) as hub:
        assert (await hub.instance("job").result())[0] == "TooSlowError"
    assert server.times[0] == 0
    assert len(server.asked) <= 2


# --- what goes where


async def test_credentials_go_to_their_origin_only(autojump_clock: Clock) -> None:
    """By redirects and polls the call is led to another origin and back: only the first origin sees credentials, and only before."""
    places = {
        "https://api.example/jobs": httpx.Response(307, headers={"Location": "/really"}),
        "https://api.example/really": httpx.Response(202, headers={"Location": "https://other.example/jobs"}),
        "https://other.example/jobs": httpx.Response(302, headers={"Location": "https://api.example:8443/jobs"}),
        "https://api.example:8443/jobs": httpx.Response(202, headers={"Location": "https://api.example/done"}),
        "https://api.example/done": httpx.Response(200, text="done"),
    }
    server = Server(answer=lambda request: places[str(request.url)])
    secrets = dict.fromkeys(("Authorization", "Cookie", "Proxy-Authorization", "x-functions-key", "X-Mine"), "s")
    result = await called(server, method="PUT", content="x", headers={**secrets, "X-Other": "o"}, secret_headers=["x-mine"])
    assert result == [200, "done", "https://api.example/done"]
    seen = [
        (url, sum(name in headers for name in secrets)) for (_, _, url), headers in zip(server.asked, server.headers, strict=True)
    ]
    assert seen == [(url, 5 if number < 2 else 0) for number, url in enumerate(places)]
    assert all(headers["x-other"] == "o" for headers in server.headers)


async def test_cookies_of_servers_are_not_kept(autojump_clock: Clock) -> None:
    """A cookie that a server sets is in its answer, and does not come back with later requests of the hub."""
    server = Server(answer=lambda _: httpx.Response(200, headers={"Set-Cookie": "a=b; Path=/"}))

    @orchestrator
    async def twice(ctx: Context) -> list[str]:
        return [(await ctx.call_http("GET", "https://api.example/")).headers["set-cookie"] for _ in range(2)]

    async with hub_in(MemoryStore(), twice, http_transport=server.transport) as hub:
        assert await (await hub.start(twice)).result() == ["a=b; Path=/"] * 2
    assert ["cookie" in headers for headers in server.headers] == [False, False]


async def test_redirects_in_a_circle_end(autojump_clock: Clock) -> None:
    """A redirect to itself is followed so many times, and is then an error."""
    server = Server(answer=lambda _: httpx.Response(302, headers={"Location": "/jobs"}))
    kind, said = await called(server)
    assert (kind, len(server.asked)) == ("HttpError", 1 + hub_limits.HTTP_REDIRECTS_MAX)
    assert "redirects" in said


@pytest.mark.parametrize(("length", "fits"), [(0, True), (10, True), (11, False)])
async def test_the_length_of_an_answer_is_limited(length: int, fits: bool, autojump_clock: Clock) -> None:
    """A body of just the limit is taken, one of a byte more is an error that says what to do."""
    server = Server(answer=lambda _: httpx.Response(200, text="x" * length))
    first, said = (await called(server, response_bytes_max=10))[:2]
    assert first == (200 if fits else "HttpError")
    assert said == "x" * length if fits else "response_bytes_max=" in said


async def test_compressed_answers_count_decoded(autojump_clock: Clock) -> None:
    """What counts is what is kept: the decoded body."""
    body = gzip.compress(b"x" * 100_000)
    server = Server(answer=lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=body))
    assert (await called(server, response_bytes_max=99_999))[0] == "HttpError"
    assert (await called(server, response_bytes_max=100_000))[1] == "x" * 100_000


# --- the hub's own activity


async def test_requests_at_a_time_are_bounded(autojump_clock: Clock) -> None:
    """Of many calls so many requests are under way at a time; the rest wait, and all end."""
    under_way, most = 0, 0

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await trio.sleep(1)
            under_way -= 1
            return httpx.Response(200)

    count = hub_limits.HTTP_REQUESTS_MAX + 20

    @orchestrator
    async def many(ctx: Context) -> int:
        return len(await ctx.when_all([ctx.call_http("GET", "https://api.example/") for _ in range(count)]))

    async with hub_in(MemoryStore(), many, http_transport=Slow()) as hub:
        assert await (await hub.start(many)).result() == count
    assert most == hub_limits.HTTP_REQUESTS_MAX


async def test_without_httpx_the_failure_says_what_to_install(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where httpx is missing, a call fails with a message that names the extra."""
    monkeypatch.delitem(sys.modules, "perdure.hub.http_client", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    calls = calling()
    async with hub_in(MemoryStore(), calls) as hub:
        kind, said = await (await hub.start(calls)).result()
    assert kind == "ModuleNotFoundError"
    assert "pip install 'perdure[http]'" in said


def test_a_hub_that_calls_nothing_needs_no_httpx() -> None:
    """The hub, its whole package, and a hub object come without httpx and without the standard library's HTTP client."""
    program = "import sys; from perdure.hub import TaskHub; TaskHub('Bank', [], '.'); print(sorted({'httpx', 'http'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_name_of_the_hubs_own_activity_is_taken() -> None:
    """An activity of the user's with that name is refused, with the reason."""

    @activity(name="perdure.http")
    async def mine() -> None:
        """Another one."""

    with pytest.raises(DefinitionError, match="one of the hub's own"):
        TaskHub("Bank", [mine], MemoryStore())


def test_what_is_no_transport_is_refused() -> None:
    """A client, or a transport that blocks, is refused when the hub is made, with what is wanted."""
    for given in (httpx.AsyncClient, httpx.HTTPTransport()):
        wrong: Any = given
        with pytest.raises(TypeError, match="http_transport is an asynchronous transport"):
            TaskHub("Bank", [], MemoryStore(), http_transport=wrong)


async def test_a_transport_that_cannot_be_closed_is_logged(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the transport at the end is logged, and the hub closes all the same."""

    class Sticky(httpx.MockTransport):
        async def aclose(self) -> None:
            raise OSError("sticks")

    calls = calling()
    with caplog.at_level(logging.ERROR, "perdure"):
        async with hub_in(MemoryStore(), calls, http_transport=Sticky(lambda _: httpx.Response(200))) as hub:
            await (await hub.start(calls)).result()
    assert "sticks" in caplog.text
    with pytest.raises(HubClosed):
        hub.statistics()
