"""One commit a turn (D1, L5): what belongs together is never apart on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.entities.messages import LockRelease, Operation
from perdure.hub import TaskHub, limits
from perdure.hub.records import decode_entity_message, decode_history, decode_instance
from perdure.orchestration import OrchestrationContext, RuntimeStatus, activity, orchestrator
from perdure.orchestration.history import ExecutionEnded, ReleaseLocks, ScheduleActivity, TaskCompleted
from perdure.orchestration.status import OrchestrationRecord
from perdure.storage import tables
from perdure.storage.values import Values
from perdure.testing.scripted_store import ScriptedStore

from . import disk
from .helpers import Account, Ledger, bank


@activity
async def work(number: int) -> int:
    """Nothing much."""
    await trio.lowlevel.checkpoint()
    return number


@orchestrator
async def worker(ctx: OrchestrationContext, number: int) -> int:
    """Signal, then have an activity."""
    ctx.signal_entity(Ledger.at("orchestrated"), Ledger.note, number)
    return await ctx.call_activity(work, number)


@orchestrator
async def holder(ctx: OrchestrationContext) -> None:
    """Hold two locks for good."""
    async with ctx.lock_entities(Account.at("a"), Account.at("b")):
        await ctx.wait_for_external_event("never")


@orchestrator
async def two_locks(ctx: OrchestrationContext) -> str:
    """Leave a section, then end."""
    async with ctx.lock_entities(Account.at("a"), Account.at("b")):
        await ctx.call_entity(Account.at("a"), Account.deposit, 1)
    return "left"


def hub_on(store: ScriptedStore, **options: Any) -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, work, worker, holder, two_locks, Purse, **options)


def only_batch(store: ScriptedStore, changes: Callable[[dict[str, dict[bytes, bytes | None]]], bool]) -> dict[str, Any]:
    """The writes of the one batch of which something holds."""
    found = [batch.writes for batch in store.batches if changes(batch.writes)]
    assert len(found) == 1
    return found[0]


async def test_D1_a_turn_of_an_entity_is_one_batch() -> None:
    """The consumed message, the new state and the message that it sent are in one batch."""
    store = ScriptedStore()
    async with hub_on(store, paused=True) as hub:
        await hub.signal_entity(Ledger.at("a"), Ledger.note_and_pass, 5, "b")
        (message,) = store.table(tables.INBOX)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "BATCH_INSTANCES_MAX", 1)  # so that the receiver's turn is in a later batch
            hub.unpause()
            await hub.wait_idle()
    writes = only_batch(store, lambda writes: writes[tables.INBOX].get(message, b"") is None)
    state = decode_instance(writes[tables.INSTANCES][message[:8]])
    assert Values().codec(Ledger).decode(state.state) == Ledger([5])
    sent = [decode_entity_message(data) for data in writes[tables.INBOX].values() if data is not None]
    assert [message.name for message in sent if isinstance(message, Operation)] == ["note"]


async def test_D1_a_turn_of_an_orchestration_is_one_batch() -> None:
    """The start message, the journal, the status, the activity and the signal of a turn are in one batch."""
    store = ScriptedStore()
    async with hub_on(store, paused=True) as hub:
        await hub.start(worker, 3, instance_id="w")
        (message,) = store.table(tables.INBOX)
        hub.unpause()
        await hub.wait_idle()
    writes = only_batch(store, lambda writes: writes[tables.INBOX].get(message, b"") is None)
    record = decode_instance(writes[tables.INSTANCES][message[:8]])
    assert isinstance(record, OrchestrationRecord)
    assert record.status is RuntimeStatus.RUNNING
    (chunk,) = [data for data in writes[tables.HISTORY].values() if data is not None]
    assert [type(entry) for entry in decode_history(chunk)].count(ScheduleActivity) == 1
    assert [data is not None for data in writes[tables.ACTIVITIES].values()] == [True]
    assert len(writes[tables.DIRECTORY]) == 1, "the signalled entity came to exist in another batch"


async def test_D1_a_result_and_what_follows_from_it_are_one_batch() -> None:
    """The activity's row goes in the batch that has its result, and the instance's end is in it as well."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await (await hub.start(worker, 3)).result()
    writes = only_batch(store, lambda writes: None in writes[tables.ACTIVITIES].values())
    (chunk,) = [data for data in writes[tables.HISTORY].values() if data is not None]
    assert {TaskCompleted, ExecutionEnded} <= {type(entry) for entry in decode_history(chunk)}


