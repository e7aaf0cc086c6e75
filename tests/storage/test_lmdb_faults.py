"""LmdbStore on a disk that fails: full, cut off, not writable, out of room.

Faults are real: LMDB's own descriptors are made to point at something that refuses to be written, so that its own
error handling runs.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pytest
from perdure.storage.errors import StorageError, StorageInDoubt, StorageUnusable
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.tables import INBOX, INSTANCES

from .contract import Owner
from .disks import small_disk
from .processes import run

if TYPE_CHECKING:
    from collections.abc import Generator

linux = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="needs /proc to find LMDB's descriptors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bank"


@pytest.fixture
def owner(folder: Path) -> Owner:
    return Owner.of(LmdbStore(folder))


def descriptor(folder: Path, *, of_meta_pages: bool) -> int:
    """LMDB's descriptor for data pages, or the one for meta pages, which writes through to disk."""
    for entry in Path("/proc/self/fd").iterdir():
        if entry.exists() and entry.resolve() == folder / "data.mdb":
            flags = (Path("/proc/self/fdinfo") / entry.name).read_text().split("flags:")[1].split()[0]
            if bool(int(flags, 8) & os.O_DSYNC) == of_meta_pages:
                return int(entry.name)
    raise AssertionError("LMDB has no such descriptor open")


@contextmanager
def failing(number: int, device: Path, flags: int = os.O_RDWR) -> Generator[None]:
    """Let a descriptor point at ``device`` for a while."""
    kept = os.dup(number)
    stand_in = os.open(device, flags)
    os.dup2(stand_in, number)
    os.close(stand_in)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@linux
@pytest.mark.parametrize(
    ("device", "message"),
    [("/dev/full", "disk that holds .* is full"), ("/dev/null", "could not write")],
    ids=["disk full", "data sync fails"],
)
def test_failed_commit_leaves_no_trace(owner: Owner, folder: Path, device: str, message: str) -> None:
    """A commit whose pages cannot be written or synced raises StorageError; the same batch works later."""
    owner.commit({INSTANCES: {b"k": b"old"}})
    batch = owner.batch({INSTANCES: {b"k": b"new"}, INBOX: {b"m": b"1"}})
    with failing(descriptor(folder, of_meta_pages=False), Path(device)):
        for _ in range(2):
            commit = owner.store.submit(batch)
            assert commit.wait(60)
            with pytest.raises(StorageError, match=message) as caught:
                commit.result()
            assert not isinstance(caught.value, StorageInDoubt)
            assert owner.store.get(INSTANCES, b"k") == b"old"
            assert owner.store.commit_number == 1
    commit = owner.store.submit(batch)
    assert commit.wait(60)
    commit.result()
    owner.store.close()
    store = Owner.of(LmdbStore(folder)).store
    assert (store.commit_number, store.get(INSTANCES, b"k"), store.get(INBOX, b"m")) == (2, b"new", b"1")


@linux
def test_commit_in_doubt_stops_the_store(owner: Owner, folder: Path) -> None:
    """After a failure to write the meta page every batch and read raises StorageInDoubt, until reopening settles it."""
    owner.commit({INSTANCES: {b"k": b"old"}})
    batch = owner.batch({INSTANCES: {b"k": b"new"}})
    with failing(descriptor(folder, of_meta_pages=True), folder / "data.mdb", os.O_RDONLY):
        commit = owner.store.submit(batch)
        assert commit.wait(60)
        with pytest.raises(StorageInDoubt, match="unknown"):
            commit.result()
    with pytest.raises(StorageInDoubt):
        owner.store.submit(batch)
    with pytest.raises(StorageInDoubt):
        owner.store.get(INSTANCES, b"k")
    with pytest.raises(StorageInDoubt):
        owner.store.scan(INSTANCES)
    with pytest.raises(StorageInDoubt):
        owner.store.statistics()
    owner.store.close()
    again = Owner.of(owner.store)
    assert again.store.get(INSTANCES, b"k") == {1: b"old", 2: b"new"}[again.store.commit_number]
    again.commit({INSTANCES: {b"k": b"newer"}})


def test_full_disk() -> None:
    """On a really full disk commits fail with a message that says so, reads and deletions go on, and room heals it."""
    with small_disk() as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(512 << 10))
        owner = Owner.of(LmdbStore(disk / "bank"))
        written = 0
        with pytest.raises(StorageError, match=r"disk that holds .* is full") as caught:  # noqa: PT012 - how many fit is what is looked for
            for n in range(1000):
                owner.commit({INSTANCES: {b"%04d" % n: b"x" * 9000}})
                written += 1
        assert not isinstance(caught.value, StorageInDoubt)
        assert written == owner.store.commit_number > 10
        assert len(owner.store.scan(INSTANCES)) == written
        ballast.unlink()
        owner.commit({INSTANCES: {b"after": b"x" * 9000}})
        owner.commit({INSTANCES: {b"0000": None}})
        assert len(owner.store.keys(INSTANCES)) == written
        owner.store.close()


def test_map_grows(folder: Path) -> None:
    """A batch that exceeds the map is written all the same, and so is the next one; nothing is lost on the way."""
    owner = Owner.of(LmdbStore(folder, map_bytes=1 << 20))
    owner.commit({INSTANCES: {b"small": b"1"}})
    for n in range(3):
        owner.commit({INSTANCES: {b"%d/%02d" % (n, m): b"x" * 100_000 for m in range(50)}})
    assert owner.store.get(INSTANCES, b"small") == b"1"
    assert len(owner.store.keys(INSTANCES)) == 151
    owner.store.close()
    assert len(Owner.of(LmdbStore(folder, map_bytes=1 << 20)).store.scan(INSTANCES)) == 151


