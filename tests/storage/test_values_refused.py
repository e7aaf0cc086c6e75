"""What cannot be kept exactly is refused, with its place, and never altered."""

from __future__ import annotations

import collections
import io
import socket
import weakref
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVarTuple
from zoneinfo import TZPATH, ZoneInfo

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.errors import NotStorable, PerdureError
from perdure.storage.values import Values, make_converter

from .value_strategies import (
    LEAVES,
    Box,
    Cat,
    Color,
    Dog,
    Item,
    Level,
    Movie,
    Order,
    Permission,
    Point,
    Row,
    Tree,
    Word,
    plain_values,
)

VALUES = Values()


Ts = TypeVarTuple("Ts")


class Text(str):
    """A str subclass."""

    __slots__ = ()


class Ours(tzinfo):
    """A time zone that nobody else knows."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """One hour."""
        return timedelta(hours=1)


class LongRow(Row):
    """A named tuple with room for attributes."""


@define
class Many(Generic[*Ts]):
    """Has any number of type arguments."""

    a: int = 1


@define
class Kitten(Cat):
    """A subclass."""

    weight: int = 1


def refused(tp: Any, value: Any, place: str = "state") -> NotStorable:
    """The error that encoding raises."""
    with pytest.raises(NotStorable) as raised:
        VALUES.codec(tp, place).encode(value)
    return raised.value


ITEM = Item("a", Decimal(1))
LOST = "\ud800"


@pytest.mark.parametrize(
    ("tp", "value", "place", "reason"),
    [
        (int, True, "", r"a bool \(True\) stands where int is declared; bool is a subclass of int"),
        (int, Level.LOW, "", "an? Level .Level.LOW. stands where int"),
        (int, 1.0, "", r"a float \(1.0\).*allowed is exactly int"),
        (int, "1", "", "a str"),
        (int, None, "", "None stands where int"),
        (float, True, "", "a bool"),
        (float, 2**53 + 1, "", "not exact as a float"),
        (float, 10**400, "", "not exact as a float"),
        (bool, 1, "", "an int"),
        (str, b"x", "", "a bytes"),
        (str, Text("x"), "", "Text is a subclass of str"),
        (str, Word.YES, "", "Word"),
        (bytes, bytearray(b"x"), "", "a bytearray"),
        (Decimal, 1, "", "an int"),
        (datetime, date(2024, 1, 1), "", "a date"),
        (datetime, datetime(2024, 1, 1, tzinfo=Ours()), "", "time zone is an Ours"),
        (list[int], (1,), "", r"a tuple stands where list\[int\] is declared"),
        (list[int], [1, 2, True], "[2]", "a bool"),
        (tuple[int, ...], [1], "", "a list"),
        (tuple[int, ...], (1, "x"), "[1]", "a str"),
        (tuple[int, str], (1, 2), "[1]", "an int"),
        (tuple[int, str], [1, "a"], "", "a list.*tuple of length 2"),
        (Movie, [("title", "x")], "", "a list"),
        (Permission, 3, "", "an int"),
        (tuple[int, str], (1,), "", "of length 1.*of length 2"),
        (Sequence[int], (1,), "", "a tuple"),
        (AbstractSet[int], frozenset({1}), "", "a frozenset"),
        (dict[str, int], {"a": 1, "b": "x"}, "['b']", "a str"),
        (dict[str, int], {"a": 1, 2: 3}, " (key 2)", "an int"),
        (dict[int, list[int]], {7: [1, None]}, "[7][1]", "None"),
        (dict[str, int], collections.OrderedDict(a=1), "", "subclass of dict|an OrderedDict"),
        (set[int], {1, "x"}, " (element 'x')", "a str"),
        (set[int], frozenset({1}), "", "a frozenset"),
        (Order, Order([ITEM, ITEM, ITEM, Item("d", 5)]), ".items[3].price", "an int .5. stands where Decimal"),  # type: ignore[arg-type]
        (Order, ITEM, "", "an Item stands where Order"),
        (Cat, Kitten(), "", "Kitten is a subclass of Cat"),
        (Cat, weakref.proxy(KITTEN := Cat()), "", "a weakproxy|CallableProxyType|ProxyType"),
        (list[Cat | Dog], [Cat(), Kitten()], "[1]", r"a Kitten stands where Cat \| Dog"),
        (Cat | Dog, None, "", "None"),
        (int | str, 1.5, "", "a float"),
        (Literal[1, "a"], True, "", "a bool"),
        (Literal[1, "a"], "b", "", "a str"),
        (Literal[Color.RED], Color.BLUE, "", "none of the declared literals: RED"),
        (Color, "RED", "", "a str"),
        (Movie, {"title": 1}, "['title']", "an int"),
        (Movie, {"year": 1}, "", "'title' is missing"),
        (Movie, {"title": "x", "name": "y"}, "['name']", "no key 'name'; it has 'title', 'year'"),
        (Row, ("a", Point(1)), "", "a tuple"),
        (Row, Row("a", Point(True)), ".point.x", "a bool"),
        (Row, LongRow("a"), "", "LongRow is a subclass of Row"),
        (Box[int], Box(1, [1, "x"]), ".spares[1]", "a str"),
        (Tree, Tree(1, [Tree(2), Tree("x")]), ".children[1].value", "a str"),  # type: ignore[arg-type]
        (Any, {"a": [1, {"b": Color.RED}]}, "['a'][1]['b']", "member of an enum.*Annotate the type .Color."),
        (Any, [ITEM], "[0]", "Annotate the type .Item."),
        (Any, (1, {2: object()}), "[1][2]", "an object"),
        (Any, {(1, print): 2}, " (key a tuple)[1]", "Annotate the type"),
        (Any, {1, Text("x")}, " (element a Text)", "subclass of str"),
        (object, collections.OrderedDict(), "", "subclass of dict"),
        (object, lambda: None, "", "a function"),
        (object, Level.LOW, "", "member of an enum"),
        (object, range(3), "", "a range"),
        (object, bytearray(), "", "a bytearray"),
        (object, Row("a"), "", "subclass of tuple"),
        (Order, Order([ITEM, Item(LOST, Decimal(1))]), ".items[1].name", "lone surrogate .U.D800 at position 0"),
        (dict[str, int], {LOST: 1}, " (key '\\ud800')", "lone surrogate"),
        (set[str], {LOST}, " (element '\\ud800')", "lone surrogate"),
        (Any, [{"a": (1, LOST)}], "[0]['a'][1]", "lone surrogate"),
        (Any, {(1, LOST): 2}, " (key a tuple)[1]", "lone surrogate"),
        (Row, Row(LOST), ".key", "lone surrogate"),
        (Path, Path(LOST), "", "lone surrogate"),
    ],
)
def test_E6_what_would_not_come_back_exactly_is_refused(tp: Any, value: Any, place: str, reason: str) -> None:
    """The error names the place of the culprit, its class, and what is allowed."""
    error = refused(tp, value)

    assert error.place == f"state{place}"
    with pytest.raises(PerdureError, match=reason):
        raise error


def test_the_place_begins_with_the_type_by_default() -> None:
    """Without a place of its own a codec calls the value by its type."""
    with pytest.raises(NotStorable) as raised:
        VALUES.codec(Order).encode(Order([Item("a", 1)]))  # type: ignore[arg-type]

    assert raised.value.place == "Order.items[0].price"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([tp for tp, _ in LEAVES]), plain_values())
def test_a_value_of_another_class_is_refused(tp: Any, value: Any) -> None:
    """For every type of single values, only values of exactly its classes are stored (and an exact int for a float)."""
    codec = VALUES.codec(tp)
    cls = type(None) if tp is None else tp
    belongs = type(value) is cls or (cls.__name__ == "PurePath" and isinstance(value, cls))
    if cls is float and type(value) is int:
        return

    if belongs:
        codec.encode(value)
    else:
        refused(tp, value)


@pytest.mark.parametrize(
    ("tp", "place"),
    [
        (socket.socket, ""),
        (io.StringIO, ""),
        (Callable[[], int], ""),
        (Iterator[int], ""),
        (type, ""),
        (collections.defaultdict, ""),
        (ValueError, ""),
        (list[list[socket.socket]], "[][]"),
        (dict[str, socket.socket], "[]"),
        (dict[Callable[[], int], str], "{key}"),
        (tuple[int, socket.socket], "[1]"),
        (Box[socket.socket], ".content"),
        (list[int] | list[str], ""),
        (Box[int] | Box[str], ""),
        (dict[str, int] | Movie, ""),
        (Any | Cat, ""),
        (tuple[int, *tuple[str, ...]], ""),
        (Literal[1.5], ""),  # type: ignore[valid-type]
        ("Order", ""),
        (list["Order"], "[]"),
        (Many[int, str], ""),
    ],
)
def test_a_type_that_cannot_be_stored_is_refused_at_once(tp: Any, place: str) -> None:
    """Asking for the codec already fails, before there is any value."""
    with pytest.raises(NotStorable) as raised:
        VALUES.codec(tp, "state")

    assert raised.value.place == f"state{place}"


def test_a_class_whose_part_cannot_be_stored_can_be_asked_for_again() -> None:
    """A recursive class that was refused is refused with the same error the next time, and so are its containers."""

    class Branch(TypedDict):
        leaves: list[Branch]
        wire: socket.socket

    messages: set[str] = set()
    for _ in range(2):
        with pytest.raises(NotStorable) as raised:
            VALUES.codec(Branch, "state")
        messages.add(str(raised.value))

    with pytest.raises(NotStorable, match="socket"):
        VALUES.codec(list[Branch])
    assert len(messages) == 1
    assert messages.pop().startswith("state['wire']: values of type socket")


def _nested(make: Callable[[Any], Any], depth: int) -> Any:
    value = make(None)
    for _ in range(depth - 1):
        value = make(value)
    return value


MAKERS: list[Callable[[Any], Any]] = [
    lambda inner: [inner],
    lambda inner: (inner,),
    lambda inner: {"a": inner},
    lambda inner: {1: inner},
    lambda inner: frozenset([inner]),
]


@pytest.mark.parametrize("make", MAKERS)
def test_nesting_has_a_limit_below_that_of_the_interpreter(make: Callable[[Any], Any]) -> None:
    """200 levels are stored and read again, one more is refused with an error that says so."""
    codec = VALUES.codec(object)
    deepest = _nested(make, 200)

    assert codec.encode(codec.decode(codec.encode(deepest))) == codec.encode(deepest)
    assert "nested too deeply" in refused(object, _nested(make, 201)).reason
    assert "nested too deeply" in refused(object, _nested(make, 100_000)).reason


def test_nesting_of_a_recursive_class_has_a_limit() -> None:
    """Objects of a class that contains itself are nested 101 deep, not 102, and each counts as two levels of what is within."""
    codec = VALUES.codec(Tree)
    deepest = _nested(lambda inner: Tree(0, [inner] if inner else []), 101)

    assert codec.decode(codec.encode(deepest)) == deepest
    error = refused(Tree, Tree(0, [deepest]))
    assert "nested too deeply" in error.reason
    assert error.place.startswith("state.children[0].children[0]")
    assert " … " in error.place
    assert codec.decode(codec.encode(Tree(5))) == Tree(5)


def test_what_contains_itself_is_refused() -> None:
    """A cycle of any kind is named as what it is."""
    items: list[Any] = []
    items.append(items)
    table: dict[str, Any] = {}
    table["a"] = (table,)
    tree = Tree(1)
    tree.children.append(tree)

    for tp, value in ((object, items), (list[Any], items), (object, table), (dict[str, Any], table), (Tree, tree)):
        assert "contains itself" in refused(tp, value).reason


def test_a_zone_from_a_file_is_refused() -> None:
    """A time zone whose rules came from a file of the user is not what its key says."""
    path = next((Path(folder) / "Europe/Berlin" for folder in TZPATH if (Path(folder) / "Europe/Berlin").exists()), None)
    if path is None:
        pytest.skip("this machine has no time zone files")
    with path.open("rb") as file:
        zone = ZoneInfo.from_file(file, key="Europe/London")

    assert "from_file" in refused(datetime, datetime(2024, 1, 1, tzinfo=zone)).reason
    VALUES.codec(datetime).encode(datetime(2024, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/London")))


def test_a_class_of_the_same_name_is_told_apart() -> None:
    """If a value is of another class with the declared one's name, the error says so."""

    class Cat(NamedTuple):
        lives: int

    assert "another class of that name" in refused(globals()["Cat"], Cat(1)).reason


