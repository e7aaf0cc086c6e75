"""How a hub was left, and how far it had come: what the next opening makes of it (D9)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from perdure.storage import lmdb_folder, lmdb_migrations, lmdb_opening, lmdb_pages, lmdb_witness, lmdb_writer
from perdure.storage.errors import StorageInDoubt, StorageUnusable
from perdure.storage.lmdb_folder import HubHeader
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.lmdb_witness import Left, WitnessRecord, read_witness, write_witness
from perdure.storage.lmdb_writer import LmdbTable
from perdure.storage.tables import INSTANCES

from .contract import Owner
from .processes import child

PAGE = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bank"


def filled(folder: Path) -> WitnessRecord:
    """A hub of some pages that was left in order, and what its witness says."""
    owner = Owner.of(LmdbStore(folder))
    for n in range(5):
        owner.commit({INSTANCES: {b"%d/%03d" % (n, m): b"x" * 200 for m in range(100)}})
    owner.store.close()
    said = read_witness(folder)
    assert said is not None
    return said


def harm_a_leaf(folder: Path) -> None:
    """Damage the structure, not the content, of a page with records."""
    data = folder / "data.mdb"
    content = bytearray(data.read_bytes())
    for at in range(2 * PAGE, len(content), PAGE):
        if content[at + 10] == 2 and content.find(b"x" * 200, at, at + PAGE) > 0:  # a leaf
            content[at + 12] ^= 0x40  # the end of its list of records
            data.write_bytes(content)
            return
    raise AssertionError("there is no leaf")


records = st.builds(
    WitnessRecord, st.integers(0, 1 << 63), st.integers(0, 1 << 63), st.sampled_from(Left), st.sampled_from(["", "x" * 36])
)


@given(records, st.integers(min_value=0), st.integers(1, 255))
def test_D9_a_damaged_line_is_no_testimony(said: WitnessRecord, place: int, flip: int) -> None:
    """A witness reads back as it was written; with any byte changed it says nothing."""
    line = said.to_line()
    assert WitnessRecord.from_line(line) == said
    harmed = bytearray(line)
    harmed[place % len(line)] ^= flip
    assert WitnessRecord.from_line(bytes(harmed)) is None
    assert WitnessRecord.from_line(line[: place % len(line)]) is None


def test_D9_it_follows_every_commit(folder: Path) -> None:
    """It says open while the hub is, knows the last commit of a killed process, and says closed after a good end."""
    script = """
store = LmdbStore(folder)
epoch = store.open()
for n in range(7):
    commit(store, epoch, {"instances": {b"%d" % n: b"v"}})
store._engine.writer.submit(Batch(0, epoch, 8, {})).wait(60)
store.close() if len(sys.argv) > 2 else say("done")
input()
"""
    with child(script, folder) as killed:
        assert killed.line() == "done"
        killed.kill()
    said = read_witness(folder)
    assert said is not None
    assert (said.epoch, said.left) == (1, Left.OPEN)
    assert said.number in (7, 8)  # it is told after the caller
    store = Owner.of(LmdbStore(folder)).store
    store.close()
    assert read_witness(folder) == WitnessRecord(2, 8, Left.CLOSED, lmdb_witness.this_boot())


@pytest.mark.parametrize("lost", [{"number": 9}, {"epoch": 2}], ids=["a commit", "an opening"])
def test_D9_a_commit_that_vanished_is_noticed(folder: Path, lost: dict[str, int]) -> None:
    """A data file that holds less than its witness saw is refused with both numbers, and stays as it is."""
    said = filled(folder)
    write_witness(folder, replace(said, **lost))
    before = (folder / "data.mdb").read_bytes()
    for _ in range(2):
        with pytest.raises(StorageUnusable, match=r"has gone back: it holds commit 5 of owner 1, and commit \d of owner \d had"):
            LmdbStore(folder).open()
    assert (folder / "data.mdb").read_bytes() == before


def test_D9_a_damaged_meta_page_is_noticed(folder: Path) -> None:
    """A flipped bit in the newer meta page, which brings back the commit before, is noticed at opening."""
    filled(folder)
    data = folder / "data.mdb"
    content = bytearray(data.read_bytes())
    transactions = [int.from_bytes(content[at + 144 : at + 152], "little") for at in (0, PAGE)]
    newer = PAGE * transactions.index(max(transactions))
    content[newer + 144 : newer + 152] = (max(transactions) - 2).to_bytes(8, "little")
    data.write_bytes(content)
    with pytest.raises(StorageUnusable, match="has gone back"):
        LmdbStore(folder).open()


def test_an_older_data_file_is_noticed(folder: Path, tmp_path: Path) -> None:
    """A data file that was replaced by an earlier copy of itself is refused."""
    filled(folder)
    shutil.copy(folder / "data.mdb", tmp_path / "copy")
    Owner.of(LmdbStore(folder)).store.close()
    shutil.copy(tmp_path / "copy", folder / "data.mdb")
    with pytest.raises(StorageUnusable, match="replaced by an older one"):
        LmdbStore(folder).open()


@pytest.mark.parametrize("left", ["restarted", "suspect", "unknown"])
def test_pages_are_verified_before_the_first_turn(folder: Path, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart of the machine, a failed check, or without a witness, damaged pages of any file are found at opening."""
    monkeypatch.setattr(lmdb_pages, "AT_ONCE_BYTES", 0)
    said = filled(folder)
    if left == "unknown":
        (folder / "witness").write_bytes(b"?")
    else:
        what = Left.OPEN if left == "restarted" else Left.SUSPECT
        write_witness(folder, replace(said, left=what, boot_id="another"))
    sound = (folder / "data.mdb").read_bytes()
    harm_a_leaf(folder)
    with pytest.raises(StorageUnusable, match=r"fails verification: .*perdure check"):
        LmdbStore(folder).open()
    (folder / "data.mdb").write_bytes(sound)
    Owner.of(LmdbStore(folder)).store.close()


