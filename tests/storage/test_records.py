"""Checksums on stored records (D9)."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.errors import DamagedRecord
from perdure.storage.records import CHECKSUM_BYTES, RecordSeal

quick = settings(max_examples=60, deadline=None)
keys = st.binary(min_size=1, max_size=40)
values = st.binary(max_size=300)


@quick
@given(key=keys, value=values)
def test_sealed_record_opens(key: bytes, value: bytes) -> None:
    """A sealed value comes back as it was, and takes four bytes more."""
    seal = RecordSeal("instances")
    stored = seal.seal(key, value)
    assert seal.unseal(key, stored) == value
    assert len(stored) == len(value) + CHECKSUM_BYTES


@quick
@given(records=st.lists(st.tuples(keys, values)))
def test_sealing_many_is_sealing_each(records: list[tuple[bytes, bytes]]) -> None:
    """Sealing many at once gives the same bytes as sealing them one by one."""
    seal = RecordSeal("inbox")
    assert seal.seal_all(records) == [(key, seal.seal(key, value)) for key, value in records]


@quick
@given(key=keys, value=values, data=st.data())
def test_every_flipped_bit_is_noticed(key: bytes, value: bytes, data: st.DataObject) -> None:
    """A record with any one bit changed, in value or checksum, is refused."""
    seal = RecordSeal("instances")
    damaged = bytearray(seal.seal(key, value))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedRecord):
        seal.unseal(key, bytes(damaged))


@quick
@given(key=keys, value=values, cut=st.integers(1, 304))
def test_cut_off_record_is_noticed(key: bytes, value: bytes, cut: int) -> None:
    """A record that lost its end is refused, down to the empty one."""
    seal = RecordSeal("instances")
    stored = seal.seal(key, value)
    with pytest.raises(DamagedRecord):
        seal.unseal(key, stored[: max(0, len(stored) - cut)])


@quick
@given(key=keys, other=keys, value=values)
def test_record_in_the_wrong_place_is_noticed(key: bytes, other: bytes, value: bytes) -> None:
    """A sound record found under another key or in another table is refused, and the error names the place."""
    stored = RecordSeal("instances").seal(key, value)
    with pytest.raises(DamagedRecord) as caught:
        RecordSeal("inbox").unseal(key, stored)
    assert (caught.value.table, caught.value.key) == ("inbox", key)
    assert "inbox" in str(caught.value)
    if other != key:
        with pytest.raises(DamagedRecord):
            RecordSeal("instances").unseal(other, stored)


def test_empty_record_is_noticed_under_any_key() -> None:
    """A record that lost everything is refused also under the one key whose own checksum looks like a sealed one."""
    key = crc32(b"instances").to_bytes(4, "little")
    with pytest.raises(DamagedRecord):
        RecordSeal("instances").unseal(key, b"")
