"""The base of entity classes, and the decorator for their options.

An entity class is an attrs class or a dataclass that derives from :class:`Entity`. Its attributes are the durable
state; the public methods that it defines are its operations. Everything else about the class is worked out when it
is defined to a hub, in :mod:`.definition`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from .context import EntityContext
from .ids import EntityRef, check_entity_name

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


def entity(*, name: str | None = None, version: int = 0) -> Callable[[type[E]], type[E]]:
    """Set options of an entity class.

    Place it above ``@define`` or ``@dataclass``.

    Args:
      name: the name that its entities are addressed by; the class's name if left out.
      version: the version of its state, 0 or more, saved with each state (E12).

    Raises:
      TypeError: what is decorated is no entity class, or the version is no int.
      ValueError: the name is not allowed (I1), or the version is negative.
    """
    if name is not None:
        check_entity_name(name)
    if type(version) is not int:
        raise TypeError(f"the version of an entity class is an int, not {type(version).__name__}")
    if version < 0:
        raise ValueError(f"the version of an entity class is 0 or more, not {version}")

    def decorate(cls: type[E]) -> type[E]:
        if not (isinstance(cls, type) and issubclass(cls, Entity)):  # pyright: ignore[reportUnnecessaryIsInstance] - users may decorate anything
            raise TypeError(f"@entity decorates a class that derives from Entity, not {cls!r}")
        options: Any = cls
        options._perdure_name = name
        options._perdure_version = version
        return cls

    return decorate
