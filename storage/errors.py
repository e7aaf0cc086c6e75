"""The root of every Perdure error, and the errors of storage.

Errors are sorted by whose move is next:

- the caller passed something that cannot be kept: :class:`NotStorable`;
- the caller has to use another hub, folder or program: :class:`HubInUse`, :class:`ForkedHub`,
  :class:`StorageUnusable`;
- the disk has to recover, nothing was written: :class:`StorageError`;
- room has to be made, nothing was accepted: :class:`StorageFull`;
- nobody can know whether the last commit took effect, the hub must be reopened:
  :class:`StorageInDoubt`;
- a stored record is damaged, or its codec has not the key for it: :class:`DamagedRecord`, :class:`UnreadableRecord`.

The root lives here because this is the lowest layer; every other layer derives from it.
"""

from __future__ import annotations


class PerdureError(Exception):
    """The base of every exception that Perdure raises on purpose."""


class InvariantViolated(PerdureError):
    """Something that cannot happen has happened: a defect in Perdure, never in the caller.

    The hub stops rather than going on from a state that it cannot explain.
    """


class StorageError(PerdureError):
    """A commit failed and certainly left no trace, or a read failed (D4).

    What was asked for is not acknowledged. The hub keeps the work that it had already computed and goes on
    trying to commit it, so it may still take effect later; repeat with the same ``request_id`` to be safe.
    If the outcome itself is unknown, :class:`StorageInDoubt` is raised instead.
    """


class StorageInDoubt(StorageError):
    """The outcome of a commit cannot be known (D10): the hub has stopped and must be reopened.

    What reopening finds decides. A commit is never repeated blindly.
    """


class StorageFull(StorageError):
    """There is no room for new work, and none was accepted: the quota or the floor of free space is reached (D4).

    What runs goes on, and service resumes by itself when there is room. A commit that met a full disk is a plain
    :class:`StorageError`.
    """


class StorageUnusable(StorageError):
    """The folder or file cannot be used as a hub: not writable, damaged header, foreign or newer format."""


class HubInUse(PerdureError):
    """Another process, or another hub object of this one, runs this hub (D5)."""


class ForkedHub(PerdureError):
    """This process is a fork of the one that opened the hub; only the parent may use it (D5)."""


class DamagedRecord(StorageError):
    """A stored record is not what was written (D9); it is reported and never used.

    Attributes:
      table: the table that the record was read from.
      key: the record's key.
      reason: what is wrong with it; that it does not match its checksum, unless another one is given.
    """

    def __init__(self, table: str, key: bytes, reason: str = "does not match its checksum: it was damaged on disk") -> None:
        super().__init__(table, key, reason)
        self.table = table
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"the record {self.key.hex()} of table {self.table!r} {self.reason}. It is not used; restore it from a backup"


class UnreadableRecord(DamagedRecord):
    """A stored record is what was written, and the hub's codec cannot decode it: its key is not known, say.

    It is treated like a damaged one (D9): never used, never overwritten.
    """

    def __str__(self) -> str:
        return (
            f"the record {self.key.hex()} of table {self.table!r} {self.reason}. It is kept and not used; "
            "open the hub with the codec and the keys that it was written with"
        )


class NotStorable(PerdureError, TypeError):
    """A value cannot be kept exactly as it is, so it is refused rather than altered (E4, E6).

    Attributes:
      place: where the value stands, such as ``state.items[3].price`` or ``argument 'amount'``.
      reason: what is wrong with it, and what is allowed.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class ValueUnreadable(PerdureError, ValueError):
    """Stored bytes do not fit the type that is asked for (E12).

    What is stored stays as it is. :class:`NotStorable` is the error of the other direction.

    Attributes:
      place: where it does not fit, such as ``state.items[3].price``.
      reason: what is stored there, what was expected, and what can be done.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"
