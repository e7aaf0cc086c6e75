"""Classes of all makes: what is stored of their objects, and how they come back."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NotRequired, Self, TypedDict, TypeVar

import attrs
import pytest
from attrs import define, field, frozen
from perdure.storage.errors import NotStorable
from perdure.storage.values import Values
from typing_extensions import TypeAliasType
from typing_extensions import TypedDict as OtherTypedDict
from typing_extensions import TypeVar as DefaultTypeVar

from .value_strategies import Box, Point, fingerprint

VALUES = Values()
T = TypeVar("T")
U = TypeVar("U")
B = TypeVar("B", bound=Point)
C = TypeVar("C", int, str)


def back(tp: Any, value: Any) -> Any:
    """The value, encoded and decoded."""
    codec = VALUES.codec(tp, "state")
    return codec.decode(codec.encode(value))


def refused(tp: Any, value: Any) -> NotStorable:
    """The error that encoding raises."""
    with pytest.raises(NotStorable) as raised:
        VALUES.codec(tp, "state").encode(value)
    return raised.value


@define
class Once(Generic[T]):
    """Its T is another than its subclass's."""

    first: T


@define
class Twice(Once[int], Generic[T]):
    """Reuses the type variable for another attribute."""

    second: T


@define
class Chain:
    """Refers to its own class by Self."""

    next: Self | None = None


@define(init=False)
class Made:
    """Has an __init__ of its own, converters and validators."""

    size: int = field(converter=lambda value: value + 1, validator=attrs.validators.gt(0))
    calls: ClassVar[int] = 0

    def __init__(self) -> None:
        """Counts."""
        Made.calls += 1
        self.__attrs_init__(1)  # type: ignore[attr-defined]


@frozen(cache_hash=True)
class Hashed:
    """Keeps its hash in an attribute."""

    a: int


@frozen(cache_hash=True, slots=False)
class HashedDict:
    """The same, without slots."""

    a: int


@define(slots=False)
class Lazy:
    """Has a cached property in its __dict__."""

    side: int

    @functools.cached_property
    def area(self) -> int:
        """Derived."""
        return self.side**2


@define
class LazySlots:
    """Has a cached property in a slot."""

    side: int

    @functools.cached_property
    def area(self) -> int:
        """Derived."""
        return self.side**2


class Context:
    """A base that is no attrs class and has slots, one of them the framework's own."""

    __slots__ = ("_perdure_context", "memo")


@define
class Slotted(Context):
    """Derives from it."""

    a: int = 1


@dataclasses.dataclass
class Early:
    """A dataclass whose deleted attribute shows the class's default."""

    a: int = 1
    b: int = 2


@define
class Keywords:
    """Private, keyword-only, mangled and unusual names."""

    _private: int
    __mangled: int = field(alias="mangled")
    only: int = field(kw_only=True)
    größe: int = 4  # noqa: PLC2401 - a user's language


def test_type_variables_are_filled_in_class_by_class() -> None:
    """A base's type variable has the argument that its subclass gives it, though both are called T."""
    assert fingerprint(back(Twice[str], Twice(1, "a"))) == fingerprint(Twice(1, "a"))
    assert refused(Twice[str], Twice("a", "a")).place == "state.first"
    assert refused(Twice[str], Twice(1, 1)).place == "state.second"


def test_a_type_variable_means_its_bound_its_constraints_or_anything() -> None:
    """A type variable without an argument accepts what its declaration allows."""

    @define
    class Bound(Generic[B, C, T]):
        point: B
        either: C
        free: T

    Bound.__annotations__ |= {"point": B, "either": C, "free": T}
    attrs.resolve_types(Bound, globals(), {"B": B, "C": C, "T": T})
    value = Bound(Point(1), "a", (1, 2))

    assert fingerprint(back(Bound, value)) == fingerprint(value)
    assert refused(Bound, Bound(1, "a", 1)).place == "state.point"  # type: ignore[type-var]
    assert refused(Bound, Bound(Point(1), 1.5, 1)).place == "state.either"  # type: ignore[type-var]
    assert refused(Bound, Bound(Point(1), 1, Point(1))).place == "state.free"


