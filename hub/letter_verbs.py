"""A hub's verbs for dead letters: reading, redriving and discarding them (E4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import trio
from attrs import field, frozen

from ..entities.errors import UnknownEntity, UnknownOperation
from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..orchestration.context_base import checked_entity_id
from ..storage import keys, tables
from .clock import as_datetime
from .committed import CommittedHub
from .intents import check_room
from .letters import remove_letter
from .opening import OpenableHub
from .queries import Page, Pages, find
from .records import LetterRecord, decode_letter

if TYPE_CHECKING:
    from ..orchestration.registry import Registry
    from ..storage.store import CommittedStore
    from .runtime import Runtime

_AT_A_TIME = 200


@frozen
class DeadLetter:
    """A signal that failed, kept for a person to look at (E4).

    Attributes:
      entity_id: the entity that it was sent to.
      operation: the operation's name.
      arguments: its arguments; ``None`` if they do not fit the operation as it is defined to this hub.
      failure: what is known of the failure.
      failed_at: when it failed, aware UTC.
    """

    entity_id: EntityId
    operation: str
    arguments: tuple[Any, ...] | None = field(repr=False)  # they may hold secrets, and letters get logged
    failure: FailureDetails
    failed_at: datetime
    _key: bytes = field(repr=False)
    _record: LetterRecord = field(repr=False)
    _running: Callable[[], Runtime] = field(repr=False, eq=False)

    async def redrive(self) -> bool:
        """Deliver the signal again, at the end of its entity's queue; the letter is gone by the same commit.

        If it fails once more it becomes a new letter. It is delivered once, however often this is called or repeated after
        a crash. Cancelling this may or may not have done it.

        Returns:
          True if it was delivered; false if the letter was gone: redriven or discarded before, or crowded out by newer ones.

        Raises:
          LimitReached: the entity's mailbox is full.
          DamagedRecord: the entity's record is damaged on disk (D9).
          StorageError: storage fails; it may still take effect (D4).
          HubClosed: the hub that it was read from is closed.
          RuntimeError: it was read by a HubReader.
        """
        return await self._take(redrive=True)

    async def discard(self) -> bool:
        """Remove the letter for good; true if it was there.

        Raises:
          DamagedRecord, StorageError, HubClosed: as for :meth:`redrive`.
        """
        return await self._take(redrive=False)

    async def _take(self, *, redrive: bool) -> bool:
        runtime = self._running()
        await runtime.admit()
        done = _take(runtime, self._key, self._record, redrive=redrive)
        await runtime.durable()
        return done


class LetterReadVerbs(CommittedHub):
    """Read dead letters."""

    async def dead_letters(self, ref: EntityId | None = None, *, limit: int = 100, token: str | None = None) -> Page[DeadLetter]:
        """The failed signals that are kept, as of the last commit (E4): one entity's, or everybody's entity by entity.

        Args:
          ref: the entity; all entities if left out.
          limit: at most that many in this page, 1 to 10,000. One entity keeps at most 100.
          token: the token of the page before.

        Returns:
          A page; an entity's letters stand oldest first.

        Raises:
          TypeError: ``ref`` is no entity id.
          ValueError: the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        store = self._committed()
        prefix = _prefix(store, ref, "dead_letters")
        if prefix is None:
            await trio.lowlevel.checkpoint()
            store = self._committed()
            prefix = _prefix(store, ref, "dead_letters")  # its first letter may have come meanwhile
            if prefix is None:
                return Page([], None)

        def pick(key: bytes, data: bytes) -> DeadLetter:
            return _letter_of(self._registry, self._running, key, decode_letter(data))

        return await find(store, tables.LETTERS, prefix, pick, limit, token)

    def iter_dead_letters(self, ref: EntityId | None = None) -> AsyncIterator[DeadLetter]:
        """All pages of :meth:`dead_letters`, one letter after another."""
        return Pages(lambda token: self.dead_letters(ref, token=token))

    def _running(self) -> Runtime:
        """The hub, to change it.

        Raises:
          RuntimeError: this one only reads.
        """
        raise RuntimeError("a HubReader changes nothing: redrive and discard letters in the process that runs the hub")


