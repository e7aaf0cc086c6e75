"""What can go wrong with entities, sorted by whose move is next.

- The caller named something that does not exist: :class:`UnknownEntity`, :class:`UnknownOperation`.
- The definition itself is unusable and has to be mended: :class:`DefinitionError`.
- The entity's own code failed: :class:`EntityOperationFailed` (at the caller).
- The stored state does not fit the class: :class:`StateUnreadable`.
- An operation that is marked read-only changed something: :class:`ReadOnlyViolation`.
"""

from __future__ import annotations

from ..storage.errors import PerdureError
from .failures import FailureDetails
from .ids import EntityId


class DefinitionError(PerdureError, TypeError):
    """A class or function cannot serve as an entity, orchestrator or activity; the message says what to change."""


class Poisoned(PerdureError):
    """It took the process down again and again, and was set aside (O20)."""


class UnknownEntity(PerdureError, LookupError):
    """No entity class of that name is defined to this hub."""


class UnknownOperation(PerdureError, LookupError):
    """The entity class has no such operation (E7).

    Operations are the public methods that the class itself, or a base that is an entity class, defines.
    """


class EntityOperationFailed(PerdureError):
    """An operation raised, or its result or new state could not be kept; it left no trace (E4).

    Attributes:
      entity_id: the entity.
      operation: the operation's name.
      failure: what is known of the failure.
    """

    def __init__(self, entity_id: EntityId, operation: str, failure: FailureDetails) -> None:
        super().__init__(entity_id, operation, failure)
        self.entity_id = entity_id
        self.operation = operation
        self.failure = failure

    def __str__(self) -> str:
        return f"operation {self.operation!r} of {self.entity_id} failed with {self.failure}"


class StateUnreadable(PerdureError):
    """The stored state does not fit the entity class; the stored bytes are kept (E12).

    Attributes:
      entity_id: the entity.
      reason: what does not fit, and what to do.
    """

    def __init__(self, entity_id: EntityId, reason: str) -> None:
        super().__init__(entity_id, reason)
        self.entity_id = entity_id
        self.reason = reason

    def __str__(self) -> str:
        return f"the stored state of {self.entity_id} cannot be read: {self.reason}. It is kept as it is"


class ReadOnlyViolation(PerdureError):
    """An operation that is marked as one that only reads did something else; it left no trace (E13).

    Attributes:
      entity_id: the entity.
      operation: the operation's name.
      what: what it did.
    """

    def __init__(self, entity_id: EntityId, operation: str, what: str) -> None:
        super().__init__(entity_id, operation, what)
        self.entity_id = entity_id
        self.operation = operation
        self.what = what

    def __str__(self) -> str:
        return (
            f"operation {self.operation!r} of {self.entity_id} is marked read-only, but {self.what}. "
            "Do not mark it read-only, or have it change nothing and send nothing"
        )
