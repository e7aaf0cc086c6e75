"""What is stored of an entity."""

from __future__ import annotations

from ..storage.plain_data import PlainData
from .ids import EntityId
from .lock import Lock


class EntityRecord(PlainData, frozen=True, array_like=True, tag="entity"):
    """An entity as it is stored; one that has nothing to keep is not stored at all (E11).

    Attributes:
      name: the folded name.
      key: the key.
      state: the encoded state, ``None`` if the entity does not exist.
      version: the class version that the state was saved with.
      lock: the lock, ``None`` while free.
      operated_at: when its last operation that went well ended, microseconds since 1970.
      letters: the numbers of its dead letters, oldest first.
      letter_next: the number that its next dead letter gets.
      delayed: how many delayed signals are to be delivered to it.
      expires_at: when it is looked at whether it has expired, microseconds since 1970; 0 for never.
    """

    name: str
    key: str
    state: bytes | None
    version: int
    lock: Lock | None
    operated_at: int
    letters: tuple[int, ...] = ()
    letter_next: int = 0
    delayed: int = 0
    expires_at: int = 0

    @property
    def entity_id(self) -> EntityId:
        """The entity's id."""
        return EntityId.of_parts((self.name, self.key))
