"""The hub's own workload on a real folder, run under the recorder, with marks of what was promised when.

    python -m tests.crash.power_child <folder> <manner> <fault>

Two lives, so that opening, closing and creating are recorded too. Marks are MessagePack arrays:

- ``["opened", epoch]``: the hub was opened;
- ``["submitted", number, writes]``: a batch is given to the store;
- ``["settled", number]``: the store said that it is durable;
- ``["told", step]``: the client was told that its step has happened.

A fault plants a mistake, or makes the disk fail, see :mod:`tests.crash.power_faults`; ``none`` does nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import trio
from perdure.hub import TaskHub, limits
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.lmdb_writer import LmdbCommit
from perdure.storage.store import Batch

from ..hub.helpers import bank, receive
from ..hub.workload import MANNERS, Clerk, Client, Manner, family, holder
from .disk_shim import Fault, fail, mark
from .disk_shim import Manner as Failing
from .power_faults import FAILING_SYNC, plant

_encode = msgspec.msgpack.Encoder().encode
BIG_BYTES = 60_000
"""Some values take many pages in a row, which LMDB writes apart from the others."""


def say(*words: object) -> None:
    """Leave a mark."""
    mark(_encode(words))


class MarkedCommit:
    """A commit that leaves a mark when it is found durable."""

    def __init__(self, commit: LmdbCommit) -> None:
        self._commit = commit
        self._said = False

    def wait(self, seconds: float) -> bool:
        """As the commit's."""
        return self._commit.wait(seconds)

    def result(self) -> None:
        """As the commit's."""
        self._commit.result()
        if self._commit.settled and not self._said:
            self._said = True
            say("settled", self._commit.batch.number)


class MarkedStore(LmdbStore):
    """The real store; the hub's side of it leaves marks."""

    def open(self) -> int:
        """As the store's."""
        epoch = super().open()
        say("opened", epoch)
        return epoch

    def submit(self, batch: Batch) -> MarkedCommit:  # type: ignore[override]  # the same protocol
        """As the store's."""
        say("submitted", batch.number, batch.writes)
        return MarkedCommit(super().submit(batch))


class Told(set[str]):
    """The steps that a client was told of."""

    def add(self, step: str, /) -> None:
        """Leave a mark for each."""
        super().add(step)
        say("told", step)


def hub_of(store: LmdbStore, manner: Manner) -> TaskHub:
    """The hub of the workload."""
    return bank(store, Clerk, family, holder, cache_bytes=manner.cache_bytes, payload_bytes_min=manner.payload_bytes_min)


async def first_life(store: LmdbStore, manner: Manner) -> None:
    """Some large values come and go, and the hub is closed while an instance waits."""
    async with hub_of(store, manner) as hub:
        for number in range(3):
            big = await hub.start(receive, instance_id=f"big-{number}")
            await big.raise_event("unread", "x" * BIG_BYTES)
            if number:
                await big.terminate("enough")
                await hub.wait_idle()
                await big.purge()


async def second_life(store: LmdbStore, manner: Manner, fault: str) -> None:
    """The whole workload; when syncs shall fail, some do, and the client sends again what was refused."""
    async with hub_of(store, manner) as hub:
        if fault == FAILING_SYNC:
            fail(Fault.SYNC, Failing.UNDONE, after=3, times=3)
        await Client(acknowledged=Told()).send_all(hub, manner.crowd)
        await hub.wait_idle()


def main() -> None:
    """Both lives."""
    folder, manner_name, fault = sys.argv[1:]
    manner = MANNERS[manner_name]
    plant(fault)
    limits.STORAGE_RETRY_SECONDS = (0.0, 0.0)
    trio.run(first_life, MarkedStore(Path(folder)), manner)
    trio.run(second_life, MarkedStore(Path(folder)), manner, fault)


if __name__ == "__main__":
    main()
