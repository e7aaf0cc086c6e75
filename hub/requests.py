"""Repeating safely: request ids, and the one effect and one answer of each (D8).

A request id is stored in the same batch as what it asked for. Asking again with the same id, the same verb, target and
arguments has no second effect: the caller waits until the first one is durable, or gets its answer. A call's answer is
stored with the id, so that it can be given again after a restart.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

import msgspec

from ..entities.messages import Outcome
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.store import Store
from .ack import Ack
from .batch import OpenBatch
from .errors import LimitReached, RequestMismatch
from .records import RequestRecord, decode_request, encode

_log = logging.getLogger(__name__)
_COUNT = b"requests"
_PRUNED_AT_A_TIME = 2


def check_request_id(request_id: object) -> str:
    """Return a request id as it is.

    Raises:
      TypeError: it is no text.
      ValueError: it is empty, longer than 200 UTF-8 bytes, or holds a lone surrogate.
    """
    if not isinstance(request_id, str):
        raise TypeError(f"a request id is a str, not {type(request_id).__name__}: {request_id!r}")
    if not 0 < len(request_id.encode("utf-8", "surrogatepass")) <= 200 or any("\ud800" <= c <= "\udfff" for c in request_id):
        raise ValueError(f"a request id has 1 to 200 UTF-8 bytes and no lone surrogates: {ascii(request_id)[:240]}")
    return request_id


def fingerprint(*parts: str | bytes) -> bytes:
    """A digest of what was asked: verb, target, arguments."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


class Requests:
    """The request ids of one hub.

    Attributes:
      count: how many are kept.
    """

    def __init__(self, store: Store, now: Callable[[], int], ttl_seconds: float, kept_max: int) -> None:
        self._store = store
        self._now = now
        self._ttl = int(ttl_seconds * 1_000_000)
        self._kept_max = kept_max
        self._uncommitted: dict[str, tuple[RequestRecord | None, int]] = {}
        self._waiting: dict[str, list[Ack]] = {}
        stored = store.get(tables.META, _COUNT)
        self.count = 0 if stored is None else keys.read_u64(stored)

    def find(self, request_id: str, asked: bytes) -> RequestRecord | None:
        """What was asked under this id before, ``None`` if nothing was.

        Raises:
          RequestMismatch: it was something else.
        """
        if request_id in self._uncommitted:
            record = self._uncommitted[request_id][0]
        else:
            stored = self._store.get(tables.REQUESTS, request_id.encode())
            record = None if stored is None else decode_request(stored)
        if record is None or (record.expires_at and record.expires_at <= self._now()):
            return None
        if record.fingerprint != asked:
            raise RequestMismatch(
                f"request id {request_id!r} was used before for another verb, target or arguments; use a new id for a new request"
            )
        return record

    def reserve(self, wanted: int, batch: OpenBatch) -> None:
        """Check that so many more ids can be kept; those whose time is over make room.

        Raises:
          LimitReached: they cannot; none that is kept is forgotten early to make room.
        """
        if not wanted:
            return
        if self.count + wanted > self._kept_max:
            self._prune(batch, self.count + wanted - self._kept_max)
        if self.count + wanted > self._kept_max:
            raise LimitReached(
                f"{self.count} request ids are kept and {wanted} more would exceed the limit of {self._kept_max} "
                "(request_limit): use fewer, keep them for a shorter time (request_ttl), or raise the limit"
            )

    def keep(self, request_id: str, asked: bytes, batch: OpenBatch, target: str = "", *, expires: bool = True) -> None:
        """Store an id with what it asked for, in the batch that holds the effect; room was made by :meth:`reserve`.

        Args:
          request_id: the id, not kept at present.
          asked: the fingerprint.
          batch: the open batch.
          target: the instance id of a start, or the id of a delayed signal.
          expires: it is forgotten after a time; else when its instance is.
        """
        self._prune(batch, _PRUNED_AT_A_TIME)
        self._drop(request_id, batch)  # one of the same name whose time is over
        expires_at = self._now() + self._ttl if expires else 0
        self.count += 1
        if expires_at:
            batch.writes[tables.EXPIRY][keys.u64(expires_at) + request_id.encode()] = b""
        self._write(request_id, RequestRecord(asked, expires_at, target), batch)

    def answered(self, request_id: str, outcome: Outcome, batch: OpenBatch) -> None:
        """Store the answer of a call, and give it to whoever waits once it is durable."""
        record = self._current(request_id)
        if record is not None:
            self._write(request_id, msgspec.structs.replace(record, outcome=outcome), batch)
        batch.acks.extend((ack, outcome) for ack in self._waiting.pop(request_id, ()))

    def wait_for_answer(self, request_id: str) -> Ack:
        """Something to await the answer with."""
        ack = Ack()
        self._waiting.setdefault(request_id, []).append(ack)
        return ack

    def forget(self, request_id: str, batch: OpenBatch) -> None:
        """Drop an id: its instance is gone."""
        self._drop(request_id, batch)

    def _drop(self, request_id: str, batch: OpenBatch) -> None:
        record = self._current(request_id)
        if record is not None:
            self.count -= 1
            if record.expires_at:
                batch.writes[tables.EXPIRY][keys.u64(record.expires_at) + request_id.encode()] = None
            self._write(request_id, None, batch)

    def committed(self, batch: OpenBatch) -> None:
        """The ids that a batch stored can be read from the store from now on."""
        for request_id in batch.requests:
            entry = self._uncommitted.get(request_id)
            if entry is not None and entry[1] == batch.number:
                del self._uncommitted[request_id]

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """Tell everyone who waits for an answer that there will be none from this hub object."""
        waiting, self._waiting = self._waiting, {}
        for acks in waiting.values():
            for ack in acks:
                ack.fail(error())

    def _current(self, request_id: str) -> RequestRecord | None:
        if request_id in self._uncommitted:
            return self._uncommitted[request_id][0]
        stored = self._store.get(tables.REQUESTS, request_id.encode())
        return None if stored is None else decode_request(stored)

    def _write(self, request_id: str, record: RequestRecord | None, batch: OpenBatch) -> None:
        batch.writes[tables.REQUESTS][request_id.encode()] = None if record is None else encode(record)
        batch.writes[tables.META][_COUNT] = keys.u64(self.count)
        batch.requests.append(request_id)
        self._uncommitted[request_id] = (record, batch.number)

    def _prune(self, batch: OpenBatch, at_most: int) -> None:
        """Drop some ids whose time is over; each new id pays for two old ones, so there is never a heap of them."""
        expiry = batch.writes[tables.EXPIRY]
        expired = self._store.keys(tables.EXPIRY, b"", keys.u64(self._now() + 1), at_most + len(expiry))
        for key in [key for key in expired if key not in expiry][:at_most]:
            try:
                record = self._current(key[8:].decode())
            except DamagedRecord as error:  # it stays, but must not stand in the way of those that come after (D9)
                _log.error("a request id whose time is over cannot be read and is not removed: %s", error)
                record = None
            if record is not None and record.expires_at == keys.read_u64(key):
                self._drop(key[8:].decode(), batch)
            else:
                expiry[key] = None
