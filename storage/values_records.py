"""Hooks of attrs classes and dataclasses, compiled to Python source of their own for each class.

Rules:

1. Only objects of exactly the class, with exactly its fields: an attribute beside them would be lost, so it is refused.
   What can be derived again (a cached property, a cached hash) may be there.
2. An object is read by setting its fields, not by calling the class: no converter, validator or ``__init__`` of today
   may alter what was stored, and fields with ``init=False`` come back as well.
3. Evolution (E12): a stored field that the class no longer has is an error, never dropped; a field that was not stored
   takes the class's default (which attrs would have converted, so it is), or it is an error.

The form is a dictionary by field name. The compiled hooks look at the class of each plain field in place, and call the
field's hook only if it has something to do; ``at`` holds the field under way, for the place in an error. Rare cases (a
missing or unknown field, an attribute too many) leave the compiled code for an ordinary function.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

import functools
import inspect
import keyword
import types
from collections.abc import Callable
from typing import Any, Final, get_origin

from cattrs import Converter

from .values_hooks import EVERYTHING, Reader, Writer, does_nothing_on, ours, reader_of, writer_of
from .values_refusal import Refusal, at_step, class_of, type_name, unfit, wrong
from .values_types import Field, record_fields

_HASH_CACHE: Final = "_attrs_cached_hash"
_IS_HEAP_TYPE: Final = 1 << 9
_DERIVED: Final = frozenset({_HASH_CACHE, "__orig_class__", "__weakref__", "__dict__"})


def record_writer(tp: Any, converter: Converter) -> Writer:
    """Writer of an attrs class or dataclass."""
    cls = get_origin(tp) or tp
    _check_class(cls)
    fields = record_fields(tp)
    slotted = {field.name for field in fields if _is_slot(cls, field.name)}
    unknown_slots = _unknown_slots(cls, fields)
    names: dict[str, Any] = {"cls": cls, "wrong": wrong, "at_step": at_step, "declared": tp, "unset": _unset}
    names["check"] = _extra_check(cls, fields, unknown_slots)
    lines = ["def write(o):", "  if type(o) is not cls: raise wrong(o, declared)", "  at = ''", "  try:"]
    if cls.__dictoffset__ != 0:
        # Not `o.name`: that would show the class's attribute of the name where the object's own is missing.
        lines += ["    d = o.__dict__", f"    if len(d) != {len(fields) - len(slotted)}: check(o)"]
    if unknown_slots or any(field.on_class for field in fields):
        lines.append("    check(o)")
    for i, field in enumerate(fields):
        writer = names[f"w{i}"] = writer_of(converter, field.type, f".{field.name}")
        lines.append(f"    at = {'.' + field.name!r}")
        in_place = field.name in slotted or field.on_class
        lines.append(f"    x{i} = {_attribute_read(field.name) if in_place else f'd[{field.name!r}]'}")
        lines += _conversion(i, does_nothing_on(writer), f"x{i} = w{i}(x{i})", names)
    lines += ["    pass", "  except (AttributeError, KeyError) as error: raise unset(o, at, error) from None"]
    lines += ["  except Exception as error: raise at_step(error, at) from None"]
    lines.append(f"  return {{{', '.join(f'{field.name!r}: x{i}' for i, field in enumerate(fields))}}}")
    return ours(_compiled(lines, names, "write", cls))


def record_reader(tp: Any, converter: Converter) -> Reader:
    """Reader of an attrs class or dataclass."""
    cls = get_origin(tp) or tp
    _check_class(cls)
    fields = record_fields(tp)
    readers = [reader_of(converter, field.type, f".{field.name}") for field in fields]
    names: dict[str, Any] = {
        "cls": cls,
        "new": object.__new__,
        "put": object.__setattr__,
        "at_step": at_step,
        "careful": _careful_reader(tp, cls, fields, readers),
    }
    lines = ["def read(form, _=None):"]
    lines.append(f"  if type(form) is not dict or len(form) != {len(fields)}: return careful(form)")
    lines += ["  try:", *(f"    x{i} = form[{field.name!r}]" for i, field in enumerate(fields)), "    pass"]
    lines += ["  except KeyError: return careful(form)", "  at = ''", "  try:"]
    for i, (field, reader) in enumerate(zip(fields, readers, strict=True)):
        names |= {f"r{i}": reader, f"t{i}": field.type}
        call = f"at = {'.' + field.name!r}; x{i} = r{i}(x{i}, t{i})"
        lines += _conversion(i, does_nothing_on(reader), call, names)
    lines += ["    pass", "  except Exception as error: raise at_step(error, at) from None", "  o = new(cls)"]
    # Plain assignment is many times faster than object.__setattr__, but a class may have its own.
    direct = cls.__setattr__ is object.__setattr__
    for i, field in enumerate(fields):
        plain = direct and _is_plain_name(field.name)
        lines.append(f"  o.{field.name} = x{i}" if plain else f"  put(o, {field.name!r}, x{i})")
    if _caches_hash(cls):
        lines.append(f"  put(o, {_HASH_CACHE!r}, None)")
    lines.append("  return o")
    return ours(_compiled(lines, names, "read", cls))


def _conversion(i: int, skipped: frozenset[type], call: str, names: dict[str, Any]) -> list[str]:
    """The line that converts field ``i`` unless it is of a class on which its hook does nothing."""
    if skipped is EVERYTHING:
        return []
    if not skipped:
        return [f"    {call}"]
    if len(skipped) == 1:
        (names[f"s{i}"],) = skipped
        return [f"    if type(x{i}) is not s{i}: {call}"]
    names[f"s{i}"] = skipped
    return [f"    if type(x{i}) not in s{i}: {call}"]


def _attribute_read(name: str) -> str:
    return f"o.{name}" if _is_plain_name(name) else f"getattr(o, {name!r})"


def _is_slot(cls: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(cls, name, None), types.MemberDescriptorType)


def _is_plain_name(name: str) -> bool:
    # Source text is normalised when it is compiled, so that other than ASCII letters might turn into another name.
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _compiled(lines: list[str], names: dict[str, Any], function: str, cls: type) -> Any:
    code = compile("\n".join(lines), f"<{function} {cls.__module__}.{cls.__qualname__}>", "exec")
    exec(code, names)  # noqa: S102 - the text is made above, of the class's own field names
    return names[function]


def _check_class(cls: type) -> None:
    """Refuse a class whose objects hold more than attributes, such as a subclass of ``dict`` or ``Exception``."""
    for base in cls.__mro__:
        if base is not object and not base.__flags__ & _IS_HEAP_TYPE:
            raise Refusal(
                f"class {cls.__name__} derives from {base.__name__}, so its objects hold more than their declared fields. "
                f"Keep the {base.__name__} in a field, or register a hook for {cls.__name__}"
            )


def _unknown_slots(cls: type, fields: list[Field]) -> list[str]:
    """Slots that are no fields, of bases that are no attrs classes (whose slots are fields or cached properties)."""
    known = {field.name for field in fields}
    slots: list[str] = []
    for base in cls.__mro__:
        own = base.__dict__.get("__slots__", ())
        if "__attrs_attrs__" not in base.__dict__:
            slots += [own] if isinstance(own, str) else list(own)
    return [name for name in slots if name not in known and not _is_derived(cls, name)]


def _is_derived(cls: type, name: str) -> bool:
    """Whether an attribute need not be stored: it is computed again, or the framework's own."""
    if name in _DERIVED or name.startswith("_perdure_"):
        return True
    return isinstance(inspect.getattr_static(cls, name, None), functools.cached_property)


