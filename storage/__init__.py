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
    ValueUnreadable,
)
from .store import Batch, Commit, Store, StoreStatistics, Writes
from .values import Codec, Values

__all__ = [
    "Batch",
    "Codec",
    "Commit",
    "DamagedRecord",
    "ForkedHub",
    "HubInUse",
    "InvariantViolated",
    "NotStorable",
    "PerdureError",
    "Store",
    "StorageError",
    "StorageFull",
    "StorageInDoubt",
    "StorageUnusable",
    "StoreStatistics",
    "Values",
    "ValueUnreadable",
    "Writes",
]
