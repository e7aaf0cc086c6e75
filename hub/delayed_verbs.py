"""A hub's verbs for delayed signals: listing and cancelling them (E10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from ..entities.delayed import check_signal_id
from ..entities.ids import EntityId
from ..orchestration.context_base import checked_entity_id
from ..storage import keys, tables
from .clock import as_datetime
from .delayed import is_signal_key, key_of_index, signal_id_of_key
from .opening import OpenableHub
from .queries import Page, Pages, find
from .records import DueRecord, SignalRecord, decode_due

if TYPE_CHECKING:
    from .runtime import Runtime


@frozen
class DelayedSignal:
    """A signal that waits for its time (E10).

    Attributes:
      signal_id: what sending it returned, and what it is cancelled by.
      entity_id: the entity that it is for.
      operation: the operation's name.
      deliver_at: when it is due, aware UTC; it is delivered then or later.
      sent_by: the entity or the instance id of the orchestration that sent it; ``None`` for a client.
    """

    signal_id: str
    entity_id: EntityId
    operation: str
    deliver_at: datetime
    sent_by: EntityId | str | None


class DelayedVerbs(OpenableHub):
    """List and cancel delayed signals."""

    async def delayed_signals(
        self, ref: EntityId | None = None, *, limit: int = 100, token: str | None = None
    ) -> Page[DelayedSignal]:
        """The delayed signals for an entity, or for all, in the order of their times, as of the last commit (E10).

        Args:
          ref: the entity; all entities if left out.
          limit: at most that many in this page, 1 to 10,000.
          token: the token of the page before.

        Raises:
          TypeError: ``ref`` is no entity id.
          ValueError: the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        if ref is None:
            return await find(
                runtime.store,
                tables.TIMERS,
                b"",
                lambda key, value: _signal(key, decode_due(value)) if is_signal_key(key) else None,
                limit,
                token,
            )
        target = checked_entity_id(ref, "delayed_signals")
        key = keys.entity_key(target.name, target.key)
        number = runtime.store.get(tables.DIRECTORY, key)
        if number is None:
            await trio.lowlevel.checkpoint()
            number = self._open_runtime().store.get(tables.DIRECTORY, key)  # its first signal may have come meanwhile
            if number is None:
                return Page([], None)
        return await find(
            runtime.store, tables.DELAYED, number, lambda index, _: _stored(runtime, key_of_index(index)), limit, token
        )

    def iter_delayed_signals(self, ref: EntityId | None = None) -> AsyncIterator[DelayedSignal]:
        """All pages of :meth:`delayed_signals`, one signal after another."""
        return Pages(lambda token: self.delayed_signals(ref, token=token))

    async def cancel_signal(self, signal_id: str) -> bool:
        """Cancel a delayed signal, whoever sent it (E10). It is certain when this returns, and repeating it does no harm.

        Cancelling this call may or may not have cancelled the signal.

        Args:
          signal_id: what ``signal_entity(..., deliver_at=...)`` returned.

        Returns:
          True if it was waiting, and will never be delivered; false if it was delivered or cancelled before.

        Raises:
          TypeError, ValueError: it is no id of a delayed signal.
          DamagedRecord: the signal is damaged on disk (D9).
          StorageError: storage fails; it may still take effect (D4).
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        checked = check_signal_id(signal_id)
        await runtime.admit()
        cancelled = runtime.engine.delayed.cancel(checked, runtime.engine.batch)
        await runtime.durable()
        return cancelled


def _stored(runtime: Runtime, key: bytes) -> DelayedSignal | None:
    """The delayed signal under a key, as of the last commit."""
    return _signal(key, runtime.timers.stored(key))


def _signal(key: bytes, record: DueRecord | None) -> DelayedSignal | None:
    """A delayed signal as it is shown."""
    if not isinstance(record, SignalRecord):
        return None
    sender: EntityId | str | None = record.sender or None
    if sender is not None and sender.startswith("@"):
        sender = EntityId.parse(sender)
    return DelayedSignal(signal_id_of_key(key), record.entity_id, record.message.name, as_datetime(keys.read_u64(key)), sender)
