"""Hypothesis strategies of storable values, sample classes, and what it means that two values are identical.

:func:`plain_values` are the values that the self-describing form keeps; :func:`typed_values` draws a type together with
a value of it. :func:`fingerprint` says everything about a value that must come back, so that ``1`` and ``True``, two
zeros, two NaNs or two time zones are told apart where ``==`` does not.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
from attrs import define, field, frozen
from hypothesis import strategies as st

T = TypeVar("T")
Pair = tuple[Any, st.SearchStrategy[Any]]
"""A type, and the strategy of its values."""

UserId = NewType("UserId", int)


class Color(Enum):
    """Its values cannot be stored, which does not matter."""

    RED = object()
    BLUE = object  # the class itself


class Level(IntEnum):
    """An int subclass."""

    LOW = 1
    HIGH = 2


class Word(StrEnum):
    """A str subclass."""

    YES = "yes"
    NO = "no"


class Permission(Flag):
    """With a name for two bits."""

    READ = 1
    WRITE = 2
    RUN = 4
    CHANGE = READ | WRITE


@frozen
class Point:
    """Hashable."""

    x: int
    y: int = 0


@define
class Item:
    """A part of an order."""

    name: str
    price: Decimal


@define
class Order:
    """Nested, with a private attribute and one that the constructor does not take."""

    items: list[Item]
    note: str | None = None
    _secret: int = 7
    total: float = field(init=False, default=0.0)


@dataclasses.dataclass
class Ticket:
    """A dataclass with a default that stands on the class only."""

    seat: str
    tags: list[str] = dataclasses.field(default_factory=list[str])
    printed: bool = dataclasses.field(init=False, default=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A dataclass of another make."""

    place: Point
    when: date


@define
class Box(Generic[T]):
    """Generic."""

    content: T
    spares: list[T] = field(factory=list)


@define
class PointBox(Box[Point]):
    """Derived from a generic class with an argument."""

    label: str = ""


@define
class Tree:
    """Contains itself."""

    value: int
    children: list[Tree] = field(factory=list)


@define
class Cat:
    """One of a union."""

    lives: int = 9


@define
class Dog:
    """Another one, of the same shape."""

    lives: int = 1


class Movie(TypedDict):
    """With a key that may be missing."""

    title: str
    year: NotRequired[int]


class Row(NamedTuple):
    """A named tuple."""

    key: str
    point: Point = Point(0)


def fingerprint(value: Any) -> Any:
    """Everything about a value that must come back, for comparison with ``==``."""
    cls = type(value)
    if isinstance(value, Enum):
        return cls, repr(value)
    if attrs.has(cls) or dataclasses.is_dataclass(value):
        names = [f.name for f in (attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(value))]
        return cls, [(name, fingerprint(getattr(value, name))) for name in names]
    if isinstance(value, (list, tuple)):
        return cls, [fingerprint(item) for item in value]
    if isinstance(value, dict):
        return cls, [(fingerprint(key), fingerprint(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return cls, sorted(repr(fingerprint(item)) for item in value)
    if cls in (float, complex):
        return cls, struct.pack(">dd", value.real, value.imag)
    if cls in (datetime, time):
        return cls, value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo)
    return cls, repr(value)


def _zone(zone: Any) -> Any:
    return type(zone), repr(zone)


zones = st.sampled_from(
    [
        None,
        UTC,
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("America/St_Johns"),
        timezone(timedelta(hours=-3, seconds=7, microseconds=11)),
        timezone(timedelta(0), "named (~]"),
    ]
)
texts = st.text(max_size=6)
integers = st.integers() | st.sampled_from([2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**40, 0])
floats = st.floats() | st.sampled_from([-0.0, float("nan"), float("-inf")])
decimals = st.decimals() | st.sampled_from(["sNaN", "-NaN12", "-0E+3", "1E+999999"]).map(Decimal)
datetimes = st.builds(lambda d, fold, zone: d.replace(fold=fold, tzinfo=zone), st.datetimes(), st.integers(0, 1), zones)
times = st.builds(lambda t, fold, zone: t.replace(fold=fold, tzinfo=zone), st.times(), st.integers(0, 1), zones)
pure_paths = st.sampled_from([PurePosixPath("a/../b"), PureWindowsPath("C:/x"), Path("/tmp/ä"), Path()])

LEAVES: list[Pair] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, integers),
    (float, floats),
    (str, texts),
    (bytes, st.binary(max_size=6)),
    (datetime, datetimes),
    (date, st.dates()),
    (time, times),
    (timedelta, st.timedeltas()),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (complex, st.complex_numbers()),
    (Fraction, st.fractions()),
    (PurePath, pure_paths),
]
"""The types of single values; all hashable, with a signalling NaN among the decimals that is not."""

