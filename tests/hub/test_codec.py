"""A hub whose records pass through a codec: nothing of users' values is readable, nobody opens it wrongly, keys rotate."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub, limits
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage import (
    DamagedRecord,
    RecordCodec,
    StorageError,
    StorageInDoubt,
    StorageUnusable,
    UnreadableRecord,
    ZlibCodec,
    chain,
    tables,
)
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.memory_store import MemoryStore
from perdure.storage.record_codec import CODEC_KEY, PLAIN_TABLES
from perdure.testing.scripted_store import Harm, ProcessDied, ScriptedStore

from .helpers import FakeClock, callers, ending, leaves, rounds, until

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
CODEC = AesGcmCodec({"old": OLD})
BOTH = AesGcmCodec({"old": OLD, "new": NEW}, current="new")
ONLY_NEW = AesGcmCodec({"new": NEW})
SECRET = "the-secret"
NAP_SECONDS = 60.0


@define
class Diary(Entity):
    """Keeps a text."""

    text: str = ""

    def write(self, text: str) -> str:
        """Add to it."""
        self.text += text
        return self.text

    def fail(self, text: str) -> None:
        """Fail."""
        raise ValueError(text)


@activity
async def never(text: str) -> str:
    """Does not end."""
    await trio.sleep_forever()
    return text


@orchestrator
async def tell(ctx: OrchestrationContext, text: str) -> str:
    """Do something that leaves its text everywhere."""
    ctx.set_custom_status(text)
    ctx.call_activity(never, text)
    ctx.create_timer(NAP_SECONDS)
    return text + await ctx.wait_for_external_event("go", str)


def diary(store: Any, codec: RecordCodec | None, **options: Any) -> TaskHub:
    """A hub of everything in this file, not yet open."""
    return TaskHub("Diary", [Diary, tell, never], store, codec=codec, **options)


async def leave_something(hub: TaskHub, key: str = "old") -> None:
    """A record in every table, each with the secret in it if it holds values."""
    await hub.call_entity(Diary.at(key), Diary.write, SECRET, request_id=f"asked-{key}")
    await hub.call_entity(Diary.at(f"{key}-large"), Diary.write, SECRET * 5000)
    await hub.signal_entity(Diary.at(key), Diary.fail, SECRET)
    await hub.start(tell, SECRET, instance_id=key, tags={"tag": SECRET})
    await hub.wait_idle() if not key else await rounds()
    await hub.signal_entity(Diary.at(key), Diary.write, SECRET, deliver_at=timedelta(days=1000))
    hub.pause()
    await hub.signal_entity(Diary.at(key), Diary.write, SECRET)
    await hub.raise_event(key, "elsewhere", SECRET)


def contents(store: Any) -> bytes:
    """All that a disk holds, keys and values."""
    return b"\n".join(part for rows in store.snapshot().values() for row in rows.items() for part in row)


async def test_nothing_of_a_users_values_is_readable() -> None:
    """With the codec no table's values show what users handed over, nor names of operations and events; without, they do."""
    for codec, seen in ((None, True), (CODEC, False), (chain(ZlibCodec(), CODEC), False)):
        store = MemoryStore()
        async with diary(store, codec) as hub:
            await leave_something(hub)
        rows = store.snapshot()
        assert [table for table in tables.TABLES if not rows[table]] == []
        for word in (SECRET, "write", "elsewhere", "never", "ValueError"):
            assert (word.encode() in contents(store)) is seen, word
        assert b"old-large" in contents(store), "keys stay readable, as the codec's description says"


def test_the_data_file_shows_nothing_either(tmp_path: Path) -> None:
    """The file of a hub with a codec holds the values nowhere, and is read back."""

    async def main() -> None:
        async with diary(tmp_path, CODEC) as hub:
            await leave_something(hub)
        assert SECRET.encode() not in (tmp_path / "diary" / "data.mdb").read_bytes()
        async with diary(tmp_path, CODEC) as hub:
            await hub.raise_event("old", "go", "!")
            assert await hub.instance("old").result() == SECRET + "!"
            assert await hub.call_entity(Diary.at("old"), Diary.write, SECRET, request_id="asked-old") == SECRET
            assert (await hub.read_entity(Diary.at("old-large"))) == Diary(SECRET * 5000)

    trio.run(main)


