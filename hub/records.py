"""How the hub's records become bytes: MessagePack arrays through msgspec, one encoder and decoder a kind."""

from __future__ import annotations

from typing import Final

import msgspec

from ..entities.failures import FailureDetails
from ..entities.ids import EntityId
from ..entities.messages import CallingTask, LockRelease, LockRequest, Operation, Outcome
from ..entities.record import EntityRecord
from ..orchestration.history import HistoryEntry
from ..orchestration.messages import OrchestrationMessage, TimerDue
from ..orchestration.status import OrchestrationRecord
from ..storage import keys
from ..storage.plain_data import PlainData


class ActivityRecord(PlainData, frozen=True, array_like=True, tag="activity"):
    """An activity that was scheduled and has no result yet.

    Attributes:
      reply_to: the task that waits for it.
      name: the activity.
      arguments: its encoded arguments.
      attempt: how often it has been started, this time included.
      timeout: how long it may take, seconds.
      heartbeat_timeout: how long it may be silent, seconds.
      heartbeat: how far it last said it was, in this attempt or an earlier one; encoded.
    """

    reply_to: CallingTask
    name: str
    arguments: bytes
    attempt: int
    timeout: float | None = None
    heartbeat_timeout: float | None = None
    heartbeat: bytes | None = None


class RequestRecord(PlainData, frozen=True, array_like=True, tag="request"):
    """What was asked under a request id (D8).

    Attributes:
      fingerprint: of verb, target and arguments.
      expires_at: microseconds since 1970; 0 for a start, which lives as long as its instance.
      target: the instance id of a start, the id of a delayed signal, else empty.
      outcome: the answer of a call, once there.
    """

    fingerprint: bytes
    expires_at: int
    target: str = ""
    outcome: Outcome | None = None


class LetterRecord(PlainData, frozen=True, array_like=True, tag="letter"):
    """A dead letter: a signal that failed, why, and when (E4)."""

    name: str
    key: str
    message: Operation
    failure: FailureDetails
    at: int

    @property
    def entity_id(self) -> EntityId:
        """The entity that it was sent to."""
        return EntityId.of_parts((self.name, self.key))


class TimerRecord(PlainData, frozen=True, array_like=True, tag="timer"):
    """A timer of an orchestration."""

    instance_id: str
    execution: str
    task: str

    def row(self, prefix: bytes, due: int) -> bytes:
        """Its key among the timers: of the instance with that number."""
        return keys.u64(due) + prefix + bytes.fromhex(self.execution) + self.task.encode()

    def due(self) -> TimerDue:
        """The message that it delivers."""
        return TimerDue(self.execution, self.task)


class SignalRecord(PlainData, frozen=True, array_like=True, tag="signal"):
    """A delayed signal.

    Attributes:
      name, key: the entity that it is for.
      message: the operation.
      sender: the instance id of the orchestration, or the printed id of the entity, that sent it; empty for a client.
    """

    name: str
    key: str
    message: Operation
    sender: str

    @property
    def entity_id(self) -> EntityId:
        """The entity that it is for."""
        return EntityId.of_parts((self.name, self.key))


class IdleRecord(PlainData, frozen=True, array_like=True, tag="idle"):
    """An entity that may have been idle for long enough to expire."""

    name: str
    key: str

    def row(self, prefix: bytes, due: int) -> bytes:
        """Its key among the timers: of the entity with that number."""
        return keys.u64(due) + prefix

    @property
    def entity_id(self) -> EntityId:
        """The entity."""
        return EntityId.of_parts((self.name, self.key))


InstanceRecord = EntityRecord | OrchestrationRecord
DueRecord = TimerRecord | SignalRecord | IdleRecord

_encoder: Final = msgspec.msgpack.Encoder()
encode: Final = _encoder.encode
decode_instance: Final = msgspec.msgpack.Decoder(EntityRecord | OrchestrationRecord).decode
decode_history: Final = msgspec.msgpack.Decoder(list[HistoryEntry]).decode
decode_entity_message: Final = msgspec.msgpack.Decoder(Operation | LockRequest | LockRelease).decode
decode_orchestration_message: Final = msgspec.msgpack.Decoder(OrchestrationMessage).decode
decode_activity: Final = msgspec.msgpack.Decoder(ActivityRecord).decode
decode_request: Final = msgspec.msgpack.Decoder(RequestRecord).decode
decode_due: Final = msgspec.msgpack.Decoder(DueRecord).decode
decode_letter: Final = msgspec.msgpack.Decoder(LetterRecord).decode


def activity_key(prefix: bytes, reply_to: CallingTask) -> bytes:
    """The key of an activity: the instance's number, the execution and the step."""
    return prefix + bytes.fromhex(reply_to.execution) + reply_to.task.encode()
