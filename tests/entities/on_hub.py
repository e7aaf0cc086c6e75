"""Whole hubs for tests: on a store in memory that tells what was committed, and waiting without time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from perdure.hub import TaskHub
from perdure.storage.errors import DamagedRecord
from perdure.storage.memory_store import MemoryCommit, MemoryStore
from perdure.storage.store import Batch
from perdure.storage.tables import ACTIVITIES, DIRECTORY, INBOX, INSTANCES, LETTERS

PATIENCE = 30.0
"""Seconds after which a test that is stuck fails; no test takes a noticeable part of that."""


class WatchedStore(MemoryStore):
    """A store in memory that counts what it is given, and may look at its content after each commit.

    Attributes:
      submitted: the number of batches that were handed over, durable or not.
      after_commit: called when a batch has become durable.
    """

    def __init__(self, after_commit: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.submitted = 0
        self.after_commit = after_commit

    def submit(self, batch: Batch) -> MemoryCommit:
        """Count, and hand over."""
        self.submitted += 1
        commit = super().submit(batch)
        if self.after_commit is not None and commit.wait(0):
            self.after_commit()
        return commit

    def finish_one(self) -> None:
        """Let the commit under way become durable, and hold the next one."""
        self.hold_commits(False)
        self.hold_commits(True)

    def left_over(self) -> dict[str, int]:
        """How many records each table of instances holds; those that hold none are left out."""
        tables = self.snapshot()
        counts = {name: len(tables[name]) for name in (DIRECTORY, INSTANCES, INBOX, LETTERS, ACTIVITIES)}
        return {name: count for name, count in counts.items() if count}


class BrokenStore(MemoryStore):
    """A disk with damaged records.

    Attributes:
      broken: their tables and keys.
    """

    broken: frozenset[tuple[str, bytes]] | set[tuple[str, bytes]] = frozenset()

    def get(self, table: str, key: bytes) -> bytes | None:
        """Read a record."""
        if (table, key) in self.broken:
            raise DamagedRecord(table, key)
        return super().get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """Read a range; one damaged record in it fails it."""
        found = super().scan(table, start, stop, limit)
        for key, _ in found:
            if (table, key) in self.broken:
                raise DamagedRecord(table, key)
        return found


@asynccontextmanager
async def opened(*definitions: object, store: MemoryStore | None = None, **options: Any) -> AsyncGenerator[TaskHub]:
    """An open hub; what takes too long inside fails, and a commit that is still held is let go at the end."""
    disk = store or MemoryStore()
    with trio.fail_after(PATIENCE):
        async with TaskHub("Test", definitions, storage=disk, **options) as hub:
            try:
                yield hub
            finally:
                disk.hold_commits(False)


async def until(condition: Callable[[], object]) -> None:
    """Let others run until a condition holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def a_while() -> None:
    """Let others run for many rounds, more than anything that was to happen would need."""
    for _ in range(100):
        await trio.lowlevel.checkpoint()
