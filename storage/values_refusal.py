"""How a value, or a stored form, is refused: what is said, and where the culprit stands.

The hooks of the converter are the hottest code there is, so they keep no account of where they are. A hook that
meets something it does not accept raises a :class:`Refusal`; each hook around it adds its own *step* (``.items``,
``[3]``, ``['key']``) while the exception passes, which costs nothing as long as nothing is raised. The codec at the
top joins the steps to a place and raises what its user sees, :class:`~perdure.storage.errors.NotStorable` or
:class:`~perdure.storage.errors.ValueUnreadable`.
"""

from __future__ import annotations

import dataclasses
import threading
import types
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import attrs
import msgspec

from .errors import NotStorable, PerdureError, ValueUnreadable

NESTING_MAX: Final = 200
"""Containers within containers, at most. Each level costs some frames of the interpreter's stack, of which there are
1000 by default, and what was written near the top of a stack must be readable from deep within one."""

NESTING_PER_RECURSION: Final = 2
"""What one more object of a class that contains itself counts: the object, and what holds it."""

_STEPS_SHOWN_MAX: Final = 24
_TEXT_SHOWN_MAX: Final = 40
_SEARCHED_MAX: Final = 100_000


class_of: Final[Callable[[object], type]] = type
"""``type`` with one argument, without what type checkers conclude from it: a value of declared type ``Any`` stays one."""


class Refusal(PerdureError):
    """A hook does not accept what it was given. Codecs turn it into the public errors.

    Attributes:
      reason: what is wrong, and what is allowed.
      steps: where, the innermost step first.
      origin: the exception of a user's hook or attribute that led to it.
    """

    def __init__(self, reason: str, steps: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = steps or []
        self.origin: Exception | None = None

    def __str__(self) -> str:
        return f"{join_steps('value', self.steps)}: {self.reason}"


class _Nesting(threading.local):
    """How deep the hook that runs in this thread stands within recursive classes."""

    depth: int = 0


NESTING: Final = _Nesting()


def at_step(error: Exception, step: str) -> Exception:
    """The exception to raise where ``error`` came out of the part of a value that ``step`` names."""
    if isinstance(error, MemoryError):
        return error
    refusal = as_refusal(error)
    if step:
        refusal.steps.append(step)
    return refusal


def as_refusal(error: Exception) -> Refusal:
    """Any exception as a refusal. One that is not ours came out of a user's hook or attribute."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, (NotStorable, ValueUnreadable)):
        refusal = Refusal(error.reason)
    elif isinstance(error, RecursionError):
        refusal = Refusal(_too_deep_reason("it"))
    elif isinstance(error, (msgspec.DecodeError, UnicodeDecodeError)):
        refusal = Refusal(f"what is stored is no sound MessagePack: {error}")
    else:
        refusal = Refusal(f"converting it raised {type(error).__name__}: {error}")
    refusal.origin = error
    return refusal


def join_steps(place: str, steps: list[str]) -> str:
    """A place such as ``state.items[3].price``; a very long one is cut in the middle."""
    path = steps[::-1]
    if len(path) > _STEPS_SHOWN_MAX:
        half = _STEPS_SHOWN_MAX // 2
        path = [*path[:half], " … ", *path[-half:]]
    return place + "".join(path)


def key_step(key: object) -> str:
    """The step to the value under a key."""
    return f"[{short(key)}]"


def in_key_step(key: object) -> str:
    """The step into a dictionary's key itself."""
    return f" (key {short(key)})"


def element_step(element: object) -> str:
    """The step to an element of a set, which has no position."""
    return f" (element {short(element)})"


def short(value: object) -> str:
    """A value in few characters. Only plain scalars are shown; a user's ``__repr__`` is never called."""
    if type(value) not in (type(None), bool, int, float, str, bytes):
        return f"a {type(value).__name__}"
    if type(value) is int and value.bit_length() > 128:
        return f"of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)) and len(value) > _TEXT_SHOWN_MAX:
        return f"{value[:_TEXT_SHOWN_MAX]!r}…"
    return repr(value)


def describe(value: object) -> str:
    """A value's class, and the value where it is a plain scalar: ``a bool (True)``."""
    if value is None:
        return "None"
    if isinstance(value, Enum):
        return f"{_with_article(type(value).__name__)} ({type(value).__name__}.{value.name})"
    if type(value) in (bool, int, float, str, bytes):
        return f"{_with_article(type(value).__name__)} ({short(value)})"
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeio" else f"a {name}"


def type_name(tp: Any) -> str:
    """A type as a person would write it."""
    origin, arguments = get_origin(tp), get_args(tp)
    if isinstance(tp, list):  # the parameters of a Callable
        return f"[{', '.join(map(type_name, cast('list[Any]', tp)))}]"
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_name, arguments))
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is not None and origin is not Literal and arguments:
        return f"{type_name(origin)}[{', '.join(map(type_name, arguments))}]"
    if tp is type(None) or tp is ...:
        return "None" if tp is not ... else "..."
    name = getattr(tp, "__name__", None)
    return name if isinstance(name, str) and origin is not Literal else str(tp).replace("typing.", "")


