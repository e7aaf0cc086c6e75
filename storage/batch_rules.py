"""What every engine refuses to write, checked before anything is written.

The rules are those of :mod:`perdure.storage.store`: batches come in sequence, from the present owner, with keys that
the strictest engine can hold. They stand here once, so that a test on one engine speaks for all. A breach is a
defect in Perdure, hence :class:`InvariantViolated`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import InvariantViolated
from .tables import KEY_BYTES_MAX, META, TABLES

if TYPE_CHECKING:
    from .store import Batch

COMMIT_KEY: Final = b"commit"
"""Where an engine may keep the commit number and the owner epoch, in the table ``meta``."""

HEADER_KEY: Final = b"header"
"""Where an engine may keep the identity and the format of the store, in the table ``meta``."""

STORE_KEYS: Final = frozenset((COMMIT_KEY, HEADER_KEY))
"""The keys of the table ``meta`` that no batch may write."""

_TABLES: Final = frozenset(TABLES)


def check_batch(batch: Batch, epoch: int, commit_number: int) -> None:
    """Refuse a batch that breaks the contract.

    Args:
      batch: the batch that was submitted.
      epoch: the epoch of the present owner.
      commit_number: the number of the last durable batch.

    Raises:
      InvariantViolated: it names another partition or epoch, its number is not the next one, or one of its tables
          or keys cannot be written.
    """
    if batch.epoch != epoch:
        raise InvariantViolated(f"a batch of owner epoch {batch.epoch} was submitted; the present owner's is {epoch}")
    if batch.number != commit_number + 1:
        raise InvariantViolated(f"batch number {batch.number} was submitted; the next one is {commit_number + 1}")
    if batch.partition != 0:
        raise InvariantViolated(f"a batch names partition {batch.partition}; this engine has one, number 0")
    for table, changes in batch.writes.items():
        if table not in _TABLES:
            raise unknown_table(table)
        if changes and (b"" in changes or max(map(len, changes)) > KEY_BYTES_MAX):
            raise bad_key(table, b"" if b"" in changes else max(changes, key=len))
        if table == META and not STORE_KEYS.isdisjoint(changes):
            raise InvariantViolated(f"a batch writes one of the keys of {META!r} that belong to the store itself")


def check_key(table: str, key: bytes) -> None:
    """Refuse a key that no engine can hold.

    Raises:
      InvariantViolated: it is empty or longer than :data:`KEY_BYTES_MAX`.
    """
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise bad_key(table, key)


def bad_key(table: str, key: bytes) -> InvariantViolated:
    """The error for a key that no engine can hold."""
    return InvariantViolated(
        f"a key of table {table!r} is {len(key)} bytes long ({key[:16].hex()}...); 1 to {KEY_BYTES_MAX} bytes are allowed"
    )


def unknown_table(table: str) -> InvariantViolated:
    """The error for a table that is not one of :data:`TABLES`."""
    return InvariantViolated(f"there is no table {table!r}; the tables are {', '.join(TABLES)}")
