"""The codec of an argument tuple, the value that is stored most often: one list, an element for each argument.

Tuples of plain scalars, the usual case, have closures of their own for up to three arguments: a look at each class, and
one call into msgspec. Whatever does not pass there goes through :class:`_Careful`, which accepts everything that is
allowed and names the argument that is not.
"""

# ruff: noqa: BLE001, S110 - whatever is raised, the careful way is next, and tells it with its place

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import msgspec

from .errors import NotStorable, ValueUnreadable
from .values_any import decode, decode_tuple, encode_plain, pack
from .values_hooks import EVERYTHING, Reader, Writer, does_nothing_on
from .values_refusal import as_refusal, class_of, describe, find_lone_surrogate, join_steps, lone_surrogate

Arguments: TypeAlias = tuple[Any, ...]
Encode: TypeAlias = Callable[[Arguments], bytes]
Decode: TypeAlias = Callable[[bytes], Arguments]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter.

    Attributes:
      name: its name, for errors.
      type: its type.
      write: the writer of the type.
      read: the reader of the type.
    """

    name: str
    type: Any
    write: Writer
    read: Reader

    @property
    def plain(self) -> type | None:
        """The one class of its values, if they are stored as they are."""
        written, read = does_nothing_on(self.write), does_nothing_on(self.read)
        return next(iter(written)) if len(written) == 1 and written == read and read is not EVERYTHING else None


def too_large(place: str, size: int, bytes_max: int) -> NotStorable:
    """The refusal of a value that takes more bytes than it may."""
    return NotStorable(
        place,
        f"it takes {size:,} bytes encoded, and a value may take {bytes_max:,} (value_bytes_max): keep large data in a "
        "file or a database and hand over where it is, or raise the limit",
    )


def argument_functions(parameters: Sequence[Parameter], required: int, bytes_max: int) -> tuple[Encode, Decode]:
    """How a tuple of arguments is encoded and decoded.

    Args:
      parameters: the parameters, in order.
      required: how many of them have no default.
      bytes_max: all of them together take no more bytes than this.
    """
    careful = _Careful(parameters, required, bytes_max)
    classes = [parameter.plain for parameter in parameters]
    if not classes:
        return _none(careful)
    if None in classes:
        return careful.encode, careful.decode
    special = (_one, _two, _three)[: len(classes)]
    return special[-1](careful, *cast("Any", classes)) if len(classes) <= len(special) else _many(careful, classes)


def _place(name: str) -> str:
    return f"argument {name!r}"


class _Careful:
    """The way that holds for all arguments."""

    def __init__(self, parameters: Sequence[Parameter], required: int, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._parameters = parameters
        self._required = required
        self._writers = [parameter.write for parameter in parameters]
        self._readers = [(parameter.read, parameter.type) for parameter in parameters]

    def encode(self, arguments: Arguments) -> bytes:
        if class_of(arguments) is not tuple or not self._required <= len(arguments) <= len(self._writers):
            raise NotStorable("arguments", self._wrong_number(arguments))
        forms: list[Any] = []
        try:
            for write, argument in zip(self._writers, arguments):  # noqa: B905 - defaults may be left out
                forms.append(write(argument))
            data = pack(forms)
        except MemoryError:
            raise
        except UnicodeEncodeError:
            raise self._surrogate(arguments) from None
        except Exception as error:
            refusal = as_refusal(error)
            place = _place(self._parameters[len(forms)].name) if len(forms) < len(arguments) else "arguments"
            raise NotStorable(join_steps(place, refusal.steps), refusal.reason) from refusal.origin
        if len(data) > self.bytes_max:
            sizes = [len(pack(form)) for form in forms]
            raise too_large(_place(self._parameters[sizes.index(max(sizes))].name), len(data), self.bytes_max)
        return data

    def decode(self, data: bytes) -> Arguments:
        values: list[Any] = []
        place = "arguments"
        try:
            forms = decode(data)
            if class_of(forms) is not list or not self._required <= len(forms) <= len(self._readers):
                raise ValueUnreadable(place, self._wrong_number(forms))
            for (read, tp), form in zip(self._readers, forms):  # noqa: B905 - as above
                place = _place(self._parameters[len(values)].name)
                values.append(read(form, tp))
        except (MemoryError, ValueUnreadable):
            raise
        except Exception as error:
            refusal = as_refusal(error)
            raise ValueUnreadable(join_steps(place, refusal.steps), refusal.reason) from refusal.origin
        return tuple(values)

    def _surrogate(self, arguments: Arguments) -> NotStorable:
        for parameter, argument in zip(self._parameters, arguments):  # noqa: B905 - as above
            refusal = find_lone_surrogate(argument)
            if refusal is not None:
                return NotStorable(join_steps(_place(parameter.name), refusal.steps), refusal.reason)
        return NotStorable("arguments", lone_surrogate(arguments).reason)

    def _wrong_number(self, arguments: Any) -> str:
        names = ", ".join(parameter.name for parameter in self._parameters)
        limits = f"{self._required} to {len(self._parameters)}" if self._required < len(self._parameters) else f"{self._required}"
        if not isinstance(arguments, (list, tuple)):
            return f"{describe(arguments)} stands where a tuple of {limits} arguments ({names}) is expected"
        return f"there are {len(cast('list[Any]', arguments))} of them, where {limits} are expected ({names})"


_EMPTY = pack([])


def _none(careful: _Careful) -> tuple[Encode, Decode]:
    def encode(arguments: Arguments) -> bytes:
        return _EMPTY if arguments == () else careful.encode(arguments)

    def decode_none(data: bytes) -> Arguments:
        return () if data == _EMPTY else careful.decode(data)

    return encode, decode_none


def _one(careful: _Careful, first: type) -> tuple[Encode, Decode]:
    bytes_max = careful.bytes_max

    def encode(arguments: Arguments) -> bytes:
        try:
            if class_of(arguments) is tuple:
                (a,) = arguments
                if class_of(a) is first:
                    data = encode_plain(arguments)
                    if len(data) <= bytes_max:
                        return data
        except Exception:
            pass  # the careful way knows more, or says why
        return careful.encode(arguments)

    def decode_one(data: bytes) -> Arguments:
        try:
            arguments = decode_tuple(data)
            (a,) = arguments
            if class_of(a) is first:
                return arguments
        except Exception:
            pass
        return careful.decode(data)

    return encode, decode_one


def _two(careful: _Careful, first: type, second: type) -> tuple[Encode, Decode]:
    bytes_max = careful.bytes_max

    def encode(arguments: Arguments) -> bytes:
        try:
            if class_of(arguments) is tuple:
                a, b = arguments
                if class_of(a) is first and class_of(b) is second:
                    data = encode_plain(arguments)
                    if len(data) <= bytes_max:
                        return data
        except Exception:
            pass
        return careful.encode(arguments)

    def decode_two(data: bytes) -> Arguments:
        try:
            arguments = decode_tuple(data)
            a, b = arguments
            if class_of(a) is first and class_of(b) is second:
                return arguments
        except Exception:
            pass
        return careful.decode(data)

    return encode, decode_two


def _three(careful: _Careful, first: type, second: type, third: type) -> tuple[Encode, Decode]:
    bytes_max = careful.bytes_max

    def encode(arguments: Arguments) -> bytes:
        try:
            if class_of(arguments) is tuple:
                a, b, c = arguments
                if class_of(a) is first and class_of(b) is second and class_of(c) is third:
                    data = encode_plain(arguments)
                    if len(data) <= bytes_max:
                        return data
        except Exception:
            pass
        return careful.encode(arguments)

    def decode_three(data: bytes) -> Arguments:
        try:
            arguments = decode_tuple(data)
            a, b, c = arguments
            if class_of(a) is first and class_of(b) is second and class_of(c) is third:
                return arguments
        except Exception:
            pass
        return careful.decode(data)

    return encode, decode_three


def _many(careful: _Careful, classes: list[Any]) -> tuple[Encode, Decode]:
    bytes_max = careful.bytes_max

    def encode(arguments: Arguments) -> bytes:
        try:
            if class_of(arguments) is tuple and [*map(type, arguments)] == classes:
                data = encode_plain(arguments)
                if len(data) <= bytes_max:
                    return data
        except Exception:
            pass
        return careful.encode(arguments)

    def decode_many(data: bytes) -> Arguments:
        try:
            arguments = decode_tuple(data)
            if [*map(type, arguments)] == classes:
                return arguments
        except Exception:
            pass
        return careful.decode(data)

    return encode, decode_many