def test_commit_that_needs_room_is_finished_by_closing(folder: Path) -> None:
    """A batch that exceeds the map and that nobody waits for is durable after closing."""
    owner = Owner.of(LmdbStore(folder, map_bytes=1 << 20))
    commit = owner.store.submit(owner.batch({INSTANCES: {b"big": b"x" * (4 << 20)}}))
    owner.store.close()
    assert commit.wait(0)
    commit.result()
    assert Owner.of(owner.store).store.get(INSTANCES, b"big") == b"x" * (4 << 20)


def test_no_address_space_to_grow(folder: Path) -> None:
    """Where the process may map no more, the batch fails with StorageError that says so, and the store goes on."""
    script = """
import resource
store = LmdbStore(folder, map_bytes=1 << 20)
epoch = store.open()
big = {"instances": {b"%d" % n: b"x" * 1_000_000 for n in range(20)}}
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), limits[1]))
try:
    commit(store, epoch, big)
except StorageError as error:
    say(type(error).__name__, "cannot grow" in str(error))
commit(store, epoch, {"instances": {b"small": b"v"}})
resource.setrlimit(resource.RLIMIT_AS, limits)
commit(store, epoch, big)
say(store.commit_number, len(store.keys("instances")))
"""
    assert run(script, folder) == ["StorageError True", "2 21"]


def fill(owner: Owner) -> None:
    """Write a few hundred pages."""
    for n in range(20):
        owner.commit({INSTANCES: {b"%02d/%02d" % (n, m): b"%02d" % m * 700 for m in range(40)}})


def test_truncated_file_is_refused(folder: Path, owner: Owner) -> None:
    """A file cut off at any page is refused in words: the process never dies of it, and no record is misread."""
    fill(owner)
    owner.store.close()
    script = """
data = folder / "data.mdb"
whole = data.read_bytes()
step = len(whole) // 40 // 4096 * 4096
for size in (1, 100, 4096, 8191, 8192, *range(12288, len(whole), step), len(whole) - 1):
    data.write_bytes(whole[:size])
    try:
        LmdbStore(folder).open()
        say(size, "opened")
    except StorageUnusable as error:
        say("refused" if str(data) in str(error) else error)
"""
    said = run(script, folder)
    assert len(said) > 40
    assert set(said) == {"refused"}


def last_page_end(data: Path) -> int:
    """The length that the newer meta page gives the file."""
    content = data.read_bytes()[:8192]
    metas = [(content[at + 144 : at + 152][::-1], content[at + 136 : at + 144][::-1]) for at in (0, 4096)]
    return (int.from_bytes(max(metas)[1], "big") + 1) * 4096


def shorten(folder: Path) -> None:
    """Make LMDB leave the end of its file unwritten, as a value that is put and deleted in one transaction does."""
    with lmdb.open(str(folder), max_dbs=1, map_size=1 << 30) as environment:
        table = environment.open_db(INSTANCES.encode())
        with environment.begin(write=True, db=table) as transaction:
            transaction.put(b"short-lived", b"x" * 100_000)
            transaction.delete(b"short-lived")
    assert (folder / "data.mdb").stat().st_size < last_page_end(folder / "data.mdb")


@pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="reads meta pages at 4096 bytes")
def test_sound_short_file_is_opened(owner: Owner, folder: Path) -> None:
    """A file that is short because unwritten pages at its end are free opens with all records, and is padded."""
    fill(owner)
    records = owner.store.scan(INSTANCES, limit=10_000)
    owner.store.close()
    shorten(folder)
    again = Owner.of(owner.store)
    assert again.store.scan(INSTANCES, limit=10_000) == records
    again.store.close()
    assert (folder / "data.mdb").stat().st_size == last_page_end(folder / "data.mdb")


@pytest.mark.parametrize("place", [0, 16, 4096 + 16, 40, 4096 + 20])
def test_damaged_meta_page_is_refused(owner: Owner, folder: Path, place: int) -> None:
    """A meta page with a damaged magic number, format or page size, or a file of garbage, is refused by its path."""
    owner.store.close()
    data = folder / "data.mdb"
    content = bytearray(data.read_bytes())
    content[place : place + 4] = b"\xa5\xa5\xa5\xa5"
    data.write_bytes(bytes(content) if place else os.urandom(len(content)))
    with pytest.raises(StorageUnusable, match=r"meta page .*data\.mdb"):
        LmdbStore(folder).open()


@pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="writes meta pages at 4096 bytes")
def test_impossible_length_is_refused(owner: Owner, folder: Path) -> None:
    """A meta page that was damaged so as to claim an immense file is refused in words, before anything is made of the number."""
    fill(owner)
    owner.store.close()
    data = folder / "data.mdb"
    content = bytearray(data.read_bytes())
    for at in (0, 4096):
        content[at + 143] |= 0x10
    data.write_bytes(content)
    with pytest.raises(StorageUnusable, match=r"says that the file has \d{15,} bytes"):
        LmdbStore(folder).open()


def test_folder_that_cannot_be_written() -> None:
    """A folder or data file that this user may not write is refused with the reason, and nothing is changed."""
    script = """
store = LmdbStore(folder / "hub")
store.open()
store.close()
if os.getuid() == 0:
    os.chown(folder / "hub.owner.lock", 65534, -1)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
else:
    os.chmod(folder / "hub", 0o500)
    os.chmod(folder / "hub" / "data.mdb", 0o400)
    os.chmod(folder, 0o500)
for name in ("hub", "new", "deep/new"):
    try:
        LmdbStore(folder / name).open()
        say("opened")
    except StorageUnusable as error:
        say("denied" if "ermission denied" in str(error) and str(folder) in str(error) else error)
"""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        assert run(script, Path(place)) == ["denied"] * 3
        Path(place).chmod(0o700)
        (Path(place) / "hub").chmod(0o700)
