"""What an annotation means: layers taken off, type variables filled in, the fields of a class with their types.

Nothing here knows how values are stored. The typing module keeps type variables by the class that declares them, so
a field of a generic base has the type that the *subclass's* argument gives it; this is worked out class by class
(:func:`environments`) rather than by the variables' names, which bases may share.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ForwardRef, Generic, Protocol, TypeVar, Union, cast, get_args, get_origin

import attrs
import msgspec

from .values_refusal import Refusal, type_name

Environment = Mapping[Any, Any]
"""What type variables stand for."""

_CONVERTER: Any = getattr(attrs, "Converter", ())  # new in attrs 24.1
_QUALIFIERS = frozenset({"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})
_SELF: Any = typing.Self  # pyright: ignore[reportUnknownMemberType]
_ANYTHING = (Any, object, inspect.Parameter.empty, attrs.NOTHING)


class Field(msgspec.Struct, frozen=True):
    """A stored attribute of a class, or a key of a TypedDict.

    Attributes:
      name: its name, which is also its key in storage.
      type: its type, with type variables filled in.
      default: makes the value of an object that was stored without it, given the object with the fields before it;
        ``None`` if there is no default.
      required: it may not be missing from the value (only a TypedDict's keys may).
      on_class: objects may have it only through the class's attribute of that name, as dataclasses do with a field of
        ``init=False`` that has a default.
    """

    name: str
    type: Any
    default: Callable[[Any], Any] | None = None
    required: bool = True
    on_class: bool = False


def is_union(tp: Any) -> bool:
    """``X | Y``, ``Union[X, Y]`` or ``Optional[X]``."""
    return get_origin(tp) in (Union, types.UnionType)


def is_anything(tp: Any) -> bool:
    """No annotation, ``Any`` or ``object``."""
    return any(tp is anything for anything in _ANYTHING)


def qualifier(tp: Any) -> str | None:
    """The name of ``Required[...]``, ``Final[...]`` and the like, else ``None``."""
    name = getattr(get_origin(tp) or tp, "_name", None)
    return name if isinstance(name, str) and name in _QUALIFIERS else None


def inner(tp: Any) -> Any:
    """The type without its outermost layer that does not change what values it has; ``tp`` itself if it has none.

    Layers are ``Annotated``, ``NewType``, a type alias, ``Final`` and its like, and a type variable, which means what
    its default, bound or constraints say.

    Raises:
      Refusal: an annotation in a string that was not resolved.
    """
    if tp is None:
        return type(None)
    if isinstance(tp, (str, ForwardRef)):
        text = tp if isinstance(tp, str) else tp.__forward_arg__
        raise Refusal(f"the annotation {text!r} is a name that was not found; define it at the top of its module")
    if isinstance(tp, TypeVar):
        return _variable_meaning(tp)
    alias = get_origin(tp) or tp
    if type(alias).__name__ == "TypeAliasType":
        return substitute(alias.__value__, dict(zip(alias.__type_params__, get_args(tp), strict=False)))
    if alias is Annotated or qualifier(tp):
        return (get_args(tp) or (Any,))[0]
    return str if tp is typing.LiteralString else getattr(tp, "__supertype__", tp)


def bare(tp: Any) -> Any:
    """The type without any such layer."""
    while (below := inner(tp)) is not tp:
        tp = below
    return tp


def _variable_meaning(variable: Any) -> Any:
    if getattr(variable, "has_default", bool)():
        return variable.__default__
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007 - the members are known at run time only
    return Any if variable.__bound__ is None else variable.__bound__


def substitute(tp: Any, environment: Environment) -> Any:
    """The type with each type variable (and ``Self``) replaced by what it stands for."""
    return _rebuilt(tp, lambda part: environment.get(part, part) if isinstance(part, TypeVar) or part is _SELF else part)


def without_metadata(tp: Any) -> Any:
    """The type without any ``Annotated``, for use as a key: metadata need not be hashable."""
    return _rebuilt(tp, lambda part: without_metadata(get_args(part)[0]) if get_origin(part) is Annotated else part)


def _rebuilt(tp: Any, replace: Callable[[Any], Any]) -> Any:
    replaced = replace(tp)
    if replaced is not tp:
        return replaced
    origin, arguments = get_origin(tp), get_args(tp)
    if origin is None or origin is typing.Literal or not arguments:
        return tp
    if origin is Annotated:
        rebuilt: Any = Annotated
        return rebuilt[(_rebuilt(arguments[0], replace), *arguments[1:])]
    new = tuple(_rebuilt(argument, replace) for argument in arguments)
    if all(a is b for a, b in zip(new, arguments, strict=True)):
        return tp
    if is_union(tp):
        return Union[new]  # noqa: UP007 - the members are known at run time only
    return tp.copy_with(new) if hasattr(tp, "copy_with") else origin[new]


def environments(tp: Any) -> dict[type, dict[Any, Any]]:
    """What the type variables of a class and of each generic base of it stand for."""
    found: dict[type, dict[Any, Any]] = {}

    def visit(cls: Any, arguments: tuple[Any, ...]) -> None:
        parameters = getattr(cls, "__parameters__", ())
        if not all(isinstance(parameter, TypeVar) for parameter in parameters):
            raise Refusal(f"{type_name(cls)} has type parameters other than plain type variables, which cannot be stored")
        environment: dict[Any, Any] = dict(zip(parameters, arguments, strict=False))
        found.setdefault(cls, environment)
        for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
            origin = get_origin(base) or base
            if isinstance(origin, type) and origin not in (Generic, Protocol, object):
                visit(origin, tuple(substitute(argument, environment) for argument in get_args(base)))

    visit(get_origin(tp) or tp, get_args(tp))
    return found


def is_record(cls: Any) -> bool:
    """An attrs class or a dataclass."""
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls))


def is_named_tuple(cls: Any) -> bool:
    """A ``NamedTuple`` or ``collections.namedtuple`` class."""
    return isinstance(cls, type) and tuple in cls.__mro__ and hasattr(cls, "_fields") and hasattr(cls, "_make")


def is_typed_dict(cls: Any) -> bool:
    """A ``TypedDict`` of any origin."""
    return isinstance(cls, type) and hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")


def record_fields(tp: Any) -> list[Field]:
    """The fields of an attrs class or dataclass, in order.

    Raises:
      Refusal: an annotation names something that cannot be found.
    """
    cls = get_origin(tp) or tp
    declared: list[Any] = list(attrs.fields(cls)) if attrs.has(cls) else list(dataclasses.fields(cls))
    default = _attrs_default if attrs.has(cls) else _dataclass_default
    typed = _filled_in(tp, {field.name: field.type for field in declared})
    on_class = {field.name for field in declared if not field.init and not attrs.has(cls) and field.name in vars(cls)}
    return [Field(f.name, typed[f.name], default(f), on_class=f.name in on_class) for f in declared]


def named_tuple_fields(tp: Any) -> list[Field]:
    """The fields of a named tuple, in order; without annotations they are of any type.

    Raises:
      Refusal: an annotation names something that cannot be found.
    """
    cls = get_origin(tp) or tp
    annotations: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        annotations |= inspect.get_annotations(base)
    typed = _filled_in(tp, {name: annotations.get(name, Any) for name in cls._fields})
    defaults: dict[str, Any] = cls._field_defaults
    return [Field(name, typed[name], _constant(defaults[name]) if name in defaults else None) for name in cls._fields]


def typed_dict_fields(tp: Any) -> list[Field]:
    """The keys of a TypedDict.

    Raises:
      Refusal: an annotation names something that cannot be found.
    """
    cls = get_origin(tp) or tp
    environment: dict[Any, Any] = {}
    for part in reversed(list(environments(tp).values())):
        environment |= part
    fields: list[Field] = []
    for name, hint in _hints(cls).items():
        # `__required_keys__` is wrong where annotations are strings, so what the annotation says goes first.
        required, layer = name in cls.__required_keys__, hint
        while (word := qualifier(layer)) or get_origin(layer) is Annotated:
            required = {"Required": True, "NotRequired": False}.get(word or "", required)
            layer = get_args(layer)[0]
        fields.append(Field(name, substitute(hint, environment), required=required))
    return fields


def _filled_in(tp: Any, declared: dict[str, Any]) -> dict[str, Any]:
    """The declared types with names resolved and type variables replaced."""
    cls = get_origin(tp) or tp
    found = environments(tp)
    hints = _hints(cls) if any(hint != "typing.Any" and _unresolved(hint) for hint in declared.values()) else {}
    typed: dict[str, Any] = {}
    for name, hint in declared.items():
        owner = next((base for base in cls.__mro__ if name in inspect.get_annotations(base)), None)
        if hint == "typing.Any" or (hint is None and owner is None):
            typed[name] = Any  # no annotation: so say make_dataclass and attrs
            continue
        environment: dict[Any, Any] = {**found.get(owner or cls, {}), _SELF: tp}
        typed[name] = substitute(hints.get(name, hint) if _unresolved(hint) else hint, environment)
    return typed


def _unresolved(hint: Any) -> bool:
    if get_origin(hint) is typing.Literal:
        return False
    return isinstance(hint, (str, ForwardRef)) or any(_unresolved(part) for part in get_args(hint))


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        pass
    try:
        # A class that is defined in a function can at least refer to itself.
        return typing.get_type_hints(cls, localns={**vars(cls), cls.__name__: cls}, include_extras=True)
    except NameError as error:
        raise Refusal(
            f"an annotation of class {cls.__name__} names {error.name!r}, which is not found in its module; define or import "
            "it at the top of the module, outside of `if TYPE_CHECKING`"
        ) from None


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _owner: value


def _attrs_default(field: Any) -> Callable[[Any], Any] | None:
    if field.default is attrs.NOTHING:
        return None
    default: Any = field.default
    converter: Any = field.converter

    def make(owner: Any) -> Any:
        value = default
        if isinstance(default, cast("type", attrs.Factory)):
            value = default.factory(owner) if default.takes_self else default.factory()
        if not isinstance(converter, _CONVERTER):
            return value if converter is None else converter(value)
        extra = ([owner] if converter.takes_self else []) + ([field] if converter.takes_field else [])
        return converter.converter(value, *extra)

    return make


def _dataclass_default(field: Any) -> Callable[[Any], Any] | None:
    if field.default is not dataclasses.MISSING:
        return _constant(field.default)
    if field.default_factory is not dataclasses.MISSING:
        factory = field.default_factory
        return lambda _owner: factory()
    return None