def _caches_hash(cls: type) -> bool:
    return _HASH_CACHE in getattr(getattr(cls.__hash__, "__code__", None), "co_names", ())


def _extra_check(cls: type, fields: list[Field], slots: list[str]) -> Callable[[Any], None]:
    known = {field.name for field in fields}

    def check(value: Any) -> None:
        held = [*getattr(value, "__dict__", ()), *(name for name in slots if hasattr(value, name))]
        extra = sorted(name for name in held if name not in known and not _is_derived(cls, name))
        if extra:
            raise Refusal(
                f"the {cls.__name__} has attributes that are no fields of its class and would be lost: {', '.join(extra)}. "
                "Declare them as fields, or do not set them"
            )

    return check


def _unset(value: Any, step: str, error: Exception) -> Exception:
    name = step[1:]
    is_set = hasattr(value, name) if _is_slot(class_of(value), name) else name in value.__dict__
    if not name or is_set:
        return at_step(error, step)
    return Refusal(f"the field {name!r} of the {type(value).__name__} was never set; set it, or give it a default", [step])


def _careful_reader(tp: Any, cls: type, fields: list[Field], readers: list[Reader]) -> Callable[[Any], Any]:
    new: Any = object.__new__
    by_name = {field.name: (field, reader) for field, reader in zip(fields, readers, strict=True)}

    def read(form: Any) -> Any:
        if class_of(form) is not dict:
            raise unfit(form, tp)
        if unknown := sorted(form.keys() - by_name.keys()):
            raise Refusal(
                f"a {unknown[0]!r} is stored, which {type_name(tp)} no longer has, and would be dropped. Give the class the "
                "field again, or convert its stored values in an upgrade"
            )
        value = new(cls)
        for name, (field, reader) in by_name.items():
            try:
                object.__setattr__(value, name, reader(form[name], field.type) if name in form else _default(value, field, tp))
            except Exception as error:
                raise at_step(error, f".{name}") from None
        if _caches_hash(cls):
            object.__setattr__(value, _HASH_CACHE, None)
        return value

    return read


def _default(value: Any, field: Field, tp: Any) -> Any:
    if field.default is None:
        raise Refusal(
            f"no {field.name!r} is stored, and the field has no default. Give it one in {type_name(tp)}, or convert its "
            "stored values in an upgrade"
        )
    return field.default(value)
