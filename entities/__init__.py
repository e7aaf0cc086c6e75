"""Entities: small durable objects, addressed by name and key, that run one operation at a time.

Everything here is sans-io: a turn takes messages and returns effects.
"""

from __future__ import annotations

from .context import EntityContext
from .entity import Entity, entity
from .errors import DefinitionError, EntityOperationFailed, StateUnreadable, UnknownEntity, UnknownOperation
from .ids import EntityId, EntityRef

__all__ = [
    "DefinitionError",
    "Entity",
    "EntityContext",
    "EntityId",
    "EntityOperationFailed",
    "EntityRef",
    "StateUnreadable",
    "UnknownEntity",
    "UnknownOperation",
    "entity",
]
