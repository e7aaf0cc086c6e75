"""What a hub and its worker processes say to each other, over a socket that only these two have.

A message is its length and then MessagePack. Values are in it as the bytes that storage has of them; there is no pickle.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..entities.messages import Failure, Success

LENGTH_BYTES: Final = 8


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """From the hub: run an activity once. The worker is idle.

    Attributes:
      name: the activity.
      arguments: its encoded arguments.
      instance_id, attempt, idempotency_key: as in :class:`~perdure.hub.ActivityContext`.
      heartbeat: the last one of an earlier attempt, encoded.
    """

    name: str
    arguments: bytes
    instance_id: str
    attempt: int
    idempotency_key: str
    heartbeat: bytes | None = None


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """From the worker, once: it has the program's modules, and waits for work."""


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="beat"):
    """From the worker while it runs an attempt: how far it is, encoded. The attempt's end is told by its outcome."""

    details: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
decode_attempt: Final = msgspec.msgpack.Decoder(Attempt).decode
decode_report: Final = msgspec.msgpack.Decoder(Ready | Beat | Success | Failure).decode


def framed(message: Attempt | Ready | Beat | Success | Failure) -> bytes:
    """The bytes of a message, its length first."""
    data = _encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data
