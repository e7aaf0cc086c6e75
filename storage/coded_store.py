"""A store whose records pass through a codec; see :mod:`perdure.storage.record_codec` for what that means.

It stands between a hub and any engine, so that neither knows of it, and a hub without a codec pays nothing. Encoding
happens in the caller's thread when a batch is submitted; a batch that is submitted again is encoded again.

What cannot be decoded is like what is damaged (D9): reported with its place, never used and never overwritten.
"""

from __future__ import annotations

from .errors import StorageError
from .record_codec import CODEC_KEY, PLAIN_TABLES, RecordCodec, check_codec, decoded, marker_of, place_of
from .store import Batch, Commit, CommittedStore, Store, StoreStatistics, Writes
from .tables import META


class CodedReads:
    """The last commit of a store, decoded; see :class:`perdure.storage.store.CommittedStore`."""

    def __init__(self, store: CommittedStore, codec: RecordCodec) -> None:
        self._source = store
        self._codec = codec

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key, or ``None``.

        Raises:
          UnreadableRecord: the codec cannot decode it.
          DamagedRecord, StorageError: as for the store.
        """
        stored = self._source.get(table, key)
        return None if stored is None else decoded(self._codec, table, key, stored)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` records with ``start <= key < stop`` in key order; ``stop=None`` is the table's end.

        Raises:
          UnreadableRecord: the codec cannot decode one of them.
          DamagedRecord, StorageError: as for the store.
        """
        found = self._source.scan(table, start, stop, limit)
        return found if table in PLAIN_TABLES else [(key, decoded(self._codec, table, key, stored)) for key, stored in found]

    def keys(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[bytes]:
        """Like :meth:`scan`, keys only."""
        return self._source.keys(table, start, stop, limit)


class CodedStore(CodedReads):
    """A store; see :class:`perdure.storage.store.Store` for what the methods do.

    Args:
      store: the engine, not open yet.
      codec: what its records pass through.
    """

    def __init__(self, store: Store, codec: RecordCodec) -> None:
        super().__init__(store, codec)
        self._store = store
        self._marked = False

    def open(self) -> int:
        """Become the owner and return the new owner epoch.

        Raises:
          StorageUnusable: the hub was written with another codec, with none, or with keys that this one does not have.
          HubInUse: another owner runs it.
        """
        epoch = self._store.open()
        try:
            check_codec(self._store, self._codec, new=self._store.commit_number == 0)
        except BaseException:
            self._store.close()
            raise
        self._marked = False
        return epoch

    @property
    def commit_number(self) -> int:
        """The number of the last durable batch, 0 in a new store."""
        return self._store.commit_number

    def submit(self, batch: Batch) -> Commit:
        """Encode a batch and begin to write it; the first one says which codec the hub has.

        Raises:
          StorageError: the codec failed; nothing was written.
          InvariantViolated, StorageInDoubt: as for the store.
        """
        writes: Writes = {table: self._encoded(table, changes) for table, changes in batch.writes.items()}
        if not self._marked:
            writes[META] = {**writes.get(META, {}), CODEC_KEY: marker_of(self._codec)}
        commit = self._store.submit(Batch(batch.partition, batch.epoch, batch.number, writes))
        return commit if self._marked else _Marking(self, commit)

    def marked(self) -> None:
        """The record that says which codec the hub has is durable."""
        self._marked = True

    def statistics(self) -> StoreStatistics:
        """Figures for people and tests."""
        return self._store.statistics()

    def close(self) -> None:
        """Wait for the commit under way, give up ownership and close. Closing twice does nothing."""
        self._store.close()

    def _encoded(self, table: str, changes: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        if table in PLAIN_TABLES:
            return changes
        encode = self._codec.encode
        try:
            return {key: None if value is None else encode(value, place_of(table, key)) for key, value in changes.items()}
        except Exception as error:
            raise StorageError(f"the codec {self._codec.name!r} could not encode a record of table {table!r}: {error}") from error


class _Marking:
    """A commit that also says which codec the hub has."""

    def __init__(self, store: CodedStore, commit: Commit) -> None:
        self._store = store
        self._commit = commit

    def wait(self, seconds: float) -> bool:
        return self._commit.wait(seconds)

    def result(self) -> None:
        self._commit.result()
        self._store.marked()
