"""Several hubs in one folder never see each other, and are listed, deleted and copied (I4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from perdure.hub import HubReader, TaskHub, copy_hub, delete_hub, list_hubs
from perdure.storage import HubInUse, StorageUnusable
from perdure.storage.lmdb_backup import backup, restore
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.lmdb_witness import Left, read_witness

from ..storage.processes import run
from .helpers import BANK, Account, Ledger, receive

CRASHES = """
import shutil
from perdure.hub import copy_hub, delete_hub, list_hubs

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "os.listdir", "os.scandir", "os.fsync"}
template = folder / "template"
store = LmdbStore(template / "aaa")
commit(store, store.open(), {"instances": {b"k": b"v"}})
store.close()

def run(deed, base, n):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        seen += event in EVENTS
        if seen == n:
            os._exit(9)
    sys.addaudithook(hook)
    try:
        deed(base)
    except BaseException as error:
        say(error)
        os._exit(1)
    os._exit(0)

def check(base, name):
    store = LmdbStore(base / name)
    store.open()
    assert store.get("instances", b"k") == b"v"
    store.close()

for deed in (lambda base: delete_hub(base, "aaa"), lambda base: copy_hub(base, "aaa", "bbb")):
    outcomes = []
    for n in range(1, 200):
        base = folder / f"{n}-{len(outcomes)}-{id(deed)}"
        shutil.copytree(template, base)
        code = run(deed, base, n)
        found = list_hubs(base)
        outcomes.append(found)
        for name in found:
            check(base, name)
        store = LmdbStore(base / "aaa")  # a hub of that name can be used again, and nothing is left of the attempt
        store.open(); store.close()
        store = LmdbStore(base / "bbb")
        store.open(); store.close()
        assert not [path for path in base.iterdir() if ".tmp-" in path.name]
        if not code:
            break
        assert code == 9
    say(n > 5, *[found for at, found in enumerate(outcomes) if found not in outcomes[:at]])
"""


def everything_in(folder: Path) -> list[Path]:
    """All paths below it."""
    return sorted(folder.rglob("*"))


def test_a_deed_that_is_cut_off_is_done_or_not(tmp_path: Path) -> None:
    """A process that dies before any of its file operations while it deletes or copies leaves the hub as it was or it is done."""
    assert run(CRASHES, tmp_path) == ["True ['aaa'] []", "True ['aaa'] ['aaa', 'bbb']"]


async def test_I4_hubs_in_one_folder_never_see_each_other(tmp_path: Path) -> None:
    """Two open hubs of one folder have instances and entities of the same ids, each its own; names compare without case."""
    async with TaskHub("One", BANK, tmp_path) as one, TaskHub("Two", BANK, tmp_path) as two:
        await one.call_entity(Account.at("a"), Account.deposit, 1)
        await two.call_entity(Account.at("a"), Account.deposit, 2)
        await one.start(receive, instance_id="i")
        assert await one.read_entity(Account.at("a")) == Account(1)
        assert await two.read_entity(Account.at("a")) == Account(2)
        assert (await two.query_instances()).items == []
        with pytest.raises(HubInUse):
            async with TaskHub("ONE", BANK, tmp_path):
                raise AssertionError
    assert list_hubs(tmp_path) == ["one", "two"]
    assert list_hubs(tmp_path / "nowhere") == []
    (tmp_path / "notes").mkdir()
    (tmp_path / "two" / "data.mdb").unlink()
    assert list_hubs(str(tmp_path)) == ["one", "two"], "a damaged hub is listed, what is none is not"


async def test_a_copy_goes_on_by_itself(tmp_path: Path) -> None:
    """A copy holds everything of the original, goes on where that stands, and changes neither it nor is changed by it."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1, request_id="r")
        await hub.start(receive, instance_id="i")
        await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 1, "nobody")
    await trio.to_thread.run_sync(copy_hub, tmp_path, "BANK", "Copy")
    async with TaskHub("Copy", BANK, tmp_path) as copy, TaskHub("Bank", BANK, tmp_path) as hub:
        assert await copy.call_entity(Account.at("a"), Account.deposit, 1, request_id="r") == 1
        assert await copy.call_entity(Account.at("a"), Account.deposit, 5) == 6
        await copy.raise_event("i", "go", 7)
        assert await copy.instance("i").result() == 7
        assert len((await copy.dead_letters(Ledger.at("l"))).items) == 1
        assert await hub.read_entity(Account.at("a")) == Account(1)
        assert (await hub.instance("i").status()).runtime_status == "Running"
    markers = {(tmp_path / name / "hub.json").read_bytes() for name in ("bank", "copy")}
    assert len(markers) == 2, "they are two hubs"


async def test_a_deleted_hub_is_gone(tmp_path: Path) -> None:
    """After deleting a hub its folder is gone, others are not touched, and a hub of its name starts afresh."""
    for name in ("Bank", "Other"):
        async with TaskHub(name, BANK, tmp_path) as hub:
            await hub.call_entity(Account.at("a"), Account.deposit, 1)
    delete_hub(tmp_path, "Bank")
    assert list_hubs(tmp_path) == ["other"]
    assert not (tmp_path / "bank").exists()
    async with TaskHub("Bank", BANK, tmp_path) as hub, TaskHub("Other", BANK, tmp_path) as other:
        assert await hub.read_entity(Account.at("a")) is None
        assert await other.read_entity(Account.at("a")) == Account(1)


