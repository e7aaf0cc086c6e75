"""Users' own hooks, on their own classes and on ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

import pytest
from attrs import define
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union, include_subclasses
from perdure.storage.errors import NotStorable, PerdureError, ValueUnreadable
from perdure.storage.values import Values, make_converter

from .value_strategies import Cat, Dog, UserId

T = TypeVar("T")


class Money:
    """A class that nothing is known about."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (self.amount, self.currency) == (other.amount, other.currency)

    def __hash__(self) -> int:
        return hash(self.amount)


@define
class Purse:
    """Holds such objects in every way."""

    coins: list[Money]
    rates: dict[Money, Money]
    last: Money | None
    kind: Money | int | list[Money]
    all: set[Money]


@define
class Crate(Generic[T]):
    """A generic class."""

    content: T


EURO = Money(Decimal("1.50"), "EUR")
YEN = Money(Decimal("-0"), "JPY")


def money_values() -> Values:
    """A converter for money: a tuple there, which the other hook gets back as it was."""
    converter = make_converter()
    converter.register_unstructure_hook(Money, lambda money: (money.amount, money.currency))
    converter.register_structure_hook(Money, lambda stored, _: Money(*stored))
    return Values(converter)


def back(values: Values, tp: Any, value: Any) -> Any:
    """The value, encoded and decoded."""
    codec = values.codec(tp, "state")
    return codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    "purse",
    [Purse([EURO, YEN], {EURO: YEN}, EURO, YEN, {EURO, YEN}), Purse([], {}, None, 5, set()), Purse([], {}, None, [EURO], set())],
)
def test_a_pair_of_hooks_works_at_every_depth(purse: Purse) -> None:
    """Objects of a class with hooks stand wherever a type can stand."""
    assert back(money_values(), Purse, purse) == purse


def test_a_class_with_hooks_is_an_argument() -> None:
    """Arguments use the same hooks."""
    codec = money_values().arguments([Money, int], ["price", "count"], 1)

    assert codec.decode(codec.encode((EURO, 2))) == (EURO, 2)
    assert codec.decode(codec.encode((EURO,))) == (EURO,)


def test_a_hook_gets_what_the_other_returned() -> None:
    """Whatever plain value a hook returns, its other half is given exactly that."""
    given: list[Any] = []
    converter = make_converter()
    returned = ({1, 2}, (Decimal("1.0"), {(1,): b"x"}), [True, 1, 1.0])
    converter.register_unstructure_hook(Money, lambda _: returned)
    converter.register_structure_hook(Money, lambda stored, _: given.append(stored) or EURO)

    assert back(Values(converter), Money, EURO) == EURO
    assert repr(given) == repr([returned])


def test_a_value_of_another_class_does_not_reach_a_hook() -> None:
    """A hook that accepts anything does not make its class's rules loose."""
    converter = make_converter()
    converter.register_unstructure_hook(Money, str)
    converter.register_structure_hook(Money, lambda stored, _: stored)
    codec = Values(converter).codec(list[Money], "state")

    with pytest.raises(NotStorable, match=r"an int \(5\) stands where Money is declared") as refused:
        codec.encode([5])  # type: ignore[list-item]
    with pytest.raises(ValueUnreadable, match="the hook of Money made a str") as unreadable:
        codec.decode(codec.encode([EURO]))

    assert (refused.value.place, unreadable.value.place) == ("state[0]", "state[0]")


def test_a_hook_that_raises_or_returns_an_object_is_reported() -> None:
    """The error names the place, and has the hook's own exception as its cause."""
    failing, silly = make_converter(), make_converter()
    failing.register_unstructure_hook(Money, lambda money: money.amuont)
    failing.register_structure_hook(Money, lambda stored, _: stored["amount"])
    silly.register_unstructure_hook(Money, lambda money: [Cat()])
    silly.register_structure_hook(Money, lambda stored, _: stored)

    with pytest.raises(NotStorable, match=r"AttributeError.*amuont") as raised:
        Values(failing).codec(dict[str, Money], "state").encode({"a": EURO})
    assert raised.value.place == "state['a']"
    assert isinstance(raised.value.__cause__, AttributeError)
    with pytest.raises(ValueUnreadable, match=r"KeyError|TypeError"):
        Values(failing).codec(Money).decode(b"\x90")
    with pytest.raises(NotStorable, match=r"hook of Money returned.*a Cat"):
        Values(silly).codec(Money).encode(EURO)


def test_a_hook_of_a_base_is_for_its_subclasses_too() -> None:
    """A registered hook decides whether objects of subclasses may stand for a class, in a union as well."""

    class Coin(Money):
        pass

    coin = Coin(Decimal(2), "EUR")
    values = money_values()

    for tp in (Money, Money | int, list[Money | None]):
        value: Any = [coin] if tp == list[Money | None] else coin
        assert back(values, tp, value) == ([coin] if value == [coin] else coin)
    with pytest.raises(NotStorable, match="a float"):
        values.codec(Money | int).encode(1.5)


def test_a_hook_may_use_codecs_and_converter_directly() -> None:
    """Whatever refuses a part within a hook, the reason arrives."""
    converter = make_converter()
    inner = Values()
    converter.register_unstructure_hook(Money, lambda money: inner.codec(int, "amount").encode(money.amount))
    converter.register_structure_hook(Money, lambda stored, _: converter.structure(stored, Cat))
    codec = Values(converter).codec(Money, "state")

    with pytest.raises(NotStorable, match=r"^state: a Decimal stands where int is declared"):
        codec.encode(EURO)
    with pytest.raises(ValueUnreadable, match=r"^state: what is stored is a bytes \(b'x'\), which does not fit Cat"):
        codec.decode(b"\xc4\x01x")
    with pytest.raises(PerdureError, match=r"^value\.lives: a str"):
        converter.unstructure(Cat("x"))  # type: ignore[arg-type]


