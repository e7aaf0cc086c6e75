"""The self-describing forms of single values that MessagePack has no form for.

Each class has a MessagePack extension code, a text or some bytes that say everything about the value, and a way
back. The same forms are used where the class is declared and where nothing is, so that reading needs to know only
the code. Texts are used where they are exact, since people read dumps.

Rules:

1. A code, once used, keeps its meaning for ever: stored bytes outlive the program.
2. Only the class itself is accepted, never a subclass; what a form could not bring back exactly is refused.
3. Reading looks nothing up by name but time zones (:class:`zoneinfo.ZoneInfo` by key).

Times: wall clock text, with the offset for fixed zones and ``[key]`` for a ``ZoneInfo``, since the offsets of a
region change with its rules but its key does not; a leading ``~`` stands for ``fold=1``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import UUID, SafeUUID

import msgspec

from .values_refusal import Refusal, describe, lone_surrogate

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

CODE_INT: Final = 1
CODE_TUPLE: Final = 2
CODE_SET: Final = 3
CODE_FROZENSET: Final = 4
CODE_DICT: Final = 5
CODE_TAG: Final = 6
CODE_DATETIME: Final = 7
CODE_DATE: Final = 8
CODE_TIME: Final = 9
CODE_TIMEDELTA: Final = 10
CODE_DECIMAL: Final = 11
CODE_UUID: Final = 12
CODE_COMPLEX: Final = 13
CODE_PATH: Final = 14
CODE_FRACTION: Final = 15

_MICROSECOND: Final = timedelta(microseconds=1)
_COMPLEX: Final = struct.Struct(">dd")


class Leaf(msgspec.Struct, frozen=True):
    """How the values of one class are stored.

    Attributes:
      cls: the class.
      code: the MessagePack extension code.
      dump: the value's bytes.
      load: back; it takes what ``dump`` gave.
    """

    cls: type
    code: int
    dump: Callable[[Any], bytes]
    load: Callable[[bytes], Any]


def text_bytes(text: str) -> bytes:
    """A text as UTF-8.

    Raises:
      Refusal: it holds a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise lone_surrogate(text) from None