def test_a_type_variable_may_have_a_default_and_stand_in_annotated() -> None:
    """A type variable without an argument has its default, and metadata around one does no harm."""
    variable = DefaultTypeVar("variable", default=int)

    class Parcel(NamedTuple, Generic[T]):
        content: T
        tagged: Annotated[list[T], "metadata"]

    Parcel.__annotations__ |= {"content": T, "tagged": Annotated[list[T], "metadata"]}

    assert back(list[variable], [1]) == [1]  # type: ignore[valid-type]
    assert refused(list[variable], ["x"]).place == "state[0]"  # type: ignore[valid-type]
    assert back(Parcel[str], Parcel("x", ["y"])) == Parcel("x", ["y"])
    assert refused(Parcel[str], Parcel("x", [1])).place == "state.tagged[0]"  # type: ignore[list-item]


def test_a_generic_object_made_through_its_alias_is_stored() -> None:
    """What typing leaves on such an object is no attribute of the user's."""

    @dataclasses.dataclass
    class Holder(Generic[T]):
        content: T

    value = Holder[int](5)

    assert back(Holder[int], value) == value


def test_self_is_the_class() -> None:
    """Self in an annotation means the class that is declared."""
    assert back(Chain, Chain(Chain())) == Chain(Chain())
    assert refused(Chain, Chain(1)).place == "state.next"  # type: ignore[arg-type]


def test_reading_runs_no_code_of_the_class() -> None:
    """Neither __init__ nor a converter nor a validator touches what was stored."""
    value = Made()
    object.__setattr__(value, "size", -5)
    calls = Made.calls

    assert back(Made, value).size == -5
    assert Made.calls == calls


def test_every_kind_of_attribute_name_is_stored() -> None:
    """Private, mangled, keyword-only and non-ASCII attributes come back."""
    value = Keywords(1, 2, only=3)

    assert back(Keywords, value) == value


@pytest.mark.parametrize("cls", [Hashed, HashedDict])
def test_a_cached_hash_is_made_anew(cls: Any) -> None:
    """An object that keeps its hash can be stored before and after, and hashed when it was read."""
    value = cls(1)
    hash(value)

    assert hash(back(cls, value)) == hash(cls(1))
    assert back(set[cls], {value}) == {value}


@pytest.mark.parametrize("cls", [Lazy, LazySlots])
def test_a_cached_property_is_no_attribute_too_many(cls: Any) -> None:
    """What a class computes by itself is neither stored nor refused."""
    value = cls(3)
    assert value.area == 9

    assert back(cls, value).area == 9


def test_an_attribute_that_is_no_field_is_refused() -> None:
    """Attributes in __dict__ or in the slot of a base would be lost, but for the framework's own."""
    lazy = Lazy(1)
    vars(lazy)["extra"] = 1
    slotted = Slotted(2)
    slotted._perdure_context = object()

    assert back(Slotted, slotted) == slotted
    slotted.memo = 1
    assert "memo" in refused(Slotted, slotted).reason
    assert "extra" in refused(Lazy, lazy).reason


def test_an_attribute_in_place_of_a_deleted_field_is_refused() -> None:
    """That the number of attributes is right does not hide a missing one."""
    value = Early()
    del value.b
    vars(value)["c"] = 3

    assert refused(Early, value).reason.startswith("the field 'b' of the Early was never set")


def test_a_field_that_was_never_set_is_refused() -> None:
    """An attribute without a value has nothing to store."""

    @define
    class Later:
        a: int = field(init=False)

    assert refused(Later, Later()).place == "state.a"


