"""Reading a stored journal, chunk by chunk."""

from __future__ import annotations

from ..orchestration.history import HistoryEntry
from ..storage import keys, tables
from ..storage.store import CommittedStore
from .records import decode_history

_PAGE = 1000


def read_journal(store: CommittedStore, prefix: bytes) -> tuple[list[HistoryEntry], int, int]:
    """The journal of an instance's execution, the number of the chunk after its last, and its size in bytes.

    Raises:
      DamagedRecord: a chunk is damaged.
    """
    history: list[HistoryEntry] = []
    start, stop = prefix, keys.prefix_end(prefix)
    chunks = size = 0
    while page := store.scan(tables.HISTORY, start, stop, _PAGE):
        for key, chunk in page:
            history.extend(decode_history(chunk))
            chunks = keys.read_u32(key, 8) + 1
            size += len(chunk)
        if len(page) < _PAGE:
            break
        start = page[-1][0] + b"\0"
    return history, chunks, size
