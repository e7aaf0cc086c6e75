"""What is encoded comes back exactly: by its declared type, or by itself."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import cattrs
import msgspec
import pytest
from hypothesis import given, settings
from perdure.storage.errors import NotStorable, ValueUnreadable
from perdure.storage.values import Values

from .value_strategies import (
    Box,
    Cat,
    Dog,
    Level,
    Movie,
    Permission,
    Point,
    Row,
    Tree,
    fingerprint,
    hashable_values,
    plain_values,
    typed_values,
)

VALUES = Values()
ANYTHING = VALUES.codec(object)


@settings(max_examples=400, deadline=None)
@given(typed_values())
def test_E6_a_value_of_a_declared_type_comes_back_exactly(typed: tuple[Any, Any]) -> None:
    """For every type and value of it, what is decoded is identical to what was encoded."""
    tp, value = typed
    codec = VALUES.codec(tp)

    again = codec.decode(codec.encode(value))

    assert fingerprint(again) == fingerprint(value)


@settings(max_examples=300, deadline=None)
@given(plain_values())
def test_E6_a_plain_value_comes_back_exactly_without_a_type(value: Any) -> None:
    """For every plain value, the self-describing form says what it was."""
    again = ANYTHING.decode(ANYTHING.encode(value))

    assert fingerprint(again) == fingerprint(value)


@settings(max_examples=150, deadline=None)
@given(typed_values())
def test_what_is_encoded_twice_has_the_same_bytes(typed: tuple[Any, Any]) -> None:
    """A decoded value has the bytes that it was decoded from."""
    tp, value = typed
    codec = VALUES.codec(tp)
    data = codec.encode(value)

    assert codec.encode(codec.decode(data)) == data


@settings(max_examples=100, deadline=None)
@given(plain_values())
def test_plain_values_that_were_stored_without_a_type_can_be_read_with_theirs(value: Any) -> None:
    """A reader of a built-in container takes the self-describing form as well."""
    tp = type(value)
    if tp not in (list, tuple, dict, set, frozenset):
        value, tp = [value], list

    assert fingerprint(VALUES.codec(tp).decode(ANYTHING.encode(value))) == fingerprint(value)


@settings(max_examples=200, deadline=None)
@given(hashable_values(), hashable_values())
def test_different_plain_values_have_different_bytes(one: Any, other: Any) -> None:
    """The bytes of two plain values are equal only if the values are identical."""
    same_bytes = ANYTHING.encode(one) == ANYTHING.encode(other)

    assert same_bytes == (fingerprint(one) == fingerprint(other))


SETS = """
from perdure.storage.values import Values
values = Values()
words = {f"word {i}" for i in range(50)}
mixed = {1, "a", (2, frozenset("xyz")), None, b"b", 2**70, 1.5}
print(values.codec(set[str]).encode(words).hex(), values.codec(object).encode({"a": mixed, (1, frozenset(words)): 2}).hex())
"""


def test_sets_have_the_same_bytes_in_every_process() -> None:
    """Equal sets give equal bytes whatever the hash seed is."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SETS], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1


def test_common_plain_data_is_plain_messagepack() -> None:
    """Without a type, what MessagePack has itself is stored in MessagePack's own form."""
    value = {"a": [None, True, -1, 1.5, "x", b"y"], "b": {}}

    assert ANYTHING.encode(value) == bytes.fromhex("82a16196c0c3ffcb3ff8000000000000a178c40179a16280")


@pytest.mark.parametrize("size", [100_000_000])
def test_a_very_large_value_comes_back(size: int) -> None:
    """A hundred megabytes are stored like anything else."""
    for value in (b"x" * size, "x" * size):
        codec = VALUES.codec(type(value))
        assert codec.decode(codec.encode(value)) == value


def test_an_int_for_a_float_is_converted_if_it_is_exact() -> None:
    """The one conversion: an int where a float is declared comes back as that float."""
    for tp in (float, float | None, float | str):
        codec = VALUES.codec(tp)
        assert fingerprint(codec.decode(codec.encode(3))) == fingerprint(3.0)
    assert VALUES.codec(list[float]).decode(VALUES.codec(list[int]).encode([1])) == [1.0]


def test_a_union_with_int_and_float_keeps_them_apart() -> None:
    """Where an int is declared beside a float, an int stays one."""
    codec = VALUES.codec(int | float)

    assert [type(codec.decode(codec.encode(value))) for value in (1, 1.0)] == [int, float]


