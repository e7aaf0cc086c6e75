"""The strict converter: a cattrs converter with which every value comes back exactly, or is refused.

cattrs finds the hook of a type, keeps it, and lets users register hooks of their own. Its own rules are lenient (an
``int`` hook that calls ``int``), so none of them is kept: both dispatchers start empty, with one rule at the bottom
that looks a type up in :data:`_KINDS`. Whatever a user registers comes before that, at every depth.

Two things are done around hooks that are not ours. The value must be an object of the type that the hook is registered
for, before and after, since hooks often call a class that takes almost anything. And what the hook returns is stored
in the self-describing form, so that the hook's other half gets exactly that: a tuple, a Decimal, what it likes.

A type that contains itself asks for its own hook while that is being built. What it gets then is a stand-in, through
which every cycle of types has to pass: so that is where nesting is counted.
"""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal, get_origin

import cattrs
import msgspec
from cattrs.dispatch import MultiStrategyDispatch

from .values_any import HOOK_RESULT
from .values_containers import container_class, container_reader, container_writer
from .values_hooks import (
    ANYTHING_READER,
    ANYTHING_WRITER,
    LEAF_CLASSES,
    Reader,
    Writer,
    guarded,
    is_guarded,
    is_ours,
    leaf_reader,
    leaf_writer,
    never_reader,
    never_writer,
    ours,
    reader_of,
    writer_of,
)
from .values_named import named_tuple_reader, named_tuple_writer, typed_dict_reader, typed_dict_writer
from .values_records import record_reader, record_writer
from .values_refusal import NESTING, NESTING_MAX, NESTING_PER_RECURSION, Refusal, describe, too_deep, type_name, wrong
from .values_types import (
    inner,
    is_anything,
    is_named_tuple,
    is_record,
    is_typed_dict,
    is_union,
    without_metadata,
)
from .values_union import enum_reader, enum_writer, union_reader, union_writer


class _Dispatch(MultiStrategyDispatch[Any]):
    """A dispatcher of cattrs that tells when hooks are registered."""

    def __init__(self, converter: StrictConverter) -> None:
        super().__init__(_unreachable, converter)
        self._owner = converter

    def register_cls_list(self, cls_and_handler: Any, direct: bool = False) -> None:
        super().register_cls_list(cls_and_handler, direct)  # pyright: ignore[reportUnknownMemberType]
        self._owner.registrations += 1

    def register_func_list(self, pred_and_handler: Any) -> None:
        super().register_func_list(pred_and_handler)
        self._owner.registrations += 1

    def clear_cache(self) -> None:
        super().clear_cache()
        self._owner.registrations += 1


class StrictConverter(cattrs.Converter):
    """A cattrs converter that keeps every value exactly as it is, or refuses it.

    Register hooks of your own as with any cattrs converter, before the hub opens. The second gets what the first
    returned::

        converter = make_converter()
        converter.register_unstructure_hook(Money, lambda money: (money.amount, money.currency))
        converter.register_structure_hook(Money, lambda stored, _: Money(*stored))

    Attributes:
      registrations: counts up when a hook is registered.
    """

    registrations: int

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        self.registrations = 0
        self._lock = threading.RLock()
        self._under_way: dict[tuple[str, Any], _StandIn] = {}
        # cattrs keeps its lenient rules in these two; there is no public way to start without them.
        self._unstructure_func = _Dispatch(self)
        self._structure_func = _Dispatch(self)
        self._unstructure_func.register_func_list([(_anything, self._build_writer, True)])
        self._structure_func.register_func_list([(_anything, self._build_reader, True)])
        self._unstruct_copy_skip = self._unstructure_func.get_num_fns()
        self._struct_copy_skip = self._structure_func.get_num_fns()

    def get_unstructure_hook(self, type: Any, cache_result: bool = True) -> Writer:  # noqa: A002 - as in cattrs
        """The hook that turns values of a type into forms. Raises Refusal: such values cannot be stored."""
        hook = super().get_unstructure_hook(_hashable(type), cache_result)
        return hook if is_ours(hook) or is_guarded(hook) else _guarded_writer(hook, type)

    def get_structure_hook(self, type: Any, cache_result: bool = True) -> Reader:  # noqa: A002 - as in cattrs
        """The hook that turns forms into values of a type. Raises Refusal: such values cannot be stored."""
        hook = super().get_structure_hook(_hashable(type), cache_result)
        return hook if is_ours(hook) or is_guarded(hook) else _guarded_reader(hook, type)

    def users_hook(self, tp: Any, hook_of: Callable[[Any, Any], Any]) -> Any:
        """A user's hook that cattrs itself would not find, or ``None``.

        cattrs keeps the structure hooks of unions in a place of their own, and does not find the hook of a generic class
        when it is asked for ``Class[int]``.
        """
        if is_union(tp):
            return self._union_struct_registry.get(tp) if hook_of is reader_of else None
        origin = get_origin(tp)
        if not isinstance(origin, type) or container_class(tp) is not None:
            return None
        try:
            hook = hook_of(self, origin)
        except Refusal:
            return None
        return None if is_ours(hook) else hook

    def _build_writer(self, tp: Any) -> Writer:
        return self._build("write", tp)

    def _build_reader(self, tp: Any) -> Reader:
        return self._build("read", tp)

    def _build(self, direction: str, tp: Any) -> Any:
        with self._lock:
            stand_in = self._under_way.get((direction, tp))
            if stand_in is not None:
                return stand_in.hook
            self._under_way[direction, tp] = stand_in = _StandIn()
            try:
                stand_in.target = hook = _build_hook(direction, tp, self)
                return hook
            except BaseException:
                # Hooks of parts may hold stand-ins for what was not built.
                self._unstructure_func.clear_cache()
                self._structure_func.clear_cache()
                raise
            finally:
                del self._under_way[direction, tp]


