"""Copies of a hub: taken while it runs, put back, made smaller; and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from perdure.storage.errors import HubInUse, StorageUnusable
from perdure.storage.lmdb_backup import backup, compact, restore
from perdure.storage.lmdb_folder import check_folder
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.tables import INSTANCES

from .contract import Owner
from .processes import child

RUNNING = """
store = LmdbStore(folder)
epoch = store.open()
n = 0
say("running")
while True:
    n += 1
    commit(store, epoch, {"instances": {b"a%d" % n: b"v" * 200}, "inbox": {b"b%d" % n: b"v"}})
    say(n)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hubs" / "bank"


def filled(hub: Path, kept: int = 100) -> dict[bytes, bytes]:
    """A hub that was left in order, most of whose data was deleted again; and its records."""
    owner = Owner.of(LmdbStore(hub))
    owner.commit({INSTANCES: {b"%06d" % n: b"value %06d" % n * 40 for n in range(2000)}})
    owner.commit({INSTANCES: {b"%06d" % n: None for n in range(kept, 2000)}})
    owner.store.close()
    return contents(hub)


def contents(hub: Path) -> dict[bytes, bytes]:
    store = Owner.of(LmdbStore(hub)).store
    rows = dict(store.scan(INSTANCES, limit=10_000))
    store.close()
    return rows


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def harm(hub: Path) -> None:
    """Damage the value of a record."""
    data = hub / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"value 000007", b"value 000008"))


def test_a_backup_is_restored(hub: Path, tmp_path: Path) -> None:
    """What was in the hub when the backup was made is in the restored one, with the same commit number, and no more."""
    records = filled(hub)
    made = backup(hub, tmp_path / "saved")
    assert (made.folder, made.commit_number, made.records) == (tmp_path / "saved", 2, 100)
    assert names(tmp_path / "saved") == {"data.mdb", "hub.json"}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "saved").iterdir()} == {0o600}
    restore(tmp_path / "saved", tmp_path / "elsewhere" / "bank")
    store = Owner.of(LmdbStore(tmp_path / "elsewhere" / "bank")).store
    assert store.commit_number == 2
    store.close()
    assert contents(tmp_path / "elsewhere" / "bank") == records
    assert names(tmp_path / "saved") == {"data.mdb", "hub.json"}


def test_a_backup_beside_a_running_hub_is_one_commit(hub: Path, tmp_path: Path) -> None:
    """Copies that are made while another process commits each hold all of a batch or nothing, and all that was acknowledged."""
    with child(RUNNING, hub) as running:
        assert running.line() == "running"
        for number in range(3):
            acknowledged = [int(running.line()) for _ in range(20)][-1]
            made = backup(hub, tmp_path / f"saved{number}")
            assert made.commit_number >= acknowledged
            assert int(running.line()) > acknowledged
        running.kill()
    for number in range(3):
        store = Owner.of(LmdbStore(tmp_path / f"saved{number}")).store
        count = store.commit_number
        assert set(store.keys(INSTANCES, limit=100_000)) == {b"a%d" % n for n in range(1, count + 1)}
        assert len(store.keys("inbox", limit=100_000)) == count
        store.close()


def test_a_hub_of_this_very_process_is_refused(hub: Path, tmp_path: Path) -> None:
    """LMDB opens a file once in a process: the error says to use another one, and nothing is left behind."""
    Owner.of(LmdbStore(hub)).commit({})
    store = LmdbStore(hub.with_name("held"))
    store.open()
    with pytest.raises(HubInUse, match="from another process"):
        backup(hub.with_name("held"), tmp_path / "saved")
    assert not any("saved" in name for name in names(tmp_path))
    store.close()


def test_nothing_is_overwritten(hub: Path, tmp_path: Path) -> None:
    """An existing destination is refused by its name, and stays as it is."""
    filled(hub)
    backup(hub, tmp_path / "saved")
    before = (tmp_path / "saved" / "data.mdb").read_bytes()
    with pytest.raises(StorageUnusable, match=r"saved exists already"):
        backup(hub, tmp_path / "saved")
    with pytest.raises(StorageUnusable, match=r"bank exists already"):
        restore(tmp_path / "saved", hub)
    assert (tmp_path / "saved" / "data.mdb").read_bytes() == before


def test_a_replaced_hub_is_kept(hub: Path, tmp_path: Path) -> None:
    """Restoring over a hub exchanges the two folders, and the former one can be opened under its new name."""
    old = filled(hub)
    backup(hub, tmp_path / "saved")
    Owner.of(LmdbStore(hub)).commit({INSTANCES: {b"later": b"v"}})
    made = restore(tmp_path / "saved", hub, replace=True)
    assert made.replaced is not None
    assert made.replaced.name.startswith("bank.replaced-")
    assert contents(hub) == old
    assert contents(made.replaced) == {**old, b"later": b"v"}


