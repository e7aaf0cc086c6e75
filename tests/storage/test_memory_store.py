"""MemoryStore: the contract, and the knobs that make it fail."""

from __future__ import annotations

from contextlib import suppress

import pytest
from perdure.storage.errors import InvariantViolated, StorageError, StorageInDoubt
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Store
from perdure.storage.tables import INBOX, INSTANCES, TABLES

from .contract import Owner, StoreContract


class TestMemoryStore(StoreContract):
    """The contract."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def owner(memory: MemoryStore) -> Owner:
    return Owner.of(memory)


def test_commits_are_settled_at_once(owner: Owner) -> None:
    """A commit is durable when submit returns, without any waiting."""
    commit = owner.store.submit(owner.batch({INSTANCES: {b"k": b"v"}}))
    assert commit.wait(0)
    assert owner.store.get(INSTANCES, b"k") == b"v"


def test_failure_before_effect(memory: MemoryStore, owner: Owner) -> None:
    """The commit that was told to fail leaves no trace, and the same batch can be submitted again."""
    memory.fail_next(StorageError, skip=1)
    owner.commit({INSTANCES: {b"a": b"1"}})
    batch = owner.batch({INSTANCES: {b"b": b"2"}})
    commit = memory.submit(batch)
    assert commit.wait(0)
    with pytest.raises(StorageError) as caught:
        commit.result()
    assert not isinstance(caught.value, StorageInDoubt)
    assert memory.keys(INSTANCES) == [b"a"]
    memory.submit(batch).result()
    assert memory.keys(INSTANCES) == [b"a", b"b"]


@pytest.mark.parametrize("after_effect", [False, True])
def test_failure_in_doubt(memory: MemoryStore, owner: Owner, after_effect: bool) -> None:
    """After a commit in doubt nothing is accepted or read until reopening, which shows whether it took effect."""
    memory.fail_next(StorageInDoubt, after_effect=after_effect)
    with pytest.raises(StorageInDoubt):
        owner.commit({INSTANCES: {b"k": b"v"}})
    with pytest.raises(StorageInDoubt):
        owner.commit({})
    with pytest.raises(StorageInDoubt):
        memory.get(INSTANCES, b"k")
    memory.close()
    Owner.of(memory).commit({})
    assert memory.commit_number == 1 + after_effect
    assert memory.get(INSTANCES, b"k") == (b"v" if after_effect else None)


def test_impossible_failures_are_refused(memory: MemoryStore) -> None:
    """A failure that certainly left no trace cannot have an effect, and other errors are not a commit's."""
    with pytest.raises(ValueError, match="nothing was written"):
        memory.fail_next(StorageError, after_effect=True)

    class OtherError(StorageError):
        pass

    with pytest.raises(ValueError, match="OtherError"):
        memory.fail_next(OtherError)


def test_held_commit_is_invisible_until_it_is_let_go(memory: MemoryStore, owner: Owner) -> None:
    """While commits are held, reads see the last finished one and no second one is accepted."""
    memory.hold_commits()
    commit = memory.submit(owner.batch({INSTANCES: {b"k": b"v"}}))
    assert not commit.wait(1e9)
    with pytest.raises(InvariantViolated, match="before it was settled"):
        commit.result()
    assert memory.get(INSTANCES, b"k") is None
    assert memory.commit_number == 0
    with pytest.raises(InvariantViolated, match="under way"):
        memory.submit(owner.batch({}))
    memory.hold_commits(False)
    assert commit.wait(0)
    commit.result()
    assert memory.get(INSTANCES, b"k") == b"v"


def test_crash_loses_only_the_commit_under_way(memory: MemoryStore, owner: Owner) -> None:
    """A crash keeps what was committed, loses what was not, and fences the old owner off."""
    owner.commit({INSTANCES: {b"kept": b"v"}})
    memory.hold_commits()
    lost = memory.submit(owner.batch({INSTANCES: {b"lost": b"v"}}))
    memory.crash()
    memory.hold_commits(False)
    assert lost.wait(0)
    with pytest.raises(StorageInDoubt):
        lost.result()
    successor = Owner.of(memory)
    assert successor.epoch == owner.epoch + 1
    assert memory.keys(INSTANCES) == [b"kept"]
    with pytest.raises(InvariantViolated, match="owner epoch 1"):
        memory.submit(owner.batch({}))
    successor.commit({})


def test_every_crash_point_leaves_a_prefix() -> None:
    """Whichever commit is made to fail, before or after its effect, the disk holds the batches up to it."""
    for nth in range(4):
        for after_effect in (False, True):
            disk = MemoryStore()
            owner = Owner.of(disk)
            disk.fail_next(StorageInDoubt, skip=nth, after_effect=after_effect)
            with suppress(StorageInDoubt):
                for n in range(4):
                    owner.commit({INBOX: {b"%d" % n: b"v"}})
            disk.crash()
            assert list(disk.snapshot()[INBOX]) == [b"%d" % n for n in range(nth + after_effect)]


def test_snapshot(memory: MemoryStore, owner: Owner) -> None:
    """A snapshot has every table, in key order, of a closed store too, and later commits do not change it."""
    owner.commit({INSTANCES: {b"b": b"2", b"a": b"1"}})
    before = memory.snapshot()
    owner.commit({INSTANCES: {b"a": None}})
    memory.close()
    assert set(before) == set(TABLES)
    assert list(before[INSTANCES].items()) == [(b"a", b"1"), (b"b", b"2")]
    assert memory.snapshot()[INSTANCES] == {b"b": b"2"}
