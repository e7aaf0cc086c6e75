"""Hooks of lists, tuples, dictionaries and sets with declared elements.

Forms: a list is a list; so is a tuple, and a set sorted by the bytes of its elements. A dictionary is one if the forms
of all its keys are text, else a flat list of keys and values in turn. Readers also take what the self-describing form
gives (a tuple, a set, a dictionary with any keys), so that a value that was stored without a type can be read with one.

An abstract type (``Sequence``, ``Mapping``, ``Set`` ...) stands for the built-in that it comes back as, and accepts only
that: a tuple under ``Sequence`` would come back as a list.

Where the hook of the elements does nothing on their classes, found by one pass in C, the container itself is its form.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

import collections.abc as abc
import typing
from itertools import chain
from typing import Any, Final, get_args, get_origin

from cattrs import Converter
from msgspec import Raw

from .values_any import sorted_raws
from .values_hooks import Reader, Writer, does_nothing_on, ours, reader_of, writer_of
from .values_refusal import Refusal, at_step, class_of, element_step, in_key_step, key_step, type_name, unfit, wrong

CONTAINERS: Final[dict[Any, type]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    tuple: tuple,
}
"""The container types, and of which class exactly their values are."""

_STR: Final = frozenset({str})


def container_class(tp: Any) -> type | None:
    """The class of a container type's values; ``None`` if it is no container type."""
    origin = get_origin(tp) or tp
    return CONTAINERS.get(origin) if isinstance(origin, type) else None


def container_writer(tp: Any, converter: Converter) -> Writer:
    """Writer of a container type."""
    cls = container_class(tp)
    if cls is dict:
        return _dict_writer(tp, *_writers(converter, tp, ("{key}", "[]")))
    if cls is tuple and (items := _fixed_items(tp)) is not None:
        return _fixed_tuple_writer(tp, [writer_of(converter, item, f"[{i}]") for i, item in enumerate(items)])
    (item,) = _writers(converter, tp, ("[]",))
    if cls is list:
        return _list_writer(tp, item)
    return _tuple_writer(tp, item) if cls is tuple else _set_writer(tp, item, cls or set)


def container_reader(tp: Any, converter: Converter) -> Reader:
    """Reader of a container type."""
    cls = container_class(tp)
    if cls is dict:
        return _dict_reader(tp, *_readers(converter, tp, ("{key}", "[]")))
    if cls is tuple and (items := _fixed_items(tp)) is not None:
        readers = [(reader_of(converter, item, f"[{i}]"), item) for i, item in enumerate(items)]
        return _fixed_tuple_reader(tp, readers)
    (item,) = _readers(converter, tp, ("[]",))
    if cls is list:
        return _list_reader(tp, *item)
    return _tuple_reader(tp, *item) if cls is tuple else _set_reader(tp, *item, cls or set)


def _parts(tp: Any, count: int) -> tuple[Any, ...]:
    return get_args(tp)[:count] or (Any,) * count


def _writers(converter: Converter, tp: Any, steps: tuple[str, ...]) -> list[Writer]:
    return [writer_of(converter, part, step) for part, step in zip(_parts(tp, len(steps)), steps, strict=True)]


def _readers(converter: Converter, tp: Any, steps: tuple[str, ...]) -> list[tuple[Reader, Any]]:
    return [(reader_of(converter, part, step), part) for part, step in zip(_parts(tp, len(steps)), steps, strict=True)]


def _fixed_items(tp: Any) -> tuple[Any, ...] | None:
    """The element types of a tuple of fixed length; ``None`` for one of any length."""
    arguments = get_args(tp)
    if tp is tuple or tp is typing.Tuple or (len(arguments) == 2 and arguments[1] is ...):  # noqa: UP006
        return None
    if any(get_origin(argument) is typing.Unpack or getattr(argument, "__unpacked__", False) for argument in arguments):
        raise Refusal(f"{type_name(tp)} unpacks into a tuple; use tuple[X, ...], or a class")
    return arguments


def _form_list(write: Writer, items: Any) -> list[Any]:
    forms: list[Any] = []
    append = forms.append
    try:
        for item in items:
            append(write(item))
    except Exception as error:
        raise at_step(error, f"[{len(forms)}]") from None
    return forms


def _value_list(read: Reader, tp: Any, forms: Any) -> list[Any]:
    values: list[Any] = []
    append = values.append
    try:
        for form in forms:
            append(read(form, tp))
    except Exception as error:
        raise at_step(error, f"[{len(values)}]") from None
    return values


def _list_writer(tp: Any, item: Writer) -> Writer:
    skipped = does_nothing_on(item)

    def write(value: Any) -> Any:
        if class_of(value) is not list:
            raise wrong(value, tp, "list")
        return value if skipped.issuperset(map(type, value)) else _form_list(item, value)

    return ours(write)


def _list_reader(tp: Any, item: Reader, item_type: Any) -> Reader:
    skipped = does_nothing_on(item)

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not list:
            raise unfit(form, tp)
        return form if skipped.issuperset(map(type, form)) else _value_list(item, item_type, form)

    return ours(read)


