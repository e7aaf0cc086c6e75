"""A record that was damaged on disk is noticed, reported and set aside; it never stops the others (D9, O20).

A hub leaves something in every table. Then each of its records is damaged in turn, but for those of a healthy entity and
a healthy orchestration, which must be served all the same.
"""

from __future__ import annotations

import copy
import logging
from contextlib import nullcontext

import pytest
import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage import DamagedRecord, tables
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, FakeClock, Ledger, bank, callers, receive, rounds, until

NAP_SECONDS = 60.0

begun: list[str] = []


class DamagedStore(ScriptedStore):
    """A disk on which one record is damaged.

    Attributes:
      damaged: its table and key; ``None`` when it has been mended.
    """

    damaged: tuple[str, bytes] | None = None

    def get(self, table: str, key: bytes) -> bytes | None:
        """Read a record."""
        self._check(table, [key])
        return super().get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None, limit: int = 1000) -> list[tuple[bytes, bytes]]:
        """Read a range; one damaged record in it fails it."""
        found = super().scan(table, start, stop, limit)
        self._check(table, [key for key, _ in found])
        return found

    def _check(self, table: str, keys: list[bytes]) -> None:
        if self.damaged is not None and self.damaged[0] == table and self.damaged[1] in keys:
            raise DamagedRecord(*self.damaged)


@activity
async def finish() -> str:
    """End at the second attempt."""
    begun.append("finish")
    await until(lambda: len(begun) > 1)
    return "finished"


@orchestrator
async def works(ctx: OrchestrationContext) -> str:
    """Wait for the activity."""
    return await ctx.call_activity(finish)


@orchestrator
async def naps(ctx: OrchestrationContext) -> str:
    """Wait for a timer."""
    await ctx.sleep(NAP_SECONDS)
    return "awake"


def hub_on(store: ScriptedStore, clock: FakeClock) -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, finish, works, naps, clock=clock)


async def leave_behind(clock: FakeClock) -> ScriptedStore:
    """A disk with something in every table."""
    begun.clear()
    store = ScriptedStore()
    async with hub_on(store, clock) as hub:
        await hub.start(receive, instance_id="receives")
        await hub.start(receive, instance_id="healthy")
        await hub.start(works, instance_id="works")
        await hub.start(naps, instance_id="naps")
        await hub.call_entity(Ledger.at("noted"), Ledger.note, 1, request_id="asked")
        await hub.signal_entity(Ledger.at("lettered"), Ledger.note_and_fail, 4, "nobody")
        await hub.signal_entity(Ledger.at("later"), Ledger.note, 5, deliver_at=NAP_SECONDS)
        await until(lambda: len(begun) == 1)
        await rounds()
        hub.pause()
        await hub.signal_entity(Ledger.at("noted"), Ledger.note, 2)
        await hub.signal_entity(Account.at("healthy"), Account.deposit, 5)
        await hub.raise_event("receives", "go", 3)
        await hub.raise_event("healthy", "go", 7)
    return store


def victims(store: ScriptedStore) -> list[tuple[str, bytes]]:
    """Every record that is not the healthy ones'."""
    directory = store.table(tables.DIRECTORY)
    numbers = {number for key, number in directory.items() if key.endswith(b"healthy")}
    return [
        (table, key)
        for table in tables.TABLES
        for key in store.table(table)
        if table != tables.META and key[:8] not in numbers and not key.endswith(b"healthy")
    ]


def what(table: str, key: bytes, store: ScriptedStore) -> str:
    """How a failing test calls a record."""
    owner = {number: name for name, number in store.table(tables.DIRECTORY).items()}.get(key[:8], key)
    return f"{table} of {owner!r}"


TABLES = [
    tables.DIRECTORY,
    tables.INSTANCES,
    tables.HISTORY,
    tables.INBOX,
    tables.ACTIVITIES,
    tables.REQUESTS,
    tables.EXPIRY,
    tables.LETTERS,
    tables.TIMERS,
    tables.DELAYED,
]