def test_a_named_tuple_without_annotations_is_stored() -> None:
    """The fields of a plain namedtuple class are of any type."""
    pair = namedtuple("pair", "left right")
    codec = VALUES.codec(pair)

    assert fingerprint(codec.decode(codec.encode(pair(1, "x")))) == fingerprint(pair(1, "x"))


def test_a_uuid_keeps_how_safe_it_is() -> None:
    """What the system said about the uniqueness of a UUID comes back, though it is not compared."""
    for safety in SafeUUID:
        assert ANYTHING.decode(ANYTHING.encode(UUID(int=5, is_safe=safety))).is_safe is safety


def test_a_path_that_its_text_does_not_tell_is_not_altered() -> None:
    """A path comes back with the same parts or is refused, also where its text means another one."""
    path = PureWindowsPath("./a:b")
    try:
        data = ANYTHING.encode(path)
    except NotStorable:
        assert PureWindowsPath(str(path)).parts != path.parts
    else:
        assert ANYTHING.decode(data).parts == path.parts


def test_a_codec_is_made_once_for_a_type_and_place() -> None:
    """The same type and place have the same codec; another place has another."""
    assert VALUES.codec(list[int], "state") is VALUES.codec(list[int], "state")
    assert VALUES.codec(list[int], "state") is not VALUES.codec(list[int])
    assert VALUES.codec(list[int]).type == list[int]


def test_a_converter_with_other_rules_is_refused() -> None:
    """A plain cattrs converter, which would turn a str into an int, is not accepted."""
    with pytest.raises(TypeError, match="make_converter"):
        Values(cattrs.Converter())


@pytest.mark.parametrize(
    ("tp", "data"),
    [
        (int, b""),
        (int, b"\xc1"),
        (int, b"\x01\x02"),
        (str, b"\xa1\xff"),
        (object, b"\xd4\x63\x00"),
        (datetime, VALUES.codec(str).encode("2024")),
        (str, b"\x01"),
        (int, VALUES.codec(bool).encode(True)),
        (float, VALUES.codec(int).encode(2**53 + 1)),
        (float, VALUES.codec(str).encode("1.5")),
        (Level, VALUES.codec(str).encode("MIDDLE")),
        (Cat | None, VALUES.codec(int).encode(1)),
        (Cat | int, VALUES.codec(str).encode("x")),
        (tuple[int, int], VALUES.codec(list[int]).encode([1])),
        (set[int], VALUES.codec(list[int]).encode([1, 1])),
        (dict[int, int], VALUES.codec(list[int]).encode([1, 2, 1, 3])),
        (dict[int, int], VALUES.codec(list[int]).encode([1])),
        (list[int], VALUES.codec(dict[str, int]).encode({})),
        (tuple[int, ...], b"\x01"),
        (tuple[int, int], b"\x01"),
        (set[int], b"\x01"),
        (Movie, b"\x01"),
        (Row, b"\x01"),
        (Point, b"\x01"),
        (Permission, b"\x01"),
        (object, msgspec.msgpack.encode(msgspec.msgpack.Ext(3, b"\x92\x01\x01"))),
        (object, msgspec.msgpack.encode(msgspec.msgpack.Ext(4, b"\x92\x01\x01"))),
        (object, msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"\x94\x01\x01\x01\x02"))),
        (object, msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"\x91\x01"))),
        (object, msgspec.msgpack.encode(msgspec.msgpack.Ext(7, b"2024-01-01T00:00:00[No/Where]"))),
    ],
)
def test_bytes_that_do_not_fit_the_type_are_reported(tp: Any, data: bytes) -> None:
    """Damaged bytes and those of another type raise ValueUnreadable, never anything else, and never give a value."""
    with pytest.raises(ValueUnreadable) as raised:
        VALUES.codec(tp, "state").decode(data)

    assert raised.value.place == "state"


@pytest.mark.parametrize(
    ("tp", "stored", "place"),
    [
        (dict[str, list[int]], {"a": [1, "x"]}, "['a'][1]"),
        (dict[int, int], {1: 2, "a": 3}, " (key 'a')"),
        (tuple[int, str], (1, 2), "[1]"),
        (tuple[int, ...], (1, "x"), "[1]"),
        (Movie, {"title": 5}, "['title']"),
        (Row, {"key": "a", "point": {"x": 1, "y": "x"}}, ".point.y"),
        (Tree, {"value": 1, "children": [{"value": "x", "children": []}]}, ".children[0].value"),
        (Box[Point], {"content": {"x": "x"}, "spares": []}, ".content.x"),
    ],
)
def test_the_place_of_what_cannot_be_read_is_named(tp: Any, stored: Any, place: str) -> None:
    """The error of reading names the part that does not fit, as that of storing does."""
    with pytest.raises(ValueUnreadable) as raised:
        VALUES.codec(tp, "state").decode(ANYTHING.encode(stored))

    assert raised.value.place == f"state{place}"