def _tuple_writer(tp: Any, item: Writer) -> Writer:
    skipped = does_nothing_on(item)

    def write(value: Any) -> Any:
        if class_of(value) is not tuple:
            raise wrong(value, tp, "tuple")
        return list(value) if skipped.issuperset(map(type, value)) else _form_list(item, value)

    return ours(write)


def _tuple_reader(tp: Any, item: Reader, item_type: Any) -> Reader:
    skipped = does_nothing_on(item)

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not list and class_of(form) is not tuple:
            raise unfit(form, tp)
        return tuple(form) if skipped.issuperset(map(type, form)) else tuple(_value_list(item, item_type, form))

    return ours(read)


def _fixed_tuple_writer(tp: Any, items: list[Writer]) -> Writer:
    length = len(items)

    def write(value: Any) -> Any:
        if class_of(value) is not tuple:
            raise wrong(value, tp, f"tuple of length {length}")
        if len(value) != length:
            raise Refusal(f"a tuple of length {len(value)} stands where {type_name(tp)} is declared, of length {length}")
        forms: list[Any] = []
        try:
            for item, part in zip(items, value, strict=True):
                forms.append(item(part))
        except Exception as error:
            raise at_step(error, f"[{len(forms)}]") from None
        return forms

    return ours(write)


def _fixed_tuple_reader(tp: Any, items: list[tuple[Reader, Any]]) -> Reader:
    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not list and class_of(form) is not tuple:
            raise unfit(form, tp)
        if len(form) != len(items):
            raise Refusal(f"what is stored has {len(form)} elements, {type_name(tp)} has {len(items)}")
        values: list[Any] = []
        try:
            for (item, item_type), part in zip(items, form, strict=True):
                values.append(item(part, item_type))
        except Exception as error:
            raise at_step(error, f"[{len(values)}]") from None
        return tuple(values)

    return ours(read)


def _dict_writer(tp: Any, key_writer: Writer, item: Writer) -> Writer:
    skipped_keys = does_nothing_on(key_writer) & _STR
    skipped = does_nothing_on(item)

    def write(value: Any) -> Any:
        if class_of(value) is not dict:
            raise wrong(value, tp, "dict")
        plain_keys = skipped_keys.issuperset(map(type, value))
        if plain_keys and skipped.issuperset(map(type, value.values())):
            return value
        keys = value if plain_keys else _key_forms(key_writer, value)
        forms: list[Any] = []
        key = None
        try:
            for key, part in value.items():  # noqa: B007 - for the place of an error
                forms.append(item(part))
        except Exception as error:
            raise at_step(error, key_step(key)) from None
        if plain_keys or _STR.issuperset(map(type, keys)):
            return _as_dict(keys, forms)
        return list(chain.from_iterable(zip(keys, forms, strict=True)))

    return ours(write)


def _key_forms(write: Writer, keys: Any) -> list[Any]:
    forms: list[Any] = []
    key = None
    try:
        for key in keys:
            forms.append(write(key))
    except Exception as error:
        raise at_step(error, in_key_step(key)) from None
    return forms


def _as_dict(keys: Any, values: Any) -> dict[Any, Any]:
    made = dict(zip(keys, values, strict=True))
    if len(made) != len(keys):
        raise Refusal("two of its keys are the same once they are converted; a hook must keep different keys apart")
    return made


def _dict_reader(tp: Any, key: tuple[Reader, Any], item: tuple[Reader, Any]) -> Reader:
    (read_key, key_type), (read_item, item_type) = key, item
    skipped_keys, skipped = does_nothing_on(read_key), does_nothing_on(read_item)

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is dict:
            if skipped_keys.issuperset(map(type, form)) and skipped.issuperset(map(type, form.values())):
                return form
            keys, items = list(form), form.values()
        elif class_of(form) is list and len(form) % 2 == 0:
            keys, items = form[::2], form[1::2]
        else:
            raise unfit(form, tp)
        at: Any = None
        values: list[Any] = []
        new_keys: list[Any] = []
        try:
            for at, part in zip(keys, items, strict=True):
                new_keys.append(read_key(at, key_type))
                values.append(read_item(part, item_type))
        except Exception as error:
            raise at_step(error, in_key_step(at) if len(new_keys) == len(values) else key_step(at)) from None
        return _as_dict(new_keys, values)

    return ours(read)


def _set_writer(tp: Any, item: Writer, cls: type) -> Writer:
    skipped = does_nothing_on(item)

    def write(value: Any) -> list[Raw]:
        if class_of(value) is not cls:
            raise wrong(value, tp, cls.__name__)
        if skipped.issuperset(map(type, value)):
            return sorted_raws(value, value)
        forms: list[Any] = []
        element = None
        try:
            for element in value:
                forms.append(item(element))
        except Exception as error:
            raise at_step(error, element_step(element)) from None
        return sorted_raws(forms, value)

    return ours(write)


def _set_reader(tp: Any, item: Reader, item_type: Any, cls: type) -> Reader:
    skipped = does_nothing_on(item)

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not list and class_of(form) is not cls:
            raise unfit(form, tp)
        values = form if skipped.issuperset(map(type, form)) else _value_list(item, item_type, form)
        made = cls(values)
        if len(made) != len(form):
            raise Refusal("elements of the stored set that were different are equal now")
        return made

    return ours(read)