class LetterVerbs(OpenableHub, LetterReadVerbs):
    """Redrive and discard dead letters."""

    def _running(self) -> Runtime:
        return self._open_runtime()

    async def redrive_dead_letters(self, ref: EntityId | None = None) -> int:
        """Redrive all dead letters of one entity, or of all; see :meth:`DeadLetter.redrive`.

        It goes through them a few at a time, each lot durable before the next. What fails again meanwhile is left as a new
        letter, and those of a damaged entity are left (D9). Cancelling it leaves the rest.

        Args:
          ref: the entity; all entities if left out.

        Returns:
          How many were delivered again.

        Raises:
          TypeError, LimitReached, StorageError, HubClosed: as for :meth:`dead_letters` and :meth:`DeadLetter.redrive`.
        """
        return await self._take_all(ref, "redrive_dead_letters", redrive=True)

    async def discard_dead_letters(self, ref: EntityId | None = None) -> int:
        """Remove all dead letters of one entity, or of all, and return how many; as :meth:`redrive_dead_letters` does it.

        Raises:
          TypeError, StorageError, HubClosed: as for :meth:`redrive_dead_letters`.
        """
        return await self._take_all(ref, "discard_dead_letters", redrive=False)

    async def _take_all(self, ref: EntityId | None, verb: str, *, redrive: bool) -> int:
        runtime = self._open_runtime()
        prefix = _prefix(runtime.store, ref, verb)
        taken = 0
        token: str | None = None
        number, first_new = b"", 0  # the entity that the last letter was of, and the number of its first letter from now on
        while prefix is not None:
            page = await find(runtime.store, tables.LETTERS, prefix, _with_key, _AT_A_TIME, token)
            await runtime.admit()
            for key, record in page.items:
                cell = runtime.residence.entity(record.entity_id)
                if key[:8] != number:
                    number, first_new = key[:8], cell.letter_next
                if keys.read_u64(key, 8) < first_new and not cell.damaged:
                    taken += _take(runtime, key, record, redrive=redrive)
            await runtime.durable()
            token = page.token
            if token is None:
                break
        return taken


def _prefix(store: CommittedStore, ref: EntityId | None, verb: str) -> bytes | None:
    """What the letters' keys begin with: everybody's, or one entity's; ``None`` if that has nothing in storage."""
    if ref is None:
        return b""
    target = checked_entity_id(ref, verb)
    return store.get(tables.DIRECTORY, keys.entity_key(target.name, target.key))


def _with_key(key: bytes, data: bytes) -> tuple[bytes, LetterRecord]:
    return key, decode_letter(data)


def _letter_of(registry: Registry, running: Callable[[], Runtime], key: bytes, record: LetterRecord) -> DeadLetter:
    message = record.message
    try:
        operation = registry.entity(record.name).operation(message.name)
        arguments = operation.arguments.decode(message.arguments)
    except (UnknownEntity, UnknownOperation, TypeError, ValueError):
        arguments = None
    failed_at = as_datetime(record.at)
    return DeadLetter(record.entity_id, message.name, arguments, record.failure, failed_at, key, record, running)


def _take(runtime: Runtime, key: bytes, record: LetterRecord, *, redrive: bool) -> bool:
    """Remove a letter and, to redrive it, deliver its signal again, all in the open batch; false if it is gone already."""
    engine, target = runtime.engine, record.entity_id
    cell = runtime.residence.entity(target)
    if redrive:
        check_room(cell, target)
    if not remove_letter(cell, key, engine.batch):
        return False
    if redrive:
        engine.to_entity(target, record.message)
    else:
        engine.touch(cell, arrived=0)
    return True
