"""LmdbStore: the contract, and what happens in its process. The disk and its faults: test_lmdb_faults.py."""

from __future__ import annotations

import gc
import shutil
from typing import TYPE_CHECKING

import lmdb
import pytest
from msgspec.structs import replace
from perdure.storage.errors import DamagedRecord, HubInUse, InvariantViolated, StorageInDoubt, StorageUnusable
from perdure.storage.lmdb_folder import FORMAT_VERSION, HubHeader
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.store import Store
from perdure.storage.tables import INBOX, INSTANCES

from .contract import FOREVER, Owner, StoreContract
from .processes import child, run

if TYPE_CHECKING:
    from pathlib import Path


class TestLmdbStore(StoreContract):
    """The contract."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LmdbStore(tmp_path / "hubs" / "bank")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hubs" / "bank"


def filled(folder: Path) -> None:
    """Create a hub with 300 records in ``instances`` and close it."""
    owner = Owner.of(LmdbStore(folder))
    owner.commit({INSTANCES: {b"%06d" % n: b"value %06d " % n * 20 for n in range(300)}})
    owner.store.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_another_object_finds_what_was_committed(folder: Path) -> None:
    """A new store object on the same folder reads the records and continues the epochs and commit numbers."""
    filled(folder)
    owner = Owner.of(LmdbStore(folder))
    assert (owner.epoch, owner.store.commit_number) == (2, 1)
    assert owner.store.get(INSTANCES, b"000007") == b"value 000007 " * 20


def test_files_are_private(folder: Path) -> None:
    """Folders are 0700, files 0600, and nothing else is left beside the hub."""
    filled(folder)
    assert mode(folder) == mode(folder.parent) == 0o700
    assert {path.name for path in folder.iterdir()} == {"data.mdb", "lock.mdb", "hub.json", "witness"}
    assert {path.name for path in folder.parent.iterdir()} == {"bank", "bank.owner.lock"}
    assert {mode(path) for path in [*folder.iterdir(), folder.with_name("bank.owner.lock")]} == {0o600}


def test_empty_folder_becomes_a_hub(folder: Path) -> None:
    """An empty folder that exists already is used."""
    folder.mkdir(parents=True)
    Owner.of(LmdbStore(folder)).commit({})


def test_abandoned_creation_is_removed(folder: Path) -> None:
    """What an interrupted creation left is removed at the next opening; another hub's folder is not."""
    leftover = folder.with_name("bank.tmp-0123456789abcdef")
    leftover.mkdir(parents=True)
    (leftover / "data.mdb").write_bytes(b"half")
    others = {folder.with_name(name) for name in ("bank.tmp-notes", "bank2.tmp-0123456789abcdef", "rank")}
    for other in others:
        other.mkdir()
    Owner.of(LmdbStore(folder)).store.close()
    assert not leftover.exists()
    assert all(other.exists() for other in others)


def test_two_objects_through_different_paths(folder: Path, tmp_path: Path) -> None:
    """A hub reached through a symbolic link is the same hub: its second owner is refused."""
    owner = Owner.of(LmdbStore(folder))
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(HubInUse, match="this process"):
        LmdbStore(tmp_path / "link").open()
    owner.commit({})


def test_racing_creators(folder: Path) -> None:
    """Of several processes that create one hub at once exactly one gets it, and it is whole."""
    script = """
store = LmdbStore(folder)
try:
    store.open(); say("owner")
except HubInUse:
    say("refused")
input()
store.close()
"""
    with child(script, folder) as a, child(script, folder) as b, child(script, folder) as c:
        assert sorted(one.line() for one in (a, b, c)) == ["owner", "refused", "refused"]
        for one in (a, b, c):
            one.go_on()
            assert one.end() == 0
    assert Owner.of(LmdbStore(folder)).epoch == 2


def test_killed_owner(folder: Path) -> None:
    """A hub whose owner was killed opens at once and holds a prefix that includes all that was acknowledged."""
    script = """
store = LmdbStore(folder)
epoch = store.open()
for n in range(10_000):
    commit(store, epoch, {"instances": {b"a%d" % n: b"v"}, "inbox": {b"b%d" % n: b"v"}})
    say(n)
"""
    with child(script, folder) as victim:
        acknowledged = [int(victim.line()) for _ in range(50)][-1]
        with pytest.raises(HubInUse, match=f"process {victim.pid};"):
            LmdbStore(folder).open()
        victim.kill()
    store = Owner.of(LmdbStore(folder)).store
    count = store.commit_number
    assert count > acknowledged
    assert set(store.keys(INSTANCES, limit=20_000)) == {b"a%d" % n for n in range(count)}
    assert set(store.keys(INBOX, limit=20_000)) == {b"b%d" % n for n in range(count)}


