"""Mistakes that a store could make, planted one at a time, to see that rebuilt power cuts find each of them."""

from __future__ import annotations

import functools
import mmap
import os
import stat
from collections.abc import Callable
from typing import Any, Final, cast

import lmdb
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.lmdb_writer import LmdbWriter
from perdure.storage.store import Batch


class _Early:
    """A commit that says that it is durable before it is begun; ``settled`` says whether that is marked, too."""

    def __init__(self, batch: Batch, *, loud: bool) -> None:
        self.batch = batch
        self.settled = loud

    def wait(self, seconds: float) -> bool:
        """Done, it says."""
        del seconds
        return True

    def result(self) -> None:
        """Good, it says."""


def _acknowledge_early(*, loud: bool) -> None:
    """Write a batch when the store is next used, and say at once that it is written."""
    submit = LmdbStore.submit
    opened = cast("Callable[[LmdbStore], Any]", LmdbStore._opened)  # pyright: ignore[reportPrivateUsage]
    put_off: list[Batch] = []

    def early(self: LmdbStore, batch: Batch) -> _Early:
        opened_late(self)
        put_off.append(batch)
        return _Early(batch, loud=loud)

    def opened_late(self: LmdbStore) -> Any:
        while put_off:
            commit = submit(self, put_off.pop())
            assert commit.wait(60)
            commit.result()
        return opened(self)

    setattr(LmdbStore, "submit", early)  # noqa: B010
    setattr(LmdbStore, "_opened", opened_late)  # noqa: B010


def _open_with(**flags: bool) -> None:
    lmdb.open = functools.partial(lmdb.open, **flags)  # type: ignore[assignment]


def _force_only(wanted: Callable[[int], bool]) -> None:
    """LMDB calls the C library and is not concerned, so this is about what is forced when a hub is created."""
    fsync = os.fsync

    def some(descriptor: int) -> None:
        if wanted(os.fstat(descriptor).st_mode):
            fsync(descriptor)

    setattr(os, "fsync", some)  # noqa: B010


def _commit_in_halves() -> None:
    write = cast("Callable[[LmdbWriter, Batch], None]", LmdbWriter._write)  # pyright: ignore[reportPrivateUsage]

    def halves(self: LmdbWriter, batch: Batch) -> None:
        tables = list(batch.writes)
        for part in (tables[::2], tables[1::2]):
            writes = {table: batch.writes[table] for table in part}
            write(self, Batch(batch.partition, batch.epoch, batch.number, writes))

    setattr(LmdbWriter, "_write", halves)  # noqa: B010


def _write_unseen() -> None:
    close = LmdbStore.close

    def scribble(self: LmdbStore) -> None:
        close(self)
        with (self._path / "hub.json").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:  # pyright: ignore[reportPrivateUsage]
            mapped[-1:] = b" "

    setattr(LmdbStore, "close", scribble)  # noqa: B010


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "LMDB does not sync": lambda: _open_with(sync=False),
    "LMDB does not sync meta pages": lambda: _open_with(metasync=False),
    "a commit is settled before its sync": lambda: _acknowledge_early(loud=True),
    "clients are told before the sync": lambda: _acknowledge_early(loud=False),
    "a batch is two transactions": _commit_in_halves,
    "a new hub's files are not forced": lambda: _force_only(stat.S_ISDIR),
    "a new hub's folders are not forced": lambda: _force_only(stat.S_ISREG),
}
"""Each must be found."""

UNSEEN: Final = "a file of the hub is written through a map"
"""This one the recorder cannot see, and must notice that."""


FAILING_SYNC: Final = "syncs fail"
"""The disk's fault, and no mistake: nothing may be found. See :func:`tests.crash.power_child.second_life`."""


def plant(fault: str) -> None:
    """Make the mistake in this process from now on."""
    if fault == UNSEEN:
        _write_unseen()
    elif fault in FAULTS:
        FAULTS[fault]()
