"""The hubs in a storage folder: listing, deleting and copying them.

Plain functions, which work outside of Trio too. Copying a large hub takes its time; in a Trio program call
``await trio.to_thread.run_sync(copy_hub, storage, "Bank", "BankCopy")``.
"""

from __future__ import annotations

from pathlib import Path

from ..entities.ids import check_hub_name
from ..storage.lmdb_hubs import copy_folder, delete_folder, folders_with_hubs


def list_hubs(storage: str | Path) -> list[str]:
    """The names of the hubs in a storage folder, in order; none if the folder does not exist yet.

    A hub that is damaged is listed too. Names are folded to lower case (I4).

    Raises:
      StorageUnusable: the folder cannot be read.
    """
    return folders_with_hubs(Path(storage))


def delete_hub(storage: str | Path, name: str) -> None:
    """Delete a hub with everything in it.

    If the process dies meanwhile, the hub is there as it was or is gone.

    Raises:
      HubInUse: a process runs it (D5). One that only reads it is told at its next read.
      StorageUnusable: there is no such hub, or its files cannot be deleted.
      ValueError, TypeError: the name is not allowed (I4).
    """
    delete_folder(_folder(storage, name))


def copy_hub(storage: str | Path, name: str, new_name: str) -> None:
    """Copy a hub under a new name, as of its last commit; from then on the two know nothing of each other.

    The copy goes on where the original stands: opened, it fires the same timers and runs the same activities, with the same
    idempotency keys. To look at it first, open it with ``paused=True``. It is opened with the original's codec and keys.

    If the process dies meanwhile, there is no copy, or a whole one.

    Raises:
      HubInUse: a process runs the hub, or this one reads it (D5).
      StorageUnusable: there is no such hub, it is damaged, the new name is taken, or the copy cannot be written.
      ValueError, TypeError: a name is not allowed (I4).
    """
    copy_folder(_folder(storage, name), _folder(storage, new_name))


def _folder(storage: str | Path, name: str) -> Path:
    return Path(storage) / check_hub_name(name)
