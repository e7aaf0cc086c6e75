"""Room for new work: refused early, so that what runs can be finished (D4).

A full disk loses nothing, but it stops everything: completions and deletions need room too. So new work of clients (starts, signals now
or later, calls, events, updates) is refused before that: when the data has reached the hub's quota, or when what is free has
come down to a floor. What is free is the disk's room and the pages inside the file that hold nothing any more, which are used
again first: so service resumes by itself when something was purged, or the disk has room again. What runs goes on in the
room below the floor, and above the quota; so do deleting, terminating, cancelling, suspending, resuming and purging, and what brings nothing new to the
disk: redriving a letter, rewinding an instance.

It is looked at when a client asks for something, a few times a second at most.
"""

from __future__ import annotations

import logging
import math
from time import monotonic

from ..entities.class_definition import IMPLICIT_DELETE
from ..storage.errors import StorageFull
from ..storage.store import Store
from . import limits

_log = logging.getLogger(__name__)


class Space:
    """The room of one hub.

    Args:
      store: its storage.
      quota: bytes that its data may have; ``None`` for no limit.
      floor: bytes that must be free for new work to be accepted.

    Attributes:
      refusal: why new work was refused when it was last looked at; ``None`` if there is room.
    """

    def __init__(self, store: Store, quota: int | None, floor: int) -> None:
        self._store = store
        self._quota = quota
        self._floor = floor
        self._look_at = 0.0
        self.refusal: str | None = None

    def check(self, operation: str = "") -> None:
        """Refuse new work if there is no room for it.

        Args:
          operation: the operation that a client asks an entity for; ``delete`` makes room, so it is never refused.

        Raises:
          StorageFull: there is none; nothing was accepted.
          StorageError: storage cannot be read.
        """
        self.look()
        if self.refusal is not None and operation != IMPLICIT_DELETE:
            raise StorageFull(self.refusal)

    def look(self) -> None:
        """See whether there is room, if it is time to.

        Raises:
          StorageError: storage cannot be read.
        """
        if (now := monotonic()) >= self._look_at:
            self._look_at = now + limits.SPACE_SECONDS
            self._look()

    def _look(self) -> None:
        figures = self._store.statistics()
        used, free = figures.live_bytes, figures.disk_free_bytes
        refusal = None
        if self._quota is not None and used >= self._quota:
            refusal = (
                f"the hub's data has {used} bytes, and its quota is {self._quota} (quota): no new work is taken. What runs "
                "goes on. Purge or delete what is not needed, or raise the quota"
            )
        elif free is not None and (room := free + figures.file_bytes - used) < self._floor:
            refusal = (
                f"only {room} bytes are free on the hub's disk and in its file, and {self._floor} are kept for what runs "
                "(free_space_floor): no new work is taken until there is room. Free some, or purge or delete what is not needed"
            )
        if (refusal is None) != (self.refusal is None):
            _log.warning("%s", refusal or "there is room for new work again")
        self.refusal = refusal
        if self._quota is None and (free is None or not self._floor):
            self._look_at = math.inf
