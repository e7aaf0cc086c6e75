"""Unions, literals and enums: the right class comes back, and the stored form outlives changes of the type."""

from __future__ import annotations

from enum import Enum, Flag, IntFlag, auto
from pathlib import PurePath, PurePosixPath
from typing import Any, Literal, Never, NewType, NoReturn, Optional, Union

import pytest
from attrs import define
from perdure.storage.errors import NotStorable, ValueUnreadable
from perdure.storage.values import Values, make_converter
from typing_extensions import TypeAliasType

from .value_strategies import Box, Cat, Color, Dog, Movie, Permission, Point, Row, UserId, fingerprint

VALUES = Values()
Name = NewType("Name", str)


def back(tp: Any, value: Any) -> Any:
    """The value, encoded and decoded."""
    codec = VALUES.codec(tp, "state")
    return codec.decode(codec.encode(value))


ANIMALS = Cat | Dog | None
MIXED = Union[int, str, None, list[Cat], tuple[int, ...], dict[str, Dog], set[int], Point, Row, Color, Box[int]]  # noqa: UP007


@pytest.mark.parametrize(
    "value",
    [
        5,
        2**70,
        "x",
        None,
        [Cat()],
        [],
        (1, 2),
        (),
        {"a": Dog()},
        {1, 2},
        Point(1),
        Row("a"),
        Color.BLUE,
        Box(1),
    ],
)
def test_the_member_that_was_stored_comes_back(value: Any) -> None:
    """A union of everything tells its members apart by class."""
    assert fingerprint(back(MIXED, value)) == fingerprint(value)


def test_what_was_stored_without_a_type_is_read_as_a_member() -> None:
    """The self-describing form of a plain container is accepted by a union that has one of its class."""
    anything = VALUES.codec(object)
    for value in ([], (1, 2), {1, 2}, {"a": Dog()}, 5, None):
        if value != {"a": Dog()}:
            assert fingerprint(VALUES.codec(MIXED).decode(anything.encode(value))) == fingerprint(value)


def test_the_members_of_a_union_may_be_moved_and_added() -> None:
    """Stored bytes are read by a union with the same members in another order and more of them."""
    old, new = VALUES.codec(Cat | Dog), VALUES.codec(Optional[Point | Dog | Cat])  # noqa: UP045

    assert new.decode(old.encode(Cat(3))) == Cat(3)
    assert new.decode(old.encode(Dog(3))) == Dog(3)


def test_a_member_that_was_removed_cannot_be_read() -> None:
    """The error names the class that is stored."""
    with pytest.raises(ValueUnreadable, match="a Dog is stored, which is no member of Cat"):
        VALUES.codec(Cat | Point).decode(VALUES.codec(Cat | Dog).encode(Dog()))


def test_a_type_can_become_optional() -> None:
    """What was stored of a type is read by its Optional."""
    for tp, value in ((Point, Point(1)), (list[int], [1]), (Color, Color.RED), (Movie, {"title": "x"})):
        assert VALUES.codec(tp | None).decode(VALUES.codec(tp).encode(value)) == value


def test_members_of_the_same_name_are_told_apart() -> None:
    """Two classes of one name in different modules are members of one union."""
    other: Any = define(type("Cat", (), {"__annotations__": {"lives": int}, "__module__": "elsewhere"}))

    assert type(back(Cat | other, other(1))) is other
    assert type(back(Cat | other, Cat(1))) is Cat


def test_a_member_that_shared_its_name_is_read_when_the_other_is_gone() -> None:
    """What was stored with the module in its mark is read by a union in which the name is unique."""
    other: Any = define(type("Cat", (), {"__annotations__": {"lives": int}, "__module__": "elsewhere"}))
    stored = VALUES.codec(Cat | other)

    assert VALUES.codec(Cat | int).decode(stored.encode(Cat(2))) == Cat(2)
    with pytest.raises(ValueUnreadable, match=r"a elsewhere\.Cat is stored"):
        VALUES.codec(Cat | int).decode(stored.encode(other(2)))


def test_aliases_and_new_types_are_members_like_what_they_stand_for() -> None:
    """A NewType beside its own base is that base, and nested unions are flat."""
    inner = TypeAliasType("inner", Optional[Union[int, Name]])  # noqa: UP007, UP045

    for value in (3, "x", None, Dog()):
        assert fingerprint(back(Union[UserId, int, inner, Dog], value)) == fingerprint(value)  # noqa: UP007