FORMS = [
    (object, 2**64, "c70901010000000000000000"),
    (object, (1, "a"), "d602 9201a161"),
    (object, {2, 1}, "c70303920102"),
    (object, frozenset({"b", "a"}), "c7050492a161a162"),
    (object, {1: "a"}, "d60592 01a161"),
    (object, Decimal("-1.50"), "c7050b2d312e3530"),
    (object, UUID(int=1), "d80c00000000000000000000000000000001"),
    (object, complex(1, -0.0), "d80d3ff00000000000008000000000000000"),
    (object, PurePosixPath("a"), "d50e7061"),
    (object, Fraction(1, 2), "c7060f 00000001 01 02"),
    (object, date(2024, 1, 2), "c70a08323032342d30312d3032"),
    (object, timedelta(seconds=-1), "d70a 2d31303030303030"),
    (Point, Point(1), "82a17801a17900"),
    (Cat | Dog, Dog(2), "92 c70306446f67 81a56c6976657302"),
    (Cat | None, Cat(2), "81a56c6976657302"),
    (Level, Level.HIGH, "a448494748"),
    (Permission, Permission.READ | Permission.RUN, "92a452454144a352554e"),
    (tuple[int, str], (1, "a"), "9201a161"),
    (set[int], {2, 1}, "920102"),
    (dict[int, str], {1: "a"}, "9201a161"),
    (dict[Level, int], {Level.LOW: 3}, "81a34c4f5703"),
    (Row, Row("a"), "82a36b6579a161a5706f696e74 82a17800a17900"),
    (int | str, 5, "05"),
]


@pytest.mark.parametrize(("tp", "value", "data"), FORMS)
def test_stored_forms_stay_what_they_are(tp: Any, value: Any, data: str) -> None:
    """Bytes that were stored once are read by every later version: these forms never change."""
    encoded = VALUES.codec(tp).encode(value)

    assert encoded.hex() == data.replace(" ", "")
    assert fingerprint(VALUES.codec(tp).decode(encoded)) == fingerprint(value)


def test_texts_of_times_stay_what_they_are() -> None:
    """The text of a time keeps its zone by key, by offset and name, and the fold."""
    berlin, named = ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=1), "CET")
    wall = datetime(2024, 10, 27, 2, 30)

    for value, text in (
        (wall, b"2024-10-27T02:30:00"),
        (wall.replace(fold=1), b"~2024-10-27T02:30:00"),
        (wall.replace(tzinfo=UTC, microsecond=7), b"2024-10-27T02:30:00.000007+00:00"),
        (wall.replace(tzinfo=berlin, fold=1), b"~2024-10-27T02:30:00[Europe/Berlin]"),
        (wall.replace(tzinfo=named), b"2024-10-27T02:30:00(3600000000 CET)"),
        (wall.time().replace(tzinfo=berlin), b"02:30:00[Europe/Berlin]"),
    ):
        assert ANYTHING.encode(value).endswith(text)
        assert fingerprint(ANYTHING.decode(ANYTHING.encode(value))) == fingerprint(value)


def test_nothing_in_stored_bytes_is_imported() -> None:
    """A tag that names a class of the program is of no use where the class is not declared."""
    with pytest.raises(ValueUnreadable, match="no member"):
        VALUES.codec(Cat | int).decode(VALUES.codec(Level | Cat).encode(Level.LOW))


def test_E6_a_decoded_value_is_a_copy() -> None:
    """Changing the original after it was encoded changes nothing for the receiver."""
    value = [[1], {"a": datetime(2024, 1, 1, tzinfo=UTC)}]
    data = ANYTHING.encode(value)
    value.append([2])

    assert ANYTHING.decode(data) == [[1], {"a": datetime(2024, 1, 1, tzinfo=UTC)}]


def test_errors_are_of_the_builtin_kinds_too() -> None:
    """A value that cannot be stored is a TypeError, stored bytes that do not fit are a ValueError."""
    with pytest.raises(TypeError):
        ANYTHING.encode(object())
    with pytest.raises(ValueError, match="state"):
        VALUES.codec(int, "state").decode(b"")
    assert not issubclass(NotStorable, ValueError)