@pytest.mark.parametrize("table", TABLES)
def test_D9_a_damaged_record_never_stops_the_others(table: str) -> None:
    """Whichever record of a table is damaged, the hub opens, serves everything else, and can be left."""
    clock = FakeClock()
    sound = trio.run(leave_behind, clock)
    chosen = [key for name, key in victims(sound) if name == table]
    assert chosen, f"there is no record in {table}"
    for key in chosen:
        store = DamagedStore(copy.deepcopy(sound.disk))
        store.damaged = (table, key)
        try:
            assert trio.run(serve, store, FakeClock(clock.time)) == [6, 7, 7]
        except BaseException as error:
            raise AssertionError(f"one damaged record, {what(table, key, sound)}, has stopped the hub") from error


async def serve(store: ScriptedStore, clock: FakeClock) -> list[object]:
    """What the healthy ones answer, at once and later."""
    async with hub_on(store, clock) as hub, callers() as beside:
        result = beside.call(hub.instance("healthy").result)
        call = beside.call(lambda: hub.call_entity(Account.at("healthy"), Account.deposit, 1))
        await until(lambda: call.ended and result.ended)
        await rounds()
        later = await hub.call_entity(Account.at("healthy"), Account.deposit, 1)
    return [call.outcome, result.outcome, later]


@pytest.mark.parametrize("table", TABLES)
async def test_D9_what_is_set_aside_is_kept(table: str) -> None:
    """When the record is mended (from a backup, say), the next hub goes on as if nothing had been."""
    clock = FakeClock()
    sound = await leave_behind(clock)
    for key in [key for name, key in victims(sound) if name == table]:
        store = DamagedStore(copy.deepcopy(sound.disk))
        store.damaged = (table, key)
        try:
            async with hub_on(store, FakeClock(clock.time)):
                await rounds()
        except DamagedRecord:
            pass  # the other test's business
        begun[:] = ["earlier", "once more"]
        later = FakeClock(clock.time)
        async with hub_on(store.reborn(), later) as hub:
            later.move(NAP_SECONDS + 1)
            await hub.wait_idle()
            outputs = [(await hub.instance(name).status()).output for name in ("receives", "healthy", "works", "naps")]
            assert outputs == [3, 7, "finished", "awake"], what(table, key, sound)
            assert await hub.call_entity(Ledger.at("noted"), Ledger.note, 1, request_id="asked") == 1
            assert await hub.read_entity(Ledger.at("noted")) == Ledger([1, 2]), what(table, key, sound)
            assert await hub.read_entity(Ledger.at("later")) == Ledger([5]), what(table, key, sound)
            assert len((await hub.dead_letters(Ledger.at("lettered"))).items) == 1, what(table, key, sound)


