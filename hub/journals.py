"""Reading a stored journal, chunk by chunk."""

from __future__ import annotations

from ..orchestration.history import HistoryEntry
from ..storage import keys, tables
from ..storage.store import CommittedStore
from .records import decode_history

_PAGE = 1000


def read_chunks(store: CommittedStore, prefix: bytes) -> dict[bytes, bytes]:
    """The chunks of the journal of an instance's execution, by key; they are numbered from 0 without gaps.

    Raises:
      DamagedRecord: a chunk is damaged.
    """
    chunks: dict[bytes, bytes] = {}
    start, stop = prefix, keys.prefix_end(prefix)
    while page := store.scan(tables.HISTORY, start, stop, _PAGE):
        chunks.update(page)
        if len(page) < _PAGE:
            break
        start = page[-1][0] + b"\0"
    return chunks


def entries_of(chunks: dict[bytes, bytes]) -> list[HistoryEntry]:
    """The entries of a journal, in order."""
    return [entry for key in sorted(chunks) for entry in decode_history(chunks[key])]


def read_journal(store: CommittedStore, prefix: bytes) -> list[HistoryEntry]:
    """The journal of an instance's execution.

    Raises:
      DamagedRecord: a chunk is damaged.
    """
    return entries_of(read_chunks(store, prefix))
