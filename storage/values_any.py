"""The self-describing form: what is stored where the annotation says ``Any`` or ``object``, or where there is none.

Plain data (``None``, ``bool``, ``int`` of 64 bits, ``float``, ``str``, ``bytes``, ``list``, ``dict`` with ``str`` keys)
is plain MessagePack, so that dumps are readable and msgspec does the work. Everything else is a MessagePack extension
whose code says what it is: the single values of :mod:`.values_leaves`, and tuples, sets and other dictionaries, whose
data is MessagePack again. So reading is one call into msgspec, which comes back for extensions only.

Objects of classes are refused: they could only come back by a class name in the data, and nothing in storage is ever
looked up by name. Sets are sorted by the bytes of their elements, so that equal sets give equal bytes in every process.

:data:`TAG` marks are for :mod:`.values_union`. They stand in front of a list, where no other value can stand.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, cast

import msgspec
from attrs import frozen
from msgspec import Raw
from msgspec.msgpack import Ext

from .values_leaves import (
    CODE_DICT,
    CODE_FROZENSET,
    CODE_INT,
    CODE_SET,
    CODE_TAG,
    CODE_TUPLE,
    LEAVES,
    dump_int,
    load_int,
    text_bytes,
)
from .values_refusal import (
    NESTING,
    NESTING_MAX,
    Refusal,
    at_step,
    class_of,
    describe,
    element_step,
    in_key_step,
    key_step,
    lone_surrogate,
    too_deep,
)

PLAIN: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str, bytes})
"""The classes whose values msgspec stores and brings back as they are (an int of more than 64 bits with some help)."""

ALLOWED: Final = (
    "None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, Decimal, "
    "Fraction, UUID, complex and Path"
)

_STR: Final = frozenset({str})

encode_plain: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
"""A form as MessagePack. Raises OverflowError for an int of more than 64 bits: see :func:`pack`."""


@frozen
class Tag:
    """Says of which class of a union the form is that follows in the same list."""

    name: str


def tag_mark(name: str) -> Ext:
    """The form of a :class:`Tag`."""
    return Ext(CODE_TAG, text_bytes(name))


def pack(form: Any) -> bytes:
    """A form as MessagePack, with ints of any size.

    Raises:
      UnicodeEncodeError: there is a lone surrogate in it.
    """
    try:
        return encode_plain(form)
    except OverflowError:
        # Such ints are rare, so no hook looks at an int's size.
        return encode_plain(_with_big_ints(form))


def _with_big_ints(form: Any) -> Any:
    cls = class_of(form)
    if cls is int:
        return form if -(2**63) <= form < 2**64 else Ext(CODE_INT, dump_int(form))
    if cls is list or cls is tuple:
        return [_with_big_ints(item) for item in form]
    if cls is dict:
        return {key: _with_big_ints(item) for key, item in form.items()}
    return form


def pack_part(form: Any, value: Any) -> bytes:
    """Like :func:`pack`, for the form of a part of the value to be stored.

    Raises:
      Refusal: there is a lone surrogate in ``value``.
    """
    try:
        return pack(form)
    except UnicodeEncodeError:
        raise lone_surrogate(value) from None


def sorted_raws(forms: Iterable[Any], elements: Iterable[Any]) -> list[Raw]:
    """The forms of a set's elements in the order of their bytes, which no hash seed changes."""
    parts: list[bytes] = []
    for form, element in zip(forms, elements, strict=True):
        try:
            parts.append(pack_part(form, element))
        except Refusal as refusal:
            raise at_step(refusal, element_step(element)) from None
    return [Raw(part) for part in sorted(parts)]


class _Table(dict[type, Callable[[Any, int], Any]]):
    """Writers by the exact class of the value; every other class is refused."""

    def __init__(self, refuse: Callable[[Any, int], Any]) -> None:
        super().__init__()
        self._refuse = refuse

    def __missing__(self, cls: type) -> Callable[[Any, int], Any]:
        return self._refuse


