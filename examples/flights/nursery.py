"""A nursery for programs that tell people what went wrong, and so want an exception and no group."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_plain_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery out of which comes the first exception itself; if there were several, their group is its cause."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        first: BaseException = group
        alone = True
        while isinstance(first, BaseExceptionGroup):
            members: tuple[BaseException, ...] = first.exceptions
            alone = alone and len(members) == 1
            first = members[0]
        raise first from (None if alone else group)
