"""How often Python's garbage collector looks around while a hub is open.

A hub makes a few containers for each message and lets go of nearly all of them within milliseconds, without the collector's
help. A collector that comes after every 700 of them, which is CPython's setting of old, finds them in use, looks at each and
moves them on to be looked at again: a tenth of the whole processor time under load. One that comes after ten thousand finds
most of them gone.

The setting is the whole process's, so a hub is careful with it. It changes only a setting that nobody has touched; the last
hub that closes puts it back, unless somebody has set another one meanwhile; a forked child has it put back at once. A program
that wants none of this sets thresholds of its own, or disables the collector, before it opens its first hub.
"""

from __future__ import annotations

import gc
import os
import sys
from threading import Lock
from typing import Final

UNTOUCHED: Final = (
    (700, 10, 10) if sys.version_info < (3, 13) else (2000, 10, 10) if sys.version_info < (3, 14) else (2000, 10, 0)
)
"""The thresholds as CPython sets them. Who sets just these cannot be told from who sets none."""

WHILE_OPEN: Final = 10_000
"""The threshold while a hub is open. Garbage in cycles lasts longer by that many containers at most, some megabytes."""

_lock = Lock()
_open_hubs = 0
_changed = False


def hub_opened() -> None:
    """A hub of this process opens: the first one has the collector come less often, if that is as Python has set it."""
    global _open_hubs, _changed  # noqa: PLW0603 - the setting is the process's, and so is what is known of it
    with _lock:
        _open_hubs += 1
        if _open_hubs == 1 and gc.get_threshold() == UNTOUCHED and gc.isenabled():
            _changed = True
            gc.set_threshold(WHILE_OPEN, *UNTOUCHED[1:])


def hub_closed() -> None:
    """A hub closes: the last one puts back what the first one found, unless that was set anew meanwhile."""
    global _open_hubs  # noqa: PLW0603
    with _lock:
        _open_hubs = max(0, _open_hubs - 1)  # a forked child leaves its parent's hubs too, which it never opened
        if not _open_hubs:
            _put_back()


def _put_back() -> None:
    global _changed  # noqa: PLW0603
    if _changed and gc.get_threshold() == (WHILE_OPEN, *UNTOUCHED[1:]):
        gc.set_threshold(*UNTOUCHED)
    _changed = False


def _forked() -> None:
    """This process is a child that has none of its parent's hubs, and perhaps a copy of a lock that a thread of the parent holds."""
    global _open_hubs, _lock
    _open_hubs, _lock = 0, Lock()
    _put_back()


os.register_at_fork(after_in_child=_forked)
