"""What the hooks of the strict converter are made of, and the hooks of single values.

A *writer* turns a value into its form, a *reader* a form into the value; both are cattrs hooks. A form is what msgspec
stores as it is: plain data, extensions (:mod:`.values_any`), lists, and dictionaries with text keys. Reading starts
from what msgspec makes of the bytes, in which extensions are values already: so the reader of a ``datetime`` only has
to look whether it is one.

Two facts go with each of our hooks, as attributes of the function:

- that it is *ours*: what a user's hook takes and returns is checked around it, ours check themselves;
- on which exact classes it does nothing (:func:`does_nothing_on`). Hooks around it use this to skip the call: a list
  of ints is then checked by one pass in C. That is where the speed comes from.
"""

# ruff: noqa: BLE001 - whatever a hook raises is told with its place

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias, TypeVar, cast

from cattrs import Converter
from msgspec.msgpack import Ext

from .values_any import ANYTHING, PLAIN
from .values_leaves import LEAVES, PATHS
from .values_refusal import Refusal, at_step, class_of, unfit, wrong

Writer: TypeAlias = Callable[[Any], Any]
Reader: TypeAlias = Callable[[Any, Any], Any]
H = TypeVar("H", bound=Callable[..., Any])

_OURS: Final = "perdure_does_nothing_on"
_GUARDED: Final = "perdure_guarded"


class Everything(frozenset[type]):
    """All classes: :func:`does_nothing_on` of a hook that never does anything."""

    def __contains__(self, _cls: object) -> bool:
        return True

    def issuperset(self, _classes: object) -> bool:
        """Always."""
        return True


EVERYTHING: Final = Everything()


def ours(hook: H, does_nothing_on: frozenset[type] = frozenset()) -> H:
    """Mark a hook as ours, with the exact classes for whose values it returns what it is given."""
    setattr(hook, _OURS, does_nothing_on)
    return hook


def is_ours(hook: Any) -> bool:
    """Whether the hook checks what it is given by itself."""
    return hasattr(hook, _OURS)


def guarded(hook: H) -> H:
    """Mark a hook as a user's with our checks around it."""
    setattr(hook, _GUARDED, True)
    return hook


def is_guarded(hook: Any) -> bool:
    """Whether it is a user's hook that has our checks around it already."""
    return hasattr(hook, _GUARDED)


def does_nothing_on(hook: Any) -> frozenset[type]:
    """The exact classes for whose values the hook returns what it is given."""
    return getattr(hook, _OURS, frozenset[type]())


def writer_of(converter: Converter, tp: Any, step: str = "") -> Writer:
    """The hook that turns values of a type into forms.

    Args:
      converter: the strict converter.
      tp: the type.
      step: where the type stands in the one around it, for the error.

    Raises:
      Refusal: values of that type cannot be stored.
    """
    try:
        return converter.get_unstructure_hook(tp)
    except Exception as error:
        raise at_step(error, step) from None


def reader_of(converter: Converter, tp: Any, step: str = "") -> Reader:
    """The other way round; see :func:`writer_of`."""
    try:
        return converter.get_structure_hook(tp)
    except Exception as error:
        raise at_step(error, step) from None


def _anything_reader(form: Any, _tp: Any = None) -> Any:
    return form


ANYTHING_WRITER: Final[Writer] = ours(lambda value: ANYTHING.form(value), PLAIN)
ANYTHING_READER: Final[Reader] = ours(_anything_reader, EVERYTHING)


def _plain_writer(cls: type) -> Writer:
    def write(value: Any) -> Any:
        if class_of(value) is not cls:
            raise wrong(value, cls)
        return value

    return ours(write, frozenset({cls}))


def _plain_reader(classes: frozenset[type], declared: Any) -> Reader:
    def read(form: Any, _tp: Any = None) -> Any:
        if class_of(form) not in classes:
            raise unfit(form, declared)
        return form

    return ours(read, classes)


def _write_float(value: Any) -> float:
    if class_of(value) is float:
        return value
    if class_of(value) is not int:
        raise wrong(value, float, "float, or an int that a float holds exactly")
    return _exact_float(value)


def _read_float(form: Any, _tp: Any = None) -> float:
    if class_of(form) is float:
        return form
    if class_of(form) is not int:
        raise unfit(form, float)
    return _exact_float(form)


def _exact_float(value: int) -> float:
    try:
        converted = float(value)
    except OverflowError:
        converted = None
    if converted != value:
        raise Refusal(f"the int {value if value.bit_length() < 128 else 'given'} is not exact as a float; declare int or Decimal")
    return cast("float", converted)


def _leaf_writer(classes: frozenset[type], declared: Any) -> Writer:
    leaves = {cls: (LEAVES[cls].code, LEAVES[cls].dump) for cls in classes}

    def write(value: Any) -> Ext:
        leaf = leaves.get(class_of(value))
        if leaf is None:
            raise wrong(value, declared)
        code, dump = leaf
        return Ext(code, dump(value))

    return ours(write)


PATH_CLASSES: Final[dict[type, frozenset[type]]] = {
    Path: frozenset({type(Path())}),
    PurePath: frozenset(PATHS.values()),
}
"""``Path`` and ``PurePath`` have no objects of their own; these are the classes of what they make."""

LEAF_CLASSES: Final[dict[Any, frozenset[type]]] = {cls: frozenset({cls}) for cls in (*PLAIN, *LEAVES)} | PATH_CLASSES
"""The types of single values, with the exact classes of their values."""

_LEAF_WRITERS: Final[dict[Any, Writer]] = {
    **{cls: _plain_writer(cls) for cls in PLAIN},
    **{tp: _leaf_writer(classes, tp) for tp, classes in LEAF_CLASSES.items() if tp not in PLAIN},
    float: ours(_write_float, frozenset({float})),
}
_LEAF_READERS: Final[dict[Any, Reader]] = {
    **{tp: _plain_reader(classes, tp) for tp, classes in LEAF_CLASSES.items()},
    float: ours(_read_float, frozenset({float})),
}


def leaf_writer(tp: Any, _converter: Converter) -> Writer:
    """Writer of a type of single values."""
    return _LEAF_WRITERS[tp]


def leaf_reader(tp: Any, _converter: Converter) -> Reader:
    """Reader of a type of single values."""
    return _LEAF_READERS[tp]


def is_leaf_hook(hook: Any) -> bool:
    """Whether it is one of the hooks of single values, and not a user's in its place."""
    return any(hook is leaf for leaf in (*_LEAF_WRITERS.values(), *_LEAF_READERS.values()))


def never_writer(tp: Any, _converter: Converter) -> Writer:
    """Writer of ``Never`` and ``NoReturn``, of which there are no values."""

    def write(value: Any) -> Any:
        raise wrong(value, tp, "nothing: it never returns")

    return ours(write)


def never_reader(tp: Any, _converter: Converter) -> Reader:
    """Reader of ``Never`` and ``NoReturn``."""

    def read(form: Any, _tp: Any = None) -> Any:
        raise unfit(form, tp)

    return ours(read)
