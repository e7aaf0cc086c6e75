"""`check`: what is wrong with a hub's data is found, mended as far as that goes, and kept (D9, L8)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from perdure.entities.lock import Lock
from perdure.entities.messages import LockRequest, SectionId
from perdure.entities.record import EntityRecord
from perdure.hub import TaskHub
from perdure.hub.check_evidence import Finding
from perdure.hub.checkup import check, check_here
from perdure.hub.records import decode_instance, encode
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import keys, tables
from perdure.storage.errors import HubInUse, StorageUnusable
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.records import RecordSeal

from ..storage.contract import Owner
from ..storage.processes import child
from .helpers import Account, FakeClock, Ledger, bank, receive, rounds, transfer

NAP = 60.0


@orchestrator
async def holds(ctx: OrchestrationContext) -> str:
    """Hold a lock, and wait for a timer and an event."""
    async with ctx.lock_entities(Account.at("a")):
        await ctx.when_any([ctx.create_timer(NAP), ctx.wait_for_external_event("go")])
    return "held"


def a_bank(place: Path) -> TaskHub:
    return bank(place, holds, clock=FakeClock())


async def _leave(place: Path) -> None:
    async with a_bank(place) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="asked")
        await hub.start(receive, instance_id="waits", request_id="started")
        await hub.start(receive, instance_id="ended")
        await hub.raise_event("ended", "go", 1)
        await hub.start(holds, instance_id="holds")
        await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 4, "nobody")
        await rounds()
        await hub.wait_idle()
        hub.pause()
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 2)
        await hub.signal_entity(Account.at("a"), Account.deposit, 5)
        await hub.start(transfer, "a", "b", 4, instance_id="moves")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with something in every table, left in order."""
    place = tmp_path_factory.mktemp("left")
    trio.run(_leave, place)
    return place / "bank"


