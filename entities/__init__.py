"""Entities: small durable objects, addressed by name and key, that run one operation at a time.

Everything here is sans-io: a turn takes messages and returns effects.
"""

from __future__ import annotations

from .context import EntityContext
from .entity import Entity, entity
from .errors import (
    DefinitionError,
    EntityOperationFailed,
    ReadOnlyViolation,
    StateUnreadable,
    UnknownEntity,
    UnknownOperation,
)
from .function import FunctionEntity
from .ids import EntityId, EntityRef
from .read_only import read_only

__all__ = [
    "DefinitionError",
    "Entity",
    "EntityContext",
    "EntityId",
    "EntityOperationFailed",
    "EntityRef",
    "FunctionEntity",
    "ReadOnlyViolation",
    "StateUnreadable",
    "UnknownEntity",
    "UnknownOperation",
    "entity",
    "read_only",
]
