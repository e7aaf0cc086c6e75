"""Hubs in virtual time: the hub's clock is Trio's, which jumps ahead whenever everything waits (``autojump_clock``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import Instance, TaskHub
from perdure.orchestration import OrchestrationCanceled, OrchestrationFailed, OrchestrationTerminated, RuntimeStatus
from perdure.storage import tables
from perdure.storage.memory_store import MemoryCommit, MemoryStore
from perdure.storage.store import Batch

START = 1_900_000_000_000_000
"""The hub's time when Trio's is 0, microseconds since 1970."""
PATIENCE = 1_000_000.0
"""Virtual seconds after which a test that is stuck fails; they pass at once."""
CACHES = pytest.mark.parametrize("cache", [64 << 20, 1], ids=["live", "evicted"])
"""With everything in memory, and with nothing: then each turn but an instance's first is a replay."""


def virtual_clock() -> int:
    """The hub's time: Trio's, from START on."""
    return START + round(trio.current_time() * 1_000_000)


@asynccontextmanager
async def hub_in(store: MemoryStore, *definitions: object, **options: Any) -> AsyncGenerator[TaskHub]:
    """An open hub in virtual time; what waits for ever inside fails."""
    with trio.fail_after(PATIENCE):
        async with TaskHub("Virtual", definitions, store, clock=virtual_clock, **options) as hub:
            yield hub


@define
class Tally(Entity):
    """A number, and a journal of what was done to it."""

    value: int = 0

    def add(self, amount: int) -> int:
        """Add to it; the new value."""
        self.value += amount
        return self.value

    def refuse(self, text: str) -> None:
        """Fail."""
        raise ValueError(text)


async def outcome(instance: Instance[Any]) -> Any:
    """The result, or the name of the error that stands for none."""
    try:
        return await instance.result()
    except (OrchestrationCanceled, OrchestrationFailed, OrchestrationTerminated) as error:
        return type(error).__name__


async def runtime_status(instance: Instance[Any]) -> RuntimeStatus:
    """The instance's status."""
    return (await instance.status()).runtime_status


async def tally(hub: TaskHub, key: str) -> int:
    """The value of a tally, 0 if there is none."""
    found = await hub.read_entity(Tally.at(key))
    return 0 if found is None else found.value


async def holder_of(hub: TaskHub, key: str) -> str | None:
    """Who holds the lock of a tally."""
    return (await hub.describe(Tally.at(key))).locked_by


WORK_TABLES = (tables.INBOX, tables.ACTIVITIES, tables.TIMERS)


def left_over(store: MemoryStore) -> dict[str, int]:
    """How many records there are of work under way: messages, activities, timers."""
    disk = store.snapshot()
    return {table: len(disk[table]) for table in WORK_TABLES if disk[table]}


def everything(store: MemoryStore) -> dict[str, int]:
    """How many records there are in each table but the hub's own counters."""
    return {table: len(rows) for table, rows in store.snapshot().items() if rows and table != tables.META}


class RestlessStore(MemoryStore):
    """A store that does something when it has made so many commits."""

    _left = 0

    def after_commit(self, number: int, action: Callable[[], None]) -> None:
        """Do it when the n-th commit from now is durable."""
        self._left, self._action = number, action

    def submit(self, batch: Batch) -> MemoryCommit:
        """Write, and count."""
        commit = super().submit(batch)
        self._left -= 1
        if self._left == 0:
            self._action()
        return commit


async def each_of(instances: Iterable[Instance[Any]]) -> list[Any]:
    """The outcomes of some instances, in order."""
    return [await outcome(instance) for instance in instances]
