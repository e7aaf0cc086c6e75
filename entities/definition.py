"""What a hub knows of its entities: operations, and how states and values are encoded.

There is one interface, :class:`EntityDefinition`, for entities that are classes and for those that are functions, and
nothing behind it asks which of the two it has. An operation is run by calling a function with a *live* object and the
arguments. The live object of a class is an object of the class; that of a function holds the state (:mod:`.function`).

Definitions are worked out once, when they are given to a hub, so that a mistake is found before any message is sent,
and so that a turn has nothing left to look up.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ..storage.values import Codec, Values
from .context import EntityContext
from .errors import DefinitionError, StateUnreadable, UnknownOperation
from .evolution import Upgrade, upgraded
from .ids import EntityId

OPERATION_NAME_LENGTH_MAX: Final = 200


class Live(Protocol):
    """An object that operations run on."""

    _perdure_context: EntityContext | None


class OperationDefinition(msgspec.Struct, frozen=True):
    """One operation.

    Attributes:
      name: its name.
      function: called with the live object and the arguments; ``None`` for the implicit ``delete``.
      is_async: it gives a coroutine.
      arguments: the codec of its positional arguments.
      result: the codec of its result.
      read_only: it may neither change the state nor send anything (E13).
    """

    name: str
    function: Callable[..., Any] | None
    is_async: bool
    arguments: Codec[tuple[Any, ...]]
    result: Codec[Any]
    read_only: bool = False


class EntityDefinition(msgspec.Struct, frozen=True):
    """One kind of entity, ready to run.

    Attributes:
      name: the folded name of its entities.
      label: how messages call it: the name of the class or function.
      version: the version that its states are saved with.
      upgrade: makes a state of an older version one of this (E12); ``None`` if defaults are all that is needed.
      plain: the codec of plain data.
      operations: the names of its operations, as far as they are declared.
      find: the operation of a name; ``None`` if there is none.
      name_of: the name of an operation that is given as a method; raises UnknownOperation or TypeError if it is none.
      fresh: makes the live object of an entity that does not exist.
      decode: makes the live object of a stored state of this version; raises ValueUnreadable.
      save: the state that a live object has now, encoded; ``None`` if the entity does not exist (yet). Raises NotStorable.
      shown: what a reader sees of a live object that nobody else has.
      has_async: some operations are, or may be, ``async``.
      idle_ttl: how long an entity may be idle before it expires, microseconds; ``None`` for ever.
    """

    name: str
    label: str
    version: int
    upgrade: Upgrade | None
    plain: Codec[Any]
    operations: tuple[str, ...]
    find: Callable[[str], OperationDefinition | None]
    name_of: Callable[[object], str]
    fresh: Callable[[], Live]
    decode: Callable[[bytes], Live]
    save: Callable[[Any], bytes | None]
    shown: Callable[[Any], Any]
    has_async: bool
    idle_ttl: int | None = None

    def operation(self, name: str) -> OperationDefinition:
        """The operation of that name.

        Raises:
          UnknownOperation: there is none (E7).
        """
        found = self.find(name)
        if found is None:
            raise UnknownOperation(f"entity {self.name!r} ({self.label}) has no operation {name!r}; {self._what_there_is()}")
        return found

    def _what_there_is(self) -> str:
        if not self.operations:
            return f"the name of an operation is a text of 1 to {OPERATION_NAME_LENGTH_MAX} characters, without lone surrogates"
        return f"it has: {', '.join(sorted(self.operations))}. Operations are the public methods that the class defines"

    def load(self, entity_id: EntityId, state: bytes, version: int) -> Live:
        """A live object of a stored state.

        Args:
          entity_id: whose state it is.
          state: the stored bytes.
          version: the version that saved them.

        Raises:
          StateUnreadable: it is of a newer version, or cannot be made one of this version (E12).
        """
        current = state
        try:
            current = upgraded(state, version, self.version, self.upgrade, self.plain, entity_id)
            return self.decode(current)
        except (TypeError, ValueError) as error:
            by = "" if current is state else f"after the upgrade from version {version} to {self.version} it does not fit: "
            raise StateUnreadable(entity_id, f"{by}{error}") from error

    def read(self, entity_id: EntityId, state: bytes, version: int) -> Any:
        """What a reader sees of a stored state: a copy (E9).

        Raises:
          StateUnreadable: as for :meth:`load`.
        """
        return self.shown(self.load(entity_id, state, version))


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
