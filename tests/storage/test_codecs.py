"""Codecs: any value round-trips at its place, any change is noticed, keys rotate, and no nonce or salt comes twice."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage import RecordCodec, ZlibCodec, aes_gcm_codec, chain
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.record_codec import place_of

from .processes import run

quick = settings(max_examples=60, deadline=None)
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
CODECS: list[RecordCodec] = [
    ZlibCodec(),
    ZlibCodec(9, bytes_min=0),
    AesGcmCodec({"k": OLD}),
    chain(ZlibCodec(bytes_min=0), AesGcmCodec({"k": OLD})),
]
AUTHENTICATED = CODECS[2:]

values = st.binary(max_size=400) | st.builds(lambda part, times: part * times, st.binary(max_size=9), st.integers(0, 400))
places = st.builds(place_of, st.sampled_from(["inbox", "instances"]), st.binary(min_size=1, max_size=40))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_any_value_comes_back(codec: RecordCodec) -> None:
    """What a codec made of any value, of a large one and of an empty one, comes back as it was at the same place."""

    @quick
    @given(values, places)
    def check(value: bytes, place: bytes) -> None:
        assert codec.decode(codec.encode(value, place), place) == value

    check()
    for value in (b"", b"x" * (4 << 20), os.urandom(1 << 20)):
        assert codec.decode(codec.encode(value, b"p"), b"p") == value


@pytest.mark.parametrize("codec", AUTHENTICATED, ids=lambda codec: codec.name)
def test_every_flipped_bit_is_noticed(codec: RecordCodec) -> None:
    """An encrypted record with any one bit changed, wherever it stands, is refused."""

    @quick
    @given(st.binary(max_size=200), places, st.data())
    def check(value: bytes, place: bytes, data: st.DataObject) -> None:
        changed = bytearray(codec.encode(value, place))
        bit = data.draw(st.integers(0, len(changed) * 8 - 1))
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"\w"):
            codec.decode(bytes(changed), place)

    check()


@pytest.mark.parametrize("codec", AUTHENTICATED, ids=lambda codec: codec.name)
def test_what_was_moved_or_cut_is_noticed(codec: RecordCodec) -> None:
    """An encrypted record under another key or in another table, and any part of one, is refused."""

    @quick
    @given(st.binary(max_size=60), places, places, st.integers(0, 400))
    def check(value: bytes, place: bytes, other: bytes, length: int) -> None:
        made = codec.encode(value, place)
        for stored, at in ((made, other), (made[:length], place), (made[length:], place), (made + b"x", place)):
            if (stored, at) != (made, place):
                with pytest.raises(ValueError, match=r"\w"):
                    codec.decode(stored, at)

    check()


def test_tables_and_keys_do_not_run_into_each_other() -> None:
    """Two places are the same only if table and key are."""
    assert len({place_of("inbox", b"k"), place_of("inbo", b"xk"), place_of("inbox", b"\0k"), place_of("inbox", b"")}) == 4


def test_keys_rotate() -> None:
    """With a new current key old records stay readable and new ones need the new key; a name or key that is not known is told."""
    before, between = AesGcmCodec({"old": OLD}), AesGcmCodec({"old": OLD, "new": NEW}, current="new")
    old, new = before.encode(b"value", b"p"), between.encode(b"value", b"p")
    assert between.decode(old, b"p") == between.decode(new, b"p") == b"value"
    with pytest.raises(ValueError, match="its key 'new' is not known; known are 'old'"):
        before.decode(new, b"p")
    with pytest.raises(ValueError, match="its key 'old' is not known; known are 'new'"):
        AesGcmCodec({"new": NEW}).decode(old, b"p")
    with pytest.raises(ValueError, match="another key of the same name"):
        AesGcmCodec({"old": NEW}).decode(old, b"p")


def test_the_value_cannot_be_seen() -> None:
    """Neither the value nor the key stands in what is stored, nor does the key stand in the codec's text."""
    codec = AesGcmCodec({"name": OLD})
    stored = codec.encode(b"a very secret value" * 10, b"p")
    assert b"secret" not in stored
    assert OLD not in stored
    assert OLD.hex() not in repr(codec)
    assert "\\x01\\x02" not in repr(codec)


