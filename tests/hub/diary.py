"""Diaries that note what they are sent, and send to each other, for tests of delayed signals in a whole hub."""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import define, field
from perdure.entities import Entity, EntityId
from perdure.hub import TaskHub

from .virtual import START

BEGIN = datetime.fromtimestamp(START / 1_000_000, UTC)


@define
class Diary(Entity):
    """Notes with the second in which they were made, and the ids of signals that it sent."""

    notes: list[tuple[str, float]] = field(factory=list)
    sent: list[str] = field(factory=list)

    def note(self, text: str) -> None:
        """Note it."""
        self.notes.append((text, (self.context.now - BEGIN).total_seconds()))

    def note_later(self, key: str, text: str, delay: float) -> str:
        """Have another diary note it; the signal's id."""
        self.sent.append(self.context.signal_entity(Diary.at(key), Diary.note, text, deliver_at=delay))
        return self.sent[-1]

    def cancel(self, signal_id: str) -> None:
        """Cancel a signal."""
        self.context.cancel_signal(signal_id)

    def send_cancel_and_fail(self, key: str, signal_id: str) -> None:
        """Do all that, and fail."""
        self.note_later(key, "never", 1)
        self.cancel(signal_id)
        raise ValueError("undo it")


A, B = Diary.at("a"), Diary.at("b")


async def texts(hub: TaskHub, key: str = "a") -> list[str]:
    """What a diary has noted."""
    found = await hub.read_entity(Diary.at(key))
    return [] if found is None else [text for text, _ in found.notes]


async def listed(hub: TaskHub, ref: EntityId | None = None) -> list[str]:
    """The operations that are announced, with their seconds."""
    return [
        f"{signal.entity_id.key} {(signal.deliver_at - BEGIN).total_seconds():g}"
        async for signal in hub.iter_delayed_signals(ref)
    ]
