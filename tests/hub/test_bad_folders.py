"""Folders that are no usable hub: each is told clearly, and left as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
import trio
from perdure.hub import TaskHub
from perdure.storage import StorageUnusable
from perdure.storage.lmdb_store import LmdbStore

from .helpers import Account, bank


def _a_file(folder: Path) -> None:
    folder.write_text("not a folder")


def _other_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")


def _foreign_lmdb(folder: Path) -> None:
    folder.mkdir()
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as change:
        change.put(b"somebody", b"else's")


def _newer_format(folder: Path) -> None:
    _hub(folder)
    marker = folder / "hub.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 999}))


def _foreign_product(folder: Path) -> None:
    _hub(folder)
    marker = folder / "hub.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "product": "other"}))


def _broken_marker(folder: Path) -> None:
    _hub(folder)
    (folder / "hub.json").write_text("{")


def _deep_marker(folder: Path) -> None:
    _hub(folder)
    (folder / "hub.json").write_text("[" * 100_000)


def _open_to_everybody(folder: Path) -> None:
    _hub(folder)
    folder.chmod(0o777)


def _no_data(folder: Path) -> None:
    _hub(folder)
    (folder / "data.mdb").unlink()


def _empty_data(folder: Path) -> None:
    _hub(folder)
    (folder / "data.mdb").write_bytes(b"")


def _text_as_data(folder: Path) -> None:
    _hub(folder)
    (folder / "data.mdb").write_text("SQLite format 3" * 1000)


def _hub(folder: Path) -> None:
    store = LmdbStore(folder)
    store.open()
    store.close()


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file": (_a_file, "is a file; a hub needs a folder of its own. Choose another path"),
    "other files": (_other_files, "has no hub.json: it holds other files. Choose another path"),
    "a foreign LMDB database": (_foreign_lmdb, "an LMDB database that is no Perdure hub"),
    "a newer format": (_newer_format, "written by a newer Perdure .format 999.*Use that version"),
    "another product's store": (_foreign_product, "a store of 'other', not of 'perdure'"),
    "a broken marker": (_broken_marker, "hub.json is damaged .*Restore the hub from a backup"),
    "a marker that is nested without end": (_deep_marker, "hub.json is damaged .*Restore the hub from a backup"),
    "a hub that everybody can write": (_open_to_everybody, "may be written by everybody.*chmod o-w"),
    "a hub without data": (_no_data, "data.mdb is missing: the hub had been created"),
    "a hub with empty data": (_empty_data, "data.mdb is empty: the hub had been created"),
    "a hub with other data": (_text_as_data, "is no LMDB page|damaged"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_folder_that_is_no_usable_hub_is_refused_and_left_alone(case: str, tmp_path: Path) -> None:
    """The error names the path, what is wrong, and what to do; what is there is not changed, and another hub can be opened."""
    make, says = UNUSABLE[case]
    folder = tmp_path / "bank"
    make(folder)
    before = dict(_contents(folder))
    with pytest.raises(StorageUnusable, match=says) as refused:
        async with bank(tmp_path):
            pytest.fail("it was opened")
    assert str(folder) in str(refused.value)
    assert dict(_contents(folder)) == before
    async with TaskHub("Other", [Account], tmp_path) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.name != "lock.mdb":
            yield file.name, file.read_bytes()


async def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be created is told with its path."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageUnusable, match=r"file.* cannot be created"):
        async with bank(tmp_path / "file" / "deeper"):
            pytest.fail("it was opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    """The error says which path cannot be written."""

    async def run() -> None:
        async with bank(tmp_path):
            pytest.fail("it was opened")

    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageUnusable, match="Permission denied"):
            trio.run(run)
    finally:
        tmp_path.chmod(0o700)
