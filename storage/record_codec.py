"""A codec between a hub's records and the disk: encryption and compression of what is at rest.

A codec turns the value of each record into other bytes before a store gets it, and back when it was read. It is chosen where a
hub is opened (``TaskHub(codec=...)``). :mod:`perdure.storage.zlib_codec` and :mod:`perdure.storage.aes_gcm_codec` are ready to
use, and :func:`chain` puts several in a row.

What goes through it: the values of all records but those of :data:`PLAIN_TABLES`, which say nothing of users. They hold
everything that users hand over (arguments, results, states, events, statuses, tags, reasons, failures with their tracebacks), and
the names of operations, events, activities and orchestrators.

What stays readable: *keys*. A store sorts by them and finds by them, so encrypted ones could be neither listed nor looked up by
prefix. They hold entity names and keys, instance ids, request ids, step numbers, execution ids and the times of timers. So put
nothing secret into an entity key, an instance id or a request id. Sizes, numbers and the moments of changes can be seen too,
and the counters in the table ``meta``.

The checksum of the engine (:mod:`perdure.storage.records`) stays outermost, around what the codec made: so damage is told apart
from a missing key, and a store can be checked and copied by somebody who has no key.

How a hub is recognised: the record ``codec`` of the table ``meta``, written with a hub's first batch and renewed after each
opening, says the codec's name and holds a known text that went through it. Opening with another codec, with other keys, or
without one is refused before anything is read. That record is made with the key that is current, so an old key can be given
up once the hub has committed something with the new one. What only the old key can read is unreadable from then on (D9),
and is kept.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from .errors import DamagedRecord, StorageUnusable, UnreadableRecord
from .plain_data import PlainData
from .store import CommittedStore
from .tables import DIRECTORY, EXPIRY, META

PLAIN_TABLES: Final = frozenset((META, DIRECTORY, EXPIRY))
"""What no codec changes: counters, an index that has keys only, and the numbers of instances.

The directory stays readable so that what is sent to an instance whose record a missing key hides is kept under the right
number, and is delivered when the key is back. An entry that was exchanged for another one's leads to a record with another name
in it, which is noticed.
"""

CODEC_KEY: Final = b"codec"
"""Where the table ``meta`` says which codec a hub has."""

_KNOWN: Final = b"perdure: this hub can be read"


class RecordCodec(Protocol):
    """Turns the values of records into what is stored, and back.

    Its methods are called in the event loop's thread for each record: a slow codec makes a slow hub.

    Attributes:
      name: what the codec is called in the store; a hub that was written with another name is refused. Part of the format:
        what one release writes under a name, all later ones must read.
    """

    @property
    def name(self) -> str:
        """The name."""
        ...

    def encode(self, data: bytes, place: bytes) -> bytes:
        """What to store for a value.

        Args:
          data: the value.
          place: the table and the key of its record. Bind the result to it, where that makes sense: what was moved to
            another place must not be taken for sound.
        """
        ...

    def decode(self, data: bytes, place: bytes) -> bytes:
        """The value of what :meth:`encode` made at the same place.

        Raises:
          ValueError: it cannot be had: it was changed, moved, or made with a key that is not known. The message says which.
        """
        ...


def place_of(table: str, key: bytes) -> bytes:
    """The place of a record, for a codec."""
    return b"%b\0%b" % (table.encode(), key)  # no table's name has a zero byte


def decoded(codec: RecordCodec, table: str, key: bytes, stored: bytes) -> bytes:
    """The value of a stored record, which passed through a codec unless its table is one of :data:`PLAIN_TABLES`.

    Raises:
      UnreadableRecord: the codec cannot decode it.
    """
    if table in PLAIN_TABLES:
        return stored
    try:
        return codec.decode(stored, place_of(table, key))
    except MemoryError:
        raise
    except Exception as error:  # whatever a codec raises, the record is set aside and the hub goes on
        raise UnreadableRecord(table, key, f"cannot be decoded by the codec {codec.name!r}: {error}") from error


class _Chain:
    def __init__(self, codecs: tuple[RecordCodec, ...]) -> None:
        self._codecs = codecs
        self.name = "+".join(codec.name for codec in codecs)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self._codecs))})"

    def encode(self, data: bytes, place: bytes) -> bytes:
        for codec in self._codecs:
            data = codec.encode(data, place)
        return data

    def decode(self, data: bytes, place: bytes) -> bytes:
        for codec in reversed(self._codecs):
            data = codec.decode(data, place)
        return data


def chain(*codecs: RecordCodec) -> RecordCodec:
    """Several codecs in a row; the first is nearest to the data, so compression comes before encryption.

    The size of what was compressed and then encrypted tells something of its content. Whoever can have texts of their own
    stored in one value with a secret, and sees the sizes, may guess the secret by that: do not compress then.

    Example:
      codec = chain(ZlibCodec(), AesGcmCodec({"2026": key}))
    """
    return _Chain(codecs)


class _Marker(PlainData, frozen=True, array_like=True):
    """The record ``codec``: the codec's name, and a known text that went through it."""

    name: str
    known: bytes


def marker_of(codec: RecordCodec) -> bytes:
    """The record that says which codec a hub has."""
    return msgspec.msgpack.encode(_Marker(codec.name, codec.encode(_KNOWN, place_of(META, CODEC_KEY))))


def codec_name(stored: bytes) -> str:
    """The name in the record that says which codec a hub has.

    Raises:
      DamagedRecord: it cannot be read.
    """
    return _read_marker(stored).name


def _read_marker(stored: bytes) -> _Marker:
    try:
        return msgspec.msgpack.decode(stored, type=_Marker)
    except msgspec.MsgspecError as error:
        raise DamagedRecord(META, CODEC_KEY, f"cannot be read ({error})") from error


def check_codec(store: CommittedStore, codec: RecordCodec | None, *, new: bool) -> None:
    """Refuse to read a hub with another codec than its own.

    Args:
      store: the hub's store, as it is on disk.
      codec: the codec to read it with, if any.
      new: nothing was ever committed to it.

    Raises:
      StorageUnusable: the codec, or its keys, are not the hub's.
    """
    check_marker(store.get(META, CODEC_KEY), codec, new=new)


def check_marker(stored: bytes | None, codec: RecordCodec | None, *, new: bool) -> None:
    """The same for the record that says which codec a hub has; ``None`` if there is none.

    Raises:
      StorageUnusable: as for :func:`check_codec`.
    """
    if stored is None:
        if codec is not None and not new:
            raise StorageUnusable(
                f"the hub was written without a codec, and is opened with {codec.name!r}. Open it without; to have its records "
                "encoded, start a new hub"
            )
        return
    marker = _read_marker(stored)
    if codec is None:
        raise StorageUnusable(f"the hub was written with the codec {marker.name!r}, and is opened without one: give codec=...")
    if codec.name != marker.name:
        raise StorageUnusable(f"the hub was written with the codec {marker.name!r}, and is opened with {codec.name!r}")
    try:
        sound = codec.decode(marker.known, place_of(META, CODEC_KEY)) == _KNOWN
    except ValueError as error:
        raise StorageUnusable(
            f"the hub cannot be read with this codec {codec.name!r}: {error}. Open it with the keys that it was written with; "
            "a new key is added beside the old one"
        ) from error
    if not sound:
        raise StorageUnusable(f"the hub cannot be read with this codec {codec.name!r}: a known text came back as another one")
