"""MemoryStore and LmdbStore agree: whatever is done to both, both answer the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from perdure.storage.batch_rules import STORE_KEYS
from perdure.storage.errors import InvariantViolated
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch
from perdure.storage.tables import INBOX, INSTANCES, META, TABLES

from .contract import Owner

if TYPE_CHECKING:
    from perdure.storage.store import Store, Writes

tables = st.sampled_from([META, INSTANCES, INBOX])
keys = st.sampled_from([b"a", b"aa", b"b", b"i", b"i\0", b"z", b"\xff", b"k" * 511, b"\xff" * 511])
values = st.none() | st.binary(max_size=20) | st.just(b"big" * 3000)
batches = st.dictionaries(tables, st.dictionaries(keys, values, max_size=8), max_size=3)
bounds = st.none() | keys


class Agreement(RuleBasedStateMachine):
    """Drives both stores with the same steps."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.memory = MemoryStore()
        self.lmdb = LmdbStore(Path(self.place.name) / "hub")
        self.open()

    def open(self) -> None:
        self.owners = (Owner.of(self.memory), Owner.of(self.lmdb))
        assert self.owners[0].epoch == self.owners[1].epoch

    def stores(self) -> tuple[Store, Store]:
        return self.memory, self.lmdb

    @rule(writes=batches)
    def commit(self, writes: Writes) -> None:
        """A batch is durable in both."""
        for owner in self.owners:
            owner.commit(writes)

    @rule(table=tables, key=keys)
    def get(self, table: str, key: bytes) -> None:
        """A read gives the same in both."""
        a, b = (store.get(table, key) for store in self.stores())
        assert a == b

    @rule(table=tables, start=bounds, stop=bounds, limit=st.integers(-1, 12))
    def scan(self, table: str, start: bytes | None, stop: bytes | None, limit: int) -> None:
        """A scan gives the same in both; the store's own records stand in one of them only, so they bound it."""
        lower = max(start or b"", b"header\0") if table == META else start or b""
        a, b = (store.scan(table, lower, stop, limit) for store in self.stores())
        assert a == b
        assert [store.keys(table, lower, stop, limit) for store in self.stores()] == [[key for key, _ in a]] * 2

    @rule(number=st.integers(-1, 3), epoch=st.integers(-1, 1), writes=batches)
    def submit_out_of_turn(self, number: int, epoch: int, writes: Writes) -> None:
        """A batch with a wrong number or epoch is refused by both."""
        if (number, epoch) == (1, 0):
            return
        for owner in self.owners:
            try:
                owner.store.submit(Batch(0, owner.epoch + epoch, owner.store.commit_number + number, writes))
            except InvariantViolated:
                continue
            raise AssertionError(f"{owner.store} took a batch out of turn")

    @rule()
    def reopen(self) -> None:
        """Both can be closed and opened again."""
        for store in self.stores():
            store.close()
        self.open()

    @rule(lost=batches)
    def crash(self, lost: Writes) -> None:
        """A commit that did not finish is lost: in one it is under way at the crash, the other never saw it."""
        self.memory.hold_commits()
        self.memory.submit(self.owners[0].batch(lost))
        self.memory.crash()
        self.memory.hold_commits(False)
        self.lmdb.close()
        self.open()

    @invariant()
    def same_content(self) -> None:
        """Both hold the same records under the same commit number."""
        assert self.memory.commit_number == self.lmdb.commit_number
        for table, records in self.memory.snapshot().items():
            found = dict(self.lmdb.scan(table))
            if table == META:
                found = {key: value for key, value in found.items() if key not in STORE_KEYS}
            assert found == records
        a, b = (store.statistics() for store in self.stores())
        assert (a.commits, a.puts, a.deletes) == (b.commits, b.puts, b.deletes)

    def teardown(self) -> None:
        self.lmdb.close()
        self.place.cleanup()


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_the_machine_knows_all_tables() -> None:
    """The comparison covers every table that a store has."""
    assert set(MemoryStore().snapshot()) == set(TABLES)
