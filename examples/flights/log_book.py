r"""The log book: a CSV file outside of the hub, to which each flight adds its line exactly once.

A hub runs an activity at least once: killed between the writing of the line and the commit that says so, it writes again
after the restart. So each line begins with the activity's idempotency key, which is the same for every attempt; the book
knows the keys that it holds, and a line whose key is there is not written again.

Why a plain file that is only appended to: it can be read with anything, and a killed process can leave only one kind of
damage, an unfinished end. Nobody was told that the lines there are written, so they are cut off at the next opening, and
their activities run again. Damage elsewhere is not ours, and is refused.

Many flights write at a time and each waits for the disk, so they share it: what comes while one group of lines is being
forced to disk makes the next group.

If writing fails (a full disk), no activity is told. The book raises out of its block instead, which takes the hub down
with it, and the same activities run at the next start.
"""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import trio
from attrs import define, field

from .log_line import COLUMNS, LogLine, csv_line
from .nursery import open_plain_nursery


class LogBookProblem(Exception):
    """The log book cannot be used or written; the message says why."""


@define(eq=False)
class _Group:
    """Lines that are forced to disk together, by key."""

    lines: dict[str, str] = field(factory=dict[str, str])
    written: trio.Event = field(factory=trio.Event)


class LogBook:
    """An open log book; see :func:`open_log_book`.

    Args:
      path: the file; created if there is none.
      fresh: throw away what it holds.

    Raises:
      LogBookProblem: it is no log book, damaged, in use, or cannot be written.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._group = _Group()
        self._under_way = _Group()
        self._wanted = trio.Event()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LogBookProblem(f"the log book {path} cannot be opened: {error}") from error
        try:
            self._lock()
            self._size = self._repair(fresh)
            self._keys = {line.key for line in self.lines()}
        except BaseException as error:
            os.close(self._file)
            if isinstance(error, OSError):
                raise LogBookProblem(f"the log book {path} cannot be used: {error}") from error
            raise

    def __len__(self) -> int:
        return len(self._keys)

    async def write(self, line: LogLine) -> None:
        """Write a line and return when it is on disk; does nothing if a line with its key is there.

        Cancelling this may or may not have written it.
        """
        if line.key in self._keys:
            await trio.lowlevel.checkpoint()
            return
        group = self._under_way
        if line.key not in group.lines:
            group = self._group
            group.lines[line.key] = line.to_csv()
            self._wanted.set()
        await group.written.wait()

    def lines(self) -> Iterator[LogLine]:
        """The lines on disk, in the order in which they were written.

        Raises:
          LogBookProblem: a line is damaged.
          OSError: it cannot be read.
        """
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                next(reader)
                for fields in reader:
                    yield LogLine.from_fields(fields)
            except (csv.Error, ValueError) as error:
                raise LogBookProblem(
                    f"the log book {self.path} was changed or damaged near line {reader.line_num:,} ({error}); "
                    "restore the file, or begin anew"
                ) from error

    def close(self) -> None:
        """Close the file, and with it let go of the lock."""
        os.close(self._file)

    # --- opening

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogBookProblem(f"the log book {self.path} is in use by another run of this program") from None

    def _repair(self, fresh: bool) -> int:
        """Cut off an unfinished end, write the header if there is none, and return the size."""
        header = csv_line(COLUMNS).encode()
        data = os.pread(self._file, os.fstat(self._file).st_size, 0)
        if not (data.startswith(header) or header.startswith(data.rstrip(b"\0"))):
            raise LogBookProblem(f"{self.path} is no log book: it does not begin with {header.decode().strip()!r}")
        # A crash of the whole machine can leave zeros where the last group of lines should be.
        whole = data.partition(b"\0")[0].rfind(b"\n") + 1
        if fresh or not whole:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, header, 0)
            whole = len(header)
        elif whole < len(data):
            os.ftruncate(self._file, whole)
        os.fsync(self._file)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return whole

    # --- writing

    async def write_groups(self) -> NoReturn:
        """Write what is wanted, group by group, until cancelled.

        Raises:
          LogBookProblem: writing failed; the file may have an unfinished end, which the next opening cuts off.
        """
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            group = self._under_way = self._group
            self._group = _Group()
            try:
                await trio.to_thread.run_sync(self._append, "".join(group.lines.values()).encode())
            except OSError as error:
                raise LogBookProblem(f"the log book {self.path} cannot be written: {error}") from error
            self._keys.update(group.lines)
            group.written.set()

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file, left, self._size)
            self._size += written
            left = left[written:]
        os.fsync(self._file)


@asynccontextmanager
async def open_log_book(path: Path, *, fresh: bool = False) -> AsyncGenerator[LogBook]:
    """A log book that can be written in the block; open the hub inside, so that it ends first.

    Raises:
      LogBookProblem: it cannot be used, or writing failed meanwhile.
    """
    book = LogBook(path, fresh=fresh)
    try:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(book.write_groups)
            yield book
            nursery.cancel_scope.cancel()
    finally:
        book.close()
