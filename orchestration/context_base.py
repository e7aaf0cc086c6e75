"""What the verbs of an orchestrator's context share: the kernel that they ask, and the hub's definitions."""

from __future__ import annotations

from ..entities.ids import EntityId
from .kernel import Kernel
from .registry import Registry


class ContextBase:
    """The kernel and the definitions behind a context."""

    __slots__ = ("_kernel", "_registry")

    def __init__(self, kernel: Kernel, registry: Registry) -> None:
        self._kernel = kernel
        self._registry = registry


def checked_entity_id(ref: object, verb: str) -> EntityId:
    """An entity id as it is.

    Raises:
      TypeError: it is none.
    """
    if isinstance(ref, EntityId):
        return ref
    raise TypeError(f"{verb} takes an entity id, such as Account.at('alice') gives, not {type(ref).__name__}: {ref!r}")
