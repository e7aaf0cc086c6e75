"""A hub as JSON lines, for people and their tools, and back.

The first line says what it is, the last one how many records there were; between them stands one record a line::

    {"table": "instances", "key": "0000000000000001", "of": "@account@alice", "value": ["entity", "account", "alice", ...]}

The table and the key are those of the store, the key in hex; ``of`` only says for people whose record it is. Values are MessagePack, which JSON
cannot hold in full, so what it lacks is an object with one key that begins with ``$``:

- ``{"$packed": ...}`` bytes that are MessagePack themselves, such as a state, unpacked;
- ``{"$u64": 5}`` eight other bytes, which are numbers of eight bytes almost always;
- ``{"$bytes": "..."}`` other bytes, base64;
- ``{"$float": "nan"}`` NaN and the infinities;
- ``{"$map": [[key, value], ...]}`` a map whose keys are no text, or begin with ``$``;
- ``{"$ext": [code, "..."]}`` an extension of MessagePack.

Whatever would not come back byte for byte in such a form is written as bytes. A damaged record is written as it is stored, under
``damaged``, and comes back damaged: what was not sound does not become so on the way.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec
from attrs import frozen

from ..storage import keys, tables
from ..storage.batch_rules import STORE_KEYS
from ..storage.errors import DamagedRecord, StorageUnusable
from ..storage.lmdb_backup import Progress, no_progress
from ..storage.lmdb_building import FolderBuilder
from ..storage.lmdb_folder import DATA_FILE, FORMAT_VERSION, HubHeader, make_parents, owner_lock_path
from ..storage.lmdb_offline import StoredRecords, quiet
from ..storage.lmdb_opening import shown
from ..storage.lmdb_pages import verify_pages
from ..storage.lmdb_store import MAP_BYTES
from ..storage.lmdb_witness import Left, WitnessRecord
from ..storage.owner import OwnerLock
from ..storage.record_codec import CODEC_KEY, PLAIN_TABLES, RecordCodec, marker_of, place_of
from ..storage.records import RecordSeal

_PRODUCT: Final = "perdure export"
_TOLD_EVERY: Final = 5_000
_NUMBERED: Final = frozenset(
    (tables.INSTANCES, tables.HISTORY, tables.INBOX, tables.ACTIVITIES, tables.LETTERS, tables.DELAYED, tables.PAYLOADS)
)


@frozen
class ExportReport:
    """What was written.

    Attributes:
      records: how many records.
      damaged: how many of them are damaged.
    """

    records: int
    damaged: int


def export_hub(hub: Path, out: IO[str], progress: Progress = no_progress, *, codec: RecordCodec | None = None) -> ExportReport:
    """Write a hub, which may be running, as JSON lines: all of one commit.

    Args:
      hub: the hub's folder.
      out: what is written to.
      progress: is told how far it is.
      codec: the codec that the hub is opened with, if any. What is written is decoded: whoever has the file can read it.

    Raises:
      HubInUse: this very process runs the hub.
      StorageUnusable: there is no hub, its pages are damaged, or it has another codec than the one that was given, or than none.
      OSError: it cannot be read or written.
    """
    with quiet(hub) as data:
        if findings := verify_pages(data.folder / DATA_FILE):
            raise StorageUnusable(f"the data of {hub} is damaged: {shown(findings)}. 'perdure check --repair' saves what it can")
        with StoredRecords(data, codec) as records:
            if not records.readable:
                raise StorageUnusable(
                    f"{hub} was written with the codec {records.codec_name!r}, and is exported with it only: call "
                    "perdure.hub.exporting.export_hub(..., codec=...). A backup needs no codec"
                )
            total = sum(records.counted(table) for table in tables.TABLES)
            first = {"product": _PRODUCT, "format": data.header.format, "commit_number": records.commit().number}
            out.write(json.dumps(first) + "\n")
            done = damaged = 0
            names = _Names(records)
            for table in tables.TABLES:
                for key, stored in records.rows(table):
                    if (table, key) == (tables.META, CODEC_KEY):
                        continue  # an export is decoded
                    line: dict[str, Any] = {"table": table, "key": key.hex()}
                    if whose := names.of(table, key):
                        line["of"] = whose
                    try:
                        line["value"] = to_json(records.unseal(table, key, stored))
                    except DamagedRecord:
                        line["damaged"] = stored.hex()
                        damaged += 1
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                    done += 1
                    if done % _TOLD_EVERY == 0:
                        progress("exporting", done, total)
            out.write(json.dumps({"records": done}) + "\n")
    progress("exporting", total, total)
    return ExportReport(done, damaged)


def import_hub(lines: Iterable[str], hub: Path, progress: Progress = no_progress, *, codec: RecordCodec | None = None) -> int:
    """Make a hub of an export, and return how many records it has. It has an identity of its own.

    Args:
      lines: the export.
      hub: the folder of the new hub; it must not exist.
      progress: is told how many lines were read; the total is unknown, and 0.
      codec: what the new hub is to be opened with, if any.

    Raises:
      StorageUnusable: the hub exists, or a line is not what an export has; nothing is made then.
    """
    if hub.exists():
        raise StorageUnusable(f"{hub} exists already, and nothing is overwritten. Choose another name, or move it away")
    numbered = enumerate(lines, 1)
    header = _header(next(numbered, (1, ""))[1])
    make_parents(hub)
    lock = OwnerLock(owner_lock_path(hub), hub)
    lock.acquire()
    try:
        with FolderBuilder(hub) as builder:
            written = builder.fill(header, rows=_rows(numbered, progress, codec), map_bytes=MAP_BYTES)
            builder.finish(header, WitnessRecord(0, 0, Left.CLOSED, ""))
    except OSError as error:
        raise StorageUnusable(f"the hub {hub} cannot be written: {error}") from error
    finally:
        lock.release()
    return written


def _header(line: str) -> HubHeader:
    try:
        first = cast("dict[str, Any]", json.loads(line))
        found = first["product"], int(first["format"])
    except (ValueError, KeyError, TypeError, RecursionError):
        found = "", 0
    if found[0] != _PRODUCT:
        raise StorageUnusable("line 1 is not the beginning of an export; 'perdure export' writes one")
    if not 1 <= found[1] <= FORMAT_VERSION:
        raise StorageUnusable(
            f"line 1: the export has format {found[1]}, and this Perdure reads 1 to {FORMAT_VERSION}. Use a newer version"
        )
    new = HubHeader.of_new_hub()
    return HubHeader(new.product, found[1], new.hub_id)


def _rows(lines: Iterator[tuple[int, str]], progress: Progress, codec: RecordCodec | None) -> Iterator[tuple[str, bytes, bytes]]:
    """The records of an export, as they are to be stored, and the one that says which codec the hub has."""
    seals = {table: RecordSeal(table) for table in tables.TABLES}
    if codec is not None:
        yield tables.META, CODEC_KEY, seals[tables.META].seal(CODEC_KEY, marker_of(codec))
    count = 0
    for number, line in lines:
        try:
            said = cast("dict[str, Any]", json.loads(line))
            if "records" in said:
                if said["records"] != count:
                    raise ValueError(f"the export had {said['records']} records, and {count} came before this line")
                progress("importing", count, count)
                return
            table, key = said["table"], bytes.fromhex(said["key"])
            if not 0 < len(key) <= tables.KEY_BYTES_MAX or (table == tables.META and key in STORE_KEYS):
                raise ValueError(f"no record can have the key {said['key']!r}")
            if "damaged" in said:
                stored = bytes.fromhex(said["damaged"])
            else:
                value = from_json(said["value"])
                if codec is not None and table not in PLAIN_TABLES:
                    value = codec.encode(value, place_of(table, key))
                stored = seals[table].seal(key, value)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = f"{error} is missing or unknown" if isinstance(error, KeyError) else error
            raise StorageUnusable(f"line {number} is no record of an export: {what}") from error
        count += 1
        if count % _TOLD_EVERY == 0:
            progress("importing", count, 0)
        yield table, key, stored
    raise StorageUnusable(f"the export ends after {count} records without its last line: it was cut off")


class _Names:
    """Whose records they are, for people."""

    def __init__(self, records: StoredRecords) -> None:
        self._names: dict[bytes, str] = {}
        for key, stored in records.rows(tables.DIRECTORY):
            self._names[stored[:-4]] = _name_of(key)

    def of(self, table: str, key: bytes) -> str:
        if table == tables.DIRECTORY:
            return _name_of(key)
        if table in _NUMBERED:
            return self._names.get(key[:8], "")
        if table == tables.TIMERS:
            return self._names.get(key[8:16], "")
        return ""


def _name_of(directory_key: bytes) -> str:
    try:
        if directory_key[:1] == tables.ENTITY_KIND:
            name, key = keys.read_entity_key(directory_key)
            return f"@{name}@{key}"
        return keys.read_orchestration_key(directory_key)
    except ValueError:
        return ""


# --- values


def to_json(value: bytes) -> Any:
    """A record's value in the form that the module describes."""
    return _unpacked(value) if value else {"$bytes": ""}