@pytest.fixture
def hub(left: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may harm."""
    return Path(shutil.copytree(left, tmp_path / "bank", ignore=shutil.ignore_patterns("lock.mdb")))


def change(hub: Path, deed: Callable[[Owner], dict[str, dict[bytes, bytes | None]]]) -> None:
    """Write something that the hub would not."""
    owner = Owner.of(LmdbStore(hub))
    owner.commit(deed(owner))
    owner.store.close()


def rows(hub: Path, table: str) -> dict[bytes, bytes]:
    store = Owner.of(LmdbStore(hub)).store
    found = dict(store.scan(table))
    store.close()
    return found


def harm(hub: Path, stored: bytes) -> None:
    """Flip a bit at the end of the places where the file has these bytes."""
    data = hub / "data.mdb"
    content = data.read_bytes()
    assert stored in content
    data.write_bytes(content.replace(stored, stored[:-1] + bytes((stored[-1] ^ 1,))))


def kinds(findings: list[Finding]) -> list[str]:
    return sorted(finding.kind for finding in findings)


def number_of(owner: Owner, key: bytes) -> bytes:
    number = owner.store.get(tables.DIRECTORY, key)
    assert number is not None
    return number


def test_a_hub_that_was_left_in_order_is_sound(hub: Path) -> None:
    """Nothing is found in a hub with locks, timers, requests and messages, and it stays byte for byte as it was."""
    before = (hub / "data.mdb").read_bytes()
    told: list[tuple[str, int, int]] = []
    report = check(hub, progress=lambda *step: told.append(step))
    assert report.findings == []
    assert report.sound
    assert report.records["instances"] == 6
    assert not report.running
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert (hub / "data.mdb").read_bytes() == before


def test_a_running_hub_is_checked_on_a_copy(hub: Path) -> None:
    """A hub that another process runs is checked all the same, is not to be repaired, and no copy is left behind."""
    with child("store = LmdbStore(folder); store.open(); say('running'); input()", hub) as running:
        assert running.line() == "running"
        report = check(hub)
        assert report.running
        assert report.findings == []
        with pytest.raises(HubInUse, match="Stop it first"):
            check(hub, repair=True)
    assert {path.name for path in hub.parent.iterdir()} == {"bank", "bank.owner.lock"}


DAMAGE: dict[str, tuple[list[str], Callable[[Owner], dict[str, dict[bytes, bytes | None]]]]] = {
    "a directory row is missing": (["index"], lambda _: {tables.DIRECTORY: {b"eaccount\0a": None}}),
    "a directory row leads elsewhere": (
        ["index", "index", "index"],
        lambda owner: {tables.DIRECTORY: {b"eaccount\0a": number_of(owner, b"eledger\0l"), b"oelsewhere": keys.u64(1)}},
    ),
    "a directory row leads nowhere": (["orphan"], lambda _: {tables.DIRECTORY: {b"egone\0x": keys.u64(77)}}),
    "rows of an instance that is gone": (
        ["decoding", *["orphan"] * 4],
        lambda _: {
            table: {keys.u64(77) + keys.u32(0) + more: encode([])}
            for table, more in (
                (tables.INBOX, b"\0\0\0\0"), (tables.HISTORY, b""), (tables.PAYLOADS, b"\0\0\0\0"), (tables.LETTERS, b"\0\0\0\0"),
            )
        },
    ),
    "a timer of an execution that has ended": (
        ["orphan"],
        lambda _: {tables.TIMERS: {keys.u64(1) + keys.u64(3) + b"x": encode(("timer", "ended", "00" * 16, "1"))}},
    ),
    "a request id without expiry time": (["index"], lambda owner: {tables.EXPIRY: dict.fromkeys(owner.store.keys(tables.EXPIRY))}),
    "an expiry time without request id": (["orphan"], lambda _: {tables.EXPIRY: {keys.u64(5) + b"unknown": b""}}),
    "a request id of a start that is gone": (
        ["orphan"],
        lambda _: {tables.REQUESTS: {b"lost": encode(("request", b"f" * 16, 0, "nobody", None))}},
    ),
    "wrong counters": (["count", "count"], lambda _: {tables.META: {b"requests": keys.u64(9), b"next_number": keys.u64(2)}}),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_D9_what_does_not_fit_is_found_and_mended(hub: Path, case: str) -> None:
    """Each kind of inconsistency is found, alone; a repair mends it, and the hub works as if nothing had been."""
    expected, deed = DAMAGE[case]
    change(hub, deed)
    assert kinds(check_here(hub).findings) == expected
    report = check_here(hub, repair=True)
    assert kinds(report.findings) == expected
    assert report.remaining == []
    assert check_here(hub).findings == []
    trio.run(_works, hub.parent)


async def _works(place: Path) -> None:
    async with a_bank(place) as hub:
        await hub.raise_event("holds", "go")
        assert await hub.instance("holds").result() == "held"
        assert await hub.instance("moves").result() == "a -> b: 4"
        assert await hub.read_entity(Account.at("a")) == Account(11)
        assert await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="asked") == 1
        await hub.raise_event("waits", "go", 3)
        assert await hub.instance("waits").result() == 3


def test_what_is_taken_out_is_kept(hub: Path) -> None:
    """A repair writes each record that it takes out into a file of the hub's folder, with its table, key and bytes."""
    change(hub, lambda _: {tables.INBOX: {keys.u64(77) + keys.u64(1): b"a message"}})
    report = check_here(hub, repair=True)
    assert report.set_aside is not None
    assert report.set_aside.parent == hub
    (line,) = report.set_aside.read_text().splitlines()
    kept = json.loads(line)
    key = keys.u64(77) + keys.u64(1)
    assert (kept["table"], bytes.fromhex(kept["key"])) == (tables.INBOX, key)
    assert RecordSeal(tables.INBOX).unseal(key, bytes.fromhex(kept["stored"])) == b"a message"


def test_L8_an_orphaned_lock_is_released(hub: Path) -> None:
    """A lock whose owner has ended, and a request behind it, are found; after a repair the entity serves everyone again."""
    gone = SectionId("ended", "00" * 16, "1")

    def lock(owner: Owner) -> dict[str, dict[bytes, bytes | None]]:
        number = number_of(owner, b"eledger\0l")
        record = decode_instance(owner.store.get(tables.INSTANCES, number) or b"")
        assert isinstance(record, EntityRecord)
        locked = msgspec.structs.replace(record, lock=Lock(gone, (("ledger", "l"),), 0))
        request = LockRequest(SectionId("nobody", "00" * 16, "1"), (("account", "a"),), 0)
        account = number_of(owner, b"eaccount\0a")
        return {tables.INSTANCES: {number: encode(locked)}, tables.INBOX: {account + keys.u64(1 << 32): encode(request)}}

    change(hub, lock)
    report = check_here(hub)
    assert kinds(report.findings) == ["lock", "lock"]
    assert any("'@ledger@l' is locked by an execution of 'ended'" in finding.what for finding in report.findings)
    assert check_here(hub, repair=True).sound
    trio.run(_works, hub.parent)


async def test_L8_a_lock_with_a_living_owner_is_left_alone(left: Path, tmp_path: Path) -> None:
    """A lock of an instance that waits, or whose record is damaged, is no orphan: nothing frees it."""
    hub = Path(shutil.copytree(left, tmp_path / "bank", ignore=shutil.ignore_patterns("lock.mdb")))
    record = rows(hub, tables.INSTANCES)[rows(hub, tables.DIRECTORY)[b"oholds"]]
    harm(hub, record)
    report = check_here(hub, repair=True)
    assert "lock" not in [finding.kind for finding in report.findings if finding.remedy.startswith("the release")]
    assert [finding.kind for finding in report.remaining if finding.kind == "checksum"] == ["checksum"]
    assert await trio.to_thread.run_sync(lambda: rows(hub, tables.INBOX)) == rows(left, tables.INBOX)


def test_D9_a_damaged_value_is_reported_and_stays(hub: Path) -> None:
    """It is reported with table and key; a repair leaves it where it is, for the hub sets it aside by itself."""
    (number,) = [number for key, number in rows(hub, tables.DIRECTORY).items() if key == b"eaccount\0a"]
    harm(hub, rows(hub, tables.INSTANCES)[number])
    for repair in (False, True):
        report = check_here(hub, repair=repair)
        assert [(finding.kind, number.hex() in finding.what) for finding in report.remaining] == [("checksum", True)]
    assert report.set_aside is None


def test_D9_a_damaged_directory_row_is_made_again(hub: Path) -> None:
    """The row is derived from the instance, so a repair writes it anew."""
    store = Owner.of(LmdbStore(hub)).store
    sealed = RecordSeal(tables.DIRECTORY).seal(b"oholds", number_of(Owner(store, 0), b"oholds"))
    store.close()
    harm(hub, b"oholds" + sealed)  # LMDB keeps key and value side by side
    report = check_here(hub, repair=True)
    assert set(kinds(report.findings)) == {"checksum", "index"}
    assert report.sound
    trio.run(_works, hub.parent)


def test_D9_damaged_pages_are_found_and_the_rest_is_saved(hub: Path) -> None:
    """With a page damaged, a repair saves every record of the others, keeps the old folder, and the hub can be opened."""
    change(hub, lambda _: {tables.META: {keys.u64(1) + keys.u64(n): b"x" * 400 for n in range(200)}})
    data = hub / "data.mdb"
    content = bytearray(data.read_bytes())
    pages = [at for at in range(8192, len(content), 4096) if content[at + 10] == 2 and b"x" * 400 in content[at : at + 4096]]
    at = pages[len(pages) // 2]
    content[at : at + 4096] = bytes(4096)
    data.write_bytes(content)
    assert "page" in kinds(check(hub).findings)
    report = check(hub, repair=True)
    assert report.kept is not None
    assert (report.kept / "data.mdb").read_bytes() == bytes(content)
    assert 180 < len([key for key in rows(hub, tables.META) if len(key) == 16]) < 200
    assert check(hub).sound
    trio.run(_works, hub.parent)


def test_D9_a_record_that_no_search_finds_is_found(hub: Path) -> None:
    """A changed separating key, which leaves every page in order, is reported; a repair makes the record findable again."""
    change(hub, lambda _: {tables.META: {keys.u64(1) + keys.u64(n): b"x" * 400 for n in range(200)}})
    data = hub / "data.mdb"
    content = bytearray(data.read_bytes())
    separators = [at for n in range(1, 200) for at in places(content, b"\x10\0" + keys.u64(1) + keys.u64(n))]
    branch = next(at for at in separators if content[at // 4096 * 4096 + 10] == 1)
    lost = bytes(content[branch + 2 : branch + 18])
    content[branch + 17] += 1
    data.write_bytes(content)
    (finding,) = check(hub).findings
    assert "a search does not find it" in finding.what
    assert lost.hex() in finding.what
    report = check(hub, repair=True)
    assert report.sound
    assert len([key for key in rows(hub, tables.META) if len(key) == 16]) == 200
    store = Owner.of(LmdbStore(hub)).store
    assert store.get(tables.META, lost) == b"x" * 400
    store.close()


def places(content: bytes | bytearray, sought: bytes) -> list[int]:
    """Where some bytes stand."""
    return [match.start() for match in re.finditer(re.escape(sought), content)]


def test_D9_a_truncated_file_is_reported(hub: Path) -> None:
    """A file that was cut off anywhere is reported, and neither the caller nor the report is lost to it."""
    data = hub / "data.mdb"
    whole = data.read_bytes()
    for size in (len(whole) // 3, len(whole) // 2):
        data.write_bytes(whole[:size])
        assert "page" in kinds(check_here(hub).findings)
    data.write_bytes(whole[:100])
    with pytest.raises(StorageUnusable, match="cut off"):
        check_here(hub)


def test_D9_a_lost_commit_is_reported_and_accepted(hub: Path) -> None:
    """Data that has gone back is reported; a repair accepts the loss, so that the hub can be opened again."""
    older = (hub / "data.mdb").read_bytes()
    change(hub, lambda _: {tables.META: {b"time": keys.u64(1)}})
    (hub / "data.mdb").write_bytes(older)
    with pytest.raises(StorageUnusable, match="has gone back"):
        LmdbStore(hub).open()
    assert kinds(check_here(hub).findings) == ["witness"]
    report = check_here(hub, repair=True)
    assert kinds(report.findings) == ["witness"]
    assert report.sound
    trio.run(_works, hub.parent)


def test_what_is_no_hub_is_refused(tmp_path: Path) -> None:
    """A path without a hub is an error that names it, not a finding."""
    for repair in (False, True):
        with pytest.raises(StorageUnusable, match=r"nothing does not exist"):
            check(tmp_path / "nothing", repair=repair)
