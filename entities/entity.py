"""The base of entity classes, and the decorator for their options and for function entities.

An entity class is an attrs class or a dataclass that derives from :class:`Entity`. Its attributes are the durable
state; the public methods that it defines are its operations. Everything else about the class is worked out when it
is defined to a hub, in :mod:`.class_definition`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeVar, overload

from .context import EntityContext
from .evolution import Upgrade
from .function import FunctionEntity
from .ids import EntityRef, check_entity_name
from .times import due_time

E = TypeVar("E", bound="Entity")


class Entity:
    """Base of an entity class.

    Example:
      >>> from attrs import define
      >>> @define
      ... class Counter(Entity):
      ...     value: int = 0
      ...
      ...     def add(self, amount: int) -> int:
      ...         self.value += amount
      ...         return self.value
      >>> Counter.at("visits")
      Counter.at('visits')
    """

    __slots__ = ("_perdure_context",)
    _perdure_context: EntityContext | None
    _perdure_name: ClassVar[str | None] = None
    _perdure_version: ClassVar[int] = 0
    _perdure_idle_ttl: ClassVar[int | None] = None

    @classmethod
    def at(cls: type[E], key: str) -> EntityRef[E]:
        """The entity of this class with that key.

        Args:
          key: any text of at most 400 UTF-8 bytes.

        Raises:
          TypeError: the key is no text.
          ValueError: it is too long, or holds a lone surrogate (I1).
        """
        return EntityRef(cls, key)

    @classmethod
    def entity_name(cls) -> str:
        """The name that entities of this class are addressed by, folded: the option ``name``, or the class's own.

        Raises:
          ValueError: the class's own name is no entity name.
        """
        name = cls.__dict__.get("_perdure_folded_name")
        if name is None:
            name = check_entity_name(cls.__dict__.get("_perdure_name") or cls.__name__)
            cls._perdure_folded_name = name  # type: ignore[attr-defined]
        return name

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        """Make a state that an older version of this class saved one that today's version can read (E12).

        Override it for what defaults cannot do, and count ``@entity(version=...)`` up. It runs when such a state is used: by
        an operation, a read or a query. It must be a plain computation, and take all the steps from ``version`` to today's.

        Args:
          state: the stored state, by attribute: a dictionary of plain data, in which an object of a class is a dictionary
            too, an enum member its name, and a tuple or set with declared elements a list; a member of a union of classes is
            ``[mark, dictionary]``, with the class's name as ``mark.name``. It may be changed.
          version: the version that saved it, lower than today's.

        Returns:
          The state by attribute, as plain data. Attributes that it lacks take their defaults; it must have no others.

        Raises:
          Exception: whatever it raises makes the state unreadable: the operation fails with StateUnreadable, and the stored
            bytes are kept.
        """
        del version
        return state

    @property
    def context(self) -> EntityContext:
        """The context of the operation that runs.

        Raises:
          RuntimeError: no operation runs; this object is a copy that was read, or was made by hand.
        """
        try:
            context = self._perdure_context
        except AttributeError:
            context = None
        if context is None:
            raise RuntimeError(
                f"no operation of this {type(self).__name__} is running, so it has no context; "
                "a state that was read is a copy, and changing it changes nothing"
            )
        return context


class EntityDecorator(Protocol):
    """The type of ``@entity(...)`` with options."""

    @overload
    def __call__(self, decorated: type[E], /) -> type[E]: ...  # pyright: ignore[reportOverlappingOverload] - classes come first
    @overload
    def __call__(self, decorated: Callable[[EntityContext], object], /) -> FunctionEntity: ...
    def __call__(self, decorated: Any, /) -> Any:
        """Set the options, or make the function entity."""
        ...


@overload
def entity(decorated: type[E], /) -> type[E]: ...  # pyright: ignore[reportOverlappingOverload] - classes come first
@overload
def entity(decorated: Callable[[EntityContext], object], /) -> FunctionEntity: ...
@overload
def entity(
    *,
    name: str | None = None,
    version: int = 0,
    upgrade: Upgrade | None = None,
    read_only: Collection[str] = (),
    idle_ttl: timedelta | float | None = None,
) -> EntityDecorator: ...
def entity(
    decorated: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 0,
    upgrade: Upgrade | None = None,
    read_only: Collection[str] = (),
    idle_ttl: timedelta | float | None = None,
) -> Any:
    """Set options of an entity class, or make a function entity.

    Above a class, place it above ``@define`` or ``@dataclass``. A function becomes an entity by it: one that takes an
    :class:`EntityContext` and handles every operation, see :mod:`perdure.entities.function`.

    Args:
      decorated: the class or function, when there are no options.
      name: the name that its entities are addressed by; the name of the class or function if left out.
      version: the version of its state, 0 or more, saved with each state (E12).
      upgrade: of a function only: makes a state of an older version one of this, ``upgrade(state, version)``, from plain data
        to plain data. A class has a class method :meth:`Entity.upgrade` for that.
      read_only: of a function only: the names of the operations that only read (E13). A class marks its methods with
        ``@read_only``.
      idle_ttl: an entity is deleted, as by ``delete``, when no operation has gone well for that long (seconds or a
        timedelta) and nothing holds it: no lock, queued message or delayed signal. Reads and failed operations do not count.
        A new or changed one is noticed by an entity that exists already when that is next used.

    Raises:
      DefinitionError: the function is no plain or async function of a context, or ``upgrade`` cannot be used.
      TypeError: what is decorated is neither an entity class nor a function, or an option is for the other of the two, or
        of the wrong type.
      ValueError: the name is not allowed (I1), the version is negative, or ``idle_ttl`` is not above 0 and finite.
    """
    if name is not None:
        check_entity_name(name)
    if type(version) is not int:
        raise TypeError(f"the version of an entity is an int, not {type(version).__name__}")
    if version < 0:
        raise ValueError(f"the version of an entity is 0 or more, not {version}")
    ttl = None if idle_ttl is None else _microseconds_above_0(idle_ttl)

    def decorate(it: Any) -> Any:
        if not isinstance(it, type):
            return FunctionEntity(it, name, version, upgrade, read_only, ttl)
        if not issubclass(it, Entity):
            raise TypeError(f"@entity decorates a class that derives from Entity, or a function, not {it!r}")
        if upgrade is not None or read_only:
            raise TypeError(
                f"the options upgrade= and read_only= are for functions: give class {it.__name__} a class method 'upgrade', "
                "and mark its methods with @read_only"
            )
        options: Any = it
        options._perdure_name = name
        options._perdure_version = version
        options._perdure_idle_ttl = ttl
        return it

    return decorate if decorated is None else decorate(decorated)


def _microseconds_above_0(idle_ttl: timedelta | float) -> int:
    if isinstance(idle_ttl, datetime):
        raise TypeError(f"idle_ttl is a duration, seconds or a timedelta, not the point in time {idle_ttl!r}")
    ttl = due_time(idle_ttl, 0)
    if ttl <= 0:
        raise ValueError(f"idle_ttl is above 0, not {idle_ttl!r}: an entity that is not to be kept can delete itself")
    return ttl