def from_json(tree: Any) -> bytes:
    """The value that :func:`to_json` made this of.

    Raises:
      ValueError, TypeError: it made no such thing.
    """
    packed = _tree_back(tree)
    if not isinstance(packed, bytes):
        raise TypeError(f"a value is an object with $packed or $bytes, not {tree!r}")
    return packed


def _unpacked(data: bytes) -> dict[str, Any]:
    """Bytes, unpacked if they come back the same."""
    try:
        tree = _tree(msgspec.msgpack.decode(data))
        if data and _tree_back({"$packed": tree}) == data:
            return {"$packed": tree}
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError):
        pass
    if len(data) == 8:
        return {"$u64": keys.read_u64(data)}
    return {"$bytes": b64encode(data).decode()}


def _tree(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": repr(value)}
        case bytes():
            return _unpacked(value)
        case list() | dict():
            return _container(cast("list[Any] | dict[Any, Any]", value))
        case msgspec.msgpack.Ext():
            return {"$ext": [value.code, b64encode(bytes(value.data)).decode()]}
        case _:
            raise TypeError(f"{type(value).__name__} has no form in JSON")


def _container(value: list[Any] | dict[Any, Any]) -> Any:
    if isinstance(value, list):
        return [_tree(item) for item in value]
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _tree(item) for key, item in value.items()}
    return {"$map": [[_tree(key), _tree(item)] for key, item in value.items()]}


_FORMS: Final[dict[str, Callable[[Any], Any]]] = {
    "$packed": lambda inner: msgspec.msgpack.encode(_tree_back(inner)),
    "$u64": keys.u64,
    "$bytes": lambda inner: b64decode(inner, validate=True),
    "$float": float,
    "$map": lambda inner: {_tree_back(key): _tree_back(item) for key, item in inner},
    "$ext": lambda inner: msgspec.msgpack.Ext(inner[0], b64decode(inner[1], validate=True)),
}


def _tree_back(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_tree_back(item) for item in cast("list[Any]", tree)]
    if not isinstance(tree, dict):
        return tree
    fields = cast("dict[str, Any]", tree)
    special = [name for name in fields if name.startswith("$")]
    if not special:
        return {key: _tree_back(item) for key, item in fields.items()}
    if len(fields) != 1 or special[0] not in _FORMS:
        raise ValueError(f"an export has no object with {', '.join(special)}")
    return _FORMS[special[0]](fields[special[0]])
