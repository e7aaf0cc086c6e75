"""Going through the instances of a hub to change some of them, beside running work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .queries import K, find_instances

if TYPE_CHECKING:
    from .runtime import Runtime

_AT_A_TIME: Final = 200


async def in_lots(
    runtime: Runtime, kind: type[K], prefix: bytes, matches: Callable[[K], bool], change: Callable[[K], None]
) -> None:
    """Have all instances changed that match, a few at a time, each lot durable before the next; cancelling leaves the rest.

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
        page = await find_instances(runtime.store, kind, prefix, matches, lambda record: record, _AT_A_TIME, token)
        await runtime.admit()
        for record in page.items:
            change(record)
        await runtime.durable()
        token = page.token
        if token is None:
            return
