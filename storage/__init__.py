"""Storage: ordered tables of bytes with atomic batches, and how values become bytes.

No engine is imported here: ``perdure.storage.lmdb_store`` and ``perdure.storage.memory_store`` are imported by whoever
uses them.
"""

from __future__ import annotations

from .errors import (
    DamagedRecord,
    ForkedHub,
    HubInUse,
    InvariantViolated,
    NotStorable,
    PerdureError,
    StorageError,
    StorageFull,
    StorageInDoubt,
    StorageUnusable,
    UnreadableRecord,
    ValueUnreadable,
)
from .record_codec import RecordCodec, chain
from .store import Batch, Commit, CommittedStore, Store, StoreStatistics, Writes
from .values import Codec, Values
from .zlib_codec import ZlibCodec

__all__ = [
    "Batch",
    "Codec",
    "Commit",
    "CommittedStore",
    "DamagedRecord",
    "ForkedHub",
    "HubInUse",
    "InvariantViolated",
    "NotStorable",
    "PerdureError",
    "RecordCodec",
    "Store",
    "StorageError",
    "StorageFull",
    "StorageInDoubt",
    "StorageUnusable",
    "StoreStatistics",
    "UnreadableRecord",
    "Values",
    "ValueUnreadable",
    "Writes",
    "ZlibCodec",
    "chain",
]
