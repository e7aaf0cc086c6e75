"""Entity classes, worked out: which are refused, what their operations are, how their states are encoded (E3, E7, E12)."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

import attrs

from ..storage.values import Values
from .definition import EntityDefinition, OperationDefinition, signature_codecs
from .entity import Entity
from .errors import DefinitionError, UnknownOperation
from .evolution import Upgrade, checked_upgrade
from .read_only import is_read_only

_MEMBERS: Final = frozenset(name for name in dir(Entity) if not name.startswith("__"))
_NO_UPGRADE: Final = vars(Entity)["upgrade"]
IMPLICIT_DELETE: Final = "delete"


def define_class(cls: type[Entity], values: Values) -> EntityDefinition:
    """Work out an entity class.

    Raises:
      DefinitionError: it is neither an attrs class nor a dataclass, an attribute has no default or is named like a
        member of Entity, a method cannot be an operation, its ``upgrade`` cannot be used, or a type cannot be stored.
    """
    _check_fields(cls)
    version: int = cls.__dict__.get("_perdure_version", 0)
    upgrade = _upgrade_of(cls, version)
    operations = {IMPLICIT_DELETE: _implicit_delete(values)}
    for base in reversed(cls.__mro__):
        if base is Entity or not issubclass(base, Entity):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or not inspect.isfunction(member):
                if is_read_only(member):
                    raise DefinitionError(
                        f"{name!r} of entity class {cls.__name__} is marked @read_only, and is no operation: operations are "
                        "public methods"
                    )
                operations.pop(name, None)
                continue
            operations[name] = _operation(cls, name, member, values)
    try:
        state = values.codec(cls, place="state")
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"the state of entity class {cls.__name__} cannot be stored: {error}") from error
    return EntityDefinition(
        name=cls.entity_name(),
        label=cls.__name__,
        version=version,
        upgrade=upgrade,
        plain=values.codec(object, place="state"),
        operations=tuple(operations),
        find=operations.get,
        name_of=lambda operation: _name_of(cls, operation),
        fresh=cls,
        decode=state.decode,
        save=state.encode,
        shown=lambda live: live,
        has_async=any(operation.is_async for operation in operations.values()),
        idle_ttl=cls.__dict__.get("_perdure_idle_ttl"),
    )


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
    return OperationDefinition(name, function, inspect.iscoroutinefunction(function), arguments, result, is_read_only(function))


def _upgrade_of(cls: type[Entity], version: int) -> Upgrade | None:
    member = inspect.getattr_static(cls, "upgrade")
    if member is _NO_UPGRADE:
        return None
    where = f"upgrade of entity class {cls.__name__}"
    if not isinstance(member, classmethod):
        raise DefinitionError(
            f"{where} is no class method; it is '@classmethod def upgrade(cls, state, version)', which makes a state of an older "
            "version one of today. An operation or attribute needs another name"
        )
    if version == 0 and "upgrade" not in vars(cls):
        return None  # inherited by a class with states of its own, which has no older version yet
    return checked_upgrade(cls.upgrade, version, where)


def _name_of(cls: type[Entity], operation: object) -> str:
    name = getattr(operation, "__name__", None)
    if not callable(operation) or not isinstance(name, str):
        raise TypeError(f"an operation is a method such as {cls.__name__}.method, or its name, not {operation!r}")
    if not any(vars(base).get(name) is operation for base in cls.__mro__):
        raise UnknownOperation(f"{operation!r} is no method of {cls.__name__}, the class of the entity")
    return name


def _implicit_delete(values: Values) -> OperationDefinition:
    return OperationDefinition(IMPLICIT_DELETE, None, False, values.arguments([], [], 0), values.codec(type(None)))
