"""What every engine must do: one suite, run by a test class of each engine.

The subclass gives the fixture ``store``, a closed and empty store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.batch_rules import STORE_KEYS
from perdure.storage.errors import HubInUse, InvariantViolated
from perdure.storage.store import Batch
from perdure.storage.tables import INBOX, INSTANCES, KEY_BYTES_MAX, META, TABLES

if TYPE_CHECKING:
    from perdure.storage.store import Store, Writes

FOREVER = 60.0
"""Longer than any commit takes, in seconds."""

bounds = st.lists(st.sampled_from(b"\0\1a\xff"), max_size=3).map(bytes)
keys = bounds.filter(len)


@frozen
class Owner:
    """An opened store and the epoch that opening it gave."""

    store: Store
    epoch: int

    @classmethod
    def of(cls, store: Store) -> Owner:
        """Open a store."""
        return cls(store, store.open())

    def batch(self, writes: Writes) -> Batch:
        """The next batch."""
        return Batch(0, self.epoch, self.store.commit_number + 1, writes)

    def commit(self, writes: Writes) -> None:
        """Write the next batch and wait until it is durable."""
        commit = self.store.submit(self.batch(writes))
        assert commit.wait(FOREVER)
        commit.result()


class StoreContract:
    """The suite."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def owner(self, store: Store) -> Owner:
        return Owner.of(store)

    def test_new_store_is_empty(self, owner: Owner) -> None:
        """A new store has commit number 0 and no record that a batch could have written."""
        assert owner.store.commit_number == 0
        assert owner.epoch == 1
        for table in TABLES:
            assert set(owner.store.keys(table)) <= STORE_KEYS
        assert owner.store.get(INSTANCES, b"absent") is None

    def test_batch_is_read_back(self, owner: Owner) -> None:
        """What a batch put into several tables is there when it is durable, in each table its own."""
        owner.commit({INSTANCES: {b"k": b"state"}, INBOX: {b"k": b"message"}, META: {b"counter": b""}})
        assert owner.store.get(INSTANCES, b"k") == b"state"
        assert owner.store.get(INBOX, b"k") == b"message"
        assert owner.store.get(META, b"counter") == b""
        assert owner.store.commit_number == 1

    def test_put_replaces_and_none_deletes(self, owner: Owner) -> None:
        """One batch can replace, delete and add, and deleting what is absent changes nothing."""
        owner.commit({INSTANCES: {b"a": b"1", b"b": b"2"}})
        owner.commit({INSTANCES: {b"a": b"11", b"b": None, b"c": b"3", b"absent": None}})
        assert owner.store.scan(INSTANCES) == [(b"a", b"11"), (b"c", b"3")]

    def test_empty_batch_counts(self, owner: Owner) -> None:
        """A batch without writes is a commit like any other."""
        owner.commit({})
        owner.commit({INSTANCES: {}})
        assert owner.store.commit_number == 2

    @pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20])
    def test_value_sizes(self, owner: Owner, size: int) -> None:
        """A value comes back byte for byte, whatever its size."""
        value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        owner.commit({INSTANCES: {b"k": value}})
        assert owner.store.get(INSTANCES, b"k") == value

    def test_longest_key(self, owner: Owner) -> None:
        """A key of the greatest length is kept and found, and one byte more is refused with its length."""
        longest = b"k" * KEY_BYTES_MAX
        owner.commit({INSTANCES: {longest: b"v"}})
        assert owner.store.get(INSTANCES, longest) == b"v"
        assert owner.store.keys(INSTANCES, longest) == [longest]
        with pytest.raises(InvariantViolated, match="512 bytes"):
            owner.store.submit(owner.batch({INSTANCES: {longest + b"k": b"v"}}))

    def test_impossible_keys_and_tables(self, owner: Owner) -> None:
        """Empty keys, unknown tables and the store's own keys are refused, for writing and where it applies reading."""
        refused: list[Writes] = [{INSTANCES: {b"": b"v", b"k": b"v"}}, {"nowhere": {b"k": b"v"}}]
        refused.extend({META: {key: b"v"}} for key in STORE_KEYS)
        for writes in refused:
            with pytest.raises(InvariantViolated):
                owner.store.submit(owner.batch(writes))
        for key in (b"", b"k" * 512):
            with pytest.raises(InvariantViolated, match="bytes"):
                owner.store.get(INSTANCES, key)
        with pytest.raises(InvariantViolated, match="nowhere"):
            owner.store.get("nowhere", b"k")
        with pytest.raises(InvariantViolated, match="nowhere"):
            owner.store.scan("nowhere")
        with pytest.raises(InvariantViolated, match="nowhere"):
            owner.store.keys("nowhere")
        owner.commit({INSTANCES: {b"k": b"still usable"}})

    def test_scans(self, owner: Owner) -> None:
        """A scan gives the first records of its range in key order, at most as many as allowed; so do keys."""

        @settings(max_examples=30, deadline=None)
        @given(
            wanted=st.dictionaries(keys, st.binary(max_size=8), max_size=60),
            start=bounds,
            stop=st.none() | bounds,
            limit=st.integers(min_value=-1, max_value=40),
        )
        def check(wanted: dict[bytes, bytes], start: bytes, stop: bytes | None, limit: int) -> None:
            earlier: dict[bytes, bytes | None] = dict.fromkeys(owner.store.keys(INBOX))
            owner.commit({INBOX: {**earlier, **wanted}})
            inside = [key for key in sorted(wanted) if start <= key and (stop is None or key < stop)][: max(limit, 0)]
            assert owner.store.scan(INBOX, start, stop, limit) == [(key, wanted[key]) for key in inside]
            assert owner.store.keys(INBOX, start, stop, limit) == inside

        check()

    def test_many_records(self, owner: Owner) -> None:
        """Batches of thousands, in no order, leave a table in order, and so do mass deletions."""
        numbers = [(n * 7919) % 5000 for n in range(5000)]
        owner.commit({INSTANCES: {n.to_bytes(8, "big"): b"%d" % n for n in numbers}})
        owner.commit({INSTANCES: {n.to_bytes(8, "big"): None for n in numbers if n % 3}})
        assert owner.store.scan(INSTANCES, limit=10_000) == [(n.to_bytes(8, "big"), b"%d" % n) for n in range(0, 5000, 3)]

    def test_reads_see_whole_batches(self, owner: Owner) -> None:
        """While a batch is under way, a scan sees all of it or nothing."""
        keys_written = [n.to_bytes(8, "big") for n in range(500)]
        for content in (b"old", b"new"):
            commit = owner.store.submit(owner.batch({INBOX: dict.fromkeys(keys_written, content)}))
            seen = {tuple(value for _, value in owner.store.scan(INBOX))}
            while not commit.wait(0):
                seen.add(tuple(value for _, value in owner.store.scan(INBOX)))
            seen.add(tuple(value for _, value in owner.store.scan(INBOX)))
            assert all(len(set(values)) <= 1 and len(values) in (0, 500) for values in seen)

    def test_statistics(self, owner: Owner) -> None:
        """Statistics count commits, puts and those deletions that found something."""
        owner.commit({INSTANCES: {b"a": b"1", b"b": b"2"}, INBOX: {b"c": b"3"}})
        owner.commit({INSTANCES: {b"a": None, b"absent": None}})
        figures = owner.store.statistics()
        assert (figures.commit_number, figures.commits, figures.puts, figures.deletes) == (2, 2, 3, 1)
        assert figures.file_bytes >= figures.live_bytes >= 0

    def test_reopening_keeps_everything(self, owner: Owner) -> None:
        """Closing and opening keeps records and commit number, raises the epoch, and statistics start anew."""
        owner.commit({INSTANCES: {b"k": b"v"}})
        owner.store.close()
        again = Owner.of(owner.store)
        assert again.epoch == owner.epoch + 1
        assert again.store.commit_number == 1
        assert again.store.get(INSTANCES, b"k") == b"v"
        assert again.store.statistics().commits == 0
        again.commit({INSTANCES: {b"k": b"w"}})
        assert again.store.get(INSTANCES, b"k") == b"w"

    def test_close_finishes_the_commit_under_way(self, owner: Owner) -> None:
        """A batch that nobody waited for is durable after closing."""
        commit = owner.store.submit(owner.batch({INSTANCES: {b"k": b"v"}}))
        owner.store.close()
        assert commit.wait(0)
        commit.result()
        assert Owner.of(owner.store).store.get(INSTANCES, b"k") == b"v"

    def test_settled_commit_stays_settled(self, owner: Owner) -> None:
        """Waiting and asking for the result can be repeated, also after the next batch."""
        first = owner.store.submit(owner.batch({}))
        assert first.wait(FOREVER)
        owner.commit({})
        assert first.wait(0)
        first.result()
        first.result()

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_batch_number_must_follow(self, owner: Owner, number: int) -> None:
        """A batch whose number is not one more than the last one's is refused, and the right one is still accepted."""
        owner.commit({})
        with pytest.raises(InvariantViolated, match=f"batch number {number} .* next one is 2"):
            owner.store.submit(Batch(0, owner.epoch, number, {INSTANCES: {b"k": b"v"}}))
        assert owner.store.get(INSTANCES, b"k") is None
        owner.commit({})

    def test_batch_of_an_earlier_owner_is_refused(self, owner: Owner) -> None:
        """A batch with the epoch of an owner that was replaced is refused, and so is one of another partition."""
        owner.store.close()
        again = Owner.of(owner.store)
        with pytest.raises(InvariantViolated, match=r"owner epoch 1 .* is 2"):
            again.store.submit(owner.batch({}))
        with pytest.raises(InvariantViolated, match="partition 1"):
            again.store.submit(Batch(1, again.epoch, 1, {}))

    def test_second_opening_is_refused(self, owner: Owner) -> None:
        """An open store cannot be opened again, and goes on undisturbed."""
        with pytest.raises(HubInUse):
            owner.store.open()
        owner.commit({})

    def test_closing_twice(self, store: Store) -> None:
        """Closing does nothing to a store that is closed or was never opened."""
        store.close()
        store.open()
        store.close()
        store.close()

    def test_closed_store_refuses(self, owner: Owner) -> None:
        """Every verb of a closed store says that it is not open."""
        batch = owner.batch({})
        owner.store.close()
        verbs = [
            lambda: owner.store.get(INSTANCES, b"k"),
            lambda: owner.store.scan(INSTANCES),
            lambda: owner.store.keys(INSTANCES),
            lambda: owner.store.submit(batch),
            lambda: owner.store.commit_number,
            lambda: owner.store.statistics(),
        ]
        for verb in verbs:
            with pytest.raises(InvariantViolated, match="not open"):
                verb()