def test_forked_child_is_refused(folder: Path) -> None:
    """Every verb raises ForkedHub in a forked child, which neither disturbs the parent nor outlives its ownership."""
    script = """
store = LmdbStore(folder, map_bytes=1 << 20)
epoch = store.open()
commit(store, epoch, {"instances": {b"k": b"v"}})
batch = Batch(0, epoch, 2, {"instances": {b"too big for the map": b"x" * (4 << 20)}})
pending = store.submit(batch)  # is under way until somebody waits for it
reader, writer = os.pipe()
if (pid := os.fork()) == 0:
    verbs = dict(get=lambda: store.get("instances", b"k"), scan=lambda: store.scan("instances"),
        keys=lambda: store.keys("instances"), submit=lambda: store.submit(batch), close=store.close, open=store.open,
        number=lambda: store.commit_number, statistics=store.statistics, wait=lambda: pending.wait(60),
        another=LmdbStore(folder).open)
    for name, verb in verbs.items():
        try:
            say(name, verb())
        except PerdureError as error:
            say(name, type(error).__name__)
    os.close(writer)
    sys.exit(0)
os.close(writer)
os.read(reader, 1)
assert pending.wait(60)
commit(store, epoch, {"instances": {b"k": b"w"}})
say("child's exit code", os.waitpid(pid, 0)[1])
say(store.get("instances", b"k"))
store.close()
"""
    verbs = ["get", "scan", "keys", "submit", "close", "open", "number", "statistics", "wait"]
    said = run(script, folder)
    assert said == [f"{verb} ForkedHub" for verb in verbs] + ["another HubInUse", "child's exit code 0", "b'w'"]


def test_hub_of_a_dead_parent_is_free_while_its_child_lives(folder: Path) -> None:
    """A forked child that lives on does not keep the hub locked."""
    script = """
store = LmdbStore(folder)
store.open()
if os.fork():
    os._exit(0)
say("child")
input()
"""
    with child(script, folder) as parent:
        assert parent.line() == "child"
        assert parent.end() == 0
        Owner.of(LmdbStore(folder)).commit({})
        parent.go_on()


def test_exit_without_closing(folder: Path) -> None:
    """An interpreter that ends with an open store and a commit under way does not hang and finishes the commit."""
    run('store = LmdbStore(folder); store.submit(Batch(0, store.open(), 1, {"inbox": {b"k": b"v"}}))', folder)
    assert Owner.of(LmdbStore(folder)).store.get(INBOX, b"k") == b"v"


def test_forgotten_store_is_closed(folder: Path) -> None:
    """A store that is garbage gives the hub up."""
    LmdbStore(folder).open()
    gc.collect()
    assert Owner.of(LmdbStore(folder)).epoch == 2


def test_replaced_owner_writes_nothing(folder: Path) -> None:
    """An owner whose lock was circumvented learns at its next commit that another owner came, and writes nothing."""
    owner = Owner.of(LmdbStore(folder))
    owner.commit({INSTANCES: {b"k": b"mine"}})
    folder.with_name("bank.owner.lock").unlink()
    run('store = LmdbStore(folder); commit(store, store.open(), {"instances": {b"k": b"theirs"}})', folder)
    for _ in range(2):
        with pytest.raises(HubInUse, match="another owner"):
            owner.commit({INSTANCES: {b"k": b"mine again"}})
    assert owner.store.get(INSTANCES, b"k") == b"theirs"


@pytest.mark.parametrize("deed", ["replaced", "deleted"])
def test_data_file_that_is_gone(folder: Path, deed: str) -> None:
    """A batch is refused, and the hub must be reopened, when the data file was replaced or deleted underneath."""
    owner = Owner.of(LmdbStore(folder))
    owner.commit({})
    data = folder / "data.mdb"
    if deed == "replaced":
        shutil.copy(data, folder / "copy")
        (folder / "copy").rename(data)
    else:
        data.unlink()
    for _ in range(2):
        with pytest.raises(StorageInDoubt, match="replaced or deleted"):
            owner.commit({})


def test_second_batch_while_one_is_under_way(folder: Path) -> None:
    """A batch that comes before the last one is settled is refused and not written."""
    owner = Owner.of(LmdbStore(folder, map_bytes=1 << 20))
    batch = owner.batch({INSTANCES: {b"too big for the map": b"x" * (4 << 20)}})
    commit = owner.store.submit(batch)  # is under way until somebody waits for it
    with pytest.raises(InvariantViolated, match="commit 1 is under way"):
        owner.store.submit(batch)
    assert commit.wait(FOREVER)
    assert owner.store.commit_number == 1


def test_value_that_is_no_bytes(folder: Path) -> None:
    """A batch with something else than bytes is refused whole, and the store goes on."""
    owner = Owner.of(LmdbStore(folder))
    wrong = {b"a": b"1", b"b": "text"}
    with pytest.raises(InvariantViolated, match="batch 1 holds what cannot be written"):
        owner.commit({INSTANCES: wrong})  # pyright: ignore[reportArgumentType]
    owner.commit({INSTANCES: {b"c": b"3"}})
    assert owner.store.keys(INSTANCES) == [b"c"]