def test_a_hub_that_was_left_in_order_is_not_verified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it does not read the pages, so that it takes no time."""
    filled(folder)
    monkeypatch.setattr(lmdb_opening, "verify_pages", lambda _: pytest.fail("the pages were read"))
    LmdbStore(folder).open()


@pytest.fixture
def crashed_and_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose process died, and which is too large to be verified at once."""
    said = filled(folder)
    write_witness(folder, replace(said, left=Left.OPEN))
    monkeypatch.setattr(lmdb_pages, "AT_ONCE_BYTES", 0)
    return folder


def opened_and_verified(folder: Path) -> Owner:
    """Open a hub, and wait until the verification beside it has ended."""
    store = LmdbStore(folder)
    owner = Owner.of(store)
    engine = store._engine  # pyright: ignore[reportPrivateUsage]
    assert engine is not None
    assert engine.verification is not None
    engine.verification.join()
    return owner


def test_a_crashed_process_is_verified_beside_the_hub(crashed_and_large: Path) -> None:
    """Sound pages are found sound by another process, commits going on meanwhile, and no reader is left behind."""
    owner = Owner.of(LmdbStore(crashed_and_large))
    for n in range(50):
        owner.commit({INSTANCES: {b"meanwhile %d" % n: b"x" * 500}})
    owner.store.close()
    write = replace(read_witness(crashed_and_large) or pytest.fail("no witness"), left=Left.OPEN)
    write_witness(crashed_and_large, write)
    owner = opened_and_verified(crashed_and_large)
    owner.commit({INSTANCES: {b"after": b"x"}})
    owner.store.close()
    said = read_witness(crashed_and_large)
    assert said is not None
    assert said.left is Left.CLOSED


def test_damage_found_beside_the_hub_stops_it(crashed_and_large: Path) -> None:
    """Damaged pages stop the hub before they spread, and the next opening refuses the store."""
    harm_a_leaf(crashed_and_large)
    owner = opened_and_verified(crashed_and_large)
    with pytest.raises(StorageInDoubt, match="fails verification"):
        owner.commit({INSTANCES: {b"after": b"x"}})
    owner.store.close()
    with pytest.raises(StorageUnusable, match="fails verification"):
        LmdbStore(crashed_and_large).open()


def test_a_hub_left_before_it_was_verified_is_verified_next_time(crashed_and_large: Path) -> None:
    """Closing ends the other process, and the next opening does not wait for the pages either: another process looks beside it."""
    harm_a_leaf(crashed_and_large)
    Owner.of(LmdbStore(crashed_and_large)).store.close()
    said = read_witness(crashed_and_large)
    assert said is not None
    assert said.left is Left.OPEN
    owner = opened_and_verified(crashed_and_large)
    with pytest.raises(StorageInDoubt, match="fails verification"):
        owner.commit({INSTANCES: {b"after": b"x"}})
    owner.store.close()


