"""The lock of one entity (L1 to L6), as a small state machine.

An entity is free or held by one critical section. The set of a section is taken one entity after another in a total
order: the orchestration asks the first, each entity that grants asks the next, the last one tells the orchestration.
So sections cannot deadlock, and a request holds exactly a prefix of its set.

A release travels the same chain. It is sent to the first entity, which frees itself and passes it on. Since each hop
is in order, a release can never overtake the request that it ends, wherever that request is: it stops where the
request still waits in a queue, and withdraws it there. No entity has to remember sections that are gone.

The legal moves are the table below; ``docs`` and tests read it.

=========  ======================  =================================================================
state      what happens            next state
=========  ======================  =================================================================
free       a request's turn comes  held; the next entity is asked, or the owner is told
held       the holder releases     free, or releasing while a call of the holder is still to run
releasing  its last call has run   free
=========  ======================  =================================================================

A release that names another section than the holder's changes nothing here (L6): it withdraws that section's request
if it waits in the queue, and is dropped if there is none.
"""

from __future__ import annotations

import msgspec

from .ids import EntityId
from .messages import EntityEffect, Granted, LockRelease, LockRequest, SectionId, Send


class Lock(msgspec.Struct, gc=False, array_like=True):
    """Who holds an entity.

    Attributes:
      section: the holder.
      entities: the holder's whole set, in order, as (name, key).
      index: this entity's place in it.
      releasing: the holder has left; the lock falls when its last call has run.
    """

    section: SectionId
    entities: tuple[tuple[str, str], ...]
    index: int
    releasing: bool = False

    @classmethod
    def granted(cls, request: LockRequest) -> Lock:
        """The lock that a request gets when its turn comes."""
        return cls(request.section, request.entities, request.index)

    def after_grant(self) -> EntityEffect:
        """What a grant sends: the request for the next entity, or the news to the owner."""
        following = self._following()
        if following is None:
            return Granted(self.section, self.entities)
        return Send(following, LockRequest(self.section, self.entities, self.index + 1))

    def after_release(self) -> EntityEffect | None:
        """What a release passes on to the next entity, if there is one."""
        following = self._following()
        return None if following is None else Send(following, LockRelease(self.section))

    def _following(self) -> EntityId | None:
        index = self.index + 1
        return EntityId.of_parts(self.entities[index]) if index < len(self.entities) else None


def release_of(section: SectionId, entities: tuple[tuple[str, str], ...]) -> Send:
    """The message that releases a section's locks and withdraws its request, to the first entity of its set."""
    return Send(EntityId.of_parts(entities[0]), LockRelease(section))