async def test_D9_damage_is_reported_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the table and the key of a record that was to be used and cannot be."""
    clock = FakeClock()
    sound = await leave_behind(clock)
    number = sound.table(tables.DIRECTORY)[b"eledger\0noted"]
    for table, key in [(tables.INSTANCES, number), *(victim for victim in victims(sound) if victim[0] == tables.ACTIVITIES)]:
        caplog.clear()
        store = DamagedStore(copy.deepcopy(sound.disk))
        store.damaged = (table, key)
        async with hub_on(store, FakeClock(clock.time)):
            await rounds()
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert any(table in message and key.hex() in message for message in errors), errors


async def test_D9_who_asks_for_a_damaged_record_is_told() -> None:
    """Reads of a damaged entity, instance or request raise DamagedRecord, and others are served."""
    clock = FakeClock()
    sound = await leave_behind(clock)
    directory = sound.table(tables.DIRECTORY)
    store = DamagedStore(sound.disk)
    async with hub_on(store, clock) as hub:
        await rounds()
        store.damaged = (tables.INSTANCES, directory[b"eledger\0lettered"])
        with pytest.raises(DamagedRecord, match=r"'instances' does not match its checksum"):
            await hub.read_entity(Ledger.at("lettered"))
        store.damaged = (tables.INSTANCES, directory[b"onaps"])
        with pytest.raises(DamagedRecord):
            await hub.instance("naps").status()
        store.damaged = (tables.REQUESTS, b"asked")
        with pytest.raises(DamagedRecord):
            await hub.call_entity(Ledger.at("noted"), Ledger.note, 1, request_id="asked")
        assert await hub.call_entity(Account.at("healthy"), Account.deposit, 1) == 6


async def test_D9_no_message_is_taken_that_would_be_lost_or_never_answered() -> None:
    """What cannot be reached takes no message, what is damaged takes none that waits for an answer; both refusals leave nothing."""
    clock = FakeClock()
    sound = await leave_behind(clock)
    directory = sound.table(tables.DIRECTORY)
    for damaged, takes in (
        ((tables.DIRECTORY, b"eledger\0later"), False),
        ((tables.INSTANCES, directory[b"eledger\0later"]), True),
    ):
        store = DamagedStore(copy.deepcopy(sound.disk))
        store.damaged = damaged
        async with hub_on(store, clock) as hub:
            await rounds()
            before = store.table(tables.INBOX)
            with pytest.raises(DamagedRecord):
                await hub.call_entity(Ledger.at("later"), Ledger.note, 7)
            with pytest.raises(DamagedRecord) if not takes else nullcontext():
                await hub.signal_entity(Ledger.at("later"), Ledger.note, 7)
            assert len(store.table(tables.INBOX)) == len(before) + takes
    for damaged in ((tables.DIRECTORY, b"oreceives"), (tables.INSTANCES, directory[b"oreceives"])):
        store = DamagedStore(copy.deepcopy(sound.disk))
        store.damaged = damaged
        async with hub_on(store, clock) as hub:
            await rounds()
            with pytest.raises(DamagedRecord):
                await hub.update("receives", "anything")
            with pytest.raises(DamagedRecord) if damaged[0] == tables.DIRECTORY else nullcontext():
                await hub.raise_event("receives", "word", 1)


async def test_D9_a_query_leaves_out_what_it_cannot_read_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """With a damaged record or directory entry, pages and purges go on, name what they left out, and show all others."""
    clock = FakeClock()
    sound = await leave_behind(clock)
    directory = sound.table(tables.DIRECTORY)
    for damaged in ((tables.DIRECTORY, b"onaps"), (tables.INSTANCES, directory[b"onaps"])):
        store = DamagedStore(copy.deepcopy(sound.disk))
        async with hub_on(store, clock) as hub:
            await rounds()
            store.damaged = damaged
            page = await hub.query_instances()
            assert {status.instance_id for status in page.items} == {"receives", "healthy", "works"}
            assert page.unreadable == ("naps",)
            assert "naps is left out of a query" in caplog.text
            assert await hub.purge() == 3
    store = DamagedStore(copy.deepcopy(sound.disk))
    async with hub_on(store, clock) as hub:
        await rounds()
        store.damaged = (tables.INSTANCES, directory[b"eledger\0noted"])
        page = await hub.query_entities(limit=1)
        assert page.unreadable == ()
        rest = await hub.query_entities(token=page.token)
        assert rest.unreadable == ("@ledger@noted",)
        assert [str(info.entity_id) for info in (*page.items, *rest.items)] == ["@account@healthy"]


async def test_D9_what_arrives_beside_a_damaged_message_takes_no_place_of_another() -> None:
    """Messages for an instance with a damaged message wait behind those it has: once mended, all are worked off in order."""
    clock = FakeClock()
    store = ScriptedStore()
    async with bank(store, clock=clock, paused=True) as hub:
        await hub.start(receive, instance_id="i")
        for number in (1, 2, 3):
            await hub.signal_entity(Ledger.at("l"), Ledger.note, number)
            await hub.raise_event("i", "other", number)
    inbox = store.table(tables.INBOX)
    for damaged in inbox:
        disk = DamagedStore(copy.deepcopy(store.disk))
        disk.damaged = (tables.INBOX, damaged)
        async with hub_on(disk, clock) as hub:
            await rounds()
            await hub.signal_entity(Ledger.at("l"), Ledger.note, 4)
            await hub.raise_event("i", "go", 5)
            await rounds()
        async with hub_on(disk.reborn(), clock) as hub:
            await hub.wait_idle()
            assert await hub.read_entity(Ledger.at("l")) == Ledger([1, 2, 3, 4]), damaged
            assert await hub.instance("i").result() == 5
