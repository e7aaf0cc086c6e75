"""Memory of this process that is not backed by a file (``RssAnon``): mapped data does not count, LMDB's is mapped."""

from __future__ import annotations

import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

_SAMPLE_SECONDS = 0.01


@define
class Peak:
    """The most that was seen.

    Attributes:
      megabytes: in units of 10**6 bytes.
    """

    megabytes: float = 0.0

    def look(self) -> None:
        """Look now."""
        self.megabytes = max(self.megabytes, anonymous_megabytes())


@asynccontextmanager
async def watched_memory() -> AsyncGenerator[Peak]:
    """Look at the memory a hundred times a second, and at the end; what is given is right after the block."""
    peak = Peak()

    async def watch() -> None:
        while True:
            peak.look()
            await trio.sleep(_SAMPLE_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield peak
        peak.look()
        nursery.cancel_scope.cancel()


def anonymous_megabytes() -> float:
    """What it is now, in megabytes.

    Where there is no ``/proc`` the peak of all resident memory stands in.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("RssAnon"))
