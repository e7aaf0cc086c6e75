"""A process that is stopped for a while, or may write no further: nothing is lost, and nobody takes its hub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from perdure.storage.errors import HubInUse
from perdure.storage.lmdb_backup import backup
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.tables import INSTANCES

from .contract import Owner
from .processes import child, run

COMMITS = """
store = LmdbStore(folder)
epoch = store.open()
n = 0
while True:
    n += 1
    commit(store, epoch, {"instances": {b"%d" % n: b"v" * 300}})
    say(n)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bank"


def test_a_stopped_owner_stays_the_owner(folder: Path, tmp_path: Path) -> None:
    """Stopped in the midst of its work, it is still the owner, can be backed up, and goes on where it was when continued."""
    with child(COMMITS, folder) as owner:
        seen = [int(owner.line()) for _ in range(20)][-1]
        for _ in range(3):
            owner.process.send_signal(signal.SIGSTOP)
            with pytest.raises(HubInUse, match=f"process {owner.pid};"):
                LmdbStore(folder).open()
            owner.process.send_signal(signal.SIGCONT)
            seen = [int(owner.line()) for _ in range(20)][-1]
        assert backup(folder, tmp_path / "saved").commit_number >= seen
        owner.kill()
    store = Owner.of(LmdbStore(folder)).store
    assert set(store.keys(INSTANCES, limit=100_000)) == {b"%d" % n for n in range(1, store.commit_number + 1)}
    assert store.commit_number >= seen


def test_a_file_that_may_not_grow(folder: Path) -> None:
    """With a limit on the size of files a commit that needs more is refused, nothing of it stays, and the store goes on."""
    script = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LmdbStore(folder)
epoch = store.open()
commit(store, epoch, {"instances": {b"before": b"v"}})
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
for _ in range(2):
    try:
        commit(store, epoch, {"instances": {b"big": b"x" * (4 << 20)}})
    except StorageError as error:
        say(type(error).__name__, store.get("instances", b"big"))
commit(store, epoch, {"instances": {b"small": b"v"}})
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
commit(store, epoch, {"instances": {b"big": b"x" * (4 << 20)}})
say(store.commit_number, store.keys("instances"))
"""
    assert run(script, folder) == ["StorageError None"] * 2 + ["3 [b'before', b'big', b'small']"]
    Owner.of(LmdbStore(folder)).store.close()


def test_a_read_only_hub_is_refused_in_words(folder: Path) -> None:
    """A hub whose folder lies on a file system that is mounted read-only is refused with the reason."""
    Owner.of(LmdbStore(folder)).store.close()
    place = folder.parent
    mount = f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"
    alone = ["unshare", "-m", "sh", "-c"]
    if os.getuid() != 0 or subprocess.run([*alone, mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount")
    script = "import sys; from perdure.storage.lmdb_store import LmdbStore; LmdbStore(sys.argv[1]).open()"
    opened = f"{mount} && exec {sys.executable} -c '{script}' {folder}"
    done = subprocess.run([*alone, opened], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "StorageUnusable" in last
    assert "Read-only file system" in last
