"""The base of all records and messages.

They are data: made once, of parts that were there before, so none can be part of a cycle. Telling the garbage collector so
saves it from looking at them; it had the most to do of all when it did.
"""

from __future__ import annotations

import msgspec


class PlainData(msgspec.Struct, frozen=True, gc=False):
    """Data that is in no cycle: text, bytes, numbers, other plain data, and tuples and dicts of such."""
