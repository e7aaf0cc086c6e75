"""Queries: 1,000,000 entities in pages of 100, with their states, without a filter.

The first page and the last one, the median of 100 reads of each; then all pages one after another, the rate of that and the
memory of the process before and after it. A page is to cost the same wherever it stands, and going through all is to take no
memory (what there is, is the hub's own, with its cache of entities).

LMDB alone: the same records read with a cursor and a get for each, unchecked and undecoded. Bare Python: as many objects
made, and put into a list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import lmdb
from attrs import frozen
from perdure.hub import EntityInfo, Page, TaskHub

from ..definitions import Account
from ..figures import MEGABYTES, MILLISECONDS, RATE, Figure
from ..measuring import HUB_NAME, Run, Timer, check, percentile
from ..memory import anonymous_megabytes
from ..workload import Workload

_GROUP = 1000
_PAGE = 100
_READS = 100


@frozen
class _Walk:
    """All pages: how many entities there were, and the token of the last page."""

    entities: int
    last: str | None


def entity_key(number: int) -> str:
    """The key of the entity of that number; keys sort as their numbers do."""
    return f"account-{number:08}"


async def _create(hub: TaskHub, amount: int) -> None:
    for first in range(0, amount, _GROUP):
        async with hub.batch() as batch:
            for number in range(first, min(first + _GROUP, amount)):
                batch.signal_entity(Account.at(entity_key(number)), Account.deposit, number)
    await hub.wait_idle()


async def _walk(hub: TaskHub) -> _Walk:
    entities, token = 0, None
    while True:
        page = await hub.query_entities(name="Account", limit=_PAGE, token=token)
        entities += len(page.items)
        if page.token is None:
            return _Walk(entities, token)
        token = page.token


async def _page_seconds(read: Callable[[], Awaitable[Page[EntityInfo]]], first: int) -> float:
    """Seconds that reading a page takes, and a look at what is on it."""
    taken: list[float] = []
    for _ in range(_READS):
        started = perf_counter()
        page = await read()
        taken.append(perf_counter() - started)
        check("the states on a page", [item.state.balance for item in page.items], list(range(first, first + len(page.items))))
    return percentile(taken, 0.5)


async def _run(run: Run) -> list[Figure]:
    # Whole pages, so that the first and the last are of one size.
    amount = _PAGE * run.count(1_000_000 // _PAGE, 3)
    # The plain default storage: noting what is written, as other workloads do, would take memory.
    async with TaskHub(HUB_NAME, [Account], storage=run.folder / "hub") as hub:
        await _create(hub, amount)
        before = anonymous_megabytes()
        with Timer(run) as timer:
            walk = await _walk(hub)
        after = anonymous_megabytes()
        check("the number of entities", walk.entities, amount)
        first = await _page_seconds(lambda: hub.query_entities(name="Account", limit=_PAGE), 0)
        last = await _page_seconds(lambda: hub.query_entities(name="Account", limit=_PAGE, token=walk.last), amount - _PAGE)
    alone_first, alone_last = _lmdb_seconds(run.folder / "hub" / HUB_NAME.lower(), amount)
    bare = _bare_seconds()
    return [
        Figure("first page of 100", MILLISECONDS, 1e3 * first, 1e3 * alone_first, 1e3 * bare, operations=_READS),
        Figure("last page of 100", MILLISECONDS, 1e3 * last, 1e3 * alone_last, 1e3 * bare, operations=_READS),
        Figure(
            "all pages", RATE, amount / timer.seconds, _PAGE / alone_first, _PAGE / bare, operations=amount, cpu_us=timer.cpu_us(amount)
        ),
        Figure("memory before all pages", MEGABYTES, before),
        Figure("memory after all pages", MEGABYTES, after),
    ]  # fmt: skip


def _lmdb_seconds(folder: Path, amount: int) -> tuple[float, float]:
    """Seconds for LMDB alone to read the records of the first page, and of the last one."""
    with lmdb.open(str(folder), max_dbs=2, readonly=True) as environment:
        directory = environment.open_db(b"directory", create=False)
        instances = environment.open_db(b"instances", create=False)

        def read(first: int) -> float:
            start = f"eaccount\0{entity_key(first)}".encode()
            taken: list[float] = []
            for _ in range(_READS):
                started = perf_counter()
                with environment.begin() as transaction, transaction.cursor(directory) as cursor:
                    check("there is the record", cursor.set_range(start), True)
                    for _, (_, number) in zip(range(_PAGE), cursor.iternext(), strict=False):
                        transaction.get(number[:8], db=instances)
                taken.append(perf_counter() - started)
            return percentile(taken, 0.5)

        return read(0), read(amount - _PAGE)


def _bare_seconds() -> float:
    """Seconds to make the objects of a page."""
    started = perf_counter()
    for _ in range(_READS):
        page = [Account(number) for number in range(_PAGE)]
        check("the objects", len(page), _PAGE)
    return (perf_counter() - started) / _READS


WORKLOAD = Workload(
    "query-entities", "1,000,000 entities in pages of 100: the first page, the last, all of them, and memory", _run
)