def test_flipped_byte_is_noticed(folder: Path) -> None:
    """A value that changed on disk raises DamagedRecord with its place; all other records are still served (D9)."""
    filled(folder)
    data = folder / "data.mdb"
    content = data.read_bytes()
    assert b"value 000123" in content
    data.write_bytes(content.replace(b"value 000123", b"value 000124"))
    store = Owner.of(LmdbStore(folder)).store
    with pytest.raises(DamagedRecord) as caught:
        store.get(INSTANCES, b"000123")
    assert (caught.value.table, caught.value.key) == (INSTANCES, b"000123")
    with pytest.raises(DamagedRecord):
        store.scan(INSTANCES)
    healthy = [key for key in store.keys(INSTANCES) if key != b"000123"]
    assert len(healthy) == 299
    assert all(store.get(INSTANCES, key) == b"value %b " % key * 20 for key in healthy)


def test_newer_format_is_refused(folder: Path) -> None:
    """A hub that a newer program wrote is refused by saying so, and is not changed."""
    filled(folder)
    marker = folder / "hub.json"
    header = HubHeader.from_bytes(marker.read_bytes(), "the marker")
    assert header.format == FORMAT_VERSION
    marker.write_bytes(replace(header, format=FORMAT_VERSION + 1).to_bytes())
    before = (folder / "data.mdb").read_bytes()
    with pytest.raises(StorageUnusable, match=r"written by a newer Perdure \(format 2"):
        LmdbStore(folder).open()
    assert (folder / "data.mdb").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"product": "perdure", "format": 0, "hub_id": "1"}'])
def test_damaged_marker_is_refused(folder: Path, content: bytes) -> None:
    """A marker that cannot be read is reported with its path, never replaced."""
    filled(folder)
    (folder / "hub.json").write_bytes(content)
    with pytest.raises(StorageUnusable, match=r"hub\.json is damaged"):
        LmdbStore(folder).open()


def test_marker_of_another_product_is_refused(folder: Path) -> None:
    """A folder whose marker names another product is not opened."""
    filled(folder)
    (folder / "hub.json").write_bytes(HubHeader("other", 1, "1").to_bytes())
    with pytest.raises(StorageUnusable, match="'other'"):
        LmdbStore(folder).open()


def test_data_of_another_hub_is_refused(folder: Path) -> None:
    """A data file that belongs to another hub than the marker beside it is refused."""
    filled(folder)
    filled(folder.with_name("other"))
    shutil.copy(folder.with_name("other") / "data.mdb", folder / "data.mdb")
    with pytest.raises(StorageUnusable, match="do not belong together"):
        LmdbStore(folder).open()


def test_hub_without_its_data_is_refused(folder: Path) -> None:
    """A hub whose data file is missing or empty is an error, never a new hub."""
    filled(folder)
    data = folder / "data.mdb"
    data.write_bytes(b"")
    with pytest.raises(StorageUnusable, match="is empty"):
        LmdbStore(folder).open()
    assert data.stat().st_size == 0
    data.unlink()
    with pytest.raises(StorageUnusable, match="is missing"):
        LmdbStore(folder).open()
    assert not data.exists()


def test_foreign_folders_are_refused(folder: Path) -> None:
    """A folder with other files, a foreign LMDB database or a file in the folder's place is refused and left alone."""
    folder.mkdir(parents=True)
    (folder / "letter.txt").write_text("dear reader")
    with pytest.raises(StorageUnusable, match="it holds other files"):
        LmdbStore(folder).open()
    lmdb.open(str(folder.with_name("foreign"))).close()
    with pytest.raises(StorageUnusable, match="an LMDB database that is no Perdure hub"):
        LmdbStore(folder.with_name("foreign")).open()
    folder.with_name("file").write_text("dear reader")
    with pytest.raises(StorageUnusable, match="is a file"):
        LmdbStore(folder.with_name("file")).open()
    assert folder.with_name("file").read_text() == "dear reader"


@pytest.mark.parametrize("lib_version", [0, 1])
def test_foreign_database_behind_a_marker_is_refused(folder: Path, lib_version: int) -> None:
    """An LMDB file of another program, or of the other LMDB format, is refused though a marker stands beside it."""
    filled(folder)
    (folder / "data.mdb").unlink()
    lmdb.open(str(folder), lib_version=lib_version).close()
    with pytest.raises(StorageUnusable):
        LmdbStore(folder).open()


def test_refused_hub_is_not_kept_locked(folder: Path) -> None:
    """A store that could not be opened holds neither the owner lock nor the files, and opens once they are mended."""
    filled(folder)
    marker = folder / "hub.json"
    good = marker.read_bytes()
    store = LmdbStore(folder)
    errors: list[StorageUnusable] = []
    for bad in (b"{", replace(HubHeader.from_bytes(good, ""), hub_id="0").to_bytes()):
        marker.write_bytes(bad)
        with pytest.raises(StorageUnusable) as caught:
            store.open()
        errors.append(caught.value)  # and with it everything that was local to the attempt
    marker.write_bytes(good)
    Owner.of(store).commit({})
