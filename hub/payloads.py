"""Instance records and their large values, which are stored apart from them.

The record of an instance is rewritten whenever its status, its lock or its state changes, and is read for every listing.
A large value in it (a state, an input, an output, a custom status) would be written and read each time. So a value from a
certain size on goes to the table ``payloads``, and the record keeps only where it is.

Rules:

1. No record type knows of this. A record is taken apart when it is written, field by field, and put together when it is read.
   Whoever needs no values reads its :func:`head <read_head>`, in which the large ones are empty.
2. A payload belongs to one record. The batch that writes the record writes its new payloads and deletes those that it no
   longer refers to, so none is ever left over, shared or missing. A value that has not changed is not written again.
3. The key of a payload is never used twice: instance number, number of the batch that wrote it, field. So a reader that was
   overtaken by a commit between the record and its payload does not get the wrong one: it finds none, and reads the record again.

Why only the records of instances: everything else that holds values (messages, journals, activities, answers, letters) is
written once, read when the value is wanted and deleted with its reason, and LMDB gives a large value pages of its own as
it is. The figures are beside :data:`perdure.hub.limits.PAYLOAD_BYTES_MIN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from ..entities.record import EntityRecord
from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from ..storage.plain_data import PlainData
from ..storage.store import CommittedStore, Writes
from .records import InstanceRecord, decode_instance, encode

_FIELD_BITS: Final = 8


class SplitRecord(PlainData, frozen=True, array_like=True, tag="split"):
    """A record whose large values are stored apart.

    Attributes:
      payloads: for each such value the name of its field and the key of its payload.
      record: the record, with those fields empty.
    """

    payloads: dict[str, bytes]
    record: msgspec.Raw


class Payload(PlainData, frozen=True):
    """A value that is stored apart: its bytes, and its key in the table ``payloads``."""

    value: bytes
    key: bytes


Apart: TypeAlias = Mapping[str, Payload]
"""The values of one record that are stored apart, by field."""

NOTHING_APART: Final[Apart] = MappingProxyType({})

_decode: Final = msgspec.msgpack.Decoder(EntityRecord | OrchestrationRecord | SplitRecord).decode


def write_record(
    record: InstanceRecord, prefix: bytes, batch: int, apart: Apart, payload_bytes_min: int, writes: Writes
) -> Apart:
    """Write an instance's record, with its large values apart.

    Args:
      record: the record.
      prefix: the instance's number, as the beginning of a key.
      batch: the number of the batch that is written; no record of the instance was written into it before.
      apart: what this returned, or :func:`read_record` read, last.
      payload_bytes_min: from this size on a value is stored apart.
      writes: what to write into.

    Returns:
      The values that are stored apart now.
    """
    if not apart:
        data = encode(record)
        if len(data) < payload_bytes_min:
            writes[tables.INSTANCES][prefix] = data
            return apart
    payloads = writes[tables.PAYLOADS]
    now: dict[str, Payload] = {}
    for place, name in enumerate(record.__struct_fields__):
        value = getattr(record, name)
        before = apart.get(name)
        if before is not None and before.value == value:
            now[name] = before
        elif type(value) is bytes and len(value) >= payload_bytes_min:
            now[name] = Payload(value, prefix + keys.u64(batch << _FIELD_BITS | place))
            payloads[now[name].key] = value
    delete_payloads({name: payload for name, payload in apart.items() if now.get(name) is not payload}, writes)
    if now:
        head = msgspec.structs.replace(record, **dict.fromkeys(now, b""))
        split = SplitRecord({name: payload.key for name, payload in now.items()}, msgspec.Raw(encode(head)))
        writes[tables.INSTANCES][prefix] = encode(split)
    else:
        writes[tables.INSTANCES][prefix] = encode(record)
    return now


def delete_payloads(apart: Apart, writes: Writes) -> None:
    """Delete values that were stored apart: their record is gone, or has others."""
    for payload in apart.values():
        writes[tables.PAYLOADS][payload.key] = None


def decode_head(row: bytes) -> InstanceRecord:
    """The record in a row of the table ``instances``, without the values that are stored apart: they are empty."""
    decoded = _decode(row)
    return decode_instance(decoded.record) if isinstance(decoded, SplitRecord) else decoded


def payload_keys(row: bytes) -> list[bytes]:
    """The payloads that a row of the table ``instances`` refers to."""
    decoded = _decode(row)
    return [*decoded.payloads.values()] if isinstance(decoded, SplitRecord) else []


def change_head(row: bytes, **changes: object) -> bytes:
    """A row of the table ``instances`` with some fields changed; the values that are stored apart stay where they are."""
    decoded = _decode(row)
    if isinstance(decoded, SplitRecord):
        head = msgspec.structs.replace(decode_instance(decoded.record), **changes)
        return encode(SplitRecord(decoded.payloads, msgspec.Raw(encode(head))))
    return encode(msgspec.structs.replace(decoded, **changes))


def find_record(
    store: CommittedStore, directory_key: bytes, *, include_values: bool = True
) -> tuple[bytes, InstanceRecord] | None:
    """The number and the record of an instance, as of the last commit; ``None`` if there is no such instance.

    Without ``include_values`` large ones are not read; they are empty.

    Raises:
      DamagedRecord: something of it is damaged, or the directory leads to another instance's record.
    """
    number = store.get(tables.DIRECTORY, directory_key)
    if number is None:
        return None
    if include_values:
        record, _ = read_record(store, number) or (None, None)
    else:
        record = read_head(store, number)
    if record is None:
        return None
    check_identity(record, directory_key)
    return number, record


def check_identity(record: InstanceRecord, directory_key: bytes) -> None:
    """Refuse a record that the directory should not have led to.

    Raises:
      DamagedRecord: it is another instance's.
    """
    if isinstance(record, EntityRecord):
        own = keys.entity_key(record.name, record.key)
    else:
        own = keys.orchestration_key(record.instance_id)
    if own != directory_key:
        raise DamagedRecord(tables.DIRECTORY, directory_key, f"leads to the record of another instance, {own!r}")


def read_head(store: CommittedStore, number: bytes) -> InstanceRecord | None:
    """The record of an instance without the values that are stored apart, ``None`` if there is no such instance.

    Raises:
      DamagedRecord: it is damaged.
    """
    row = store.get(tables.INSTANCES, number)
    return None if row is None else decode_head(row)


def read_record(store: CommittedStore, number: bytes) -> tuple[InstanceRecord, Apart] | None:
    """The whole record of an instance, and what of it is stored apart; ``None`` if there is no such instance.

    Raises:
      DamagedRecord: it is damaged, or a payload of it is damaged or missing.
    """
    return complete(store, number, store.get(tables.INSTANCES, number))


def complete(store: CommittedStore, number: bytes, row: bytes | None) -> tuple[InstanceRecord, Apart] | None:
    """Like :func:`read_record`, for a row that was read just now.

    Raises:
      DamagedRecord: as for that.
    """
    while row is not None:
        decoded = _decode(row)
        if not isinstance(decoded, SplitRecord):
            return decoded, NOTHING_APART
        values = {name: store.get(tables.PAYLOADS, key) for name, key in decoded.payloads.items()}
        found = {name: Payload(value, decoded.payloads[name]) for name, value in values.items() if value is not None}
        if len(found) == len(values):
            values = {name: payload.value for name, payload in found.items()}
            return msgspec.structs.replace(decode_instance(decoded.record), **values), found
        again = store.get(tables.INSTANCES, number)
        if again == row:
            missing = next(key for name, key in decoded.payloads.items() if name not in found)
            raise DamagedRecord(tables.PAYLOADS, missing, "is missing, and the instance that it belongs to refers to it")
        row = again
    return None