class Foreign(ZlibCodec):
    """A codec that says it is another one."""

    name = "foreign"


@pytest.mark.parametrize(
    ("written", "opened", "said"),
    [
        (CODEC, None, "written with the codec 'aes-gcm', and is opened without one"),
        (None, CODEC, "written without a codec, and is opened with 'aes-gcm'"),
        (CODEC, ZlibCodec(), "written with the codec 'aes-gcm', and is opened with 'zlib'"),
        (CODEC, chain(ZlibCodec(), CODEC), r"with the codec 'aes-gcm', and is opened with 'zlib\+aes-gcm'"),
        (CODEC, ONLY_NEW, "its key 'old' is not known; known are 'new'"),
        (CODEC, AesGcmCodec({"old": NEW}), "another key of the same name"),
        (ZlibCodec(), Foreign(), "written with the codec 'zlib', and is opened with 'foreign'"),
    ],
)
async def test_a_hub_is_not_opened_with_another_codec(written: Any, opened: Any, said: str) -> None:
    """With a wrong codec, a wrong key or none, opening says so before any turn, changes nothing, and leaves the hub free."""
    store = MemoryStore()
    async with diary(store, written) as hub:
        await leave_something(hub)
    before = store.snapshot()
    with pytest.raises(StorageUnusable, match=said):
        async with diary(store, opened):
            raise AssertionError("it was opened")
    assert store.snapshot() == before
    async with diary(store, written) as hub:
        await rounds()
        assert await hub.read_entity(Diary.at("old")) == Diary(SECRET * 2)


async def test_keys_are_changed_without_a_stop() -> None:
    """With a new key added, everything is readable, what is written needs the new key only, and the hub opens with it alone."""
    store = MemoryStore()
    async with diary(store, CODEC) as hub:
        await hub.call_entity(Diary.at("a"), Diary.write, "1")
        await hub.call_entity(Diary.at("kept"), Diary.write, "1")
    async with diary(store, BOTH) as hub:
        assert await hub.call_entity(Diary.at("a"), Diary.write, "2") == "12"
        assert await hub.read_entity(Diary.at("kept")) == Diary("1")
    assert b"\3new" in store.snapshot()[tables.META][CODEC_KEY]
    async with diary(store, ONLY_NEW) as hub:
        await hub.call_entity(Diary.at("b"), Diary.write, "new")
        assert await hub.read_entity(Diary.at("b")) == Diary("new")
        assert await hub.read_entity(Diary.at("a")) == Diary("12")
        with pytest.raises(UnreadableRecord, match=r"its key 'old' is not known.*It is kept and not used"):
            await hub.read_entity(Diary.at("kept"))


async def test_D9_what_an_unknown_key_hides_is_kept_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    """When an old key was given up too early, its records are reported, unchanged and unused; with the key all goes on."""
    clock = FakeClock()
    store = ScriptedStore()
    async with diary(store, CODEC, clock=clock) as hub:
        await leave_something(hub)
    async with diary(store, BOTH, clock=clock, paused=True) as hub:
        await hub.signal_entity(Diary.at("new"), Diary.write, "")
    before = {table: rows for table, rows in store.disk.snapshot().items() if table != tables.META}
    # An activity that was under way is written again when a hub opens: with the new key, this time.
    hidden = {(table, key) for table, rows in before.items() for key, value in rows.items() if b"\3old" in value[:5]}
    assert {table for table, _ in hidden} >= set(tables.TABLES) - {*PLAIN_TABLES, tables.ACTIVITIES}
    clock.move(2 * limits.REQUEST_TTL_SECONDS)
    with caplog.at_level(logging.ERROR):
        async with diary(store, ONLY_NEW, clock=clock) as hub, callers() as beside:
            for number in range(4):
                await hub.call_entity(Diary.at("new"), Diary.write, "x", request_id=f"later-{number}")
            refused = beside.call(lambda: hub.call_entity(Diary.at("fresh"), Diary.write, "y", request_id="asked-old"))
            await until(lambda: refused.ended)
            assert isinstance(refused.error, UnreadableRecord)
            assert await hub.read_entity(Diary.at("new")) == Diary("xxxx")
            assert (await hub.query_instances()).unreadable == ("old",)
            await hub.signal_entity(Diary.at("old"), Diary.write, "sent meanwhile")
    assert "its key 'old' is not known" in caplog.text
    after = store.disk.snapshot()
    for table, key in hidden:
        assert after[table].get(key) == before[table][key], f"{table} {key!r} was changed"
    async with diary(store, BOTH, clock=clock) as hub:
        await rounds()
        assert await hub.read_entity(Diary.at("old")) == Diary(SECRET * 2 + "sent meanwhile")
        await hub.raise_event("old", "go", "!")
        assert await hub.instance("old").result() == SECRET + "!"


