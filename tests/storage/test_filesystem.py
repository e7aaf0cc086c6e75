"""On which file systems a hub may lie, told by lists of mounts as the kernel writes them."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from perdure.storage import lmdb_filesystem
from perdure.storage.errors import StorageUnusable
from perdure.storage.lmdb_filesystem import check_filesystem, filesystem_of
from perdure.storage.lmdb_store import LmdbStore


def mounts(tmp_path: Path, *entries: tuple[str, str]) -> Path:
    """A list of mounts, as (place, type)."""
    lines = [
        f"{number} 1 0:{number} / {place} rw shared:1 - {kind} source rw\n" for number, (place, kind) in enumerate(entries, 20)
    ]
    listed = tmp_path / "mountinfo"
    listed.write_text("".join(lines))
    return listed


def test_the_longest_mount_counts(tmp_path: Path) -> None:
    """The type is that of the deepest mount above the path, the later of two on one place; names may hold blanks."""
    listed = mounts(
        tmp_path, ("/", "ext4"), ("/data", "xfs"), ("/data", "nfs4"), ("/data/my\\040disk", "btrfs"), ("/database", "tmpfs")
    )
    asked = ("/", "/data/bank", "/data/my disk/bank", "/database/bank", "/datum")
    assert [filesystem_of(Path(path), listed) for path in asked] == ["ext4", "nfs4", "btrfs", "tmpfs", "ext4"]
    assert filesystem_of(Path("/"), tmp_path / "no such list") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused by its type with what to do instead; asked for, it is used with a warning."""
    listed = mounts(tmp_path, ("/", kind))
    with pytest.raises(StorageUnusable, match=rf"network file system \({kind}\).*allow_network_filesystem=True"):
        check_filesystem(tmp_path, False, listed)
    assert caplog.records == []
    check_filesystem(tmp_path, True, listed)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("kind", "risk"),
    [("overlay", "lost with the container"), ("tmpfs", "lost when the machine restarts"), ("fuse.strange", "power cut")],
)
def test_what_may_be_lost_is_said(tmp_path: Path, kind: str, risk: str, caplog: pytest.LogCaptureFixture) -> None:
    """A container's layer, memory and an unknown type are used, with one warning that says what may be lost."""
    check_filesystem(tmp_path, False, mounts(tmp_path, ("/", kind)))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert risk in record.getMessage()
    assert str(tmp_path) in record.getMessage()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs"])
def test_a_local_disk_is_used_without_a_word(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Disks that keep what LMDB needs give no warning."""
    check_filesystem(tmp_path, False, mounts(tmp_path, ("/", kind)))
    assert caplog.records == []


def test_a_store_asks_before_it_creates_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on a network file system leaves no file behind; with the option it opens."""
    monkeypatch.setattr(lmdb_filesystem, "MOUNTS", mounts(tmp_path, ("/", "nfs4")))
    with pytest.raises(StorageUnusable, match="nfs4"):
        LmdbStore(tmp_path / "hubs" / "bank").open()
    assert list((tmp_path / "hubs").iterdir()) == []
    store = LmdbStore(tmp_path / "hubs" / "bank", allow_network_filesystem=True)
    assert store.open() == 1
    store.close()


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A small btrfs; the test is skipped where none can be made."""
    if os.getuid() != 0 or shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs root and mkfs.btrfs")
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.btrfs", "-q", "-f", str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False, capture_output=True).returncode != 0:
        pytest.skip("btrfs cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_btrfs_files_are_overwritten_in_place(btrfs: Path) -> None:
    """On a real btrfs the files of a new hub carry the mark against copy-on-write."""
    store = LmdbStore(btrfs / "bank")
    store.open()
    listed = subprocess.run(["lsattr", str(btrfs / "bank")], check=True, capture_output=True, text=True).stdout
    attributes = {Path(line.split()[1]).name: line.split()[0] for line in listed.splitlines()}
    assert "C" in attributes["data.mdb"]
    assert "C" in attributes["lock.mdb"]
    store.close()
