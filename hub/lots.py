"""Going through the instances of a hub to change some of them, beside running work.

A lot is what one commit is waited for, so its size is for throughput. Within a lot others have their turns after every few changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from .queries import K, find_instances

if TYPE_CHECKING:
    from .runtime import Runtime

LOT: Final = 200
CHANGES_AT_A_TIME: Final = 16
"""Changes after which running work has its turns: a change may read and delete some dozen records."""


async def in_lots(
    runtime: Runtime, kind: type[K], prefix: bytes, matches: Callable[[K], bool], change: Callable[[K], None]
) -> None:
    """Have all instances changed that match, a lot at a time, each durable before the next; cancelling leaves the rest.

    Args:
      runtime: the hub.
      kind: the class of their records.
      prefix: what their keys in the directory begin with.
      matches: which ones are meant, as of the last commit, without their large values.
      change: given what was found; what is in memory may have gone on since.

    Raises:
      StorageError, HubClosed: storage fails, or the hub is closed.
    """
    token: str | None = None
    while True:
        page = await find_instances(runtime.store, kind, prefix, matches, lambda record: record, LOT, token)
        for start in range(0, len(page.items), CHANGES_AT_A_TIME):
            await trio.lowlevel.checkpoint()
            await runtime.admit()
            for record in page.items[start : start + CHANGES_AT_A_TIME]:
                change(record)
        await runtime.durable()
        token = page.token
        if token is None:
            return
