"""The base of entity classes, and the decorator for their options.

An entity class is an attrs class or a dataclass that derives from :class:`Entity`. Its attributes are the durable
state; the public methods that it defines are its operations. Everything else about the class is worked out when it
is defined to a hub, in :mod:`.definition`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from .context import EntityContext
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


def entity(
    *, name: str | None = None, version: int = 0, idle_ttl: timedelta | float | None = None
) -> Callable[[type[E]], type[E]]:
    """Set options of an entity class.

    Place it above ``@define`` or ``@dataclass``.

    Args:
      name: the name that its entities are addressed by; the class's name if left out.
      version: the version of its state, 0 or more, saved with each state (E12).
      idle_ttl: an entity is deleted, as by ``delete``, when no operation has gone well for that long (seconds or a
        timedelta) and nothing holds it: no lock, queued message or delayed signal. Reads and failed operations do not count.
        A new or changed one is noticed by an entity that exists already when that is next used.

    Raises:
      TypeError: what is decorated is no entity class, the version is no int, or ``idle_ttl`` no duration.
      ValueError: the name is not allowed (I1), the version is negative, or ``idle_ttl`` is not above 0 and finite.
    """
    if name is not None:
        check_entity_name(name)
    if type(version) is not int:
        raise TypeError(f"the version of an entity class is an int, not {type(version).__name__}")
    if version < 0:
        raise ValueError(f"the version of an entity class is 0 or more, not {version}")
    ttl = None if idle_ttl is None else _microseconds_above_0(idle_ttl)

    def decorate(cls: type[E]) -> type[E]:
        if not (isinstance(cls, type) and issubclass(cls, Entity)):  # pyright: ignore[reportUnnecessaryIsInstance] - users may decorate anything
            raise TypeError(f"@entity decorates a class that derives from Entity, not {cls!r}")
        options: Any = cls
        options._perdure_name = name
        options._perdure_version = version
        options._perdure_idle_ttl = ttl
        return cls

    return decorate


def _microseconds_above_0(idle_ttl: timedelta | float) -> int:
    if isinstance(idle_ttl, datetime):
        raise TypeError(f"idle_ttl is a duration, seconds or a timedelta, not the point in time {idle_ttl!r}")
    ttl = due_time(idle_ttl, 0)
    if ttl <= 0:
        raise ValueError(f"idle_ttl is above 0, not {idle_ttl!r}: an entity that is not to be kept can delete itself")
    return ttl