def test_an_older_format_is_migrated_in_one_transaction(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub of an older format is migrated step by step with its header; a step that fails changes nothing."""
    filled(folder)
    steps: list[str] = []

    def first(transaction: lmdb.Transaction, tables: Mapping[str, LmdbTable]) -> None:
        table = tables[INSTANCES]
        transaction.put(b"new", table.seal.seal(b"new", b"made by the step"), db=table.handle)
        steps.append("first")

    def second(transaction: lmdb.Transaction, tables: Mapping[str, LmdbTable]) -> None:
        steps.append("second")
        if len(steps) < 4:
            raise OSError("the machine stops here")

    monkeypatch.setattr(lmdb_folder, "FORMAT_VERSION", 3)
    with pytest.raises(StorageUnusable, match="cannot migrate from format 1"):
        LmdbStore(folder).open()
    monkeypatch.setattr(lmdb_migrations, "STEPS", {1: first, 2: second})
    with pytest.raises(OSError, match="stops here"):
        LmdbStore(folder).open()
    monkeypatch.setattr(lmdb_folder, "FORMAT_VERSION", 1)
    assert Owner.of(LmdbStore(folder)).store.get(INSTANCES, b"new") is None
    monkeypatch.setattr(lmdb_folder, "FORMAT_VERSION", 3)
    store = Owner.of(LmdbStore(folder)).store
    assert store.get(INSTANCES, b"new") == b"made by the step"
    store.close()
    assert steps == ["first", "second"] * 2
    assert HubHeader.from_bytes((folder / "hub.json").read_bytes(), "the marker").format == 3
    monkeypatch.setattr(lmdb_folder, "FORMAT_VERSION", 2)
    with pytest.raises(StorageUnusable, match="newer Perdure"):
        LmdbStore(folder).open()


def test_a_marker_that_is_behind_its_data_is_brought_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between a migration's commit and the marker leaves a hub that opens, with both of the new format."""
    filled(folder)
    marker = (folder / "hub.json").read_bytes()
    monkeypatch.setattr(lmdb_folder, "FORMAT_VERSION", 2)
    monkeypatch.setattr(lmdb_migrations, "STEPS", {1: lambda *_: None})
    Owner.of(LmdbStore(folder)).store.close()
    (folder / "hub.json").write_bytes(marker)
    monkeypatch.setattr(lmdb_migrations, "STEPS", {})
    Owner.of(LmdbStore(folder)).store.close()
    assert HubHeader.from_bytes((folder / "hub.json").read_bytes(), "the marker").format == 2


def test_dead_readers_are_cleared_now_and_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was killed keeps pages from being used again only until the next clearing."""
    monkeypatch.setattr(lmdb_writer, "COMMITS_BETWEEN_READER_CHECKS", 4)
    store = LmdbStore(folder)
    owner = Owner.of(store)
    script = """
import lmdb
environment = lmdb.open(str(folder), readonly=True)
transaction = environment.begin()
say("reading")
input()
"""
    with child(script, folder) as reader:
        assert reader.line() == "reading"
        reader.kill()
    while store.commit_number < 4:
        owner.commit({})
    owner.commit({})  # the thread that clears them has come back for this one
    engine = store._engine  # pyright: ignore[reportPrivateUsage]
    assert engine is not None
    assert engine.environment.reader_check() == 0


def test_a_witness_that_cannot_be_written_stops_nobody(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The hub works without it, says so once, and the next opening checks every page."""
    filled(folder)
    (folder / "witness").unlink()
    (folder / "witness").mkdir()
    owner = Owner.of(LmdbStore(folder))
    owner.commit({})
    owner.store.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert Owner.of(LmdbStore(folder)).epoch == 3


def test_no_read_keeps_a_snapshot(folder: Path) -> None:
    """After every kind of read no transaction of this process is open: none keeps pages from being used again, whoever waits."""
    filled(folder)
    owner = Owner.of(LmdbStore(folder))
    store = owner.store
    for _ in range(2):
        assert store.get(INSTANCES, b"0/000") is not None
        assert len(list(store.keys(INSTANCES, limit=10))) == 10
        assert len(list(store.scan(INSTANCES, limit=10))) == 10
        engine = store._engine  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        slots = [line.split() for line in engine.environment.readers().splitlines()[1:]]
        assert [slot for slot in slots if slot[2:] != ["-"]] == []
        owner.commit({INSTANCES: {b"more": b"x"}})
