"""HubReader: looking at a hub that another process runs, without touching it (D5). The other process is a real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from perdure.hub import HubClosed, HubReader, TaskHub
from perdure.orchestration import InstanceNotFound, RuntimeStatus
from perdure.storage import HubInUse, StorageUnusable, ZlibCodec, tables
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.lmdb_reader import LmdbReader

from ..storage.processes import Child, child, run
from .helpers import BANK, Account, Ledger, receive
from .test_payloads import LARGE, Shelf, carry

ROOT = Path(__file__).parents[2]
DEFINITIONS = (*BANK, Shelf, carry)

OWNER = f"""
sys.path.insert(0, {str(ROOT)!r})
import trio
from perdure.hub import HubReader, TaskHub
from tests.hub.helpers import BANK, Account, Ledger, receive
from tests.hub.test_payloads import LARGE, Shelf, carry, guard

async def told():
    return await trio.to_thread.run_sync(input)

async def main():
    async with TaskHub("Bank", [*BANK, Shelf, carry, guard], folder, **OPTIONS) as hub:
        await act(hub)

def go():
    trio.run(main)

OPTIONS = {{}}
"""

ACTS = """
async def act(hub):
    await hub.call_entity(Account.at("a"), Account.deposit, 5)
    await hub.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 1, "nobody")
    await hub.call_entity(Shelf.at("s"), Shelf.put, LARGE)
    await hub.start(carry, LARGE, instance_id="carries")
    for name in ("holds", "waits"):
        await hub.start(guard, "s", instance_id=name)
        await hub.wait_idle()
    await hub.signal_entity(Shelf.at("s"), Shelf.put, b"")
    await hub.start(receive, instance_id="done")
    await hub.raise_event("done", "go", 3)
    await hub.wait_idle()
    say("ready", hub.statistics().commits)
    while (await told()) == "deposit":
        say(await hub.call_entity(Account.at("a"), Account.deposit, 1))
    say(hub.statistics().commits)
go()
"""


def tell(owner: Child, word: str) -> str:
    """Send the owner a word; what it answers."""
    assert owner.process.stdin is not None
    owner.process.stdin.write(f"{word}\n")
    owner.process.stdin.flush()
    return owner.line()


async def check_all(reader: HubReader, hub: TaskHub | None = None) -> list[Any]:
    """Everything that a reader can see of what ACTS did; the same of a hub, for comparison."""
    looker: Any = reader if hub is None else hub
    statuses = [status async for status in looker.iter_instances()]
    histories = [await looker.get_history(status.instance_id) for status in statuses]
    entities = [info async for info in looker.iter_entities()]
    letters = await looker.dead_letters(Ledger.at("l"))
    states = [await looker.read_entity(ref) for ref in (Account.at("a"), Shelf.at("s"), Account.at("nobody"))]
    described = [await looker.describe(ref) for ref in (Shelf.at("s"), Account.at("nobody"), "waits", "done")]
    return [statuses, histories, entities, letters, states, described, await looker.get_status("done")]


def test_D5_a_running_hub_is_read_from_another_process(tmp_path: Path) -> None:
    """Each read verb sees, beside a running hub, what it does, with its latest commit; and the hub notices and changes nothing."""

    async def read(owner: Child) -> list[Any]:
        with pytest.raises(HubInUse):
            async with TaskHub("Bank", DEFINITIONS, tmp_path):
                raise AssertionError
        async with HubReader("bank", DEFINITIONS, storage=tmp_path) as reader:
            seen = await check_all(reader)
            number = reader.commit_number
            assert await reader.read_entity(Account.at("a")) == Account(5)
            assert tell(owner, "deposit") == "6"
            assert await reader.read_entity(Account.at("a")) == Account(6)
            assert reader.commit_number == number + 1
            page = await reader.query_instances(status="Running", include_values=False)
            assert [(status.instance_id, status.input) for status in page.items] == [
                ("carries", ()),
                ("holds", ()),
                ("waits", ()),
            ]
            assert [status.input for status in (await reader.query_instances(id_prefix="carr")).items] == [(LARGE,)]
            entity = await reader.describe(Shelf.at("s"))
            assert (entity.exists, entity.locked_by, entity.waiting, entity.queued) == (True, "holds", ("waits",), ("put",))
            waits = await reader.describe("waits")
            assert list(map(str, waits.waiting_for)) == ["the lock of @shelf@s, held by 'holds', place 1 in the queue"]
            assert waits.section == (Shelf.at("s"),)
            assert (await reader.describe("holds")).waiting_for == ()
            assert (await reader.describe("done")).runtime_status is RuntimeStatus.COMPLETED
            with pytest.raises(InstanceNotFound):
                await reader.describe("nobody")
            with pytest.raises(InstanceNotFound):
                await reader.get_status("nobody")
        return seen

    async def compare(seen: list[Any]) -> None:
        async with TaskHub("Bank", DEFINITIONS, tmp_path, paused=True) as hub:
            from_hub = await check_all(HubReader("bank", storage=tmp_path), hub)
        seen[4][0] = from_hub[4][0]  # the deposit
        seen[2][0] = from_hub[2][0]
        assert seen[:5] == from_hub[:5]
        assert seen[5][:2] == from_hub[5][:2]
        assert seen[6] == from_hub[6]

    with child(OWNER + ACTS, tmp_path) as owner:
        said, commits = owner.line().split()
        assert said == "ready"
        seen = trio.run(read, owner)
        assert int(tell(owner, "")) == int(commits) + 1, "only the deposit was committed"
        assert owner.end() == 0
    trio.run(compare, seen)


BUSY = """
async def act(hub):
    say("ready")
    number = 0
    while True:
        number += 1
        await hub.call_entity(Shelf.at("s"), Shelf.put, b"%09d" % number * 5000)