@pytest.mark.parametrize("verb", ["restore", "compact"])
def test_there_is_never_a_moment_without_the_hub(hub: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a hub is replaced its place is never empty: whoever opened it then would make a new one."""
    filled(hub)
    backup(hub, tmp_path / "saved")
    rename = Path.rename
    renamed: list[Path] = []

    def watched(path: Path, target: Path) -> Path:
        made = rename(path, target)
        renamed.append(path)
        assert check_folder(hub)
        return made

    monkeypatch.setattr(Path, "rename", watched)
    if verb == "restore":
        restore(tmp_path / "saved", hub, replace=True)
    else:
        compact(hub)
    assert renamed


def test_a_running_hub_is_not_replaced_or_compacted(hub: Path, tmp_path: Path) -> None:
    """Both need a hub that nobody runs; the refusal names the process."""
    filled(hub)
    backup(hub, tmp_path / "saved")
    with child("store = LmdbStore(folder); store.open(); say('running'); input()", hub) as running:
        assert running.line() == "running"
        with pytest.raises(HubInUse, match=f"process {running.pid}"):
            restore(tmp_path / "saved", hub, replace=True)
        with pytest.raises(HubInUse, match=f"process {running.pid}"):
            compact(hub)


def test_compacting_keeps_everything_but_the_room(hub: Path) -> None:
    """The file shrinks to its data, records, commit number and epoch stay, and nothing is left beside the hub."""
    records = filled(hub)
    made = compact(hub)
    assert made.file_bytes == (hub / "data.mdb").stat().st_size < made.source_bytes / 4
    assert names(hub.parent) == {"bank", "bank.owner.lock"}
    owner = Owner.of(LmdbStore(hub))
    assert (owner.epoch, owner.store.commit_number) == (3, 2)
    owner.commit({})
    owner.store.close()
    assert contents(hub) == records


@pytest.mark.parametrize("verb", ["backup", "restore", "compact"])
def test_damaged_data_is_not_copied(hub: Path, tmp_path: Path, verb: str) -> None:
    """A damaged record stops each copy with its place; the hub and the copy's place stay as they were."""
    filled(hub)
    backup(hub, tmp_path / "saved")
    harm(hub)
    harm(tmp_path / "saved")
    before = (hub / "data.mdb").read_bytes()
    deeds = {
        "backup": lambda: backup(hub, tmp_path / "copy"),
        "restore": lambda: restore(tmp_path / "saved", tmp_path / "copy"),
        "compact": lambda: compact(hub),
    }
    with pytest.raises(StorageUnusable, match=r"damaged: the record 303030303037 of table 'instances'"):
        deeds[verb]()
    assert (hub / "data.mdb").read_bytes() == before
    assert not (tmp_path / "copy").exists()
    assert not any(".tmp-" in name for name in names(tmp_path) | names(hub.parent))


@pytest.mark.parametrize("size", [0, 100, 5000, 50_000])
def test_a_truncated_file_is_not_copied(hub: Path, tmp_path: Path, size: int) -> None:
    """A file that was cut off is refused by each verb in words; the process does not die of it."""
    filled(hub)
    backup(hub, tmp_path / "saved")
    for folder in (hub, tmp_path / "saved"):
        content = (folder / "data.mdb").read_bytes()
        (folder / "data.mdb").write_bytes(content[:size])
    for deed in (
        lambda: backup(hub, tmp_path / "copy"),
        lambda: restore(tmp_path / "saved", tmp_path / "copy"),
        lambda: compact(hub),
    ):
        with pytest.raises(StorageUnusable, match=r"(bank|saved|copy)"):
            deed()
    assert not (tmp_path / "copy").exists()


def test_what_is_no_hub_is_refused(tmp_path: Path) -> None:
    """A folder without a hub, a file, and nothing at all are refused by their path, and nothing is made."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for name, match in (("folder", "has no hub.json"), ("file", "is a file"), ("nothing", "does not exist")):
        with pytest.raises(StorageUnusable, match=match):
            backup(tmp_path / name, tmp_path / "saved")
        with pytest.raises(StorageUnusable, match=match):
            compact(tmp_path / name)
        with pytest.raises(StorageUnusable, match=match):
            restore(tmp_path / name, tmp_path / "saved")
    assert names(tmp_path) == {"folder", "file"}


def test_progress_is_told(hub: Path, tmp_path: Path) -> None:
    """Each step is told with how much of it is done, and the last word is that all is done."""
    filled(hub)
    told: list[tuple[str, int, int]] = []
    backup(hub, tmp_path / "saved", lambda *step: told.append(step))
    assert {what for what, _, _ in told} >= {"verifying", "checking records"}
    assert told[-1][1] == told[-1][2] > 0


def test_a_backup_names_its_hub(hub: Path, tmp_path: Path) -> None:
    """The marker of a backup is the hub's own; a backup with another hub's data is refused."""
    filled(hub)
    filled(hub.with_name("other"))
    backup(hub, tmp_path / "saved")
    assert check_folder(tmp_path / "saved") == check_folder(hub)
    shutil.copy(hub.with_name("other") / "data.mdb", tmp_path / "saved" / "data.mdb")
    with pytest.raises(StorageUnusable, match="not of the hub that its marker names"):
        restore(tmp_path / "saved", tmp_path / "copy")
