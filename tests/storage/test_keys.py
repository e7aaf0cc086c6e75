"""Ordered keys."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.keys import (
    entity_key,
    orchestration_key,
    prefix_end,
    read_entity_key,
    read_orchestration_key,
    read_u32,
    read_u64,
    u32,
    u64,
)
from perdure.storage.tables import KEY_BYTES_MAX

quick = settings(max_examples=100, deadline=None)
u64s = st.integers(0, 2**64 - 1)
u32s = st.integers(0, 2**32 - 1)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=100)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@quick
@given(a=u64s, b=u64s, prefix=st.binary(max_size=9))
def test_u64(a: int, b: int, prefix: bytes) -> None:
    """Eight-byte numbers sort as numbers and can be read back at any offset."""
    assert (u64(a) < u64(b)) == (a < b)
    assert read_u64(prefix + u64(a) + b"tail", len(prefix)) == a


@quick
@given(a=u32s, b=u32s, prefix=st.binary(max_size=9))
def test_u32(a: int, b: int, prefix: bytes) -> None:
    """Four-byte numbers sort as numbers and can be read back at any offset."""
    assert (u32(a) < u32(b)) == (a < b)
    assert read_u32(prefix + u32(a) + b"tail", len(prefix)) == a


@pytest.mark.parametrize("number", [-1, 2**64])
def test_number_out_of_range(number: int) -> None:
    """A number that does not fit is refused, never cut off."""
    with pytest.raises(OverflowError):
        u64(number)
    with pytest.raises(OverflowError):
        u32(number)


def test_number_behind_the_end() -> None:
    """Reading a number that a key does not hold whole is refused, with the key and its length."""
    with pytest.raises(ValueError, match="offset 1: it is 8 bytes long"):
        read_u64(u64(5), 1)
    with pytest.raises(ValueError, match="offset 2: it is 4 bytes long"):
        read_u32(u32(5), 2)


@quick
@given(prefix=st.binary(max_size=4), key=st.binary(max_size=6))
def test_prefix_end(prefix: bytes, key: bytes) -> None:
    """A key stands between a prefix and its end exactly if it begins with the prefix."""
    end = prefix_end(prefix)
    assert (prefix <= key and (end is None or key < end)) == key.startswith(prefix)


def test_prefix_end_of_all_ones() -> None:
    """A prefix of all ones has no end, also none at all; a carry drops the bytes behind it."""
    assert prefix_end(b"\xff\xff") is None
    assert prefix_end(b"") is None
    assert prefix_end(b"a\xff") == b"b"


@quick
@given(a=st.tuples(names, texts), b=st.tuples(names, texts))
def test_entity_keys(a: tuple[str, str], b: tuple[str, str]) -> None:
    """Directory keys of entities can be read back and sort as the bytes of (name, key) do (I2)."""
    assert read_entity_key(entity_key(*a)) == a
    encoded_a, encoded_b = (tuple(part.encode() for part in pair) for pair in (a, b))
    assert (entity_key(*a) < entity_key(*b)) == (encoded_a < encoded_b)


@quick
@given(instance_id=texts, name=names)
def test_orchestration_keys(instance_id: str, name: str) -> None:
    """Directory keys of orchestrations can be read back and are never an entity's."""
    key = orchestration_key(instance_id)
    assert read_orchestration_key(key) == instance_id
    assert key != entity_key(name, instance_id)
    with pytest.raises(ValueError, match="no directory key of an entity"):
        read_entity_key(key)
    with pytest.raises(ValueError, match="no directory key of an orchestration"):
        read_orchestration_key(entity_key(name, instance_id))


def test_longest_entity_fits() -> None:
    """The longest name and key that ids allow (I1) make a key that every engine holds."""
    assert len(entity_key("n" * 100, "k" * 400)) <= KEY_BYTES_MAX


def test_zero_in_a_name_is_refused() -> None:
    """A name that holds the separator is refused, so that two entities never share a key."""
    with pytest.raises(ValueError, match="zero character"):
        entity_key("a\0b", "c")
    assert read_entity_key(entity_key("a", "b\0c")) == ("a", "b\0c")
