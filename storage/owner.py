"""Who runs a hub: at most one owner, decided by a lock that the kernel takes back when its holder dies (D5).

LMDB lets a second process write beside the first one, so ownership is Perdure's own: ``flock`` on a file that
nothing else is kept in. Why ``flock``: it belongs to the open file and not to the process, so a second store object
of the same process is refused like a second process, opening and closing the file elsewhere in the process does not
drop it (as it would an ``fcntl`` lock), and ``kill -9`` frees it. The file holds the owner's process id, only to say
in the refusal who it is. It is never deleted: whoever deletes a lock file may delete one that another just locked.

Forks: a child shares the parent's open file, and with it the lock. It therefore closes its copies at once, else the
hub would stay locked after the parent's death. It is told apart by its process id, and refused
(:class:`ForkedHub`). One hook for all locks is registered at import, because a hook cannot be taken back.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Final

from .errors import HubInUse, StorageUnusable

if TYPE_CHECKING:
    from pathlib import Path

_held: Final[set[int]] = set()
"""Descriptors of the locks that this process holds."""

_held_guard: Final = Lock()
"""Held across a fork, so that no child is born between the opening of a descriptor and its entry in the set."""


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()
    _held_guard.release()


os.register_at_fork(before=_held_guard.acquire, after_in_parent=_held_guard.release, after_in_child=_close_in_child)


class OwnerLock:
    """The right to run one hub, as long as it is held and the process lives.

    Args:
      path: the lock file; its folder exists.
      hub: the hub's folder, for messages.
    """

    def __init__(self, path: Path, hub: Path) -> None:
        self._path = path
        self._hub = hub
        self._descriptor: int | None = None
        self._pid = 0

    def acquire(self) -> None:
        """Become the owner.

        Raises:
          HubInUse: another process or another object of this process holds the lock.
          StorageUnusable: the lock file cannot be written or locked.
        """
        with _held_guard:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StorageUnusable(f"the owner lock {self._path} of a hub cannot be written: {error}") from error
            try:
                self._lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            _held.add(descriptor)
        self._descriptor = descriptor
        self._pid = os.getpid()

    def release(self) -> None:
        """Give the hub up. Releasing what is not held, or in a forked child, does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or self._pid != os.getpid():
            return
        with _held_guard:
            _held.discard(descriptor)
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HubInUse(self._refusal(os.pread(descriptor, 32, 0))) from error
        except OSError as error:
            raise StorageUnusable(
                f"the owner lock {self._path} cannot be locked: {error}. A hub needs a file system with flock"
            ) from error
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # a full disk: the hub is ours all the same, a refusal only cannot name us
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def _refusal(self, written: bytes) -> str:
        pid = written.strip().decode("ascii", "replace")
        if pid == str(os.getpid()):
            owner = f"this process ({pid}) through another store object"
        else:
            owner = f"process {pid}" if pid else "another process"
        return f"the hub {self._hub} is run by {owner}; a hub has one owner at a time. Stop that one or use another hub"
