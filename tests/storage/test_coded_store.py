"""A store with a codec in front of it is a store: the contract, on top of any engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from perdure.storage import ZlibCodec, chain
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.coded_store import CodedStore
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.memory_store import MemoryStore
from perdure.storage.record_codec import CODEC_KEY
from perdure.storage.tables import INBOX, INSTANCES, META

from .contract import Owner, StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from perdure.storage.store import Store

KEY = bytes(range(32))


class CodedContract(StoreContract):
    """The contract, but for the one record that says which codec there is."""

    def test_statistics(self, owner: Owner) -> None:
        """Statistics count what the engine wrote: the record of the codec comes with the first batch."""
        owner.commit({INSTANCES: {b"a": b"1", b"b": b"2"}, INBOX: {b"c": b"3"}})
        owner.commit({INSTANCES: {b"a": None, b"absent": None}})
        figures = owner.store.statistics()
        assert (figures.commit_number, figures.commits, figures.puts, figures.deletes) == (2, 2, 4, 1)
        assert owner.store.get(META, CODEC_KEY) is not None


class TestCodedMemoryStore(CodedContract):
    """Encrypted, in memory."""

    @pytest.fixture
    def store(self) -> Store:
        return CodedStore(MemoryStore(), AesGcmCodec({"k": KEY}))


class TestCodedLmdbStore(CodedContract):
    """Compressed and encrypted, in LMDB."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return CodedStore(LmdbStore(tmp_path / "hub"), chain(ZlibCodec(), AesGcmCodec({"k": KEY})))
