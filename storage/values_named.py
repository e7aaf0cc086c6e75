"""Hooks of named tuples and TypedDicts: like records, a dictionary by name, with the same rules of evolution (E12).

A stored name that the type no longer has is an error; a named tuple's field that was not stored takes its default.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

from typing import Any, cast, get_origin

from cattrs import Converter

from .values_hooks import Reader, Writer, ours, reader_of, writer_of
from .values_refusal import Refusal, at_step, class_of, key_step, short, type_name, unfit, wrong
from .values_types import named_tuple_fields, typed_dict_fields


def named_tuple_writer(tp: Any, converter: Converter) -> Writer:
    """Writer of a named tuple."""
    cls = get_origin(tp) or tp
    writers = [(field.name, writer_of(converter, field.type, f".{field.name}")) for field in named_tuple_fields(tp)]

    def write(value: Any) -> dict[str, Any]:
        if class_of(value) is not cls:
            raise wrong(value, tp)
        if extra := getattr(value, "__dict__", None):
            raise Refusal(f"the {cls.__name__} has attributes beside its fields, which would be lost: {', '.join(extra)}")
        forms: dict[str, Any] = {}
        name = ""
        try:
            for (name, writer), part in zip(writers, value, strict=True):
                forms[name] = writer(part)
        except Exception as error:
            raise at_step(error, f".{name}") from None
        return forms

    return ours(write)


def named_tuple_reader(tp: Any, converter: Converter) -> Reader:
    """Reader of a named tuple."""
    cls = get_origin(tp) or tp
    fields = [(field, reader_of(converter, field.type, f".{field.name}")) for field in named_tuple_fields(tp)]
    known = {field.name for field, _ in fields}
    new = cast("Any", tuple).__new__  # not the class itself, whose __new__ may be the user's

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not dict:
            raise unfit(form, tp)
        _refuse_unknown(form, known, tp)
        values: list[Any] = []
        for field, reader in fields:
            try:
                if field.name in form:
                    values.append(reader(form[field.name], field.type))
                elif field.default is None:
                    raise _missing(field.name, tp)
                else:
                    values.append(field.default(None))
            except Exception as error:
                raise at_step(error, f".{field.name}") from None
        return new(cls, values)

    return ours(read)


def typed_dict_writer(tp: Any, converter: Converter) -> Writer:
    """Writer of a TypedDict."""
    fields = typed_dict_fields(tp)
    writers = {field.name: writer_of(converter, field.type, key_step(field.name)) for field in fields}
    required = [field.name for field in fields if field.required]

    def write(value: Any) -> dict[str, Any]:
        if class_of(value) is not dict:
            raise wrong(value, tp, "dict")
        forms: dict[str, Any] = {}
        key: Any = None
        try:
            for key, part in value.items():
                writer = writers.get(key) if class_of(key) is str else None
                if writer is None:
                    raise Refusal(f"{type_name(tp)} has no key {short(key)}; it has {', '.join(map(repr, writers)) or 'none'}")
                forms[key] = writer(part)
        except Exception as error:
            raise at_step(error, key_step(key)) from None
        for name in required:
            if name not in forms:
                raise Refusal(f"the key {name!r} is missing, which {type_name(tp)} requires; set it, or declare it NotRequired")
        return forms

    return ours(write)


def typed_dict_reader(tp: Any, converter: Converter) -> Reader:
    """Reader of a TypedDict."""
    fields = typed_dict_fields(tp)
    readers = {field.name: (reader_of(converter, field.type, key_step(field.name)), field.type) for field in fields}
    required = [field.name for field in fields if field.required]

    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) is not dict:
            raise unfit(form, tp)
        _refuse_unknown(form, readers, tp)
        for name in required:
            if name not in form:
                raise at_step(_missing(name, tp), key_step(name))
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, part in form.items():
                reader, part_type = readers[name]
                values[name] = reader(part, part_type)
        except Exception as error:
            raise at_step(error, key_step(name)) from None
        return values

    return ours(read)


def _refuse_unknown(form: dict[Any, Any], known: Any, tp: Any) -> None:
    for name in form:
        if name not in known:
            raise Refusal(
                f"a {short(name)} is stored, which {type_name(tp)} no longer has, and would be dropped. Give the type it "
                "again, or convert its stored values in an upgrade"
            )


def _missing(name: str, tp: Any) -> Refusal:
    return Refusal(
        f"no {name!r} is stored, which {type_name(tp)} requires. Give it a default (or NotRequired), or convert its stored "
        "values in an upgrade"
    )
