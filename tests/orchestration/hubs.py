"""Whole hubs for the tests of this folder: on a store in memory, with waiting that takes no time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from perdure.hub import HubClosed, TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import tables
from perdure.storage.errors import StorageInDoubt
from perdure.storage.memory_store import MemoryStore

PATIENCE = 10.0
"""Seconds after which a test that is stuck fails; no test takes a noticeable part of that."""
ROUNDS = 100
"""Checkpoints in which everything has happened that is going to happen without the test's help."""


@asynccontextmanager
async def opened(definitions: Iterable[object], store: MemoryStore | None = None, **options: Any) -> AsyncGenerator[TaskHub]:
    """An open hub; what takes too long inside fails, and commits that are held are let go at the end."""
    disk = MemoryStore() if store is None else store
    with trio.fail_after(PATIENCE):
        async with TaskHub("Test", definitions, disk, **options) as hub:
            try:
                yield hub
            finally:
                disk.hold_commits(False)


@orchestrator
async def last_words(ctx: OrchestrationContext) -> None:
    """Started when the process is to die, and never heard of again."""


@asynccontextmanager
async def dying(definitions: Iterable[object], store: MemoryStore, **options: Any) -> AsyncGenerator[TaskHub]:
    """A hub whose process dies after the block: what was not durable by then is lost, what was running is cut off."""
    with trio.fail_after(PATIENCE):
        try:
            async with TaskHub("Test", [*definitions, last_words], store, **options) as hub:
                yield hub
                store.fail_next(StorageInDoubt)
                await hub.start(last_words)
                raise AssertionError("the hub outlived its store")
        except (StorageInDoubt, HubClosed):
            pass


async def until(condition: Callable[[], object]) -> None:
    """Let others run until a condition holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def a_while() -> None:
    """Let others run for more rounds than anything that was to happen would need."""
    for _ in range(ROUNDS):
        await trio.lowlevel.checkpoint()


def left_over(store: MemoryStore) -> dict[str, int]:
    """How many records there are of work under way: waiting messages and scheduled activities."""
    disk = store.snapshot()
    return {table: len(disk[table]) for table in (tables.INBOX, tables.ACTIVITIES, tables.TIMERS) if disk[table]}


def journal_chunks(store: MemoryStore) -> int:
    """How many chunks of journals are on disk."""
    return len(store.snapshot()[tables.HISTORY])
