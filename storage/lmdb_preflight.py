"""Checks of a data file before LMDB maps it into memory.

LMDB trusts its file. An empty one becomes a new, empty database without a word; one that is shorter than its pages
say kills the process with SIGBUS at the first read of a missing page, which Python cannot catch. So the two meta
pages are read here with ordinary file reads.

A data file that is shorter than its last page may be sound: pages that a transaction took at the end of the file
and gave back before it committed are never written. Only a walk over the whole file tells the two apart, so it is
made then (:mod:`perdure.storage.lmdb_pages`). :func:`pad_to_last_page` at closing keeps that rare.

Both meta pages have the same layout (LMDB 0.9, data format 1, 64 bit, integers in the machine's byte order). At
offset 10 the page's flags; 16 the magic number; 20 the format; 40 the page size; 136 the number of the last page;
144 the number of the transaction that wrote it. The newer of the two counts.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from .errors import StorageUnusable
from .plain_data import PlainData

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = 0xBEEFC0DE
_DATA_FORMAT: Final = 1
_META_FLAG: Final = 0x08
_META_BYTES: Final = 152
_UNWRITTEN_BYTES_MAX: Final = 1 << 30
"""No transaction leaves more than this, and as much again as the file has, unwritten at its end."""

_PAGE_BYTES_MIN: Final = 512
_PAGE_BYTES_MAX: Final = 32768


class Meta(PlainData, frozen=True):
    """What a meta page says: the size of pages, the number of the last one, and of the transaction that wrote it."""

    page_bytes: int
    last_page: int
    transaction: int


def check_data_file(path: Path) -> bool:
    """Refuse a data file that LMDB would misread, or die of, and tell whether it is shorter than its pages say.

    Raises:
      StorageUnusable: it is missing, empty, cut off, damaged in its meta pages, or no LMDB file of this machine.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            meta = newest_meta(file.fileno(), path, size)
    except FileNotFoundError as error:
        raise StorageUnusable(f"{path} is missing: the hub had been created. Restore it from a backup") from error
    except OSError as error:
        raise StorageUnusable(f"{path} cannot be read: {error}") from error
    wanted = (meta.last_page + 1) * meta.page_bytes
    if wanted > 2 * size + _UNWRITTEN_BYTES_MAX:
        raise StorageUnusable(
            f"the newer meta page of {path} says that the file has {wanted} bytes, and it has {size}: it is damaged, or the file "
            "was truncated. Restore it from a backup"
        )
    return size < wanted


def pad_to_last_page(path: Path) -> None:
    """Make a closed data file as long as its pages say, so that the next opening need not walk all of it.

    Raises:
      OSError: the file cannot be changed. It is sound all the same.
      StorageUnusable: its meta pages are damaged.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        meta = newest_meta(file.fileno(), path, size)
        wanted = (meta.last_page + 1) * meta.page_bytes
        if size < wanted:
            file.truncate(wanted)


def newest_meta(descriptor: int, path: Path, size: int) -> Meta:
    """The meta page that counts.

    Raises:
      StorageUnusable: one of the two is damaged, or the file is empty.
    """
    if size == 0:
        raise StorageUnusable(f"{path} is empty: the hub had been created. Restore it from a backup")
    first = _read_meta(descriptor, 0, path)
    second = _read_meta(descriptor, first.page_bytes, path)
    return max(first, second, key=lambda meta: meta.transaction)


def _read_meta(descriptor: int, offset: int, path: Path) -> Meta:
    page = os.pread(descriptor, _META_BYTES, offset)
    place = f"the meta page at byte {offset} of {path}"
    if len(page) < _META_BYTES:
        raise StorageUnusable(f"{place} is cut off: the file was truncated. Restore it from a backup")
    (flags,) = struct.unpack_from("=H", page, 10)
    magic, data_format = struct.unpack_from("=II", page, 16)
    (page_bytes,) = struct.unpack_from("=I", page, 40)
    last_page, transaction = struct.unpack_from("=QQ", page, 136)
    if magic != _MAGIC or not flags & _META_FLAG:
        raise StorageUnusable(f"{place} is no LMDB page of this machine: the file is damaged or of another kind")
    if data_format != _DATA_FORMAT:
        raise StorageUnusable(f"{place} has LMDB data format {data_format}; a hub has data format {_DATA_FORMAT}")
    if not _PAGE_BYTES_MIN <= page_bytes <= _PAGE_BYTES_MAX or page_bytes & (page_bytes - 1):
        raise StorageUnusable(f"{place} says that pages have {page_bytes} bytes, which none can have: it is damaged")
    return Meta(page_bytes, last_page, transaction)