@pytest.mark.parametrize("table", [tables.DIRECTORY, tables.INSTANCES])
async def test_exchanged_records_are_noticed(table: str) -> None:
    """When somebody exchanges two entities' records, or their places in the directory, neither is taken for the other."""
    store = MemoryStore()
    async with diary(store, CODEC) as hub:
        for key in ("a", "b"):
            await hub.call_entity(Diary.at(key), Diary.write, key)
    numbers = [store.snapshot()[tables.DIRECTORY][b"ediary\0" + key] for key in (b"a", b"b")]
    one, other = (b"ediary\0a", b"ediary\0b") if table == tables.DIRECTORY else numbers
    rows = store.snapshot()[table]
    store._tables[table].apply({one: rows[other], other: rows[one]})  # pyright: ignore[reportPrivateUsage]
    exchanged = store.snapshot()
    async with diary(store, CODEC) as hub:
        for key in ("a", "b"):
            with pytest.raises(DamagedRecord):
                await hub.read_entity(Diary.at(key))
            await hub.signal_entity(Diary.at(key), Diary.write, "!")
        await rounds()
    for kept in (tables.INSTANCES, tables.DIRECTORY):
        assert store.snapshot()[kept] == exchanged[kept], "nothing was overwritten or added"


@pytest.mark.parametrize("harm", [Harm.REFUSED, Harm.LOST, Harm.KEPT, Harm.DIED_BEFORE, Harm.DIED_AFTER])
def test_harm_at_every_commit_of_a_hub_with_a_codec(harm: Harm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to whichever commit, the first one and that of a new key included, the hub opens and nothing is lost."""
    monkeypatch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))

    async def live(store: ScriptedStore, codec: RecordCodec) -> None:
        async with diary(store, codec) as hub:
            for number in range(3):
                while await ending(lambda n=number: hub.call_entity(Diary.at("a"), Diary.write, str(n), request_id=f"r{n}")):
                    await trio.lowlevel.checkpoint()
            assert await hub.read_entity(Diary.at("a")) == Diary("012")

    def cut_off(store: ScriptedStore, codec: RecordCodec) -> bool:
        try:
            trio.run(live, store, codec)
        except BaseException as error:
            if all(isinstance(leaf, ProcessDied | StorageInDoubt | trio.Cancelled) for leaf in leaves(error)):
                return True
            raise
        return False

    for n in range(1, 16):
        store = ScriptedStore().harm(n, harm)
        for codec in (CODEC, BOTH, BOTH):
            if cut_off(store, codec):
                assert harm is not Harm.REFUSED
                store = store.reborn()
                assert not cut_off(store, codec)
    assert store.submitted < n


class Broken(ZlibCodec):
    """A codec that fails for one value."""

    def encode(self, data: bytes, place: bytes) -> bytes:
        """Encode."""
        if b"unlucky" in data:
            raise RuntimeError("no memory on the card")
        return super().encode(data, place)


async def test_a_codec_that_fails_stops_the_hub_and_writes_nothing() -> None:
    """A codec's own failure is told to the caller and whoever entered the hub; nothing of that batch is on disk."""
    store = MemoryStore()

    async def main() -> None:
        async with diary(store, Broken()) as hub:
            await hub.call_entity(Diary.at("a"), Diary.write, "lucky")
            await hub.call_entity(Diary.at("a"), Diary.write, "unlucky")

    error = await ending(main)
    assert isinstance(error, StorageError)
    assert "the codec 'zlib' could not encode a record of table" in str(error)
    assert "no memory on the card" in str(error)
    async with diary(store, Broken()) as hub:
        assert await hub.read_entity(Diary.at("a")) == Diary("lucky")
