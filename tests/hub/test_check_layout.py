"""`check` knows what is kept for an instance beside its record: payloads, letters, what is due; and hubs with a codec (D9)."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity, entity
from perdure.hub import HubReader, TaskHub
from perdure.hub.checkup import check, check_here
from perdure.hub.delayed import key_of_index
from perdure.hub.exporting import export_hub, import_hub
from perdure.hub.payloads import change_head, decode_head, payload_keys
from perdure.storage import HubInUse, StorageUnusable, keys, tables
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.lmdb_store import LmdbStore

from ..storage.contract import Owner
from .helpers import START, Account, FakeClock, Ledger, bank, receive, rounds
from .test_check import change, kinds

SOON, LATER = 60.0, 3600.0
CODEC = AesGcmCodec({"key": bytes(range(32))})
Deed = Callable[[Owner], dict[str, dict[bytes, bytes | None]]]


@entity(idle_ttl=LATER)
@define
class Brief(Entity):
    """Is gone when nobody has used it for an hour."""

    text: str = ""

    def write(self, text: str) -> None:
        """Keep a text."""
        self.text = text


def a_hub(place: Path, time: int = START, **options: Any) -> TaskHub:
    return bank(place, Brief, clock=FakeClock(time), payload_bytes_min=500, retention=LATER, **options)


async def _leave(place: Path, **options: Any) -> None:
    async with a_hub(place, **options) as hub:
        await hub.signal_entity(Brief.at("b"), Brief.write, "x" * 1000)
        await hub.signal_entity(Account.at("a"), Account.deposit, 10, deliver_at=SOON)
        await hub.start(receive, instance_id="ended")
        await hub.raise_event("ended", "go", 1)
        await hub.start(receive, instance_id="starts", start_at=SOON)
        await hub.raise_event("starts", "go", 2)
        await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="asked")
        await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 4, "nobody")
        await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 5, "nobody")
        await rounds()
        await hub.wait_idle()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with a payload, letters, and something due of each kind, left in order."""
    place = tmp_path_factory.mktemp("left")
    trio.run(_leave, place)
    return place / "bank"


