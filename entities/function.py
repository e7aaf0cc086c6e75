"""Entities that are functions: what ``@entity`` makes of a function, and the state that such a function works on.

A function entity gets every operation of its entities, whatever its name, and looks at ``ctx.operation`` to see which::

    @entity
    def counter(ctx: EntityContext) -> object:
        value = ctx.get_state(int, 0)
        match ctx.operation:
            case "add":
                ctx.set_state(value + ctx.get_input(int))
            case "get":
                return value
            case "delete":
                ctx.delete()
            case other:
                raise UnknownOperation(f"a counter has no operation {other!r}")

To the machine it is an entity like any other: its live object is a :class:`FunctionState`, and each operation calls the
function with a context through which it reaches that object. So every rule for entities holds without a second
implementation: a state that was set and then not kept, because the function raised, is gone with the live object.

Types are given where a value is used, since there is no class to declare them. An input is sent as plain data; the type
of a state is the one that it was read with in the same operation, or that ``set_state`` is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, Final

from ..storage.errors import NotStorable, ValueUnreadable
from ..storage.values import Codec, Values
from .context import EntityContext
from .definition import OPERATION_NAME_LENGTH_MAX, EntityDefinition, OperationDefinition, signature_codecs
from .errors import DefinitionError, StateUnreadable
from .evolution import Upgrade, checked_upgrade
from .ids import EntityId, check_entity_name, check_no_surrogates

_FINDS_MAX: Final = 1000
"""Operations of a function entity that are kept worked out; beyond that many names they are worked out anew."""


class FunctionEntity:
    """An entity that is a function, made by :func:`entity`.

    Attributes:
      function: the function itself.
      name: the folded name that its entities are addressed by.
      version: the version that its states are saved with.
      upgrade: makes a state of an older version one of this (E12).
      read_only: the names of the operations that only read (E13).
      idle_ttl: how long an entity may be idle before it expires, microseconds; ``None`` for ever.
    """

    def __init__(
        self,
        function: Callable[[EntityContext], object],
        name: str | None,
        version: int,
        upgrade: Upgrade | None,
        read_only: Collection[str],
        idle_ttl: int | None = None,
    ) -> None:
        if not inspect.isfunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(
                f"@entity decorates a class that derives from Entity, or a plain or async function, not {function!r}"
            )
        where = f"entity function {function.__name__!r}"
        try:
            inspect.signature(function).bind(None)
        except TypeError as error:
            raise DefinitionError(
                f"{where} is called with an EntityContext and nothing else, and does not take that: {error}. "
                "The arguments of an operation come from ctx.get_input"
            ) from error
        if isinstance(read_only, str):
            raise TypeError(f"read_only of {where} is a collection of operation names, not the text {read_only!r}")
        self.function: Callable[[EntityContext], object] = function
        self.name = check_entity_name(function.__name__ if name is None else name)
        self.version = version
        self.upgrade = None if upgrade is None else checked_upgrade(upgrade, version, f"upgrade of {where}")
        self.read_only = frozenset(_checked_operation_name(operation) for operation in read_only)
        self.idle_ttl = idle_ttl
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def at(self, key: str) -> EntityId:
        """The entity of this function with that key.

        Args:
          key: any text of at most 400 UTF-8 bytes.

        Raises:
          TypeError: the key is no text.
          ValueError: it is too long, or holds a lone surrogate (I1).
        """
        return EntityId(self.name, key)

    def __repr__(self) -> str:
        return f"<entity function {self.name!r}>"


class FunctionState:
    """The live object of a function entity: its encoded state, and the input of the operation that runs.

    The state stays encoded, because only the function knows its type; each value that goes in or out is a copy (E6).

    Attributes:
      data: the encoded state, ``None`` if there is none.
      given: the input of the operation that runs: one value or none.
    """

    __slots__ = ("_declared", "_perdure_context", "_values", "data", "given")

    def __init__(self, values: Values, data: bytes | None) -> None:
        self._values = values
        self._perdure_context: EntityContext | None = None
        self._declared: Any = None
        self.data = data
        self.given: tuple[Any, ...] = ()

    def run(self, function: Callable[[EntityContext], object], given: tuple[Any, ...]) -> object:
        """Run an operation: the result of the function, or its coroutine."""
        context = self._perdure_context
        assert context is not None
        context._function = self  # pyright: ignore[reportPrivateUsage]
        self.given = given
        self._declared = None
        return function(context)

    def get_input(self, tp: Any, default: object) -> Any:
        """The input as a type."""
        operation = self._context.operation
        codec = self._values.codec(tp, place=f"the input of operation {operation!r}")
        if not self.given:
            try:
                return codec.decode(codec.encode(default))
            except NotStorable as error:
                raise TypeError(
                    f"operation {operation!r} was sent without an input, and the default does not do: {error}"
                ) from error
        return codec.decode(self._values.codec(object).encode(self.given[0]))

    def get_state(self, tp: Any, default: object) -> Any:
        """The state as a type."""
        codec = self._codec(tp)
        self._declared = tp
        if self.data is None:
            return codec.decode(codec.encode(default))
        try:
            return codec.decode(self.data)
        except ValueUnreadable as error:
            raise StateUnreadable(self._context.entity_id, str(error)) from error

    def set_state(self, value: object, tp: Any) -> None:
        """Take a new state."""
        declared = self._declared if tp is None else tp
        if declared is not None:
            self.data = self._codec(declared).encode(value)
            return
        try:
            self.data = self._codec(object).encode(value)
        except NotStorable as error:
            raise NotStorable(error.place, f"{error.reason}. Name the type: ctx.set_state(value, type)") from error

    def _codec(self, tp: Any) -> Codec[Any]:
        return self._values.codec(tp, place="state")

    @property
    def _context(self) -> EntityContext:
        assert self._perdure_context is not None
        return self._perdure_context


def define_function(entity: FunctionEntity, values: Values) -> EntityDefinition:
    """Work out a function entity.

    Raises:
      DefinitionError: the type of its result is unknown, or cannot be stored.
    """
    function = entity.function
    arguments = _input_codec(values)
    _, result = signature_codecs(function, [], values, f"entity function {entity.name!r}")
    is_async = inspect.iscoroutinefunction(function)
    known: dict[str, OperationDefinition] = {}

    def call(live: FunctionState, *given: Any) -> object:
        return live.run(function, given)

    def find(name: str) -> OperationDefinition | None:
        found = known.get(name)
        if found is None:
            try:
                _checked_operation_name(name)
            except ValueError:
                return None
            found = OperationDefinition(name, call, is_async, arguments, result, name in entity.read_only)
            if len(known) < _FINDS_MAX:
                known[name] = found
        return found

    def shown(live: FunctionState) -> Any:
        assert live.data is not None
        return plain.decode(live.data)

    def name_of(operation: object) -> str:
        raise TypeError(f"an operation of entity function {entity.name!r} is given by its name, a str, not {operation!r}")

    plain = values.codec(object, place="state")
    return EntityDefinition(
        name=entity.name,
        label=function.__name__,
        version=entity.version,
        upgrade=entity.upgrade,
        plain=plain,
        operations=(),
        find=find,
        name_of=name_of,
        fresh=lambda: FunctionState(values, None),
        decode=lambda data: FunctionState(values, data),
        save=lambda live: live.data,
        shown=shown,
        has_async=is_async,
        idle_ttl=entity.idle_ttl,
    )


def _input_codec(values: Values) -> Codec[tuple[Any, ...]]:
    codec = values.arguments([object], ["input"], 0)

    def encode(arguments: tuple[Any, ...]) -> bytes:
        try:
            return codec.encode(arguments)
        except NotStorable as error:
            hint = "A function entity takes one input at most, as plain data: of an object, a dict by attribute"
            raise NotStorable(error.place, f"{error.reason}. {hint}") from error

    return Codec(encode, codec.decode, codec.type)


def _checked_operation_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"an operation is named by a str, not {type(name).__name__}: {name!r}")
    if not 0 < len(name) <= OPERATION_NAME_LENGTH_MAX:
        raise ValueError(f"an operation's name has 1 to {OPERATION_NAME_LENGTH_MAX} characters, not {len(name)}")
    check_no_surrogates(name, "operation's name")
    return name
