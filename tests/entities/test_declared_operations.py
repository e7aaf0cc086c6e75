"""Which methods of an entity class are operations, and which name reaches which of them (E7)."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import pytest
from attrs import define
from perdure.entities.class_definition import define_class
from perdure.entities.entity import Entity
from perdure.entities.errors import UnknownOperation
from perdure.storage.values import Values

from .helpers import Bench, fresh

T = TypeVar("T")


def operations(cls: type[Entity]) -> set[str]:
    """The names of a class's operations."""
    return set(define_class(cls, Values()).operations)


@define
class Account(Entity):
    """Another class."""

    def own(self) -> int:
        return 0


class Mixin:
    """Not an entity class: its methods are helpers."""

    def helper(self) -> int:
        return 1


@define
class Base(Entity):
    value: int = 1

    def kept(self) -> str:
        return "base"

    def overridden(self) -> str:
        return "base"

    def hidden(self) -> str:
        return "base"

    def made_private(self) -> str:
        return "base"


@define
class Derived(Mixin, Base):
    limit: int = 2
    LIMIT: ClassVar[int] = 3

    def overridden(self) -> str:
        return "derived"

    def own(self) -> int:
        return self.helper() + self._private()

    async def asynchronous(self) -> None: ...

    def _private(self) -> int:
        return 1

    def __dunder(self) -> int:
        return 1

    def __len__(self) -> int:
        return 0

    hidden = None  # type: ignore[assignment]

    @property
    def computed(self) -> int:
        return 1

    @staticmethod
    def of_nobody() -> int:
        return 1

    @classmethod
    def of_class(cls) -> int:
        return 1

    class Inner:
        """A class inside."""

    made_private = property(lambda self: "derived")  # type: ignore[assignment]
    builtin = len


def test_E7_only_public_methods_of_entity_classes() -> None:
    """Operations are the public methods of the class and of its entity bases, the nearest first, and nothing else."""
    assert operations(Derived) == {"kept", "overridden", "own", "asynchronous", "delete"}
    assert operations(Base) == {"kept", "overridden", "hidden", "made_private", "delete"}
    subject = fresh(Derived)
    assert subject.call("kept") == "base"
    assert subject.call("overridden") == "derived"
    assert subject.call("own") == 2


@pytest.mark.parametrize(
    "name",
    ["helper", "_private", "_Derived__dunder", "__len__", "__init__", "__class__", "computed", "of_nobody", "of_class",
     "value", "LIMIT", "hidden", "Inner", "builtin", "context", "at", "entity_name", "_perdure_context", "", "Kept", "kept "],
)  # fmt: skip
def test_E7_nothing_else_is_reachable(name: str) -> None:
    """Mixins' and private methods, attributes, properties and the framework's own are no operations, whoever asks."""
    bench = Bench(Derived)
    with pytest.raises(UnknownOperation, match="kept, overridden, own"):
        bench.message(Derived.at("k"), name)


@pytest.mark.parametrize("operation", [Mixin.helper, Derived.of_nobody, Account.own, len, lambda self: None])
def test_E7_a_function_that_is_no_operation(operation: Any) -> None:
    """A function that is no method of the class is refused even if an operation has its name."""
    bench = Bench(Derived)
    with pytest.raises(UnknownOperation):
        bench.message(Derived.at("k"), operation)


@pytest.mark.parametrize("operation", [None, 3, ["kept"], object()])
def test_E7_what_names_no_operation(operation: Any) -> None:
    """What is neither a method nor a name is a TypeError that says what an operation is."""
    bench = Bench(Derived)
    with pytest.raises(TypeError, match=r"Derived\.method"):
        bench.message(Derived.at("k"), operation)


def test_E7_a_base_method_names_the_override() -> None:
    """A method of the base names the operation that the derived class has under that name."""
    subject = fresh(Derived)
    assert subject.call(Base.overridden) == "derived"


@define
class GenericBox(Entity, Generic[T]):
    content: Any = None

    def put(self, content: Any) -> None:
        self.content = content


def test_E7_generic_bases_add_nothing() -> None:
    """Deriving from Generic too makes no operations."""
    assert operations(GenericBox) == {"put", "delete"}


# --- delete


@define
class Undeletable(Entity):
    left: int = 0

    def delete(self, keep: int) -> str:
        self.left = keep
        return "kept"


@define
class UndeletableToo(Undeletable):
    more: int = 0


def test_E7_delete_is_there_unless_the_class_has_its_own() -> None:
    """Every class can be deleted; one that defines delete, or inherits it from an entity class, has that operation instead."""
    assert "delete" in operations(Account)
    for cls in (Undeletable, UndeletableToo):
        subject = fresh(cls)
        assert subject.call("delete", 7) == "kept"
        assert subject.state == cls(left=7)
