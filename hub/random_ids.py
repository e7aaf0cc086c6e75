"""Random ids for instances and executions: UUIDs of version 4 in hex (I3), made without an object for each.

Random bytes come from a system call that lets go of the interpreter, so that each may cost a wait for the thread that writes.
They are fetched for many ids at once. A forked child forgets those that are left, which are its parent's.
"""

from __future__ import annotations

import os
from os import urandom
from typing import Final

AT_ONCE = 256
"""For how many ids random bytes are fetched."""

_BYTES: Final = 16
_RANDOM: Final = ~(0xF << 76 | 0x3 << 62)
_VERSION_4: Final = 4 << 76 | 0x2 << 62
"""Where RFC 9562 has the version and the variant."""

_ready: list[str] = []


def new_instance_id() -> str:
    """A random instance or execution id: 32 hexadecimal digits."""
    try:
        return _ready.pop()
    except IndexError:
        data = urandom(_BYTES * AT_ONCE)
        chunks = (data[start : start + _BYTES] for start in range(0, len(data), _BYTES))
        first, *others = (f"{int.from_bytes(chunk) & _RANDOM | _VERSION_4:032x}" for chunk in chunks)
        _ready.extend(others)
        return first


os.register_at_fork(after_in_child=lambda: _ready.clear())
