"""Latency under load: an idle entity is called, one call at a time, while a client sends signals to 1,000 others.

The load is that of signals-batch, without pause. 500 calls, or as many as fit into 20 seconds; the median and the 99th percentile of their latency, and how
many signals went through meanwhile. LMDB alone: one of the commits that the load makes. Bare Python: one call.
"""

from __future__ import annotations

import trio

from ..definitions import Account, account_keys
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload
from .signals_batch import bare_deposits, total_balance

_SECONDS_MAX = 20.0


async def _run(run: Run) -> list[Figure]:
    keys = account_keys(run.count(1000))
    calls = run.count(500, 5)
    sent = 0
    async with run.hub([Account]) as (hub, watch):

        async def load(flowing: trio.Event, stopping: trio.Event, stopped: trio.Event) -> None:
            nonlocal sent
            while not stopping.is_set():
                async with hub.batch() as batch:
                    for key in keys:
                        batch.signal_entity(Account.at(key), Account.deposit, 1)
                sent += len(keys)
                flowing.set()
            stopped.set()

        async def call(_: int) -> None:
            await hub.call_entity(Account.at("idle"), Account.deposit, 1)

        async with trio.open_nursery() as nursery:
            flowing, stopping, stopped = trio.Event(), trio.Event(), trio.Event()
            nursery.start_soon(load, flowing, stopping, stopped)
            await flowing.wait()
            before = sent
            with watch.stretch() as stretch:
                latencies = await closed_loop(1, calls, call, seconds=_SECONDS_MAX)
            meanwhile = sent - before
            stopping.set()
            await stopped.wait()
        await hub.wait_idle()
        check("the sum of all balances", await total_balance(hub, keys), sent)
        check("the balance of the idle entity", await total_balance(hub, ["idle"]), len(latencies))
    bare = bare_deposits(keys, 10) / (10 * len(keys))
    return [
        stretch.latency("call, p50", latencies, 0.5, bare_seconds=bare, commits_each=1),
        stretch.latency("call, p99", latencies, 0.99, bare_seconds=bare, commits_each=1),
        stretch.rate("signals meanwhile", max(1, meanwhile), bare_seconds=bare * max(1, meanwhile)),
    ]


WORKLOAD = Workload("latency-under-load", "calls to an idle entity while signals-batch's load runs", _run)