def wrong(value: object, declared: Any, allowed: str | None = None) -> Refusal:
    """A value to be stored is not of the declared type.

    Args:
      value: the value.
      declared: the type that stands in the annotation.
      allowed: what is accepted, if the type alone does not say it.
    """
    name, own = type_name(declared), type(value).__name__
    reason = f"{describe(value)} stands where {name} is declared"
    if declared in type(value).__mro__:
        return Refusal(
            f"{reason}; {own} is a subclass of {name}, and would come back as a plain {name}. Pass exactly "
            f"{_with_article(name)}, or declare {own} (in a Union, if several classes may stand here)"
        )
    if own == name:
        reason += f", but it is another class of that name, of module {type(value).__module__}"
    return Refusal(f"{reason}; allowed is exactly {allowed or name}, nothing is converted")


def unfit(stored: object, declared: Any) -> Refusal:
    """What is stored does not have the form of the declared type."""
    return Refusal(f"what is stored is {describe(stored)}, which does not fit {type_name(declared)}")


def too_deep(value: object) -> Refusal:
    """A value is nested deeper than allowed, perhaps because it contains itself."""
    if _contains_itself(value):
        return Refusal(
            f"{describe(value)} contains itself; only trees can be stored. Refer to an object elsewhere in the value by "
            "a key of it"
        )
    return Refusal(_too_deep_reason(describe(value)))


def _too_deep_reason(what: str) -> str:
    return (
        f"{what} is nested too deeply, or contains itself: at most {NESTING_MAX} levels are allowed, of which an object "
        f"of a class that contains itself takes {NESTING_PER_RECURSION}. Store a flat list, with keys in place of nesting"
    )


def children(value: object) -> list[tuple[str, Any]]:
    """What a value holds, each part with its step. Only of plain containers and classes with declared attributes."""
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        names: tuple[str, ...] = getattr(items, "_fields", ())
        return [(f".{names[i]}" if names else f"[{i}]", item) for i, item in enumerate(items)]
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return [(in_key_step(k), k) for k in pairs] + [(key_step(k), v) for k, v in pairs.items()]
    if isinstance(value, (set, frozenset)):
        return [(element_step(item), item) for item in cast("set[Any]", value)]
    if isinstance(value, type) or not (attrs.has(type(value)) or dataclasses.is_dataclass(value)):
        return []
    declared: Any = attrs.fields(type(value)) if attrs.has(type(value)) else dataclasses.fields(cast("Any", value))
    return [(f".{f.name}", getattr(value, f.name)) for f in declared if hasattr(value, f.name)]


def _contains_itself(value: object) -> bool:
    seen: set[int] = set()
    waiting = [value]
    while waiting and len(seen) < _SEARCHED_MAX:
        for _, child in children(waiting.pop()):
            if child is value:
                return True
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    return False


def lone_surrogate(value: object) -> Refusal:
    """The refusal of a value in which some text is not valid Unicode, with the steps to that text."""
    return find_lone_surrogate(value) or Refusal("some text in it holds a lone surrogate; only valid Unicode can be stored")


def find_lone_surrogate(value: object) -> Refusal | None:
    """Like :func:`lone_surrogate`; ``None`` if there is no such text in the parts that can be seen from outside."""
    seen: set[int] = set()
    waiting: list[tuple[Any, list[str]]] = [(value, [])]
    while waiting:
        item, path = waiting.pop()
        if not isinstance(item, str):
            if id(item) not in seen:
                seen.add(id(item))
                waiting += [(child, [step, *path]) for step, child in children(item)]
            continue
        try:
            item.encode()
        except UnicodeEncodeError as error:
            return Refusal(
                f"the str {short(item)} holds a lone surrogate (U+{ord(item[error.start]):04X} at position {error.start}); "
                "only valid Unicode can be stored. Store bytes, or replace the character",
                path,
            )
    return None