def test_an_attribute_of_a_named_tuple_that_is_no_field_is_refused() -> None:
    """A subclass of a named tuple has room for attributes, which would be lost."""
    row = LongRow("a")
    codec = VALUES.codec(LongRow)
    assert codec.decode(codec.encode(row)) == row

    row.note = "x"  # type: ignore[attr-defined]
    assert "note" in refused(LongRow, row).reason


def test_running_out_of_memory_or_stack_is_not_blamed_on_the_value() -> None:
    """MemoryError goes through as it is; running out of stack is reported as deep nesting."""

    def fail(error: Exception) -> Any:
        raise error

    converter = make_converter()
    converter.register_unstructure_hook(Cat, lambda cat: fail(MemoryError() if cat.lives else RecursionError()))
    converter.register_structure_hook(Cat, lambda stored, _: fail(MemoryError()))
    values = Values(converter)

    with pytest.raises(MemoryError):
        values.codec(list[Cat]).encode([Cat(1)])
    with pytest.raises(MemoryError):
        values.codec(list[Cat]).decode(b"\x91\x01")
    with pytest.raises(MemoryError):
        values.arguments([list[Cat]], ["a"]).encode(([Cat(1)],))
    with pytest.raises(MemoryError):
        values.arguments([list[Cat]], ["a"]).decode(b"\x91\x91\x01")
    with pytest.raises(NotStorable, match="nested too deeply"):
        values.codec(list[Cat]).encode([Cat(0)])


def test_a_user_s_representation_is_never_called() -> None:
    """An error does not depend on a __repr__ that may fail."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "a Broken" in refused(object, {1: Broken()}).reason
    assert "a Broken" in refused(dict[str, int], {Broken(): 1}).reason


def test_long_values_are_cut_in_errors() -> None:
    """An error message stays short whatever the value is."""
    for value in ("x" * 10_000, 10**5000, b"y" * 10_000):
        assert len(refused(bool, value).reason) < 300


def test_a_utc_time_is_accepted_everywhere() -> None:
    """The table of refusals does not hide that plain aware times are fine."""
    assert VALUES.codec(datetime).decode(VALUES.codec(datetime).encode(datetime(2024, 1, 1, tzinfo=UTC))).tzinfo is UTC
