"""Argument tuples."""

from __future__ import annotations

from decimal import Decimal
from inspect import Parameter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.storage.errors import NotStorable, ValueUnreadable
from perdure.storage.values import Values

from .value_strategies import CLASSES, LEAVES, Item, Order, Pair, fingerprint

VALUES = Values()
NAMES = ["amount", "order", "note", "rest"]
SCALARS = [pair for pair in LEAVES if pair[0] in (None, bool, int, float, str, bytes)]


def arguments_of(kinds: list[Pair]) -> st.SearchStrategy[tuple[list[Any], int, tuple[Any, ...]]]:
    """Types, how many are required, and arguments that may leave out the others."""
    return st.lists(st.sampled_from(kinds), max_size=4).flatmap(
        lambda pairs: st.integers(0, len(pairs)).flatmap(
            lambda required: st.tuples(
                st.just([tp for tp, _ in pairs]),
                st.just(required),
                st.integers(required, len(pairs)).flatmap(lambda count: st.tuples(*(s for _, s in pairs[:count]))),
            )
        )
    )


@settings(max_examples=300, deadline=None)
@given(arguments_of(SCALARS) | arguments_of([*LEAVES, *CLASSES]))
def test_E6_arguments_come_back_exactly(case: tuple[list[Any], int, tuple[Any, ...]]) -> None:
    """For every signature and arguments for it, the tuple is stored as given, defaults left out."""
    types, required, arguments = case
    codec = VALUES.arguments(types, NAMES[: len(types)], required)

    assert fingerprint(codec.decode(codec.encode(arguments))) == fingerprint(arguments)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4),
    st.integers(0, 3),
    st.one_of([strategy for _, strategy in SCALARS]),
    st.data(),
)
def test_an_argument_of_another_class_is_refused(pairs: list[Pair], position: int, value: Any, data: st.DataObject) -> None:
    """For every signature of scalars, the argument that does not belong is named, and nothing else is stored."""
    position %= len(pairs)
    arguments = [data.draw(strategy) for _, strategy in pairs]
    declared = type(None) if pairs[position][0] is None else pairs[position][0]
    arguments[position] = value
    codec = VALUES.arguments([tp for tp, _ in pairs], NAMES[: len(pairs)])

    if type(value) is declared or (declared is float and type(value) is int and _exact(value)):
        assert len(codec.decode(codec.encode(tuple(arguments)))) == len(pairs)
        return
    with pytest.raises(NotStorable) as raised:
        codec.encode(tuple(arguments))
    assert raised.value.place == f"argument {NAMES[position]!r}"


def _exact(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


@pytest.mark.parametrize(
    ("types", "arguments", "place"),
    [
        ([str, Order], ("a", Order([Item("a", Decimal(1))] * 3 + [Item("a", 1)])), "argument 'order'.items[3].price"),  # type: ignore[arg-type]
        ([Order, str], (Order([], "\ud800"), "a"), "argument 'amount'.note"),
        ([int, str], (1, "\ud800"), "argument 'order'"),
        ([str], ("\ud800",), "argument 'amount'"),
        ([int, list[int]], (1, [1, True]), "argument 'order'[1]"),
        ([int, int, int], (1, 2, True), "argument 'note'"),
        ([int, int, int, int], (1, 2, 3, True), "argument 'rest'"),
        ([Any], (object(),), "argument 'amount'"),
        ([Parameter.empty], ([object()],), "argument 'amount'[0]"),
    ],
)
def test_the_place_begins_with_the_argument(types: list[Any], arguments: tuple[Any, ...], place: str) -> None:
    """The error names the parameter, and the place in its value."""
    with pytest.raises(NotStorable) as raised:
        VALUES.arguments(types, NAMES[: len(types)]).encode(arguments)

    assert raised.value.place == place


@pytest.mark.parametrize("types", [[], [int], [int, str], [int, str, bool], [int, str, bool, bytes], [int, Order], [Any]])
def test_a_wrong_number_of_arguments_is_refused(types: list[Any]) -> None:
    """Too many, too few, or no tuple: the error says how many are expected, and the stored ones are checked too."""
    codec = VALUES.arguments(types, NAMES[: len(types)])
    wrong: list[Any] = [(1,) * (len(types) + 1), [1] * len(types), None, 5, "a" * len(types)]
    if types:
        wrong.append((1,) * (len(types) - 1))

    for arguments in wrong:
        with pytest.raises(NotStorable) as refused:
            codec.encode(arguments)
        assert refused.value.place == "arguments"
    for stored in (VALUES.codec(object).encode([1] * (len(types) + 1)), b"\x01", b"", b"\x81\x01\x02"):
        with pytest.raises(ValueUnreadable) as unreadable:
            codec.decode(stored)
        assert unreadable.value.place == "arguments"


def test_the_argument_that_cannot_be_read_is_named() -> None:
    """A stored argument that does not fit its parameter any more is reported with its name."""
    data = VALUES.arguments([int, list[int]], ["a", "b"]).encode((1, [1]))

    with pytest.raises(ValueUnreadable) as raised:
        VALUES.arguments([int, list[str]], ["a", "b"]).decode(data)

    assert raised.value.place == "argument 'b'[0]"


def test_arguments_can_be_read_without_their_types() -> None:
    """A program that does not know the function can still show what it was given."""
    data = VALUES.arguments([int, str], ["a", "b"]).encode((1, "x"))

    assert VALUES.codec(object).decode(data) == [1, "x"]


def test_a_parameter_whose_type_cannot_be_stored_is_refused_at_once() -> None:
    """The codec of a function with such a parameter is never made; the error names it."""
    with pytest.raises(NotStorable) as raised:
        VALUES.arguments([int, list[type]], ["a", "b"])

    assert raised.value.place == "argument 'b'[]"


@pytest.mark.parametrize(("types", "names", "required"), [([int], [], None), ([int], ["a"], 2), ([int], ["a"], -1)])
def test_counts_that_do_not_go_together_are_refused(types: list[Any], names: list[str], required: int | None) -> None:
    """A mistake of the caller of arguments() is reported as such."""
    with pytest.raises(ValueError, match="do not go together"):
        VALUES.arguments(types, names, required)
