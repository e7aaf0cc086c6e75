"""Values: everything that crosses a boundary of the framework, as bytes and back (E6).

Arguments, results, states, events and custom status all pass through one :class:`Values`: types become hooks of one
cattrs converter, their results MessagePack by msgspec. The rule is the same at every door: *what comes back is exactly
what was given (same classes, equal values), or it is refused* with an error that names the place. The one conversion
is an int for a declared float, if the float is exact.

- :mod:`.values_converter` finds the hooks of a type; users' own hooks go before ours.
- :mod:`.values_records`, :mod:`.values_named`, :mod:`.values_containers`, :mod:`.values_union`, :mod:`.values_hooks`
  are our hooks; :mod:`.values_types` reads annotations for them.
- :mod:`.values_any` is the self-describing form for what has no declared type.
- :mod:`.values_refusal` says what was wrong, and where.

A value whose bytes are more than a limit is refused too, here and not further down: here it still has a place.

Nothing from storage is unpickled, imported or looked up by a class's name; the types are those of the running program.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, NoReturn, TypeVar

import cattrs
import msgspec

from .errors import NotStorable, ValueUnreadable
from .values_any import decode, encode_plain, pack
from .values_arguments import Parameter, argument_functions, too_large
from .values_converter import StrictConverter, make_converter
from .values_hooks import EVERYTHING, Reader, Writer, does_nothing_on, reader_of, writer_of
from .values_refusal import Refusal, as_refusal, join_steps, lone_surrogate, type_name

__all__ = ["Codec", "Values", "make_converter"]

T = TypeVar("T")


class Codec(msgspec.Struct, Generic[T], frozen=True):
    """Turns values of one type into bytes and back.

    Attributes:
      encode: the bytes of a value; raises NotStorable if it cannot be kept exactly.
      decode: back; raises ValueUnreadable if the bytes do not fit the type.
      type: the type, as it was given.
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    type: Any


class Values:
    """The converter of a hub.

    Args:
      converter: one from :func:`make_converter`, with hooks of your own; a fresh one by default.
      bytes_max: more encoded bytes than this are refused; by default no number of them is.

    Attributes:
      converter: the cattrs converter. Register hooks before codecs are made: codecs that exist keep the hooks they have.

    Raises:
      TypeError: the converter is another cattrs converter, whose rules would alter values.
    """

    converter: cattrs.Converter

    def __init__(self, converter: cattrs.Converter | None = None, bytes_max: int = sys.maxsize) -> None:
        if converter is None:
            converter = make_converter()
        if not isinstance(converter, StrictConverter):
            raise TypeError(
                f"the converter is a {type(converter).__name__}, whose own rules would alter values (an int from a str, say). "
                "Make it with perdure.storage.values.make_converter() and register your hooks on that"
            )
        self.converter = self._strict = converter
        self._bytes_max = bytes_max
        self._codecs: dict[Any, Codec[Any]] = {}
        self._registrations = converter.registrations

    def codec(self, tp: Any, place: str | None = None) -> Codec[Any]:
        """The codec of a type; the same object for the same type and place.

        ``Any``, ``object`` and a missing annotation (``inspect.Parameter.empty``) have the self-describing form, in which
        plain data comes back as it is and objects of classes are refused.

        Args:
          tp: the type, with any names in strings resolved.
          place: what errors call the value, such as ``state``; the type's name by default.

        Raises:
          NotStorable: values of the type, or of one in it, cannot be stored.
        """
        if self._registrations != self._strict.registrations:
            self._codecs.clear()
            self._registrations = self._strict.registrations
        try:
            found = self._codecs.get((tp, place))
        except TypeError:  # metadata that is not hashable
            return self._make(tp, place)
        if found is None:
            found = self._codecs[tp, place] = self._make(tp, place)
            self._registrations = self._strict.registrations
        return found

    def arguments(self, types: Sequence[Any], names: Sequence[str], required: int | None = None) -> Codec[tuple[Any, ...]]:
        """The codec of a function's positional arguments, as a tuple.

        Args:
          types: the parameters' types, in order.
          names: their names, for errors: ``argument 'order'.items[3].price``.
          required: how many have no default; all by default. A tuple may leave out the others, and is kept as it is.

        Raises:
          ValueError: the counts do not go together.
          NotStorable: values of a parameter's type cannot be stored.
        """
        if required is None:
            required = len(types)
        if len(names) != len(types) or not 0 <= required <= len(types):
            raise ValueError(f"{len(types)} types, {len(names)} names and {required} required arguments do not go together")
        parameters: list[Parameter] = []
        for tp, name in zip(types, names, strict=True):
            write, read = self._hooks(tp, f"argument {name!r}")
            parameters.append(Parameter(name, tp, write, read))
        return Codec(*argument_functions(parameters, required, self._bytes_max), tuple(types))

    def _hooks(self, tp: Any, place: str) -> tuple[Writer, Reader]:
        try:
            return writer_of(self.converter, tp), reader_of(self.converter, tp)
        except Refusal as refusal:
            raise NotStorable(join_steps(place, refusal.steps), refusal.reason) from refusal.origin

    def _make(self, tp: Any, place: str | None) -> Codec[Any]:
        place = type_name(tp) if place is None else place
        write, read = self._hooks(tp, place)
        return Codec(_encoder(write, place, self._bytes_max), _decoder(read, tp, place), tp)


