"""A hub as JSON lines and back."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from perdure.hub.checkup import check_here
from perdure.hub.exporting import export_hub, from_json, import_hub, to_json
from perdure.storage import tables
from perdure.storage.errors import HubInUse, StorageUnusable
from perdure.storage.lmdb_store import LmdbStore

from ..storage.contract import Owner
from .helpers import Account, FakeClock, Ledger, bank, receive, rounds


async def _leave(place: Path) -> None:
    async with bank(place, clock=FakeClock()) as hub:
        await hub.call_entity(Account.at("käthe"), Account.deposit, 10)
        await hub.call_entity(Ledger.at(""), Ledger.note, 1, request_id="asked")
        await hub.start(receive, instance_id="waits")
        await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 4, "nobody")
        await rounds()
        await hub.wait_idle()
        hub.pause()
        await hub.signal_entity(Account.at("käthe"), Account.deposit, 5)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A hub that was left in order, with a message that waits."""
    trio.run(_leave, tmp_path)
    return tmp_path / "bank"


def exported(hub: Path) -> list[str]:
    out = io.StringIO()
    export_hub(hub, out)
    return out.getvalue().splitlines(keepends=True)


def rows(hub: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = Owner.of(LmdbStore(hub)).store
    found = {table: store.scan(table) for table in tables.TABLES if table != tables.META}
    found[tables.META] = [row for row in store.scan(tables.META) if row[0] not in (b"commit", b"header")]
    store.close()
    return found


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.dictionaries(st.integers(0, 99), inner),
    max_leaves=8,
)
packed = plain.map(msgspec.msgpack.encode)
nested = packed.map(lambda inner: msgspec.msgpack.encode([inner, {"$bytes": inner}, msgspec.msgpack.Ext(5, inner)]))


@given(st.binary() | packed | nested)
def test_every_value_comes_back_byte_for_byte(value: bytes) -> None:
    """Whatever bytes a record holds, MessagePack or not, their JSON gives the same bytes again."""
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


def test_a_state_can_be_read(hub: Path) -> None:
    """People see names and contents: the entity, its state, and the message that waits for it."""
    text = "".join(exported(hub))
    assert '"of": "@account@käthe"' in text
    assert '"balance": 10' in text
    assert '["op", "deposit", {"$packed": [5]}, null, null]' in text


def test_a_hub_goes_round(hub: Path, tmp_path: Path) -> None:
    """An imported hub has every record of the exported one, is sound, has an identity of its own, and works."""
    before = rows(hub)
    lines = exported(hub)
    assert import_hub(lines, tmp_path / "copy" / "bank") == len(lines) - 2
    assert rows(tmp_path / "copy" / "bank") == before
    assert check_here(tmp_path / "copy" / "bank").sound
    assert (tmp_path / "copy" / "bank" / "hub.json").read_bytes() != (hub / "hub.json").read_bytes()
    assert exported(tmp_path / "copy" / "bank")[1:] == lines[1:]

    async def works() -> None:
        async with bank(tmp_path / "copy", clock=FakeClock()) as opened:
            await opened.wait_idle()
            assert await opened.read_entity(Account.at("käthe")) == Account(15)
            assert await opened.call_entity(Ledger.at(""), Ledger.note, 1, request_id="asked") == 1

    trio.run(works)


def test_damage_stays_damage(hub: Path, tmp_path: Path) -> None:
    """A damaged record is exported as it is stored, counted, and is as damaged in the imported hub."""
    data = hub / "data.mdb"
    content = data.read_bytes()
    data.write_bytes(content.replace(b"balance", b"balancf"))
    out = io.StringIO()
    report = export_hub(hub, out)
    assert report.damaged == 1
    import_hub(out.getvalue().splitlines(), tmp_path / "copy")
    assert [finding.kind for finding in check_here(tmp_path / "copy").findings] == ["checksum"]


BROKEN: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "nothing": ("line 1 is not the beginning", lambda _: []),
    "another file": ("line 1 is not the beginning", lambda _: ["{}\n"]),
    "no JSON": ("line 3 is no record", lambda lines: [*lines[:2], "{\n", *lines[3:]]),
    "a nesting without end": ("line 1 is not the beginning", lambda lines: ["[" * 100_000 + "\n", *lines]),
    "a record that is nested without end": ("line 2 is no record", lambda lines: [lines[0], "[" * 100_000 + "\n"]),
    "a newer format": ("this Perdure reads 1 to 1", lambda lines: [lines[0].replace('"format": 1', '"format": 2'), *lines[1:]]),
    "cut off": ("ends after .* without its last line", lambda lines: lines[:-1]),
    "a line is missing": ("line .* had .* records, and", lambda lines: [*lines[:2], *lines[3:]]),
    "an unknown table": ("'nowhere' is missing or unknown", lambda lines: [lines[0], lines[1].replace("meta", "nowhere")]),
    "the store's own key": ("no record can have the key", lambda lines: [lines[0], '{"table": "meta", "key": "636f6d6d6974"}\n']),
    "a value that is none": ("line 2 is no record", lambda lines: [lines[0], '{"table": "inbox", "key": "00", "value": 5}\n']),
    "an unknown form": ("no object with", lambda lines: [lines[0], '{"table": "inbox", "key": "00", "value": {"$x": 5}}\n']),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_export_is_refused(hub: Path, tmp_path: Path, case: str) -> None:
    """A file that is not a whole export is refused with the line and what is wrong, and nothing is left behind."""
    match, deed = BROKEN[case]
    lines = deed(exported(hub))
    with pytest.raises(StorageUnusable, match=match):
        import_hub(lines, tmp_path / "copy" / "bank")
    assert {path.name for path in (tmp_path / "copy").glob("*")} <= {"bank.owner.lock"}


def test_an_existing_hub_is_not_written_over(hub: Path) -> None:
    """Importing needs a place where there is nothing."""
    with pytest.raises(StorageUnusable, match="bank exists already"):
        import_hub(exported(hub), hub)


def test_a_hub_of_this_very_process_is_refused(hub: Path) -> None:
    """Exporting a hub that this process runs says to use another one."""
    store = LmdbStore(hub)
    store.open()
    with pytest.raises(HubInUse, match="from another process"):
        export_hub(hub, io.StringIO())
    store.close()


def test_numbers_that_json_lacks() -> None:
    """NaN and the infinities have a form that every JSON reader takes."""
    for number in (math.nan, math.inf, -math.inf):
        text = json.dumps(to_json(msgspec.msgpack.encode(number)), allow_nan=False)
        assert from_json(json.loads(text)) == msgspec.msgpack.encode(number)
