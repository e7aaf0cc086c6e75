"""Checksums: every stored record proves that it is what was written, and where it was written (D9).

LMDB has none of its own: a bit that flips on disk becomes application state without anybody noticing. So each value
is stored with the CRC-32 of table name, key and value behind it. The key and the table are in it because a page
that was written to the wrong place holds records that are sound in themselves.

How it works: the table's name is hashed once, and the result is the start value of every checksum of the table.
The checksum is appended in the byte order in which CRC-32 consumes it, so that hashing value *and* checksum gives
the same residue for every sound record: reading needs no slice to compare, and only one to return.

CRC-32 and not a cryptographic hash: this is against damage, not against an attacker (who can write the checksum as
well), and it runs for every record that is read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from .errors import DamagedRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKSUM_BYTES: Final = 4

_RESIDUE: Final = 0x2144DF1C
"""What CRC-32 gives over any message that is followed by its own checksum, whatever the start value."""


class RecordSeal:
    """Puts checksums on the records of one table, and checks them."""

    __slots__ = ("_start", "_table")

    def __init__(self, table: str) -> None:
        self._table = table
        self._start = crc32(table.encode())

    def seal(self, key: bytes, value: bytes) -> bytes:
        """The bytes to store for a value."""
        return value + crc32(value, crc32(key, self._start)).to_bytes(CHECKSUM_BYTES, "little")

    def seal_all(self, records: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Like :meth:`seal` for many ``(key, value)``, without a call for each."""
        start = self._start
        return [(key, value + crc32(value, crc32(key, start)).to_bytes(CHECKSUM_BYTES, "little")) for key, value in records]

    def unseal(self, key: bytes, stored: bytes) -> bytes:
        """The value of a stored record.

        Raises:
          DamagedRecord: what is stored is not what was written under this key of this table.
        """
        if crc32(stored, crc32(key, self._start)) != _RESIDUE or len(stored) < CHECKSUM_BYTES:
            raise DamagedRecord(self._table, key)
        return stored[:-CHECKSUM_BYTES]