def test_a_class_that_is_more_than_its_fields_is_refused() -> None:
    """Objects that are containers or exceptions as well would lose that part."""

    @define
    class Problem(Exception):
        a: int

    @define(slots=False)
    class Table(dict[str, int]):
        a: int = 1

    for cls in (Problem, Table):
        with pytest.raises(NotStorable, match="derives from"):
            VALUES.codec(cls)


def test_a_subclass_without_the_decorator_keeps_nothing_of_its_own() -> None:
    """Attributes that a plain subclass adds are refused, its fields come back."""

    class Wide(Point):
        pass

    assert type(back(Wide, Wide(1, 2))) is Wide
    value = Wide(1, 2)
    object.__setattr__(value, "depth", 3)
    assert "depth" in refused(Wide, value).reason


def test_the_error_of_an_annotation_that_cannot_be_found_says_which() -> None:
    """A name in a string annotation that is not in the module is named."""

    @define
    class Local:
        pass

    @define
    class Outer:
        inner: Local

    with pytest.raises(NotStorable, match="'Local'"):
        VALUES.codec(Outer)


def test_annotations_may_be_absent() -> None:
    """Fields of classes made by hand hold anything that is plain."""
    made = attrs.make_class("made", ["a", "b"])
    loose = dataclasses.make_dataclass("loose", ["a"])
    none: Any = define(types.new_class("none", (), {}, lambda body: body.update(__annotations__={"a": None}, a=None)))

    assert back(made, made((1,), {2})) == made((1,), {2})
    assert back(loose, loose((1,))) == loose((1,))
    assert back(none, none()) == none()
    assert refused(none, none(1)).place == "state.a"


class Sparse(OtherTypedDict, total=False):
    """Of typing_extensions, with string annotations."""

    title: str


class Full(TypedDict, Generic[T]):
    """Generic."""

    content: list[T]
    note: NotRequired[str]


def test_typed_dicts_of_any_origin_are_stored() -> None:
    """Keys may be missing as declared, also where annotations are strings, and type variables are filled in."""
    assert back(Sparse, {}) == {}
    assert back(Full[int], {"content": [1]}) == {"content": [1]}
    assert refused(Full[int], {"content": ["x"]}).place == "state['content'][0]"
    assert list(back(Full[int], {"note": "x", "content": []})) == ["note", "content"]


def test_type_aliases_are_looked_through() -> None:
    """A type alias means its value, with its own parameters filled in."""
    numbers = TypeAliasType("numbers", list[int])
    pairs = TypeAliasType("pairs", dict[str, tuple[T, U]], type_params=(T, U))

    assert back(numbers, [1]) == [1]
    assert back(pairs[int, str], {"a": (1, "x")}) == {"a": (1, "x")}
    assert refused(pairs[int, str], {"a": (1, 2)}).place == "state['a'][1]"


def test_metadata_need_not_be_hashable() -> None:
    """Annotated types work with any metadata, at any depth."""
    assert back(Annotated[int, []], 5) == 5
    assert back(dict[str, list[Annotated[int, {}]]], {"a": [5]}) == {"a": [5]}


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("made_for_this_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
def test_new_generic_syntax_is_understood(module: types.ModuleType) -> None:
    """Classes and recursive aliases in the syntax of Python 3.12 are stored."""
    source = """
from attrs import define
type Json = None | bool | int | str | list[Json] | dict[str, Json]
@define
class Crate[X]:
    content: X
"""
    exec(source, vars(module))

    assert back(module.Json, {"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
    assert back(module.Crate[int], module.Crate(1)) == module.Crate(1)
    assert refused(module.Crate[int], module.Crate("x")).place == "state.content"


def test_a_box_of_boxes_is_stored() -> None:
    """Generic classes can be arguments of themselves."""
    value = Box(Box(1), [Box(2)])

    assert fingerprint(back(Box[Box[int]], value)) == fingerprint(value)
    assert refused(Box[Box[str]], value).place == "state.content.content"