@pytest.fixture
def hub(left: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may harm."""
    return Path(shutil.copytree(left, tmp_path / "bank", ignore=shutil.ignore_patterns("lock.mdb")))


def number(owner: Owner, key: bytes) -> bytes:
    found = owner.store.get(tables.DIRECTORY, key)
    assert found is not None
    return found


def without(table: str, key: Callable[[Owner], bytes]) -> Deed:
    """Delete a record."""
    return lambda owner: {table: {key(owner): None}}


def record(key: bytes, **changes: object) -> Deed:
    """Change the record of an instance."""

    def deed(owner: Owner) -> dict[str, dict[bytes, bytes | None]]:
        row = owner.store.get(tables.INSTANCES, number(owner, key))
        assert row is not None
        return {tables.INSTANCES: {number(owner, key): change_head(row, **changes)}}

    return deed


def due(owner: Owner, kind: bytes) -> bytes:
    """The row among the timers that holds some bytes."""
    (found,) = [key for key, value in owner.store.scan(tables.TIMERS) if kind in value]
    return found


def first(owner: Owner, table: str) -> bytes:
    return owner.store.keys(table)[0]


def doubled(kind: bytes) -> Deed:
    """The same row again at another time, when nobody waits for it."""

    def deed(owner: Owner) -> dict[str, dict[bytes, bytes | None]]:
        key = due(owner, kind)
        return {tables.TIMERS: {keys.u64(keys.read_u64(key) + 1) + key[8:]: owner.store.get(tables.TIMERS, key)}}

    return deed


DAMAGE: dict[str, tuple[list[str], Deed]] = {
    "a payload is left over": (["orphan"], lambda owner: {tables.PAYLOADS: {number(owner, b"ebrief\0b") + keys.u64(9): b"x"}}),
    "a letter that is in no list": (["orphan"], lambda owner: {
        tables.LETTERS: {number(owner, b"eledger\0l") + keys.u64(0): owner.store.get(tables.LETTERS, first(owner, tables.LETTERS))},
        **record(b"eledger\0l", letters=(1,))(owner),
    }),
    "a letter is gone": (["count"], without(tables.LETTERS, lambda owner: first(owner, tables.LETTERS))),
    "the next letter would take a place": (["count"], record(b"eledger\0l", letter_next=1)),
    "a delayed signal is not indexed": (["index"], without(tables.DELAYED, lambda owner: first(owner, tables.DELAYED))),
    "an index row without its signal": (
        ["count", "orphan"], without(tables.TIMERS, lambda owner: key_of_index(first(owner, tables.DELAYED))),
    ),
    "a delayed signal that is not counted": (["count"], record(b"eaccount\0a", delayed=3)),
    "a start is not due": (["index"], without(tables.TIMERS, lambda owner: due(owner, b"start"))),
    "a removal is not due": (["index"], without(tables.TIMERS, lambda owner: due(owner, b"purge"))),
    "an expiry is not due": (["index"], without(tables.TIMERS, lambda owner: due(owner, b"idle"))),
    "a start that nobody waits for": (["orphan"], doubled(b"start")),
    "a removal that nobody waits for": (["orphan"], doubled(b"purge")),
    "an expiry that nobody waits for": (["orphan"], doubled(b"idle")),
    "what is no number": (["decoding", "decoding"], lambda _: {tables.META: {b"suspect:x": b"", b"rested": b"1"}}),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_D9_what_does_not_fit_is_found_and_mended(hub: Path, case: str) -> None:
    """Each kind of inconsistency is found, alone; a repair mends it, and everything that is due happens once."""
    assert check_here(hub).findings == []
    expected, deed = DAMAGE[case]
    change(hub, deed)
    assert kinds(check_here(hub).findings) == expected
    report = check_here(hub, repair=True)
    assert (kinds(report.findings), report.remaining) == (expected, [])

    async def works() -> None:
        async with a_hub(hub.parent, START + int(2 * SOON) * 1_000_000) as opened:
            assert await opened.instance("starts").result() == 2
            await opened.wait_idle()
            lost = case == "an index row without its signal"
            assert await opened.read_entity(Account.at("a")) == (None if lost else Account(10))
            letters = (await opened.dead_letters(Ledger.at("l"))).items
            assert len(letters) == (1 if "letter " in case and "next" not in case else 2)
            brief = await opened.read_entity(Brief.at("b"))
            assert brief is not None
            assert brief.text == "x" * 1000
        async with a_hub(hub.parent, START + int(3 * LATER) * 1_000_000) as opened:
            await opened.wait_idle()
            assert await opened.read_entity(Brief.at("b")) is None
            assert [status.instance_id for status in (await opened.query_instances()).items] == []

    trio.run(works)
    assert check_here(hub).findings == []


def test_D9_a_missing_payload_is_told_and_costs_nobody_else(hub: Path) -> None:
    """A record whose payload is gone is reported, stays, and a repair changes nothing of it."""

    def deed(owner: Owner) -> dict[str, dict[bytes, bytes | None]]:
        row = owner.store.get(tables.INSTANCES, number(owner, b"ebrief\0b"))
        assert row is not None
        return {tables.PAYLOADS: dict.fromkeys(payload_keys(row))}

    change(hub, deed)
    report = check_here(hub, repair=True)
    assert [(one.kind, "'@brief@b' refers to the payload" in one.what) for one in report.remaining] == [("index", True)]
    assert report.set_aside is None


def test_a_changed_head_keeps_its_payloads(hub: Path) -> None:
    """A repair that writes a record again leaves the values that are stored apart where they are."""
    change(hub, record(b"ebrief\0b", delayed=7))
    assert check_here(hub, repair=True).remaining == []
    store = Owner.of(LmdbStore(hub)).store
    row = store.get(tables.INSTANCES, number(Owner(store, 0), b"ebrief\0b"))
    assert row is not None
    head = decode_head(row)
    assert (getattr(head, "delayed", None), len(payload_keys(row))) == (0, 1)
    store.close()


def test_a_hub_that_this_process_reads_is_in_use(hub: Path) -> None:
    """Checking in the process of a reader is refused as HubInUse, in words that say what to do."""

    async def reads() -> None:
        async with HubReader("Bank", [Ledger], storage=hub.parent):
            with pytest.raises(HubInUse, match="runs or reads the hub"):
                check_here(hub)

    trio.run(reads)


# --- hubs with a codec


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """A hub like the one above, encrypted."""
    trio.run(lambda: _leave(tmp_path, codec=CODEC))
    return tmp_path / "bank"


def test_a_hub_with_a_codec_is_checked_without_it(coded: Path) -> None:
    """Nothing is found in what cannot be read, and the report names the codec; a wrong counter and an orphan are found and mended."""
    report = check(coded)
    assert (report.findings, report.hidden_by) == ([], CODEC.name)
    change(coded, lambda _: {tables.META: {b"requests": keys.u64(9)}, tables.INBOX: {keys.u64(77) + keys.u64(1): b"?"}})
    assert kinds(check(coded).findings) == ["count", "orphan"]
    assert check(coded, repair=True).remaining == []
    assert check_here(coded, codec=CODEC).findings == []


def test_a_hub_with_a_codec_is_checked_and_mended_with_it(coded: Path) -> None:
    """With the codec the records are read, and what a repair writes is encoded; another codec than the hub's is refused."""
    with pytest.raises(StorageUnusable, match="cannot be read with this codec"):
        check_here(coded, codec=AesGcmCodec({"key": bytes(32)}))
    change(coded, lambda owner: {tables.LETTERS: {first(owner, tables.LETTERS): None}})
    report = check_here(coded, codec=CODEC, repair=True)
    assert (kinds(report.findings), report.remaining, report.hidden_by) == (["count"], [], None)

    async def works() -> None:
        async with a_hub(coded.parent, codec=CODEC) as opened:
            assert len((await opened.dead_letters(Ledger.at("l"))).items) == 1

    trio.run(works)


def test_D9_a_record_that_the_codec_cannot_decode_is_told(coded: Path) -> None:
    """A record that was changed behind the codec's back is reported with its table, and stays."""
    change(coded, lambda owner: {tables.LETTERS: {first(owner, tables.LETTERS): b"nonsense"}})
    report = check_here(coded, codec=CODEC, repair=True)
    assert [(one.kind, "'letters' cannot be decoded by the codec" in one.what) for one in report.remaining] == [
        ("checksum", True)
    ]


def test_a_hub_with_a_codec_goes_round(coded: Path, tmp_path: Path) -> None:
    """It is exported with its codec only, decoded, and imported with a codec or without: each time a sound hub that works."""
    with pytest.raises(StorageUnusable, match=re.escape("export_hub(..., codec=...)")):
        export_hub(coded, io.StringIO())
    out = io.StringIO()
    export_hub(coded, out, codec=CODEC)
    assert "x" * 1000 in out.getvalue()
    lines = out.getvalue().splitlines(keepends=True)
    for place, codec in ((tmp_path / "coded", CODEC), (tmp_path / "plain", None)):
        import_hub(lines, place / "bank", codec=codec)
        assert check_here(place / "bank", codec=codec).findings == []
        assert (b"x" * 1000 in (place / "bank" / "data.mdb").read_bytes()) is (codec is None)
        again = io.StringIO()
        export_hub(place / "bank", again, codec=codec)
        assert again.getvalue().splitlines()[1:] == out.getvalue().splitlines()[1:]

        async def works(place: Path = place, codec: AesGcmCodec | None = codec) -> None:
            async with a_hub(place, codec=codec) as opened:
                assert await opened.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="asked") == 1

        trio.run(works)