def make_converter() -> StrictConverter:
    """A fresh strict converter, for hooks of your own."""
    return StrictConverter(detailed_validation=False, forbid_extra_keys=True)


def _anything(_tp: Any) -> bool:
    return True


def _unreachable(tp: Any) -> Any:
    raise Refusal(_unsupported(tp))


def _hashable(tp: Any) -> Any:
    try:
        hash(tp)
    except TypeError:
        return without_metadata(tp)
    return tp


class _StandIn:
    """The hook of a type within itself, while that hook is being built."""

    def __init__(self) -> None:
        self.target: Callable[..., Any] | None = None

        def hook(value: Any, *tp: Any) -> Any:
            depth = NESTING.depth
            if depth >= NESTING_MAX:
                raise too_deep(value)
            NESTING.depth = depth + NESTING_PER_RECURSION
            try:
                return self.target(value, *tp)  # type: ignore[misc]
            finally:
                NESTING.depth = depth

        self.hook = ours(hook)


class _Kind(msgspec.Struct, frozen=True):
    """A kind of types, and how their hooks are made."""

    matches: Callable[[Any], bool]
    writer: Callable[[Any, Any], Writer]
    reader: Callable[[Any, Any], Reader]


def _is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, Enum)


def _origin_is(matches: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda tp: matches(get_origin(tp) or tp)


_KINDS: Final = (
    _Kind(is_anything, lambda _tp, _converter: ANYTHING_WRITER, lambda _tp, _converter: ANYTHING_READER),
    _Kind(lambda tp: tp in LEAF_CLASSES, leaf_writer, leaf_reader),
    _Kind(lambda tp: tp in (typing.NoReturn, typing.Never), never_writer, never_reader),
    _Kind(lambda tp: is_union(tp) or get_origin(tp) is Literal, union_writer, union_reader),
    _Kind(_is_enum, enum_writer, enum_reader),
    _Kind(_origin_is(is_typed_dict), typed_dict_writer, typed_dict_reader),
    _Kind(_origin_is(is_named_tuple), named_tuple_writer, named_tuple_reader),
    _Kind(_origin_is(is_record), record_writer, record_reader),
    _Kind(lambda tp: container_class(tp) is not None, container_writer, container_reader),
)
"""The first that matches is taken."""


def _build_hook(direction: str, tp: Any, converter: StrictConverter) -> Any:
    below = inner(tp)
    hook_of = writer_of if direction == "write" else reader_of
    if below is not tp:
        return hook_of(converter, below)
    hook = converter.users_hook(tp, hook_of)
    if hook is not None:
        return hook
    for kind in _KINDS:
        if kind.matches(tp):
            return (kind.writer if direction == "write" else kind.reader)(tp, converter)
    raise Refusal(_unsupported(tp))


def _unsupported(tp: Any) -> str:
    return (
        f"values of type {type_name(tp)} cannot be stored. Declare an attrs class, a dataclass, a TypedDict, a NamedTuple, an "
        "enum, a built-in or standard type of plain data, or a container of these; or register a pair of hooks for the "
        "type on Values.converter"
    )


def _is_instance(value: Any, tp: Any) -> bool:
    cls = get_origin(tp) or tp
    if is_union(tp) or not isinstance(cls, type):
        return True
    try:
        return isinstance(value, cls)
    except TypeError:  # a Protocol that is not for run time
        return True


def _guarded_writer(hook: Any, tp: Any) -> Writer:
    def write(value: Any) -> Any:
        if not _is_instance(value, tp):
            raise wrong(value, tp)
        form = hook(value)
        try:
            return HOOK_RESULT.form(form)
        except Refusal as refusal:
            raise Refusal(f"the hook of {type_name(tp)} returned what cannot be stored: {refusal.reason}") from None

    return guarded(write)


def _guarded_reader(hook: Any, tp: Any) -> Reader:
    def read(form: Any, _tp: Any = None) -> Any:
        value = hook(form, tp)
        if not _is_instance(value, tp):
            raise Refusal(f"the hook of {type_name(tp)} made {describe(value)} of what is stored")
        return value

    return guarded(read)
