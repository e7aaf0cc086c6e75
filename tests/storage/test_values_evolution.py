"""E12: values that an older version of a class stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, NotRequired, Required, TypedDict

import attrs
import pytest
from attrs import Factory, define, field
from perdure.storage.errors import ValueUnreadable
from perdure.storage.values import Values

VALUES = Values()


@define
class Old:
    """The class as it was."""

    a: int = 1
    b: str = "b"


@define
class New:
    """The same with new fields, in another order."""

    items: list[int] = field(factory=lambda: [7])
    b: str = ""
    double: int = field(default=Factory(lambda self: len(self.b) * 2, takes_self=True))
    text: str = field(default=5, converter=str)  # type: ignore[assignment]
    noted: str = field(
        default="x", converter=attrs.Converter(lambda v, owner, f: f"{v}{f.name}{owner.b}", takes_self=True, takes_field=True)
    )  # type: ignore[arg-type, misc, call-overload]
    a: int = 0
    fixed: int = field(init=False, default=3)


@dataclasses.dataclass
class NewData:
    """A dataclass in its place."""

    a: int
    b: str
    tags: list[str] = dataclasses.field(default_factory=lambda: ["new"])
    size: int = 4


class NewRow(NamedTuple):
    """A named tuple in its place."""

    a: int
    b: str
    c: float = 0.5


class NewKeys(TypedDict, total=False):
    """A TypedDict in its place."""

    a: Required[int]
    b: str
    c: NotRequired[int]


OLD = VALUES.codec(Old).encode(Old(5, "five"))


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (New, New(items=[7], b="five", double=8, a=5)),
        (NewData, NewData(5, "five", ["new"], 4)),
        (NewRow, NewRow(5, "five")),
        (NewKeys, {"a": 5, "b": "five"}),
    ],
)
def test_E12_a_field_that_was_not_stored_has_its_default(tp: Any, expected: Any) -> None:
    """Defaults, factories (also of the object itself) and attrs converters give what the class itself would give."""
    again = VALUES.codec(tp).decode(OLD)

    assert again == expected
    assert getattr(again, "fixed", 3) == 3


def test_E12_a_default_of_a_factory_is_not_shared() -> None:
    """Two objects that were read have two lists."""
    codec = VALUES.codec(New)

    assert codec.decode(OLD).items is not codec.decode(OLD).items


def _attrs_class(*names: str) -> Any:
    return attrs.make_class("made", {name: attrs.field(type=int) for name in names})


def _dataclass(*names: str) -> Any:
    return dataclasses.make_dataclass("made", [(name, int) for name in names])


def _named_tuple(*names: str) -> Any:
    return NamedTuple("made", [(name, int) for name in names])


def _typed_dict(*names: str) -> Any:
    return TypedDict("made", dict.fromkeys(names, int))  # type: ignore[misc]


@pytest.mark.parametrize("make", [_attrs_class, _dataclass, _named_tuple, _typed_dict])
@pytest.mark.parametrize(
    ("stored", "read", "step"),
    [
        (("a", "b"), ("a",), ""),
        (("a", "b"), ("a", "c"), ""),
        (("a",), ("a", "b"), "b"),
        ((), ("a",), "a"),
    ],
)
def test_E12_what_does_not_fit_the_class_is_an_error(
    make: Callable[..., Any], stored: tuple[str, ...], read: tuple[str, ...], step: str
) -> None:
    """A stored field that the class lost is never dropped, and a new one without a default is never made up."""
    old, new = make(*stored), make(*read)
    data = VALUES.codec(old).encode(old(**dict.fromkeys(stored, 1)))

    with pytest.raises(ValueUnreadable, match="upgrade") as raised:
        VALUES.codec(list[new], "state").decode(b"\x91" + data)

    assert raised.value.place in {f"state[0].{step}" if step else "state[0]", f"state[0][{step!r}]"}


def test_E12_a_field_of_another_type_is_an_error() -> None:
    """A stored value is not converted to the type that its field has now; the error names the field."""

    @define
    class Changed:
        a: str = ""
        b: str = ""

    with pytest.raises(ValueUnreadable) as raised:
        VALUES.codec(Changed, "state").decode(OLD)

    assert raised.value.place == "state.a"


def test_E12_an_int_field_may_become_a_float() -> None:
    """The one conversion holds for stored values too."""

    @define
    class Changed:
        a: float = 0.0
        b: str = ""

    assert repr(VALUES.codec(Changed).decode(OLD).a) == "5.0"


def test_E12_an_int_field_may_become_an_optional_float() -> None:
    """The conversion holds within a union too."""
    stored = VALUES.codec(list[int]).encode([5])

    assert repr(VALUES.codec(list[float | None]).decode(stored)) == "[5.0]"


def test_E12_an_object_with_new_fields_can_be_hashed() -> None:
    """A class that keeps its hash works after a field was added."""

    @attrs.frozen(cache_hash=True)
    class Hashed:
        a: int
        b: str
        c: int = 3

    assert hash(VALUES.codec(Hashed).decode(OLD)) == hash(Hashed(5, "five"))


def test_E12_stored_fields_are_plain_data() -> None:
    """What an upgrade converts can be read without the class, as a dict by field name."""
    assert VALUES.codec(object).decode(OLD) == {"a": 5, "b": "five"}
    assert VALUES.codec(dict[str, Any]).decode(OLD) == {"a": 5, "b": "five"}
