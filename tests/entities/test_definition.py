"""Entity classes, worked out: which are refused, their names and options (E3, E4, E7, I1)."""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, ClassVar

import attrs
import pytest
from attrs import define, field
from perdure.entities.class_definition import define_class
from perdure.entities.definition import EntityDefinition
from perdure.entities.entity import Entity, entity
from perdure.entities.errors import DefinitionError
from perdure.storage.values import Values

from .helpers import Bench, fresh


def defined(cls: type[Entity]) -> EntityDefinition:
    """A class, worked out with fresh values."""
    return define_class(cls, Values())


# --- classes that are refused


class Bare(Entity):
    """Neither an attrs class nor a dataclass."""

    balance: int = 0


@define
class Account(Entity):
    """A proper one."""

    balance: int = 0

    def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance


class Undecorated(Account):
    """Its base is decorated, it is not: the new attribute would not be kept."""

    limit: int = 0


@dataclass
class DataAccount(Entity):
    """A proper one, the other way."""

    balance: int = 0


class UndecoratedToo(DataAccount):
    """Its base is a dataclass, it is not."""

    limit: int = 0


@pytest.mark.parametrize("cls", [Bare, Undecorated, UndecoratedToo])
def test_E3_a_class_without_declared_attributes_is_refused(cls: type[Entity]) -> None:
    """A class that is neither an attrs class nor a dataclass itself is refused, and the error says what to put on it."""
    with pytest.raises(DefinitionError, match=rf"{cls.__name__}.*@define or @dataclass"):
        defined(cls)


@define
class AttrsWithout(Entity):
    balance: int
    owner: str = ""


@dataclass
class DataWithout(Entity):
    balance: int
    owner: str = ""


@define
class InheritsWithout(AttrsWithout):
    limit: int = field(default=0, kw_only=True)


@pytest.mark.parametrize("cls", [AttrsWithout, DataWithout, InheritsWithout])
def test_E3_an_attribute_without_default_is_refused(cls: type[Entity]) -> None:
    """An attribute without a default, inherited ones too, is refused by name: nothing could start from it."""
    with pytest.raises(DefinitionError, match=rf"'balance' of entity class {cls.__name__} has no default"):
        defined(cls)


@define
class Defaults(Entity):
    plain: int = 0
    made: list[int] = field(factory=list)
    computed: int = field()  # type: ignore[misc]

    @computed.default  # type: ignore[attr-defined]
    def _computed(self) -> int:
        return self.plain + 1


@dataclass
class DataDefaults(Entity):
    plain: int = 0
    made: list[int] = dataclass_field(default_factory=list)
    constant: ClassVar[int]


@pytest.mark.parametrize("cls", [Defaults, DataDefaults])
def test_E3_every_kind_of_default_counts(cls: type[Entity]) -> None:
    """Values, factories and computed defaults are defaults; class variables are no attributes."""
    assert set(defined(cls).operations) == {"delete"}


@define
class NamedContext(Entity):
    context: int = 0  # type: ignore[assignment]


@dataclass
class NamedAt(Entity):
    at: int = 0  # type: ignore[assignment]


@define
class NamedEntityName(Entity):
    entity_name: str = ""  # type: ignore[assignment]


@pytest.mark.parametrize(("cls", "name"), [(NamedContext, "context"), (NamedAt, "at"), (NamedEntityName, "entity_name")])
def test_E7_an_attribute_named_like_a_member_is_refused(cls: type[Entity], name: str) -> None:
    """An attribute that would hide a member of Entity is refused by name."""
    with pytest.raises(DefinitionError, match=rf"'{name}' of entity class {cls.__name__} is named like a member of Entity"):
        defined(cls)


@define
class OperationNamedAt(Entity):
    def at(self) -> int:  # type: ignore[override]
        return 0


@define
class OperationNamedContext(Entity):
    def context(self) -> int:  # type: ignore[override]
        return 0


@pytest.mark.parametrize("cls", [OperationNamedAt, OperationNamedContext])
def test_E7_an_operation_named_like_a_member_is_refused(cls: type[Entity]) -> None:
    """So is an operation that would hide one."""
    with pytest.raises(DefinitionError, match="is named like a member of Entity"):
        defined(cls)


# --- operations that are refused


@define
class Generating(Entity):
    def numbers(self) -> Iterator[int]:
        yield 1


@define
class AsyncGenerating(Entity):
    async def numbers(self) -> AsyncIterator[int]:
        yield 1


@define
class TakesAny(Entity):
    def add(self, *numbers: int) -> None: ...


@define
class NeedsKeyword(Entity):
    def add(self, number: int, *, twice: bool) -> None: ...


@define
class UnknownType(Entity):
    def add(self, number: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@define
class UnknownResult(Entity):
    def get(self) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821


@define
class UnstorableArgument(Entity):
    def add(self, module: types.ModuleType) -> None: ...


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Generating, "'numbers'.*is a generator"),
        (AsyncGenerating, "'numbers'.*is a generator"),
        (TakesAny, r"'add'.*\*numbers"),
        (NeedsKeyword, "'add'.*keyword 'twice'"),
        (UnknownType, "'add'.*Missing"),
        (UnknownResult, "'get'.*Missing"),
        (UnstorableArgument, "'add'.*[Mm]odule"),
    ],
)
def test_E7_what_cannot_be_an_operation(cls: type[Entity], reason: str) -> None:
    """A method that no message could run is refused when the class is defined, with its name and what is wrong."""
    with pytest.raises(DefinitionError, match=reason):
        defined(cls)


