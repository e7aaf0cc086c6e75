"""From an older format to the present one, in the transaction in which an owner takes over a store.

A format is a number in the store's header (:mod:`perdure.storage.lmdb_folder`). A newer one than this program's is refused.
An older one is migrated step by step, each step from one number to the next, all within the one transaction that also
writes the new header and raises the owner epoch: after a crash at any point the store is wholly of the old format, or
wholly of the new one. The marker file follows after the commit; one that is behind its header record is brought up at
the next opening.

A step gets the transaction and all tables, those of the new format included, and reads and writes records as they are
stored, with their checksums. It is never changed once it was released: what it does is what stores out there went through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from .errors import StorageUnusable

if TYPE_CHECKING:
    import lmdb

    from .lmdb_writer import LmdbTable

_log = logging.getLogger(__name__)

Step: TypeAlias = "Callable[[lmdb.Transaction, Mapping[str, LmdbTable]], None]"

STEPS: Final[dict[int, Step]] = {}
"""Each step by the format that it starts from. There has been one format so far."""


def migrate(
    transaction: lmdb.Transaction, tables: Mapping[str, LmdbTable], folder: Path, from_format: int, to_format: int
) -> None:
    """Bring a store from one format to another.

    Args:
      transaction: a write transaction, which the caller commits with the new header.
      tables: all tables.
      folder: the hub's folder, for messages.
      from_format: the format that it has.
      to_format: the one that it is to have.

    Raises:
      StorageUnusable: there is no way from the one to the other.
    """
    for number in range(from_format, to_format):
        step = STEPS.get(number)
        if step is None:
            raise StorageUnusable(
                f"the hub {folder} has format {from_format}, and this Perdure cannot migrate from format {number}. "
                "Open it with a version between the two first"
            )
        _log.info("migrating the hub %s from format %d to %d", folder, number, number + 1)
        step(transaction, tables)