hashable_leaves = st.one_of([strategy for tp, strategy in LEAVES if tp is not Decimal]) | st.decimals(allow_nan=False)


def hashable_values() -> st.SearchStrategy[Any]:
    """Plain values that may stand in a set."""
    return st.recursive(
        hashable_leaves,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
        max_leaves=4,
    )


def plain_values() -> st.SearchStrategy[Any]:
    """The values that come back without a type."""
    hashable = hashable_values()
    return st.recursive(
        st.one_of([strategy for _, strategy in LEAVES]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(texts, inner, max_size=4)
            | st.dictionaries(hashable, inner, max_size=4)
            | st.sets(hashable, max_size=4)
            | st.frozensets(hashable, max_size=4)
        ),
        max_leaves=8,
    )


items = st.builds(Item, texts, decimals)
points = st.builds(Point, integers, integers)
flags = st.integers(0, 7).map(Permission)
trees = st.recursive(
    st.builds(Tree, integers), lambda inner: st.builds(Tree, integers, st.lists(inner, max_size=3)), max_leaves=6
)


def _order(parts: list[Item], note: str | None, total: float) -> Order:
    order = Order(parts, note, 8)
    order.total = total
    return order


CLASSES: list[Pair] = [
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Word, st.sampled_from(Word)),
    (Permission, flags),
    (Point, points),
    (Item, items),
    (Order, st.builds(_order, st.lists(items, max_size=3), st.none() | texts, floats)),
    (Ticket, st.builds(Ticket, texts, st.lists(texts, max_size=3))),
    (Visit, st.builds(lambda place, when: Visit(place=place, when=when), points, st.dates())),
    (PointBox, st.builds(PointBox, points, st.lists(points, max_size=2), texts)),
    (Tree, trees),
    (Movie, st.fixed_dictionaries({"title": texts}, optional={"year": integers})),
    (Row, st.builds(Row, texts, points)),
    (UserId, integers),
    (Annotated[int, "metadata"], integers),
    (Literal[1, "a", None, Level.LOW], st.sampled_from([1, "a", None, Level.LOW])),
    (Cat | Dog | int | None, st.sampled_from([Cat(), Dog(), 3, None])),
    (Cat | list[Dog] | tuple[int, ...], st.sampled_from([Cat(3), [Dog()], (1, 2), []])),
    (Any, plain_values()),
]
"""The types of classes and the special forms."""

HASHABLE: list[Pair] = [
    *(pair for pair in LEAVES if pair[0] is not Decimal),
    *(pair for pair in CLASSES if pair[0] in (Color, Level, Word, Permission, Point, UserId)),
    (tuple[int, str], st.tuples(integers, texts)),
]
"""Those whose values may stand in a set."""


def _containers(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    hashable = st.sampled_from(HASHABLE)
    return st.one_of(
        st.tuples(inner, st.sampled_from([list, Sequence])).map(lambda p: (p[1][p[0][0]], st.lists(p[0][1], max_size=3))),
        inner.map(lambda p: (tuple[p[0], ...], st.lists(p[1], max_size=3).map(tuple))),
        st.tuples(inner, inner).map(lambda p: (tuple[p[0][0], p[1][0]], st.tuples(p[0][1], p[1][1]))),
        st.tuples(hashable, inner).map(lambda p: (dict[p[0][0], p[1][0]], st.dictionaries(p[0][1], p[1][1], max_size=3))),
        inner.map(lambda p: (Mapping[str, p[0]], st.dictionaries(texts, p[1], max_size=3))),
        hashable.map(lambda p: (set[p[0]], st.sets(p[1], max_size=3))),
        hashable.map(lambda p: (frozenset[p[0]], st.frozensets(p[1], max_size=3))),
        inner.map(lambda p: (Optional[p[0]], st.none() | p[1])),  # noqa: UP045 - the type is known at run time only
        inner.map(lambda p: (Box[p[0]], st.builds(Box, p[1], st.lists(p[1], max_size=2)))),
    )


def typed_values() -> st.SearchStrategy[tuple[Any, Any]]:
    """A type, and a value of it."""
    pairs: st.SearchStrategy[Pair] = st.recursive(st.sampled_from([*LEAVES, *CLASSES]), _containers, max_leaves=3)
    return pairs.flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))
