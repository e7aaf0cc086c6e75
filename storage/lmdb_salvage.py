"""Reading what can still be read of a damaged data file, without LMDB.

LMDB ends the process when a page is not what it should be (an assertion, or a read beyond the file), so it cannot be asked. The
pages are read here with ordinary file reads. Two things make that simple: a record proves by its checksum that it is
whole and to which table it belongs, so nothing wrong can be taken for right; and a page knows its own number.

Pages that nothing leads to any more hold old versions of records, so which pages count matters. The trees are walked from the newer
meta page, as far as they are sound. A leaf that no tree leads to and that is not listed as free has lost its branch page, and counts
too; unless the list of free pages is damaged itself, since then nobody can tell. What stood on a damaged leaf is lost.

The layout is LMDB 0.9's, data format 1, 64 bit, in the machine's byte order. A page begins with its number (8 bytes), and at offset
10 its flags, at 12 and 14 the end of the list of offsets and the begin of the nodes; an overflow run has the number of its pages at
12. A node has the lower and upper half of its data's size, flags, and the size of its key, 2 bytes each; then key and data. In a
branch the first three are the number of the page below. A tree's root stands at offset 40 of its record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .batch_rules import STORE_KEYS
from .errors import DamagedRecord
from .lmdb_preflight import newest_meta
from .records import RecordSeal
from .tables import KEY_BYTES_MAX, META, TABLES

_BRANCH: Final = 0x01
_LEAF: Final = 0x02
_OVERFLOW: Final = 0x04
_BIG: Final = 0x01
_TREE: Final = 0x02
_HEADER_BYTES: Final = 16
_NODE_BYTES: Final = 8
_FREE_ROOT_AT: Final = 16 + 24 + 40
_MAIN_ROOT_AT: Final = _FREE_ROOT_AT + 48
_NOTHING: Final = (1 << 64) - 1


class Salvage:
    """What can be read of a data file. A context manager.

    Args:
      path: the data file; nobody writes it.

    Attributes:
      unproved: how many records were met that do not match their checksum under any table.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        meta = newest_meta(self._file, path, os.fstat(self._file).st_size)
        self._page_bytes = meta.page_bytes
        self._last_page = meta.last_page
        self._meta_at = (meta.transaction & 1) * meta.page_bytes
        self._seals = [(table, RecordSeal(table)) for table in TABLES]
        self._damaged = False
        self.unproved = 0

    def __enter__(self) -> Salvage:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def rows(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Table, key and stored value of every record that proves itself, without those that belong to the store itself."""
        used: set[int] = set()
        free: set[int] = set()
        for node in self._walk(self._root(_FREE_ROOT_AT), used):
            free.update(_numbers(self._data(node)))
        free_is_known = not self._damaged
        trees: list[int] = []
        for node in self._walk(self._root(_MAIN_ROOT_AT), used):
            if node[2] & _TREE and len(node[1]) >= 48:
                trees.append(struct.unpack_from("=Q", node[1], 40)[0])
        for tree in trees:
            for node in self._walk(tree, used):
                yield from self._proved(node)
        for number in range(2, self._last_page + 1) if free_is_known else ():
            if number not in used and number not in free:
                page = self._page(number)
                if page is not None and _flags(page) == _LEAF:
                    for node in _nodes(page):
                        yield from self._proved(node)

    def _root(self, at: int) -> int:
        return int(struct.unpack("=Q", os.pread(self._file, 8, self._meta_at + at))[0])

    def _page(self, number: int) -> bytes | None:
        """A page that says that it is this one."""
        page = os.pread(self._file, self._page_bytes, number * self._page_bytes)
        if len(page) < self._page_bytes or struct.unpack_from("=Q", page)[0] != number:
            return None
        return page

    def _walk(self, root: int, used: set[int]) -> Iterator[tuple[bytes, bytes, int]]:
        """The nodes of a tree's leaves, as far as sound pages lead to them; the pages met are noted as used."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number == _NOTHING or number in used or not 2 <= number <= self._last_page:
                continue
            page = self._page(number)
            if page is None or _flags(page) not in (_BRANCH, _LEAF):
                self._damaged = True
                continue
            used.add(number)
            if _flags(page) == _LEAF:
                for node in _nodes(page):
                    if node[2] & _BIG and len(node[1]) >= 8:
                        used.update(self._run(struct.unpack_from("=Q", node[1])[0]))
                    yield node
            else:
                waiting.extend(reversed(list(_children(page))))

    def _run(self, number: int) -> range:
        """The pages of an overflow run."""
        page = self._page(number) if 2 <= number <= self._last_page else None
        if page is None or not _flags(page) & _OVERFLOW:
            return range(0)
        return range(number, min(number + struct.unpack_from("=I", page, 12)[0], self._last_page + 1))

    def _data(self, node: tuple[bytes, bytes, int]) -> bytes:
        """A node's data, from its overflow run if it is there."""
        _, data, flags = node
        if not flags & _BIG or len(data) < 12:
            return data
        number, size = struct.unpack_from("=QI", data)
        run = self._run(number)
        if size > len(run) * self._page_bytes - _HEADER_BYTES:
            return b""
        return os.pread(self._file, size, number * self._page_bytes + _HEADER_BYTES)

    def _proved(self, node: tuple[bytes, bytes, int]) -> Iterator[tuple[str, bytes, bytes]]:
        key, stored = node[0], self._data(node)
        if node[2] & _TREE or not 0 < len(key) <= KEY_BYTES_MAX:
            return
        for table, seal in self._seals:
            try:
                seal.unseal(key, stored)
            except DamagedRecord:
                continue
            if table != META or key not in STORE_KEYS:
                yield table, key, stored
            return
        self.unproved += 1


def _flags(page: bytes) -> int:
    return int(struct.unpack_from("=H", page, 10)[0])


def _offsets(page: bytes) -> Iterator[int]:
    """Where the nodes of a page begin; offsets that cannot be are left out."""
    end = min(struct.unpack_from("=H", page, 12)[0], len(page))
    for at in range(_HEADER_BYTES, end - 1, 2):
        offset = struct.unpack_from("=H", page, at)[0]
        if _HEADER_BYTES <= offset <= len(page) - _NODE_BYTES:
            yield offset


def _nodes(page: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, data and flags of the nodes of a leaf. Of a large value the data is the number of its run, and its size."""
    for offset in _offsets(page):
        low, high, flags, key_bytes = struct.unpack_from("=4H", page, offset)
        begin = offset + _NODE_BYTES
        size = low | high << 16
        if flags & _BIG:
            yield (
                page[begin : begin + key_bytes],
                page[begin + key_bytes : begin + key_bytes + 8] + struct.pack("=I", size),
                flags,
            )
        elif begin + key_bytes + size <= len(page):
            yield page[begin : begin + key_bytes], page[begin + key_bytes : begin + key_bytes + size], flags


def _children(page: bytes) -> Iterator[int]:
    """The pages below a branch."""
    for offset in _offsets(page):
        low, middle, high = struct.unpack_from("=3H", page, offset)
        yield low | middle << 16 | high << 32


def _numbers(listed: bytes) -> Iterator[int]:
    """The pages that a record of the free list names; the first number is how many there are."""
    count = len(listed) // 8
    numbers = struct.unpack_from(f"={count}Q", listed)
    yield from numbers[1 : numbers[0] + 1] if numbers else ()
