"""Large values: stored apart from their record, read when they are asked for, gone with their owner."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.hub.payloads import Apart, decode_head, read_record, write_record
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.orchestration.status import OrchestrationRecord, RuntimeStatus
from perdure.storage import DamagedRecord, tables
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch, Writes
from perdure.testing.scripted_store import ScriptedStore
from perdure.testing.stored import payload_keys

from . import disk
from .helpers import rounds

APART = 100
"""From this size on the hubs of this file store values apart."""
LARGE = b"x" * 1000


@define
class Shelf(Entity):
    """Keeps what it is given."""

    content: bytes = b""
    lookups: int = field(default=0)

    def put(self, content: bytes) -> None:
        """Keep it."""
        self.content = content

    def size(self) -> int:
        """Look, and change nothing."""
        return len(self.content)

    def copies(self, count: int) -> bytes:
        """More than there is."""
        return self.content * count

    def fail(self, why: bytes) -> None:
        """Fail."""
        raise ValueError("no")


@orchestrator
async def carry(ctx: OrchestrationContext, content: bytes) -> bytes:
    """Wait for events; show and return what was given."""
    ctx.set_custom_status(content)
    while await ctx.wait_for_external_event("go", str) != "end":
        pass
    return content


@orchestrator
async def shed(ctx: OrchestrationContext, content: bytes) -> int:
    """Go on with half of it, until it is small, one commit after another."""
    await ctx.sleep(0)
    if len(content) >= APART:
        ctx.continue_as_new(content[: len(content) // 2])
    return len(content)


@orchestrator
async def guard(ctx: OrchestrationContext, key: str) -> None:
    """Lock a shelf until told."""
    async with ctx.lock_entities(Shelf.at(key)):
        await ctx.wait_for_external_event("go")


@activity
async def produce(size: int) -> bytes:
    """So many bytes."""
    return bytes(size)


@orchestrator
async def work(ctx: OrchestrationContext, size: int, then: str, given: bytes = b"") -> Any:
    """Have bytes made, and hand them on in some way."""
    content = bytes(size) if then != "activity" else await ctx.call_activity(produce, size)
    match then:
        case "status":
            ctx.set_custom_status(content)
        case "signal":
            ctx.signal_entity(Shelf.at("a"), Shelf.put, content)
        case "continue":
            ctx.continue_as_new(0, "return", given + content)
        case _:
            pass
    return content


def library(store: Any, **options: Any) -> TaskHub:
    """A hub of everything in this file, not yet open."""
    return TaskHub("Library", [Shelf, carry, shed, guard, produce, work], store, **{"payload_bytes_min": APART, **options})


def payloads(store: ScriptedStore) -> list[bytes]:
    """What is stored apart; the disk is sound."""
    disk.check(store.disk.snapshot())
    return [*store.table(tables.PAYLOADS).values()]


def payloads_written(store: ScriptedStore) -> int:
    """How many were ever written."""
    return sum(value is not None for rows in store.written(tables.PAYLOADS) for value in rows.values())


# --- apart


async def test_a_large_state_is_not_written_again_unless_it_changes() -> None:
    """Operations that leave a large state as it is, locks and letters write the record without it; a change replaces it."""
    store = ScriptedStore()
    async with library(store) as hub:
        await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE)
        for _ in range(3):
            assert await hub.call_entity(Shelf.at("a"), Shelf.size) == len(LARGE)
        await hub.call_entity(Shelf.at("a"), Shelf.put, bytes(LARGE))
        guarded = await hub.start(guard, "a")
        await hub.wait_idle()
        await guarded.raise_event("go")
        await guarded.result()
        await hub.signal_entity(Shelf.at("a"), Shelf.fail, b"")
        await hub.wait_idle()
        assert len(store.written(tables.INSTANCES)) > 4
        assert payloads_written(store) == 1
        await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE + b"y")
        assert payloads_written(store) == 2
        assert len(payloads(store)) == 1
        await hub.call_entity(Shelf.at("a"), Shelf.put, b"small")
    assert payloads(store) == []


async def test_a_large_input_is_written_once_however_often_the_status_changes() -> None:
    """An instance whose record is rewritten many times writes its large values once each, across a restart too."""
    store = ScriptedStore()
    async with library(store) as hub:
        instance = await hub.start(carry, LARGE, instance_id="i")
        for _ in range(5):
            await instance.suspend()
            await instance.resume()
    assert payloads_written(store) == 2, "the input and the custom status"
    again = ScriptedStore(store.disk)
    async with library(again, cache_bytes=1) as hub:
        for _ in range(3):
            await hub.instance("i").suspend()
            await hub.instance("i").resume()
        assert payloads_written(again) == 0
        await hub.instance("i").raise_event("go", "end")
        assert await hub.instance("i").result() == LARGE
    assert payloads_written(again) == 1, "the output"
    assert len(payloads(again)) == 3


async def test_listings_without_values_do_not_read_them() -> None:
    """Filters, pages without values and statuses without values read no payload; with values, those of the page only."""
    store = ScriptedStore()
    async with library(store) as hub:
        for number in range(6):
            await hub.start(carry, LARGE, instance_id=f"i{number}", tags={"even": str(number % 2 == 0)})
            await hub.call_entity(Shelf.at(f"k{number}"), Shelf.put, LARGE)
        await hub.wait_idle()
        store.reads.clear()
        page = await hub.query_instances(tags={"even": "True"}, include_values=False)
        assert [(status.instance_id, status.input, status.custom_status) for status in page.items] == [
            (f"i{number}", (), None) for number in (0, 2, 4)
        ]
        assert [status.output async for status in hub.iter_instances(include_values=False)] == [None] * 6
        assert len((await hub.query_entities(name="shelf", include_state=False)).items) == 6
        assert (await hub.instance("i3").status(include_values=False)).input == ()
        await hub.purge(id_prefix="i")
        assert not [table for table, _ in store.reads if table == tables.PAYLOADS]
        page = await hub.query_instances(tags={"even": "True"}, limit=2)
        assert [status.input for status in page.items] == [(LARGE,)] * 2
        assert sum(table == tables.PAYLOADS for table, _ in store.reads) == 4
        assert [info.state.content for info in (await hub.query_entities(limit=2)).items] == [LARGE] * 2


async def _purged(hub: TaskHub) -> None:
    await hub.start(carry, LARGE, instance_id="i")
    await hub.instance("i").purge(force=True)


async def _replaced(hub: TaskHub) -> None:
    await hub.start(carry, LARGE, instance_id="i")
    await hub.start(carry, b"small", instance_id="i", if_exists="replace")


async def _restarted(hub: TaskHub) -> None:
    await _replaced(hub)
    await hub.start(carry, LARGE, instance_id="i", if_exists="replace")
    await hub.instance("i").terminate("t" * 2 * APART)
    await hub.instance("i").restart(new_id=False)
    await hub.instance("i").raise_event("go", "end")
    assert await hub.instance("i").result() == LARGE
    await hub.instance("i").purge()


async def _continued(hub: TaskHub) -> None:
    assert await (await hub.start(shed, LARGE)).result() < APART


async def _deleted(hub: TaskHub) -> None:
    await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE)
    await hub.call_entity(Shelf.at("a"), "delete")


async def _consumed(hub: TaskHub) -> None:
    hub.pause()
    await hub.signal_entity(Shelf.at("a"), Shelf.put, LARGE)
    await hub.signal_entity(Shelf.at("a"), Shelf.put, b"")
    hub.unpause()


async def _letters(hub: TaskHub) -> None:
    for _ in range(102):
        await hub.signal_entity(Shelf.at("a"), Shelf.fail, LARGE)


@pytest.mark.parametrize("end", [_purged, _replaced, _restarted, _continued, _deleted, _consumed, _letters])
@pytest.mark.parametrize("cache", [64 << 20, 1], ids=["cached", "evicted"])
async def test_payloads_go_with_their_owner(end: Any, cache: int) -> None:
    """However the owner of large values ends or changes, nothing of them is left over, after each commit of the way."""
    store = ScriptedStore()
    async with library(store, cache_bytes=cache) as hub:
        await end(hub)
        await hub.wait_idle()
    assert payloads(store) == []
    assert [rows for rows in store.written(tables.PAYLOADS) if rows] or end in (_consumed, _letters)
    for rows in disk.after_each(store.batches):
        disk.check(rows)


async def test_a_changed_threshold_moves_nothing_by_itself() -> None:
    """A hub reads what was stored with another threshold, and values move only when their record is written with a new one."""
    store = ScriptedStore()
    async with library(store, payload_bytes_min=1 << 20) as hub:
        await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE)
        assert payloads(store) == []
    async with library(store) as hub:
        assert await hub.read_entity(Shelf.at("a")) == Shelf(LARGE)
        assert payloads(store) == []
        await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE + b"y")
        assert len(payloads(store)) == 1
    async with library(store, payload_bytes_min=1 << 20) as hub:
        assert await hub.read_entity(Shelf.at("a")) == Shelf(LARGE + b"y")


async def test_D9_a_missing_payload_is_reported_and_nothing_else_is_hurt(caplog: pytest.LogCaptureFixture) -> None:
    """An instance whose payload is gone is told with its place, set aside and not overwritten; others go on."""
    store = ScriptedStore()
    async with library(store) as hub:
        await hub.call_entity(Shelf.at("a"), Shelf.put, LARGE)
        await hub.call_entity(Shelf.at("b"), Shelf.put, LARGE)
        lost = min(store.table(tables.PAYLOADS))
        rows = store.table(tables.INSTANCES)
    store.disk._tables[tables.PAYLOADS].apply({lost: None})  # pyright: ignore[reportPrivateUsage]
    async with library(store) as hub:
        with pytest.raises(DamagedRecord, match=rf"{lost.hex()} of table 'payloads' is missing"):
            await hub.read_entity(Shelf.at("a"))
        assert [info.state for info in (await hub.query_entities(include_state=False)).items] == [None, None]
        await hub.signal_entity(Shelf.at("a"), Shelf.put, b"")
        assert await hub.read_entity(Shelf.at("b")) == Shelf(LARGE)
        await rounds()
    assert "is missing" in caplog.text
    assert store.table(tables.INSTANCES).items() >= rows.items()


# --- records and payloads, without a hub

values = st.sampled_from([b"", b"s", b"L" * 20, b"M" * 20, b"N" * 30])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, st.none() | values, st.none() | values, st.sampled_from([1, 10, 25, 1000])), min_size=1))
def test_any_sequence_of_values_is_read_back_and_leaves_nothing(steps: list[tuple[bytes, Any, Any, int]]) -> None:
    """Whatever values a record has one after another, under any threshold, it is read back whole, and has just its payloads."""
    store, prefix = MemoryStore(), bytes(8)
    epoch = store.open()
    apart: Apart = {}
    for batch, (arguments, output, custom_status, threshold) in enumerate(steps, 1):
        record = OrchestrationRecord(
            "i", "e", "n", None, RuntimeStatus.RUNNING, arguments, None, 1, 2, output=output, custom_status=custom_status
        )
        writes: Writes = {table: {} for table in tables.TABLES}
        apart = write_record(record, prefix, batch, apart, threshold, writes)
        _commit(store, epoch, writes)
        assert read_record(store, prefix) == (record, apart)
        rows = store.snapshot()
        assert sorted(rows[tables.PAYLOADS]) == sorted(payload_keys(rows[tables.INSTANCES][prefix]))
        head = decode_head(rows[tables.INSTANCES][prefix])
        assert head == msgspec.structs.replace(record, **dict.fromkeys(apart, b""))


def test_a_reader_that_a_commit_overtakes_reads_again() -> None:
    """When record and payload are replaced between the two reads, the reader gets the new ones, never a mixture or an error."""

    class Overtaken(MemoryStore):
        overtake = False

        def get(self, table: str, key: bytes) -> bytes | None:
            found = super().get(table, key)
            if table == tables.INSTANCES and self.overtake:
                self.overtake = False
                write(b"new" * 50, 2)
            return found

    def write(arguments: bytes, batch: int) -> None:
        nonlocal apart
        record = OrchestrationRecord("i", "e", "n", None, RuntimeStatus.RUNNING, arguments, None, batch, batch)
        writes: Writes = {table: {} for table in tables.TABLES}
        apart = write_record(record, prefix, batch, apart, 10, writes)
        _commit(store, epoch, writes)

    store, prefix = Overtaken(), bytes(8)
    apart: Apart = {}
    epoch = store.open()
    write(b"old" * 50, 1)
    store.overtake = True
    found = read_record(store, prefix)
    assert found is not None
    record, _ = found
    assert isinstance(record, OrchestrationRecord)
    assert (record.arguments, record.created_at) == (b"new" * 50, 2)


def _commit(store: MemoryStore, epoch: int, writes: Writes) -> None:
    store.submit(Batch(0, epoch, store.commit_number + 1, writes)).result()