def test_no_nonce_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal values at one place never give equal bytes; a salt serves so many records and no codec object shares one."""
    monkeypatch.setattr(aes_gcm_codec, "_RECORDS_PER_SALT", 10)
    codecs = [AesGcmCodec({"k": OLD}) for _ in range(3)]
    made = [codec.encode(b"same", b"p") for codec in codecs for _ in range(100)]
    salts = [stored[3:19] for stored in made]
    assert len({stored[19:31] for stored in made}) == len(made)
    assert {salts.count(salt) for salt in salts} == {10}
    assert all(AesGcmCodec({"k": OLD}).decode(stored, b"p") == b"same" for stored in made)


def test_a_fork_repeats_nothing(tmp_path: Path) -> None:
    """A forked child that goes on with the same codec object makes no nonce that its parent makes."""
    script = """
from perdure.storage.aes_gcm_codec import AesGcmCodec
codec = AesGcmCodec({"k": bytes(32)})
codec.encode(b"", b"p")
pid = os.fork()
made = [codec.encode(b"", b"p")[19:31].hex() for _ in range(50)]
if pid:
    os.waitpid(pid, 0)  # one line after the other
say(*made)
"""
    both = [line.split() for line in run(script, tmp_path)]
    assert [len(set(nonces)) for nonces in both] == [50, 50]
    assert set(both[0]).isdisjoint(both[1])


def test_derived_keys_are_forgotten_before_they_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many salts a codec has met, it keeps a bounded number of derived keys, and reads all of them."""
    monkeypatch.setattr(aes_gcm_codec, "_DERIVED_MAX", 4)
    made = [AesGcmCodec({"k": OLD}).encode(b"v", b"p") for _ in range(9)]
    codec = AesGcmCodec({"k": OLD})
    assert [codec.decode(stored, b"p") for stored in made * 2] == [b"v"] * 18
    assert len(codec._derived) <= 4  # pyright: ignore[reportPrivateUsage]


def test_the_format_is_what_it_was() -> None:
    """A record that was written with format 1 of each codec is read for ever."""
    written = bytes.fromhex("01016b000102030405060708090a0b0c0d0e0f101112131415161718191a1b")
    sealed = "d04b935e66acd4d6e5195e97a99f89ddb9960291a88fc192de52299f01349da7277f5b"
    codec = AesGcmCodec({"k": OLD})
    assert codec.decode(written + bytes.fromhex(sealed), b"inbox\0key") == b"a value of format 1"
    assert ZlibCodec().decode(b"\0plain", b"") == b"plain"
    assert ZlibCodec().decode(b"\1" + zlib.compress(b"packed" * 50), b"") == b"packed" * 50


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AesGcmCodec({}), "current names the key to write with"),
        (lambda: AesGcmCodec({"a": OLD, "b": NEW}), "one of 'a', 'b', not None"),
        (lambda: AesGcmCodec({"a": OLD}, current="b"), "one of 'a', not 'b'"),
        (lambda: AesGcmCodec({"a": OLD[:16]}), r"32 bytes, as AesGcmCodec.generate_key\(\) makes them, not 16 \('a'\)"),
        (lambda: AesGcmCodec({"": OLD}), "1 to 64 UTF-8 bytes: ''"),
        (lambda: AesGcmCodec({"x" * 65: OLD}), "1 to 64 UTF-8 bytes"),
        (lambda: ZlibCodec(0), r"from 1 \(fast\) to 9 \(small\), not 0"),
    ],
)
def test_settings_that_are_none_are_refused(make: Any, said: str) -> None:
    """Keys, names and levels that cannot be used are a ValueError that says what is allowed, and shows no key."""
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert str(OLD[:16]) not in str(caught.value)


@pytest.mark.parametrize("stored", [b"", b"\2", b"\1not compressed", b"\1"])
def test_what_is_no_compressed_record_is_told(stored: bytes) -> None:
    """Bytes that ZlibCodec did not make are a ValueError."""
    with pytest.raises(ValueError, match="compressed"):
        ZlibCodec().decode(stored, b"")