go()
"""


def test_what_is_read_beside_a_busy_hub_fits_together(tmp_path: Path) -> None:
    """While another process replaces a large state again and again, a reader gets whole states, each not older than the last."""

    async def read() -> None:
        async with HubReader("Bank", [Shelf], storage=tmp_path) as reader:
            last, changes, rounds = b"", 0, 0
            while changes < 20:
                rounds += 1
                assert rounds < 1_000_000
                shelf = await reader.read_entity(Shelf.at("s"))
                if shelf is None:
                    continue
                number = shelf.content[:9]
                assert shelf.content == number * 5000
                assert number >= last
                changes += number > last
                last = number

    with child(OWNER + BUSY, tmp_path) as owner:
        assert owner.line() == "ready"
        trio.run(read)
        owner.kill()
    trio.run(read_once, tmp_path)


async def read_once(folder: Path) -> None:
    """A hub whose owner was killed is read, and opened after."""
    async with HubReader("Bank", [Shelf], storage=folder) as reader:
        seen = await reader.read_entity(Shelf.at("s"))
    async with TaskHub("Bank", DEFINITIONS, folder, paused=True) as hub:
        assert await hub.read_entity(Shelf.at("s")) == seen


def test_a_file_that_outgrows_the_map_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the owner's file grows beyond what a reader has mapped, its next read sees everything."""
    monkeypatch.setattr("perdure.storage.lmdb_reader.MAP_BYTES", 1 << 20)
    script = """
store = LmdbStore(folder)
epoch = store.open()
commit(store, epoch, {"instances": {b"k": b"small"}})
say("ready")
input()
commit(store, epoch, {"instances": {b"k": b"x" * (16 << 20)}})
say("done")
input()
"""
    with child(script, tmp_path / "bank") as owner:
        assert owner.line() == "ready"
        reader = LmdbReader(tmp_path / "bank")
        reader.open()
        assert reader.get(tables.INSTANCES, b"k") == b"small"
        owner.go_on()
        assert owner.line() == "done"
        assert reader.get(tables.INSTANCES, b"k") == b"x" * (16 << 20)
        reader.close()


def test_a_snapshot_is_of_one_commit(tmp_path: Path) -> None:
    """What is read inside a snapshot is of one commit, whatever the owner commits meanwhile, and after it of the newest."""
    script = """
store = LmdbStore(folder)
epoch = store.open()
for number in range(3):
    commit(store, epoch, {"instances": {b"k": b"%d" % number}, "inbox": {b"k": b"%d" % number}})
    say(number)
    input()
"""
    with child(script, tmp_path / "bank") as owner:
        owner.line()
        reader = LmdbReader(tmp_path / "bank")
        reader.open()
        with reader.snapshot():
            assert reader.get(tables.INSTANCES, b"k") == b"0"
            owner.go_on()
            assert owner.line() == "1"
            assert reader.scan(tables.INBOX) == [(b"k", b"0")]
            assert reader.keys(tables.INBOX) == [b"k"]
        assert reader.get(tables.INBOX, b"k") == b"1"
        reader.close()


