"""Taking up work after opening: only what was waiting is read (DESIGN, "Storage").

Activities in flight are started again, each with its attempt counted up. Instances with waiting messages are taken up
page by page, by jumping through the mailbox table from one instance to the next. Everything else stays on disk until a
message arrives for it, so a million parked instances cost nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import Store
from . import limits
from .engine import Engine
from .records import decode_activity

_log = logging.getLogger(__name__)


class Recovery:
    """What was waiting when the hub was opened, and has not been taken up yet.

    Attributes:
      done: everything has been taken up.
    """

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._inbox_at: bytes | None = b""
        self._inbox_end = keys.u64(engine.residence.next_number)

    @property
    def done(self) -> bool:
        """Whether everything has been taken up."""
        return self._inbox_at is None

    def take_up_more(self) -> None:
        """Take up the next page of messages."""
        if self._inbox_at is not None:
            self._take_up_messages(self._inbox_at)

    def take_up_activities(self) -> list[bytes]:
        """Schedule again what was in flight, and return the keys; before the first turn, which may cancel one of them.

        A client may have been faster, and have purged an instance with its activities.
        """
        found: list[bytes] = []
        purged = self._engine.batch.writes[tables.ACTIVITIES].copy()
        for key in _all_keys(self._store, tables.ACTIVITIES):
            if key in purged:
                continue
            try:
                data = self._store.get(tables.ACTIVITIES, key)
            except DamagedRecord as error:
                _log.error("a scheduled activity is damaged and set aside: %s", error)
                continue
            if data is not None:
                record = decode_activity(data)
                self._engine.schedule(key, msgspec.structs.replace(record, attempt=record.attempt + 1))
                found.append(key)
        return found

    def _take_up_messages(self, start: bytes) -> None:
        at: bytes | None = start
        for _ in range(limits.RECOVERY_PAGE):
            found = self._store.keys(tables.INBOX, at, self._inbox_end, 1)
            if not found:
                at = None
                break
            prefix = found[0][:8]
            at = keys.prefix_end(prefix)
            cell = self._engine.residence.take_up(prefix)
            if cell is not None:
                self._engine.touch(cell, arrived=0)
            if at is None:
                break
        self._inbox_at = at


def _all_keys(store: Store, table: str) -> Iterator[bytes]:
    start = b""
    while page := store.keys(table, start, None, 10_000):
        yield from page
        start = page[-1] + b"\0"