def test_half_a_pair_is_refused() -> None:
    """A class of which only one hook is registered has no codec."""
    converter = make_converter()
    converter.register_unstructure_hook(Money, lambda money: money.currency)

    with pytest.raises(NotStorable):
        Values(converter).codec(Money)


def test_hooks_that_are_registered_later_hold_for_new_codecs() -> None:
    """Asking again for a codec after a hook was registered takes the hook into account."""
    values = Values()
    before = values.codec(list[Cat])
    assert values.codec(list[Cat]).encode([Cat(3)]) == before.encode([Cat(3)])

    values.converter.register_unstructure_hook(Cat, lambda cat: cat.lives)
    values.converter.register_structure_hook(Cat, lambda stored, _: Cat(stored))

    assert values.codec(list[Cat]).encode([Cat(3)]) == b"\x91\x03"
    assert before.encode([Cat(3)]) != b"\x91\x03"


def test_hooks_of_a_generic_class_hold_with_arguments() -> None:
    """A hook for a class is used for the class with type arguments."""
    converter = make_converter()
    converter.register_unstructure_hook(Crate, lambda crate: ["crate", crate.content])
    converter.register_structure_hook(Crate, lambda stored, _: Crate(stored[1]))

    codec = Values(converter).codec(Crate[int])
    assert codec.encode(Crate(5)) == b"\x92\xa5crate\x05"
    assert codec.decode(codec.encode(Crate(5))) == Crate(5)


def test_hooks_of_a_new_type_a_union_and_a_protocol_are_used() -> None:
    """What cattrs allows hooks for, has hooks."""

    class Speaks(Protocol):
        def speak(self) -> str: ...

    class Parrot:
        def speak(self) -> str:
            return "hello"

    converter = make_converter()
    converter.register_unstructure_hook(UserId, lambda user: f"user {user}")
    converter.register_structure_hook(UserId, lambda stored, _: UserId(int(stored[5:])))
    converter.register_unstructure_hook(Cat | Dog, lambda animal: type(animal) is Cat)
    converter.register_structure_hook(Cat | Dog, lambda stored, _: Cat() if stored else Dog())
    converter.register_unstructure_hook_func(lambda tp: tp is Speaks, lambda animal: animal.speak())
    converter.register_structure_hook_func(lambda tp: tp is Speaks, lambda _stored, _: Parrot())
    values = Values(converter)

    assert values.codec(UserId).encode(UserId(5)) == b"\xa6user 5"
    assert back(values, list[UserId], [UserId(5)]) == [5]
    assert back(values, list[Cat | Dog], [Cat(), Dog()]) == [Cat(), Dog()]
    assert values.codec(Cat | Dog).encode(Cat()) == b"\xc3"
    assert back(values, list[Speaks], [Parrot()])[0].speak() == "hello"


def test_the_strategies_of_cattrs_work() -> None:
    """Subclasses and tagged unions in cattrs's own way, and its generated hooks with renamed fields."""

    @define
    class Shape:
        size: int

    @define
    class Disc(Shape):
        color: str

    converter = make_converter()
    include_subclasses(Shape, converter)
    assert back(Values(converter), list[Shape], [Shape(1), Disc(2, "red")]) == [Shape(1), Disc(2, "red")]

    converter = make_converter()
    configure_tagged_union(Cat | Dog, converter)
    assert back(Values(converter), list[Cat | Dog], [Cat(), Dog()]) == [Cat(), Dog()]

    converter = make_converter()
    converter.register_unstructure_hook(Dog, make_dict_unstructure_fn(Dog, converter, lives=override(rename="n")))
    converter.register_structure_hook(Dog, make_dict_structure_fn(Dog, converter, lives=override(rename="n")))
    assert Values(converter).codec(Dog).encode(Dog(5)) == b"\x81\xa1n\x05"
    assert back(Values(converter.copy()), dict[str, Dog], {"a": Dog(5)}) == {"a": Dog(5)}


def test_a_hook_may_use_the_converter_for_its_parts() -> None:
    """What the converter makes of parts goes through a hook's result unharmed."""
    converter = make_converter()
    pets: Any = list[Cat | tuple[int, ...]]

    def to_plain(money: Money) -> Any:
        return {"amount": converter.unstructure(money.amount), "pets": converter.unstructure([Cat(1), (2,)], pets)}

    def from_plain(stored: Any, _: Any) -> Money:
        assert converter.structure(stored["pets"], pets) == [Cat(1), (2,)]
        return Money(stored["amount"], "EUR")

    converter.register_unstructure_hook(Money, to_plain)
    converter.register_structure_hook(Money, from_plain)

    assert back(Values(converter), Money | int, EURO) == EURO


def test_hooks_may_be_registered_by_decorator_and_by_factory() -> None:
    """The other forms of registering are cattrs's own too."""
    converter = make_converter()

    @converter.register_unstructure_hook
    def unstructure(value: Money) -> Any:
        return [value.amount, value.currency]

    @converter.register_structure_hook
    def structure(stored: Any, _: Any) -> Money:
        return Money(*stored)

    converter.register_unstructure_hook_factory(lambda tp: tp is Cat, lambda tp: lambda cat: cat.lives)
    converter.register_structure_hook_factory(lambda tp: tp is Cat, lambda tp: lambda stored, _: tp(stored))
    values = Values(converter)

    assert back(values, Money, EURO) == EURO
    assert values.codec(Cat).encode(Cat(3)) == b"\x03"
    assert back(values, Cat, Cat(3)) == Cat(3)