async def test_D5_a_hub_that_is_run_is_neither_deleted_nor_copied(tmp_path: Path) -> None:
    """While a hub runs, deleting and copying it, or over it, is HubInUse or refused, and it goes on."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        for deed in (lambda: delete_hub(tmp_path, "bank"), lambda: copy_hub(tmp_path, "bank", "copy")):
            with pytest.raises(HubInUse):
                deed()
        async with TaskHub("Other", BANK, tmp_path):
            pass
        with pytest.raises(StorageUnusable, match="exists already"):
            copy_hub(tmp_path, "other", "bank")
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1
    assert list_hubs(tmp_path) == ["bank", "other"]


@pytest.mark.parametrize(
    ("deed", "error", "said"),
    [
        (lambda at: delete_hub(at, "nobody"), StorageUnusable, "there is no hub 'nobody' in .*; hubs there: bank, other"),
        (lambda at: copy_hub(at, "nobody", "new"), StorageUnusable, "there is no hub 'nobody'"),
        (lambda at: copy_hub(at, "bank", "other"), StorageUnusable, "other exists already"),
        (lambda at: copy_hub(at, "bank", "BANK"), StorageUnusable, "bank exists already"),
        (lambda at: copy_hub(at, "bank", "../out"), ValueError, "hub name"),
        (lambda at: delete_hub(at, ".."), ValueError, "hub name"),
        (lambda at: delete_hub(at / "nowhere", "bank"), StorageUnusable, "hubs there: none"),
    ],
)
async def test_what_cannot_be_done_is_told(
    deed: Callable[[Path], None], error: type[Exception], said: str, tmp_path: Path
) -> None:
    """A hub that is not there, a place that is taken and a name that is none are refused with what is there, and change nothing."""
    for name in ("Bank", "Other"):
        async with TaskHub(name, BANK, tmp_path):
            pass
    before = everything_in(tmp_path)
    with pytest.raises(error, match=said):
        deed(tmp_path)
    assert everything_in(tmp_path) == before


async def test_a_damaged_hub_is_not_copied_and_can_be_deleted(tmp_path: Path) -> None:
    """A hub that lost its data is refused as an original, leaves no half copy, and can be deleted."""
    async with TaskHub("Bank", BANK, tmp_path):
        pass
    (tmp_path / "bank" / "data.mdb").write_bytes(b"")
    with pytest.raises(StorageUnusable, match="is empty"):
        copy_hub(tmp_path, "bank", "copy")
    assert list_hubs(tmp_path) == ["bank"]
    delete_hub(tmp_path, "bank")
    assert list_hubs(tmp_path) == []


async def test_D9_a_copy_knows_what_the_witness_of_the_original_saw(tmp_path: Path) -> None:
    """A copy of a hub opens without a walk over its pages; one of data that has gone back is refused as the original is."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
    older = (tmp_path / "bank" / "data.mdb").read_bytes()
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
    copy_hub(tmp_path, "bank", "sound")
    witness = read_witness(tmp_path / "sound")
    assert witness is not None
    assert witness.left is Left.CLOSED
    (tmp_path / "bank" / "data.mdb").write_bytes(older)
    copy_hub(tmp_path, "bank", "older")
    for name in ("bank", "older"):
        with pytest.raises(StorageUnusable, match="has gone back"):
            LmdbStore(tmp_path / name).open()
    async with TaskHub("sound", BANK, tmp_path) as hub:
        assert await hub.read_entity(Account.at("a")) == Account(2)


async def test_a_hub_with_a_damaged_page_is_not_copied(tmp_path: Path) -> None:
    """Its pages are verified before LMDB is asked for them: an error, no end of the process, and no half copy."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
    data = tmp_path / "bank" / "data.mdb"
    content = bytearray(data.read_bytes())
    for at in range(8192, len(content), 4096):
        content[at + 10 : at + 16] = bytes(6)
    data.write_bytes(content)
    with pytest.raises(StorageUnusable, match="is damaged"):
        copy_hub(tmp_path, "bank", "copy")
    assert list_hubs(tmp_path) == ["bank"]


async def test_what_was_put_aside_is_no_hub(tmp_path: Path) -> None:
    """The folder that a restore has replaced stays, and is not listed as a hub."""
    async with TaskHub("Bank", BANK, tmp_path):
        pass
    backup(tmp_path / "bank", tmp_path / "saved")
    report = restore(tmp_path / "saved", tmp_path / "bank", replace=True)
    assert report.replaced is not None
    assert report.replaced.exists()
    assert list_hubs(tmp_path) == ["bank", "saved"]


async def test_D5_a_hub_that_this_process_reads_is_not_copied(tmp_path: Path) -> None:
    """Copying a hub beside a reader in the same process is HubInUse, leaves nothing behind, and works once the reader is left."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
    async with HubReader("Bank", BANK, storage=tmp_path) as reader:
        with pytest.raises(HubInUse, match="leave its HubReader first"):
            copy_hub(tmp_path, "bank", "copy")
        assert await reader.read_entity(Account.at("a")) == Account(1)
    assert list_hubs(tmp_path) == ["bank"]
    copy_hub(tmp_path, "bank", "copy")
    assert list_hubs(tmp_path) == ["bank", "copy"]


async def test_a_reader_of_a_deleted_hub_is_told(tmp_path: Path) -> None:
    """A reader whose hub is deleted, or replaced, says so at its next verb rather than going on with what it had."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
    async with HubReader("Bank", BANK, storage=tmp_path) as reader:
        assert await reader.read_entity(Account.at("a")) == Account(1)
        delete_hub(tmp_path, "bank")
        with pytest.raises(StorageUnusable, match="deleted or replaced"):
            await reader.read_entity(Account.at("a"))
