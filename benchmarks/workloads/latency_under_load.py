"""Latency beside W1: an idle entity is called, one call at a time, and timers fire, while signals go to 1,000 others.

The load, without pause: first single signals by 256 clients, then groups of 1,000 by one client. Beside each, 500 calls
and 500 timers, or as many as fit into 20 seconds. A call counts until its result is there. A timer counts from when it is
due, which is 0.2 s after its orchestration is asked for, until the result of that orchestration is there; 20 clients do so
at a time. LMDB alone: one of the commits that were made meanwhile. Bare Python: one call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field
from perdure.orchestration import OrchestrationContext, orchestrator

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, Stopwatch, check, closed_loop
from ..workload import Workload
from .signals_batch import bare_deposits, total_balance

if TYPE_CHECKING:
    from perdure.hub import TaskHub

_SECONDS_MAX = 20.0
_DELAY = timedelta(seconds=0.2)
_TIMER_CLIENTS = 20


@orchestrator
async def alarm(ctx: OrchestrationContext, due: datetime) -> None:
    """End at that time."""
    await ctx.sleep_until(due)


@define
class _Load:
    """Clients that send without pause, each its next when its last was acknowledged.

    Attributes:
      send: sends, and returns how many signals that were.
      clients: how many do so.
      sent: signals so far.
    """

    send: Callable[[], Awaitable[int]]
    clients: int
    sent: int = 0
    _begun: trio.Event = field(factory=trio.Event)
    _over: bool = False

    async def _client(self) -> None:
        while not self._over:
            signals = await self.send()
            self.sent += signals
            self._begun.set()

    @asynccontextmanager
    async def flowing(self) -> AsyncGenerator[None]:
        """Send while the block runs, which begins when the first signals have been sent; what is under way at its end is finished."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.clients):
                nursery.start_soon(self._client)
            await self._begun.wait()
            yield
            self._over = True


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000))
    turns = cycle(keys)
    async with run.hub([Account, alarm]) as (hub, watch):

        async def send_one() -> int:
            await hub.signal_entity(Account.at(next(turns)), Account.deposit, 1)
            return 1

        async def send_group() -> int:
            async with hub.batch() as batch:
                for key in keys:
                    batch.signal_entity(Account.at(key), Account.deposit, 1)
            return len(keys)

        single, grouped = _Load(send_one, 256), _Load(send_group, 1)
        figures = [
            *await _beside(run, hub, watch, single, "256 clients"),
            *await _beside(run, hub, watch, grouped, "batches"),
        ]
        await hub.wait_idle()
        check("the sum of all balances", await total_balance(hub, keys), single.sent + grouped.sent)
    return figures


async def _beside(run: Run, hub: TaskHub, watch: Stopwatch, load: _Load, name: str) -> list[Figure]:
    lateness: list[float] = []
    latencies: list[float] = []

    async def call(_: int) -> None:
        await hub.call_entity(Account.at("idle"), Account.deposit, 1)

    async def calls() -> None:
        latencies.extend(await closed_loop(1, run.count(500, 5), call, seconds=_SECONDS_MAX))

    async def set_alarm(_: int) -> None:
        due = datetime.now(UTC) + _DELAY
        await (await hub.start(alarm, due)).result()
        lateness.append((datetime.now(UTC) - due).total_seconds())

    async with load.flowing():
        before = load.sent
        with watch.stretch() as stretch:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(calls)
                await closed_loop(_TIMER_CLIENTS, run.count(500, 5), set_alarm, seconds=_SECONDS_MAX)
        meanwhile = max(1, load.sent - before)
    check("that no timer fired early", min(lateness) >= 0, True)
    bare = bare_deposits(["idle"], 10_000) / 10_000
    beside = [
        stretch.latency(f"call beside {name}, p50", latencies, 0.5, bare_seconds=bare, commits_each=1),
        stretch.latency(f"call beside {name}, p99", latencies, 0.99, bare_seconds=bare, commits_each=1),
        stretch.latency(f"timer beside {name}, p50", lateness, 0.5, bare_seconds=None, commits_each=1),
        stretch.latency(f"timer beside {name}, p99", lateness, 0.99, bare_seconds=None, commits_each=1),
    ]
    # Process time and commits are the load's, and say nothing about a call or a timer.
    return [
        *(evolve(figure, cpu_us=None, commits=None) for figure in beside),
        stretch.rate(f"signals meanwhile, {name}", meanwhile, bare_seconds=bare * meanwhile),
    ]


WORKLOAD = Workload("latency-under-load", "calls to an idle entity, and timers, beside W1's load of signals", _run)