async def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    """Reading a hub that nobody runs leaves its data, marker and folder as they are, and makes no folder where there is none."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 5)
    before = content_of(tmp_path)
    async with HubReader("Bank", BANK, storage=tmp_path) as reader, HubReader("Bank", storage=tmp_path) as other:
        assert await reader.read_entity(Account.at("a")) == Account(5)
        assert len((await other.query_entities(include_state=False)).items) == 1
    assert content_of(tmp_path) == before
    with pytest.raises(StorageUnusable, match=r"there is no hub in .*/nobody; the process that runs it creates it"):
        async with HubReader("Nobody", storage=tmp_path):
            raise AssertionError
    assert content_of(tmp_path) == before


def content_of(folder: Path) -> dict[Path, bytes]:
    """All files below a folder but LMDB's own note of readers."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*") if path.name != "lock.mdb"}


async def test_readers_of_one_process_share_and_close_in_any_order(tmp_path: Path) -> None:
    """Several readers of a hub may be open in one process, and closing one, in whatever order, leaves the others reading."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 5)
    readers = [HubReader("Bank", BANK, storage=tmp_path) for _ in range(3)]
    for reader in readers:
        await reader.__aenter__()
    for reader in (readers[1], readers[0], readers[2]):
        assert await reader.read_entity(Account.at("a")) == Account(5)
        await reader.__aexit__(None, None, None)
        with pytest.raises(HubClosed, match="async with HubReader"):
            await reader.read_entity(Account.at("a"))
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 6


async def test_the_process_that_runs_a_hub_has_no_reader_of_it(tmp_path: Path) -> None:
    """A reader in the owner's process, and a hub in a reader's process, are refused with what to use instead; both go on."""
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        with pytest.raises(HubInUse, match=r"this process runs the hub .* itself: ask its TaskHub"):
            async with HubReader("Bank", storage=tmp_path):
                raise AssertionError
        assert await hub.call_entity(Account.at("a"), Account.deposit, 5) == 5
    async with HubReader("Bank", BANK, storage=tmp_path) as reader:
        with pytest.raises(HubInUse, match=r"this process reads the hub .*: leave its HubReader first"):
            async with TaskHub("Bank", BANK, tmp_path):
                raise AssertionError
        assert await reader.read_entity(Account.at("a")) == Account(5)
    async with TaskHub("Bank", BANK, tmp_path) as hub:
        assert await hub.read_entity(Account.at("a")) == Account(5)


def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    """A reader says in a forked child that it belongs to the parent, and the parent reads on."""
    script = (
        OWNER
        + """
async def fork():
    async with TaskHub("Bank", BANK, folder) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 5)
    async with HubReader("Bank", BANK, storage=folder) as reader:
        pid = os.fork()
        if not pid:
            try:
                await reader.read_entity(Account.at("a"))
            except ForkedHub as error:
                say(type(error).__name__)
            os._exit(0)
        os.waitpid(pid, 0)
        say(await reader.read_entity(Account.at("a")))
trio.run(fork)
"""
    )
    assert run(script, tmp_path) == ["ForkedHub", "Account(balance=5)"]


async def test_a_reader_needs_the_codec(tmp_path: Path) -> None:
    """A hub with a codec is read with that codec and its key, and refused with another or none."""
    codec = AesGcmCodec({"k": bytes(32)})
    async with TaskHub("Bank", BANK, tmp_path, codec=codec) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 5)
        await hub.start(receive, instance_id="i")
    async with HubReader("Bank", BANK, storage=tmp_path, codec=codec) as reader:
        assert await reader.read_entity(Account.at("a")) == Account(5)
        assert (await reader.describe("i")).runtime_status is RuntimeStatus.RUNNING
    for wrong in (None, ZlibCodec(), AesGcmCodec({"k": bytes(range(32))})):
        with pytest.raises(StorageUnusable, match="codec"):
            async with HubReader("Bank", BANK, storage=tmp_path, codec=wrong):
                raise AssertionError


async def test_misuse_of_a_reader_is_told(tmp_path: Path) -> None:
    """A reader that was not entered, or is entered twice, says so; a bad name is a ValueError."""
    async with TaskHub("Bank", BANK, tmp_path):
        pass
    reader = HubReader("Bank", BANK, storage=tmp_path)
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: reader.get_status("i"),
        lambda: reader.query_instances(),
        lambda: reader.query_entities(),
        lambda: reader.get_history("i"),
        lambda: reader.describe("i"),
        lambda: reader.dead_letters(Account.at("a")),
    ]
    for verb in verbs:
        with pytest.raises(HubClosed):
            await verb()
    async with reader:
        with pytest.raises(RuntimeError, match="open already"):
            await reader.__aenter__()
        with pytest.raises(TypeError, match="instance id is a str"):
            await reader.describe(7)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="hub name"):
        HubReader("no", storage=tmp_path)
