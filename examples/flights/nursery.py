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
        leaves = _leaves(group)
        raise leaves[0] from (group if len(leaves) > 1 else None)


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group: BaseExceptionGroup[BaseException] = error  # pyright: ignore[reportUnknownVariableType] - of whatever it is
    return [leaf for member in group.exceptions for leaf in _leaves(member)]
