"""The first limit: LMDB alone, writing as much under the same keys in the same batches.

A fresh environment with default flags (every commit is forced to disk), one named database a table, each batch one
transaction, keys in sorted order, which is LMDB's fastest. Values are zeros; each table's values of a batch are all of
their average size, and as long as the hub's with its checksums. What was written before the measured stretch is written
first, untimed, so that overwriting and deleting find what they found in the hub.

Beside it the measure of the disk: commits of one put each. What must wait for its own commit can be no faster.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import lmdb
from perdure.storage.records import CHECKSUM_BYTES
from perdure.storage.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .recording import BatchShape

_MAP_BYTES = 64 << 30
_ONE_PUT_BYTES = 100
_COMMIT_RECORD = (b"commit", bytes(16 + CHECKSUM_BYTES))


def commit_seconds(folder: Path, before: Sequence[BatchShape], measured: Sequence[BatchShape]) -> list[float]:
    """Write batches with LMDB alone; return how long each of the measured ones took, in seconds.

    Args:
      folder: where to do it; created, and removed at the end.
      before: batches to write first.
      measured: batches to write and time.
    """
    taken: list[float] = []
    folder.mkdir(parents=True)
    try:
        with lmdb.open(str(folder), map_size=_MAP_BYTES, max_dbs=len(TABLES)) as environment:
            with environment.begin(write=True) as transaction:
                handles = {table: environment.open_db(table.encode(), transaction) for table in TABLES}
            for number, shape in enumerate((*before, *measured)):
                prepared = [_prepared(table.puts, table.value_bytes) for table in shape]
                started = perf_counter()
                with environment.begin(write=True) as transaction:
                    for table, records in zip(shape, prepared, strict=True):
                        handle = handles[table.table]
                        if records:
                            transaction.cursor(handle).putmulti(records)
                        for key in sorted(table.deletes):
                            transaction.delete(key, db=handle)
                    transaction.put(*_COMMIT_RECORD, db=handles["meta"])
                if number >= len(before):
                    taken.append(perf_counter() - started)
    finally:
        shutil.rmtree(folder)
    return taken


def one_put_seconds(folder: Path, amount: int) -> list[float]:
    """Commit that many records of 100 bytes, each in a transaction of its own; return how long each took, in seconds.

    Args:
      folder: where to do it; created, and removed at the end.
      amount: how many; their keys are scattered.
    """
    taken: list[float] = []
    folder.mkdir(parents=True)
    try:
        with lmdb.open(str(folder), map_size=_MAP_BYTES) as environment:
            for number in range(amount):
                key, value = b"%016x" % (number * 2_654_435_761 % 2**32), bytes(_ONE_PUT_BYTES)
                started = perf_counter()
                with environment.begin(write=True) as transaction:
                    transaction.put(key, value)
                taken.append(perf_counter() - started)
    finally:
        shutil.rmtree(folder)
    return taken


def _prepared(puts: list[bytes], value_bytes: int) -> list[tuple[bytes, bytes]]:
    if not puts:
        return []
    value = bytes(round(value_bytes / len(puts)) + CHECKSUM_BYTES)
    return [(key, value) for key in sorted(puts)]