def dump_int(value: int) -> bytes:
    """An int of any size, in two's complement, big end first."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def load_int(data: bytes) -> int:
    """Back from :func:`dump_int`."""
    return int.from_bytes(data, "big", signed=True)


def _dump_datetime(value: datetime) -> bytes:
    return _dump_clock(value, value.tzinfo)


def _dump_time(value: time) -> bytes:
    return _dump_clock(value, value.tzinfo)


def _dump_clock(value: datetime | time, zone: Any) -> bytes:
    """Raises: Refusal: the time zone cannot be kept."""
    fold = "~" if value.fold else ""
    if zone is None or zone is UTC:
        return f"{fold}{value.isoformat()}".encode()
    if type(zone) is timezone:
        # The pickle protocol of `timezone` is the one place that tells a given name from a made-up one.
        described: tuple[Any, ...] = cast("Any", zone).__getinitargs__()
        offset, *name = described
        wall = f"{fold}{value.replace(tzinfo=None).isoformat()}"
        return text_bytes(f"{wall}({offset // _MICROSECOND}{''.join(f' {text}' for text in name)})")
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 1.5 ms, for what few values have

    if type(zone) is ZoneInfo:
        _check_zone(zone)
        return text_bytes(f"{fold}{value.replace(tzinfo=None).isoformat()}[{zone.key}]")
    raise Refusal(
        f"its time zone is {describe(zone)} of module {type(zone).__module__}; only zoneinfo.ZoneInfo with a key and "
        "datetime.timezone come back exactly. Use ZoneInfo('Europe/Berlin') or the like"
    )


def _check_zone(zone: ZoneInfo) -> None:
    keyed = bool(zone.key)
    try:
        zone.__reduce__()  # raises for a zone that was read from a file, whose rules its key does not tell
    except Exception:  # noqa: BLE001 - of the pickle module, which has no business here
        keyed = False
    if not keyed:
        raise Refusal("its time zone was made with ZoneInfo.from_file, so its key does not tell its rules. Use ZoneInfo(key)")


def _load_datetime(data: bytes) -> datetime:
    return _load_clock(datetime, data.decode())


def _load_time(data: bytes) -> time:
    return _load_clock(time, data.decode())


def _load_clock(cls: Any, text: str) -> Any:
    fold: Literal[0, 1] = 0
    if text[0] == "~":
        fold, text = 1, text[1:]
    zone: ZoneInfo | timezone | None = None
    if text[-1] == "]":
        text, _, key = text[:-1].partition("[")
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - see above

        zone = ZoneInfo(key)
    elif text[-1] == ")":
        text, _, offset_and_name = text[:-1].partition("(")
        microseconds, *name = offset_and_name.split(" ", 1)
        zone = timezone(timedelta(microseconds=int(microseconds)), *name)
    value = cls.fromisoformat(text)
    if zone is None:
        return value.replace(fold=1) if fold else value
    return value.replace(tzinfo=zone, fold=fold)


def _dump_timedelta(value: timedelta) -> bytes:
    return str(value // _MICROSECOND).encode()


def _load_timedelta(data: bytes) -> timedelta:
    return timedelta(microseconds=int(data))


def _dump_uuid(value: UUID) -> bytes:
    safety = value.is_safe
    return value.bytes if safety is SafeUUID.unknown else value.bytes + (b"s" if safety is SafeUUID.safe else b"u")


def _load_uuid(data: bytes) -> UUID:
    safety = {b"": SafeUUID.unknown, b"s": SafeUUID.safe, b"u": SafeUUID.unsafe}[data[16:]]
    return UUID(bytes=data[:16], is_safe=safety)


def _load_complex(data: bytes) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _dump_fraction(value: Fraction) -> bytes:
    numerator = dump_int(value.numerator)
    return len(numerator).to_bytes(4, "big") + numerator + dump_int(value.denominator)


def _load_fraction(data: bytes) -> Fraction:
    end = 4 + int.from_bytes(data[:4], "big")
    return Fraction(load_int(data[4:end]), load_int(data[end:]))


PATHS: Final[dict[bytes, type[PurePath]]] = {
    b"P": PosixPath,
    b"p": PurePosixPath,
    b"W": WindowsPath,
    b"w": PureWindowsPath,
}


def _path_dump(cls: type[PurePath], kind: bytes) -> Callable[[Any], bytes]:
    def dump(value: PurePath) -> bytes:
        text = str(value)
        again = cls(text)
        if again.parts != value.parts or str(again) != text:
            raise Refusal(f"the path {text!r} reads back as other parts ({again.parts}) than it has ({value.parts})")
        return kind + text_bytes(text)

    return dump


def _load_path(data: bytes) -> PurePath:
    return PATHS[data[:1]](data[1:].decode())


LEAVES: Final[dict[type, Leaf]] = {
    leaf.cls: leaf
    for leaf in (
        Leaf(datetime, CODE_DATETIME, _dump_datetime, _load_datetime),
        Leaf(date, CODE_DATE, lambda value: value.isoformat().encode(), lambda data: date.fromisoformat(data.decode())),
        Leaf(time, CODE_TIME, _dump_time, _load_time),
        Leaf(timedelta, CODE_TIMEDELTA, _dump_timedelta, _load_timedelta),
        Leaf(Decimal, CODE_DECIMAL, lambda value: str(value).encode(), lambda data: Decimal(data.decode())),
        Leaf(UUID, CODE_UUID, _dump_uuid, _load_uuid),
        Leaf(complex, CODE_COMPLEX, lambda value: _COMPLEX.pack(value.real, value.imag), _load_complex),
        Leaf(Fraction, CODE_FRACTION, _dump_fraction, _load_fraction),
        *(Leaf(cls, CODE_PATH, _path_dump(cls, kind), _load_path) for kind, cls in PATHS.items()),
    )
}
"""By class; the scalars that MessagePack has itself, and containers, are not among them."""