@define
class UnstorableState(Entity):
    handle: types.ModuleType = sys


@define
class UnresolvableState(Entity):
    handle: Missing = None  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(("cls", "reason"), [(UnstorableState, "handle"), (UnresolvableState, "Missing")])
def test_E4_a_state_of_a_type_that_cannot_be_kept(cls: type[Entity], reason: str) -> None:
    """An attribute whose type cannot be stored, or not even be found, is refused when the class is defined."""
    with pytest.raises(DefinitionError, match=reason):
        defined(cls)


@define
class OptionalKeyword(Entity):
    seen: int = 0

    def add(self, number: int = 1, *, twice: bool = False) -> int:
        self.seen += number
        return self.seen


def test_E7_an_optional_keyword_keeps_its_default() -> None:
    """A keyword-only parameter with a default is allowed; a message cannot give it."""
    subject = fresh(OptionalKeyword)
    assert subject.call(OptionalKeyword.add, 5) == 5
    assert subject.call(OptionalKeyword.add) == 6
    with pytest.raises(TypeError):
        subject.send("add", 1, True)


# --- names, versions and hubs


@entity(name="ACCOUNT", version=3)
@define
class Other(Entity):
    """Named like the other one, but for case."""


def test_I1_two_classes_of_one_name_are_refused() -> None:
    """Two classes whose names differ in case only cannot be in one hub, and neither can one class twice."""
    for pair in ((Account, Other), (Account, Account)):
        with pytest.raises(DefinitionError, match="two entities are named 'account'"):
            Bench(*pair)


def test_I1_options_are_not_inherited() -> None:
    """A subclass of a class with options has its own name and version 0."""

    @define
    class Sub(Other):
        """No options of its own."""

    assert (Other.entity_name(), defined(Other).version) == ("account", 3)
    assert (Sub.entity_name(), defined(Sub).version) == ("sub", 0)


@pytest.mark.parametrize("wrong", [Entity, int, Account(), "Account", Account.deposit, Account.at("k"), None])
def test_what_is_no_definition(wrong: Any) -> None:
    """A hub takes classes and decorated functions; anything else is refused with what is allowed."""
    with pytest.raises(DefinitionError, match="no definition: a hub takes classes that derive from Entity"):
        Bench(wrong)


def test_modules_hold_definitions() -> None:
    """A module's own entity classes are defined, those that it only imports are not; one without any is refused."""
    module, empty = types.ModuleType("shop"), types.ModuleType("empty")
    cart = attrs.make_class("Cart", {"items": field(factory=list, type=list[str])}, bases=(Entity,))
    cart.__module__ = "shop"
    module.__dict__.update(Cart=cart, Account=Account, Entity=Entity)
    assert set(Bench(module).registry.entities) == {"cart"}
    with pytest.raises(DefinitionError, match="'empty' holds no entity, orchestrator or activity"):
        Bench(empty)


@pytest.mark.parametrize("first_line", ["", "from __future__ import annotations\n"])
@pytest.mark.parametrize("decorator", ["from attrs import define as state", "from dataclasses import dataclass as state"])
def test_annotations_may_be_strings(first_line: str, decorator: str) -> None:
    """A module may have its annotations as objects or, by its first line, as strings: its classes work alike."""
    module = types.ModuleType("shop_with_strings")
    source = f"""{first_line}
{decorator}
from perdure.entities import Entity

@state
class Cart(Entity):
    total: int = 0

    def add(self, price: int) -> int:
        self.total += price
        return self.total
"""
    sys.modules[module.__name__] = module
    try:
        exec(source, module.__dict__)
        assert fresh(module.Cart).call("add", 3) == 3
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"name": "1a"}, ValueError, "no entity name"),
        ({"name": ""}, ValueError, "no entity name"),
        ({"name": 7}, TypeError, "entity name is a str"),
        ({"version": -1}, ValueError, "0 or more"),
        ({"version": True}, TypeError, "an int, not bool"),
        ({"version": "1"}, TypeError, "an int, not str"),
    ],
)
def test_I1_options_are_checked(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    """A wrong option is refused where it is written."""
    with pytest.raises(error, match=reason):
        entity(**options)


def test_I1_a_decorator_without_options_changes_nothing() -> None:
    """``@entity`` alone gives a class back, with its own name and version 0."""

    @entity
    @define
    class Plain(Entity):
        """No options."""

    assert (Plain.entity_name(), defined(Plain).version) == ("plain", 0)


@pytest.mark.parametrize("wrong", [int, len, "Account", Account()])
def test_options_are_for_entity_classes_and_functions(wrong: Any) -> None:
    """Decorating something else is refused."""
    with pytest.raises(TypeError, match="decorates a class that derives from Entity, or a"):
        entity(name="a")(wrong)


def test_I1_a_class_whose_own_name_is_no_entity_name() -> None:
    """A class with a name of other letters needs the option, and says so when it is first addressed."""
    cls = attrs.make_class("Größe", {}, bases=(Entity,))
    with pytest.raises(ValueError, match="no entity name"):
        cls.at("k")
    assert entity(name="Size")(attrs.make_class("Größe", {}, bases=(Entity,))).at("k").name == "size"