@pytest.mark.parametrize("batch_instances_max", [1, limits.BATCH_INSTANCES_MAX])
async def test_L5_the_commit_that_ends_an_owner_releases_its_locks(batch_instances_max: int) -> None:
    """There is no moment on disk at which a lock belongs to an instance that was terminated, and no release is under way."""
    store = ScriptedStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BATCH_INSTANCES_MAX", batch_instances_max)
        async with hub_on(store) as hub:
            await hub.start(holder, instance_id="h")
            await hub.start(holder, instance_id="waits")
            await hub.wait_idle()
            await hub.terminate("h")
            await hub.terminate("waits")
            await hub.wait_idle()
            assert (await hub.describe(Account.at("a"))).locked_by is None
    held = 0
    for rows in disk.after_each(store.batches):
        disk.check(rows)
        held += any(record.lock is not None for record in disk.entities(rows).values())
    assert held, "no lock was ever on disk"


async def test_D1_the_journal_has_a_release_in_the_batch_that_sends_it() -> None:
    """What the journal says was asked for, and the message that does it, are never apart."""
    store = ScriptedStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BATCH_INSTANCES_MAX", 1)
        async with hub_on(store) as hub:
            assert await (await hub.start(two_locks)).result() == "left"
            await hub.wait_idle()
    for rows in disk.after_each(store.batches):
        entries = [entry for chunk in rows[tables.HISTORY].values() for entry in decode_history(chunk)]
        held = [record.lock for record in disk.entities(rows).values() if record.lock is not None and not record.lock.releasing]
        waiting = [decode_entity_message(data) for key, data in rows[tables.INBOX].items() if key[:8] in disk.entities(rows)]
        left = any(isinstance(entry, ReleaseLocks) for entry in entries)
        assert not (left and held) or any(isinstance(message, LockRelease) for message in waiting)


@define
class Purse(Entity):
    """Holds tokens, and hands them on."""

    tokens: int = 0

    def give(self, tokens: int, route: list[int]) -> None:
        """Take tokens, and pass half of them along the route."""
        self.tokens += tokens
        self._pass_on(route)

    async def give_slowly(self, tokens: int, route: list[int]) -> None:
        """The same with I/O."""
        before = self.tokens
        await trio.lowlevel.checkpoint()
        self.tokens = before + tokens
        self._pass_on(route)

    def _pass_on(self, route: list[int]) -> None:
        if route:
            half = self.tokens // 2
            self.tokens -= half
            operation = "give_slowly" if route[0] % 2 else "give"
            self.context.signal_entity(Purse.at(str(route[0])), operation, half, route[1:])


def tokens_on(rows: disk.Rows) -> int:
    """The tokens in all purses and in all messages under way."""
    state = Values().codec(Purse)
    held = sum(state.decode(record.state).tokens for record in disk.entities(rows).values() if record.state is not None)
    messages = [decode_entity_message(data) for data in rows[tables.INBOX].values()]
    return held + sum(msgspec.msgpack.decode(message.arguments)[0] for message in messages if isinstance(message, Operation))


routes = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(routes, st.sampled_from([1, 3, limits.BATCH_INSTANCES_MAX]), st.integers(0, 3))
def test_D1_tokens_are_conserved_at_every_commit(routes: list[list[int]], batch_instances_max: int, looks: int) -> None:
    """Wherever the tokens are, in states or messages under way, every commit has all that were accepted, once."""
    store = ScriptedStore(looks=looks)

    async def run() -> None:
        async with hub_on(store) as hub, hub.batch() as batch:
            for number, route in enumerate(routes):
                batch.signal_entity(Purse.at(str(number)), Purse.give, 64, route)
            hub.unpause()

    async def work_off() -> None:
        async with hub_on(store) as hub:
            await hub.wait_idle()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BATCH_INSTANCES_MAX", batch_instances_max)
        trio.run(run)
        trio.run(work_off)
    totals = [tokens_on(rows) for rows in disk.after_each(store.batches)]
    assert set(totals) == {64 * len(routes)}