class SelfDescribing:
    """Turns values into self-describing forms.

    Args:
      forms_allowed: forms that were made already are let through. Only for what a user's hook returns, which may have
        asked the converter for the forms of parts.
    """

    def __init__(self, *, forms_allowed: bool = False) -> None:
        table = self._table = _Table(_refuse)
        for cls in PLAIN:
            table[cls] = _as_it_is
        for cls, leaf in LEAVES.items():
            table[cls] = _leaf_writer(leaf.code, leaf.dump)
        table[Tag] = lambda value, _depth: tag_mark(value.name)  # of plain data that was read from a typed form
        table[list] = self._list
        table[tuple] = self._tuple
        table[dict] = self._dict
        table[set] = self._set_writer(CODE_SET)
        table[frozenset] = self._set_writer(CODE_FROZENSET)
        if forms_allowed:
            table[Ext] = table[Raw] = _as_it_is

    def form(self, value: Any, _tp: Any = None) -> Any:
        """The form of a value.

        Raises:
          Refusal: it cannot be kept exactly.
        """
        cls = class_of(value)
        if cls in PLAIN:
            return value
        return self._table[cls](value, NESTING.depth)

    def _items(self, items: Any, depth: int) -> list[Any]:
        table = self._table
        depth += 1
        forms: list[Any] = []
        try:
            for item in items:
                forms.append(table[class_of(item)](item, depth))
        except Exception as error:
            raise at_step(error, f"[{len(forms)}]") from None
        return forms

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        if depth >= NESTING_MAX:
            raise too_deep(value)
        return value if PLAIN.issuperset(map(type, value)) else self._items(value, depth)

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Ext:
        if depth >= NESTING_MAX:
            raise too_deep(value)
        return Ext(CODE_TUPLE, pack_part(self._items(value, depth), value))

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if depth >= NESTING_MAX:
            raise too_deep(value)
        if not _STR.issuperset(map(type, value)):
            return Ext(CODE_DICT, pack_part(self._pairs(value, depth + 1), value))
        if PLAIN.issuperset(map(type, value.values())):
            return value
        table = self._table
        depth += 1
        forms: dict[str, Any] = {}
        key = ""
        try:
            for key, item in value.items():
                forms[key] = table[class_of(item)](item, depth)
        except Exception as error:
            raise at_step(error, key_step(key)) from None
        return forms

    def _pairs(self, value: dict[Any, Any], depth: int) -> list[Any]:
        table = self._table
        forms: list[Any] = []
        key = None
        try:
            for key, item in value.items():
                forms.append(table[class_of(key)](key, depth))
                forms.append(table[class_of(item)](item, depth))
        except Exception as error:
            raise at_step(error, key_step(key) if len(forms) % 2 else in_key_step(key)) from None
        return forms

    def _set_writer(self, code: int) -> Callable[[Any, int], Ext]:
        def write(value: set[Any] | frozenset[Any], depth: int) -> Ext:
            if depth >= NESTING_MAX:
                raise too_deep(value)
            table = self._table
            forms: list[Any] = []
            element = None
            try:
                for element in value:
                    forms.append(table[class_of(element)](element, depth + 1))
            except Exception as error:
                raise at_step(error, element_step(element)) from None
            return Ext(code, encode_plain(sorted_raws(forms, value)))

        return write


def _as_it_is(value: Any, _depth: int) -> Any:
    return value


def _leaf_writer(code: int, dump: Callable[[Any], bytes]) -> Callable[[Any, int], Ext]:
    return lambda value, _depth: Ext(code, dump(value))


def _refuse(value: Any, _depth: int) -> Any:
    cls = class_of(value)
    if isinstance(value, Enum):
        raise Refusal(
            f"{describe(value)} is a member of an enum; where the type is not declared, only {ALLOWED} come back as they "
            f"are. Annotate the type ({cls.__name__}), or store its value"
        )
    for base in (*PLAIN, list, tuple, dict, set, frozenset, *LEAVES):
        if isinstance(value, base) and base is not type(None):
            raise Refusal(
                f"{describe(value)} is of a subclass of {base.__name__}, and would come back as a plain {base.__name__}. "
                f"Pass exactly a {base.__name__}, or annotate the type ({cls.__name__})"
            )
    raise Refusal(
        f"{describe(value)} stands where the type is not declared; there only {ALLOWED} come back as they are. Annotate "
        f"the type ({cls.__name__}), if it is an attrs class, a dataclass or a class with hooks"
    )


def _load_tuple(data: bytes | memoryview) -> tuple[Any, ...]:
    return tuple(decode(data))


def _load_set(data: bytes | memoryview) -> set[Any]:
    elements = decode(data)
    loaded = set(elements)
    if len(loaded) != len(elements):
        raise _collapsed()
    return loaded


def _load_frozenset(data: bytes | memoryview) -> frozenset[Any]:
    elements = decode(data)
    loaded = frozenset(elements)
    if len(loaded) != len(elements):
        raise _collapsed()
    return loaded


def _collapsed() -> Refusal:
    return Refusal("elements of a stored set that were different are equal now")


def _load_dict(data: bytes | memoryview) -> dict[Any, Any]:
    parts = decode(data)
    loaded = dict(zip(parts[::2], parts[1::2], strict=True))
    if 2 * len(loaded) != len(parts):
        raise Refusal("keys of a stored dict that were different are equal now")
    return loaded


_LOADERS: Final[dict[int, Callable[[bytes], Any]]] = {
    CODE_INT: load_int,
    CODE_TUPLE: _load_tuple,
    CODE_SET: _load_set,
    CODE_FROZENSET: _load_frozenset,
    CODE_DICT: _load_dict,
    CODE_TAG: lambda data: Tag(data.decode()),
    **{leaf.code: leaf.load for leaf in LEAVES.values()},
}


def _load_extension(code: int, data: memoryview) -> Any:
    loader = _LOADERS.get(code)
    if loader is None:
        raise Refusal(f"there is no form with code {code}; it may have been written by a newer version")
    return loader(bytes(data))


decode: Final[Callable[[bytes | memoryview], Any]] = cast(
    "Callable[[bytes | memoryview], Any]", msgspec.msgpack.Decoder(ext_hook=_load_extension).decode
)
"""Back from MessagePack: extensions are values again, everything else is as MessagePack says."""

decode_tuple: Final[Callable[[bytes], tuple[Any, ...]]] = cast(
    "Callable[[bytes], tuple[Any, ...]]", msgspec.msgpack.Decoder(tuple[Any, ...], ext_hook=_load_extension).decode
)
"""Like :data:`decode`, for bytes that hold a list, as a tuple. Raises an error of msgspec for any others."""

ANYTHING: Final = SelfDescribing()
HOOK_RESULT: Final = SelfDescribing(forms_allowed=True)
