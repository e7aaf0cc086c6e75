"""An entity class, worked out: its operations, and how its state and their values are encoded.

Done once, when a class is defined to a hub, so that a mistake in a class is found before any message is sent to it,
and so that a turn has nothing left to look up.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

import attrs
from attrs import frozen

from ..storage.values import Codec, Values
from .entity import Entity
from .errors import DefinitionError, UnknownOperation

_MEMBERS: Final = frozenset(name for name in dir(Entity) if not name.startswith("__"))
IMPLICIT_DELETE: Final = "delete"


@frozen
class OperationDefinition:
    """One operation of an entity class.

    Attributes:
      name: its name.
      function: the plain function of the class; ``None`` for the implicit ``delete``.
      is_async: it is a coroutine function.
      arguments: the codec of its positional arguments.
      result: the codec of its result.
    """

    name: str
    function: Callable[..., Any] | None
    is_async: bool
    arguments: Codec[tuple[Any, ...]]
    result: Codec[Any]


@frozen
class EntityDefinition:
    """An entity class, ready to run.

    Attributes:
      name: the folded name of its entities.
      cls: the class.
      version: the version that its states are saved with.
      state: the codec of its state.
      operations: by name.
      idle_ttl: how long an entity may be idle before it expires, microseconds; ``None`` for ever.
    """

    name: str
    cls: type[Entity]
    version: int
    state: Codec[Any]
    operations: dict[str, OperationDefinition]
    idle_ttl: int | None = None

    def operation(self, name: str) -> OperationDefinition:
        """The operation of that name.

        Raises:
          UnknownOperation: there is none (E7).
        """
        found = self.operations.get(name)
        if found is None:
            raise UnknownOperation(
                f"entity {self.name!r} ({self.cls.__name__}) has no operation {name!r}; it has: "
                f"{', '.join(sorted(self.operations))}. Operations are the public methods that the class defines"
            )
        return found


def define_entity(cls: type[Entity], values: Values) -> EntityDefinition:
    """Work out an entity class.

    Raises:
      DefinitionError: it is neither an attrs class nor a dataclass, an attribute has no default or is named like a
        member of Entity, a method cannot be an operation, or a type cannot be stored.
    """
    _check_fields(cls)
    operations = {IMPLICIT_DELETE: _implicit_delete(values)}
    for base in reversed(cls.__mro__):
        if base is Entity or not issubclass(base, Entity):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or not inspect.isfunction(member):
                operations.pop(name, None)
                continue
            operations[name] = _operation(cls, name, member, values)
    try:
        return EntityDefinition(
            cls.entity_name(),
            cls,
            cls.__dict__.get("_perdure_version", 0),
            values.codec(cls, place="state"),
            operations,
            cls.__dict__.get("_perdure_idle_ttl"),
        )
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"the state of entity class {cls.__name__} cannot be stored: {error}") from error


def _check_fields(cls: type[Entity]) -> None:
    if "__attrs_attrs__" in cls.__dict__:
        fields = {field.name: field.default is not attrs.NOTHING for field in attrs.fields(cls)}
    elif "__dataclass_fields__" in cls.__dict__:
        missing = dataclasses.MISSING
        fields = {
            field.name: field.default is not missing or field.default_factory is not missing
            for field in dataclasses.fields(typing.cast("Any", cls))
        }
    else:
        raise DefinitionError(
            f"entity class {cls.__name__} is neither an attrs class nor a dataclass: put @define or @dataclass on it, "
            "on each subclass too"
        )
    for name, has_default in fields.items():
        if name in _MEMBERS:
            raise DefinitionError(
                f"attribute {name!r} of entity class {cls.__name__} is named like a member of Entity: rename it"
            )
        if not has_default:
            raise DefinitionError(
                f"attribute {name!r} of entity class {cls.__name__} has no default: an entity's first operation starts "
                "from the defaults (E3)"
            )


def _operation(cls: type[Entity], name: str, function: Callable[..., Any], values: Values) -> OperationDefinition:
    where = f"operation {name!r} of entity class {cls.__name__}"
    if name in _MEMBERS:
        raise DefinitionError(f"{where} is named like a member of Entity: rename it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{where} is a generator; an operation is a plain or an async function")
    parameters = list(inspect.signature(function).parameters.values())[1:]
    arguments, result = signature_codecs(function, parameters, values, where)
    return OperationDefinition(name, function, inspect.iscoroutinefunction(function), arguments, result)


def signature_codecs(
    function: Callable[..., Any], parameters: list[inspect.Parameter], values: Values, where: str
) -> tuple[Codec[tuple[Any, ...]], Codec[Any]]:
    """The codecs of a function's positional arguments and of its result; shared by all kinds of definitions.

    Args:
      function: the function.
      parameters: its parameters without the one that the framework passes.
      values: the hub's converter.
      where: how error messages name the function.

    Raises:
      DefinitionError: a parameter can only be passed by keyword, or a type is unknown or cannot be stored.
    """
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty:
            raise DefinitionError(f"{where} needs the keyword {parameter.name!r}; arguments are passed by position only")
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise DefinitionError(f"{where} takes *{parameter.name}; name its parameters, or take a list")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        arguments = values.arguments(
            [hints.get(p.name, object) for p in positional],
            [p.name for p in positional],
            sum(p.default is inspect.Parameter.empty for p in positional),
        )
        return arguments, values.codec(hints.get("return", object), place=f"the result of {where}")
    except (TypeError, ValueError, NameError) as error:
        raise DefinitionError(f"{where} has types that cannot be used: {error}") from error


def _implicit_delete(values: Values) -> OperationDefinition:
    return OperationDefinition(IMPLICIT_DELETE, None, False, values.arguments([], [], 0), values.codec(type(None)))
