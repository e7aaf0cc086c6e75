"""Restate: ``python -m benchmarks.peers.restate_peer SERVER WORKLOAD FOLDER SCALE``; SERVER is the path of ``restate-server``.

A new server with its default settings (forced to disk) keeps its data in the folder; handlers run in a process of their own
behind hypercorn, and this process is the client. So a call crosses from client to server to handlers and back, over loopback.
"""

# pyright: basic
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import restate

from .measuring import FIRST_KEYS, STEPS, Figures, check, closed_loop, one_and_many, run, timed

counter = restate.VirtualObject("Counter")
greeter = restate.Service("Greeter")
SERVER = sys.argv[1] if len(sys.argv) > 1 else ""

_CONFIGURATION = """
node-name = "one"
disable-telemetry = true
log-filter = "warn"
listen-mode = "tcp"
bind-ip = "127.0.0.1"
bind-port = {node}
advertised-address = "http://127.0.0.1:{node}/"
base-dir = "{folder}/data"
[admin]
bind-address = "127.0.0.1:{admin}"
disable-web-ui = true
[ingress]
bind-address = "127.0.0.1:{ingress}"
"""


@counter.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    """Add to the count of an object."""
    count = (await ctx.get("count", type_hint=int) or 0) + amount
    ctx.set("count", count)
    return count


async def _greet(name: str) -> str:
    return f"Hello {name}"


@greeter.handler()
async def sequence(ctx: restate.Context, _: str) -> list[str]:
    """Three journaled steps, one after another."""
    return [await ctx.run_typed("greet", _greet, name=city) for city in STEPS]


app = restate.app([counter, greeter])


class _Client:
    def __init__(self, session: aiohttp.ClientSession, ingress: int) -> None:
        self._session, self._url = session, f"http://127.0.0.1:{ingress}/"

    async def call(self, path: str, argument: object) -> object:
        async with self._session.post(self._url + path, json=argument) as response:
            body = await response.read()
            check(f"the status of {path}", response.status in {200, 202}, True)
            return json.loads(body) if body else None


@asynccontextmanager
async def _running(folder: Path) -> AsyncGenerator[_Client]:
    """A new server and its handlers, registered and warmed up; both are gone after the block."""
    node, admin, ingress, handlers = _free_ports(4)
    configuration = folder / "restate.toml"
    configuration.write_text(_CONFIGURATION.format(node=node, admin=admin, ingress=ingress, folder=folder))
    serving = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{handlers}", "benchmarks.peers.restate_peer:app"]
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen([SERVER, "--no-logo", "-c", str(configuration)], stdout=log, stderr=log),  # noqa: ASYNC220 - at once
            subprocess.Popen(serving, stdout=log, stderr=log),  # noqa: ASYNC220 - at once
        ]
        try:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                await _registered(session, admin, handlers)
                client = _Client(session, ingress)
                await _warmed_up(client)
                yield client
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def _free_ports(amount: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(amount)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _registered(session: aiohttp.ClientSession, admin: int, handlers: int) -> None:
    deployment = {"uri": f"http://127.0.0.1:{handlers}/"}
    for _ in range(300):
        try:
            async with session.post(f"http://127.0.0.1:{admin}/deployments", json=deployment) as response:
                if response.status < 300:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError("the server did not take the handlers within 30 s; see its log")


async def _warmed_up(client: _Client) -> None:
    for _ in range(300):
        try:
            await client.call("Greeter/sequence", "")
            break
        except (aiohttp.ClientError, RuntimeError):
            await asyncio.sleep(0.1)
    for number in range(50):
        await client.call(f"Counter/warm-{number}/add", 1)


async def _signals(folder: Path, scale: float) -> Figures:
    amount = max(1, round(10_000 * scale))

    async with _running(folder) as client:

        async def signal(number: int) -> None:
            await client.call(f"Counter/{number % FIRST_KEYS}/add/send", 1)

        async def read(number: int) -> None:
            total.append(await client.call(f"Counter/{number}/add", 0))

        figures: Figures = []
        for clients in (64, 256):
            total: list[object] = []

            async def until_applied(clients: int = clients) -> list[float]:
                latencies = await closed_loop(clients, float("inf"), signal, most=amount)
                await closed_loop(clients, float("inf"), read, most=FIRST_KEYS)
                return latencies

            stretch = await timed(until_applied)
            figures.append(stretch.rate(f"{clients} clients", amount))
            check("the sum of all counts", sum(int(str(count)) for count in total), amount * len(figures))
    return figures


async def _calls(folder: Path, scale: float) -> Figures:
    async with _running(folder) as client:
        return await one_and_many(
            lambda _: client.call("Counter/0/add", 1), lambda number: client.call(f"Counter/{number % FIRST_KEYS}/add", 1), scale
        )


async def _sequences(folder: Path, scale: float) -> Figures:
    async with _running(folder) as client:

        async def one(_: int) -> None:
            check("a result", await client.call("Greeter/sequence", ""), [f"Hello {city}" for city in STEPS])

        return await one_and_many(one, one, scale)


if __name__ == "__main__":
    run({"signals-single": _signals, "call": _calls, "sequence3": _sequences}, *sys.argv[2:])