def _encoder(write: Writer, place: str, bytes_max: int) -> Callable[[Any], bytes]:
    skipped = does_nothing_on(write)
    if len(skipped) != 1:

        def encode(value: Any) -> bytes:
            try:
                data = encode_plain(write(value))
            except Exception as error:
                data = _encoded_carefully(value, write, place, error)
            if len(data) > bytes_max:
                raise too_large(place, len(data), bytes_max)
            return data

        return encode
    (only,) = skipped

    def encode_scalar(value: Any) -> bytes:
        try:
            data = encode_plain(value if type(value) is only else write(value))
        except Exception as error:
            data = _encoded_carefully(value, write, place, error)
        if len(data) > bytes_max:
            raise too_large(place, len(data), bytes_max)
        return data

    return encode_scalar


def _encoded_carefully(value: Any, write: Writer, place: str, error: Exception) -> bytes:
    """Once encoding has failed: encode ints of more than 64 bits, or say what is wrong.

    Raises:
      NotStorable: the value cannot be kept exactly.
    """
    try:
        if not isinstance(error, OverflowError):
            raise error
        return pack(write(value))
    except MemoryError:
        raise
    except UnicodeEncodeError:
        refusal = lone_surrogate(value)
    except Exception as last:
        refusal = as_refusal(last)
    raise NotStorable(join_steps(place, refusal.steps), refusal.reason) from refusal.origin


def _decoder(read: Reader, tp: Any, place: str) -> Callable[[bytes], Any]:
    skipped = does_nothing_on(read)
    only = next(iter(skipped)) if len(skipped) == 1 else None

    def decode_scalar(data: bytes) -> Any:
        try:
            form = decode(data)
            return form if type(form) is only else read(form, tp)
        except Exception as error:
            _refuse_reading(place, error)

    def decode_value(data: bytes) -> Any:
        try:
            return read(decode(data), tp)
        except Exception as error:
            _refuse_reading(place, error)

    def decode_anything(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception as error:
            _refuse_reading(place, error)

    if skipped is EVERYTHING:
        return decode_anything
    return decode_value if only is None else decode_scalar


def _refuse_reading(place: str, error: Exception) -> NoReturn:
    if isinstance(error, MemoryError):
        raise error
    refusal = as_refusal(error)
    raise ValueUnreadable(join_steps(place, refusal.steps), refusal.reason) from refusal.origin