def test_anything_or_none_is_anything() -> None:
    """A union of Any with plain types is self-describing."""
    for tp in (Any | None, object | int):
        assert back(tp, ((1,), None)) == ((1,), None)


def test_a_path_of_any_kind_is_a_member() -> None:
    """An abstract path stands for all concrete ones."""
    assert fingerprint(back(PurePath | int, PurePosixPath("a"))) == fingerprint(PurePosixPath("a"))


def test_literals_are_exactly_those_values() -> None:
    """A literal is told from what is equal to it, and stands beside its own class in a union."""
    mixed = Literal[1, "a", None, Color.RED]
    assert [back(mixed, value) for value in (1, "a", None, Color.RED)] == [1, "a", None, Color.RED]
    assert back(Literal[True, 1], True) is True
    assert back(Literal["a"] | int, 7) == 7
    assert back(Literal[7] | int, 8) == 8
    assert back(Literal[Color.RED] | Color | int, Color.BLUE) is Color.BLUE
    for value in (True, "b", Color.BLUE, 1.0):
        with pytest.raises(NotStorable):
            back(mixed, value)
    with pytest.raises(ValueUnreadable):
        VALUES.codec(Literal["a"]).decode(VALUES.codec(str).encode("b"))
    with pytest.raises(ValueUnreadable):
        VALUES.codec(Literal[Color.RED]).decode(VALUES.codec(Color).encode(Color.BLUE))


def test_an_enum_member_is_stored_by_name() -> None:
    """The values of an enum may change, and a renamed member stays readable as an alias."""
    old = Enum("Size", {"SMALL": 1, "BIG": 2})
    new = Enum("Size", {"TINY": 0, "SMALL": 5, "LARGE": 6, "BIG": 6})

    for name, expected in (("SMALL", new["SMALL"]), ("BIG", new["LARGE"])):
        assert VALUES.codec(new).decode(VALUES.codec(old).encode(old[name])) is expected
    with pytest.raises(ValueUnreadable, match=r"'TINY'.*SMALL, BIG"):
        VALUES.codec(old).decode(VALUES.codec(new).encode(new["TINY"]))


def test_flags_are_stored_by_the_names_of_their_bits() -> None:
    """Every combination comes back, and bits may be numbered anew."""

    class Renumbered(Flag):
        RUN = auto()
        READ = auto()
        WRITE = auto()

    for number in range(8):
        assert back(Permission, Permission(number)) is Permission(number)
    data = VALUES.codec(Permission).encode(Permission.READ | Permission.RUN)
    assert VALUES.codec(Renumbered).decode(data) is Renumbered.READ | Renumbered.RUN
    with pytest.raises(ValueUnreadable, match="'LEAD'"):
        VALUES.codec(Permission).decode(VALUES.codec(list[str]).encode(["LEAD"]))


def test_flags_with_bits_that_have_no_name_are_kept() -> None:
    """Bits beyond the named ones are stored as a number."""

    class Loose(IntFlag):
        A = 1
        MASK = 6

    for number in (0, 1, 2, 6, 7, 9, -1, -2, 1 << 70):
        assert back(Loose, Loose(number)) == Loose(number)
        assert type(back(Loose, Loose(number))) is Loose


def test_a_function_that_never_returns_has_no_result() -> None:
    """Never and NoReturn can be declared, and accept nothing."""
    for tp in (Never, NoReturn):
        codec = VALUES.codec(tp, "result")
        with pytest.raises(NotStorable):
            codec.encode(None)
        with pytest.raises(ValueUnreadable):
            codec.decode(b"\xc0")


def test_a_hook_s_none_is_not_mistaken_for_none() -> None:
    """Under Optional, a hook that makes None of an object is refused."""
    converter = make_converter()
    converter.register_unstructure_hook(Cat, lambda cat: None if cat.lives == 0 else cat.lives)
    converter.register_structure_hook(Cat, lambda stored, _: Cat(stored or 0))
    values = Values(converter)

    plain, optional = values.codec(Cat), values.codec(Cat | None)
    assert plain.decode(plain.encode(Cat(0))) == Cat(0)
    assert optional.decode(optional.encode(Cat(2))) == Cat(2)
    with pytest.raises(NotStorable, match="hook of Cat"):
        optional.encode(Cat(0))
