"""Client batches: all or none, in order, one acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import EntityId, UnknownEntity, UnknownOperation
from perdure.hub import ClientBatch, TaskHub
from perdure.orchestration import InstanceExists, InstanceFinished, InstanceNotFound, UnknownOrchestrator
from perdure.orchestration.history import EventReceived
from perdure.storage import NotStorable, tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import Harm, ProcessDied, ScriptedStore

from .helpers import Account, Ledger, bank, callers, receive, rounds, until


class Mine(Exception):
    """The user's own."""


async def noted(hub: TaskHub) -> list[int]:
    """What the ledger has."""
    await hub.wait_idle()
    ledger = await hub.read_entity(Ledger.at("l"))
    return [] if ledger is None else ledger.numbers


async def test_a_batch_is_accepted_in_order_when_the_block_is_left() -> None:
    """Nothing is sent inside the block; after it everything is there, in the order of the calls."""
    async with bank(MemoryStore()) as hub:
        async with hub.batch() as batch:
            for number in range(100):
                batch.signal_entity(Ledger.at("l"), Ledger.note, number)
            assert await noted(hub) == []
        assert await noted(hub) == list(range(100))


@pytest.mark.parametrize("looks", [0, 3])
async def test_a_batch_is_one_commit_with_one_acknowledgement(looks: int) -> None:
    """All of it is in the first commit after the block: a crash cannot part it."""
    store = ScriptedStore(looks=looks)
    async with bank(store, paused=True) as hub:
        async with hub.batch() as batch:
            for number in range(100):
                batch.signal_entity(Ledger.at(str(number)), Ledger.note, number)
            instance_id = batch.start(receive)
            batch.raise_event(instance_id, "go", 3)
        assert [sum(value is not None for value in rows.values()) for rows in store.written(tables.INBOX)] == [102]


async def test_a_batch_of_nothing_commits_nothing() -> None:
    """An empty block returns, and leaves no trace."""
    store = ScriptedStore()
    async with bank(store) as hub:
        async with hub.batch():
            pass
        await hub.wait_idle()
    assert store.submitted == 0


async def test_a_start_and_its_events_go_together() -> None:
    """An event may be for an instance that the batch itself starts, in whatever order of ids; it reaches it."""
    async with bank(MemoryStore()) as hub:
        async with hub.batch() as batch:
            generated = batch.start(receive)
            batch.raise_event(generated, "GO", 5)
            batch.start(receive, instance_id="chosen")
            batch.raise_event("chosen", "go", 6)
        assert await hub.instance(generated).result() == 5
        assert await hub.instance("chosen").result() == 6


async def test_an_event_before_its_start_is_refused() -> None:
    """The order of the block counts: an event to an instance that the batch starts only later is an event to nobody."""
    async with bank(MemoryStore()) as hub:

        async def send() -> None:
            async with hub.batch() as batch:
                batch.raise_event("later", "go", 5)
                batch.start(receive, instance_id="later")

        with pytest.raises(InstanceNotFound, match="'later'"):
            await send()
        with pytest.raises(InstanceNotFound):
            await hub.instance("later").status()


REFUSED_AT_THE_END: dict[str, tuple[type[Exception], Callable[[ClientBatch], Any]]] = {
    "a start of what exists": (InstanceExists, lambda batch: batch.start(receive, instance_id="there")),
    "a replacement of what runs": (
        InstanceExists,
        lambda batch: batch.start(receive, instance_id="there", if_exists="replace_finished"),
    ),
    "an event to nobody": (InstanceNotFound, lambda batch: batch.raise_event("nobody", "go", 1)),
    "an event to what has finished": (InstanceFinished, lambda batch: batch.raise_event("over", "go", 1)),
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("case", REFUSED_AT_THE_END)
async def test_one_impossible_request_refuses_all(case: str, place: int) -> None:
    """Wherever in the block it stands, nothing else of the batch is accepted, and nothing is committed."""
    store = ScriptedStore()
    error, impossible = REFUSED_AT_THE_END[case]
    async with bank(store) as hub:
        await hub.start(receive, instance_id="there")
        await hub.start(receive, instance_id="over")
        await hub.raise_event("over", "go", 1)
        await hub.wait_idle()
        commits = store.submitted
        requests: list[Callable[[ClientBatch], Any]] = [
            lambda batch: batch.signal_entity(Ledger.at("l"), Ledger.note, 1),
            lambda batch: batch.start(receive, instance_id="new"),
        ]
        requests.insert(place, impossible)

        async def send() -> None:
            async with hub.batch() as batch:
                for request in requests:
                    request(batch)

        with pytest.raises(error, match=r"'(there|nobody|over)'"):
            await send()
        assert await noted(hub) == []
        with pytest.raises(InstanceNotFound):
            await hub.instance("new").status()
        assert store.submitted == commits


REFUSED_AT_THE_CALL: dict[str, tuple[type[Exception], str, Callable[[Any], Any]]] = {
    "no entity id": (TypeError, "takes an entity id", lambda batch: batch.signal_entity("alice", Account.deposit, 1)),
    "unknown entity": (UnknownEntity, "'nobody'", lambda batch: batch.signal_entity(EntityId("nobody", "x"), "run")),
    "unknown operation": (UnknownOperation, "'rob'", lambda batch: batch.signal_entity(Account.at("a"), "rob")),
    "an operation of another class": (
        UnknownOperation,
        "no method of Account",
        lambda batch: batch.signal_entity(Account.at("a"), Ledger.note, 1),
    ),
    "too few arguments": (TypeError, "amount", lambda batch: batch.signal_entity(Account.at("a"), Account.deposit)),
    "a bad argument": (NotStorable, "amount", lambda batch: batch.signal_entity(Account.at("a"), Account.deposit, "1")),
    "a bad instance id": (ValueError, "empty", lambda batch: batch.start(receive, instance_id="")),
    "no orchestrator": (TypeError, "@orchestrator", lambda batch: batch.start(len)),
    "unknown orchestrator": (UnknownOrchestrator, "'steal'", lambda batch: batch.start("steal")),
    "a second start of one id": (InstanceExists, "'twice'", lambda batch: batch.start(receive, instance_id="twice")),
    "a bad event name": (ValueError, "1 to 200 characters", lambda batch: batch.raise_event("twice", "", 1)),
    "a bad event value": (NotStorable, "value", lambda batch: batch.raise_event("twice", "go", object())),
    "an unknown if_exists": (
        ValueError,
        "if_exists is one of",
        lambda batch: batch.start(receive, instance_id="x", if_exists="perhaps"),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AT_THE_CALL)
async def test_a_bad_request_is_refused_at_its_line(case: str) -> None:
    """The error names what is wrong where it was written; caught there, the rest of the batch goes on without it."""
    error, says, bad = REFUSED_AT_THE_CALL[case]
    async with bank(MemoryStore()) as hub:
        async with hub.batch() as batch:
            batch.start(receive, instance_id="twice")
            with pytest.raises(error, match=says):
                bad(batch)
            batch.signal_entity(Ledger.at("l"), Ledger.note, 1)
        assert await noted(hub) == [1]
        await hub.raise_event("twice", "go", 4)
        assert await hub.instance("twice").result() == 4


async def test_an_exception_in_the_block_sends_nothing() -> None:
    """It comes out as it is, and the batch is over."""
    store = ScriptedStore()
    async with bank(store) as hub:
        batch = hub.batch()

        async def fail() -> None:
            async with batch:
                batch.signal_entity(Ledger.at("l"), Ledger.note, 1)
                raise Mine

        with pytest.raises(Mine):
            await fail()
        assert await noted(hub) == []
        with pytest.raises(RuntimeError, match="open a new one"):
            batch.signal_entity(Ledger.at("l"), Ledger.note, 1)
    assert store.submitted == 0


async def test_cancelling_the_block_sends_nothing() -> None:
    """A block that is cancelled before it was left accepts nothing."""
    async with bank(MemoryStore()) as hub:
        with trio.CancelScope() as scope:
            async with hub.batch() as batch:
                batch.signal_entity(Ledger.at("l"), Ledger.note, 1)
                scope.cancel()
                await trio.sleep_forever()
        assert await noted(hub) == []


async def test_a_batch_is_used_once() -> None:
    """After its block it takes nothing more, and entering it again sends nothing again."""
    async with bank(MemoryStore()) as hub:
        async with hub.batch() as batch:
            batch.signal_entity(Ledger.at("l"), Ledger.note, 1)
        for request in (
            lambda: batch.signal_entity(Ledger.at("l"), Ledger.note, 2),
            lambda: batch.start(receive, instance_id="again"),
            lambda: batch.raise_event("x", "go"),
        ):
            with pytest.raises(RuntimeError, match=r"this batch was submitted; open a new one with hub\.batch\(\)"):
                request()
        with pytest.raises(RuntimeError, match="open a new one"):
            async with batch:
                pytest.fail("a batch that was submitted was entered again")
        assert await noted(hub) == [1]


async def test_a_batch_is_copies() -> None:
    """What was passed may be changed inside the block without changing what is sent (E6)."""
    numbers = [1, 2]
    async with bank(MemoryStore()) as hub:
        async with hub.batch() as batch:
            batch.start(receive, instance_id="i")
            batch.raise_event("i", "other", numbers)
            numbers.append(3)
        await hub.wait_idle()
        received = [entry.value for entry in await hub.instance("i").history() if isinstance(entry, EventReceived)]
        assert received == [b"\x92\x01\x02"]


async def test_two_batches_side_by_side_do_not_mix() -> None:
    """Batches of two tasks are each accepted whole: their numbers do not interleave."""
    async with bank(MemoryStore()) as hub:

        async def send(first: int) -> None:
            async with hub.batch() as batch:
                for number in range(first, first + 50):
                    batch.signal_entity(Ledger.at("l"), Ledger.note, number)
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, 0)
            nursery.start_soon(send, 1000)
        numbers = await noted(hub)
    assert numbers in ([*range(50), *range(1000, 1050)], [*range(1000, 1050), *range(50)])


async def test_a_batch_waits_for_its_commit() -> None:
    """Leaving the block returns when the batch is durable, not before."""
    store = ScriptedStore()
    async with bank(store) as hub, callers() as beside:
        store.held = True

        async def send() -> None:
            async with hub.batch() as batch:
                batch.signal_entity(Ledger.at("l"), Ledger.note, 1)

        call = beside.call(send)
        await rounds()
        assert not call.ended
        store.held = False
        await until(lambda: call.ended)


requests = st.lists(
    st.one_of(st.tuples(st.just("note"), st.integers(0, 3)), st.tuples(st.just("start"), st.integers(0, 99))),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(max_examples=40, deadline=None)
@given(requests, st.sampled_from([Harm.DIED_BEFORE, Harm.DIED_AFTER]), st.integers(1, 3), st.integers(0, 2))
def test_a_crash_leaves_all_or_nothing(what: list[tuple[str, int]], harm: Harm, at: int, looks: int) -> None:
    """Whichever commit the process dies at, the next one finds the whole batch or nothing of it."""
    store = ScriptedStore(looks=looks).harm(at, harm)
    acknowledged = False

    async def send() -> None:
        nonlocal acknowledged
        async with bank(store) as hub:
            async with hub.batch() as batch:
                for verb, number in what:
                    if verb == "note":
                        batch.signal_entity(Ledger.at(str(number)), Ledger.note, number)
                    else:
                        batch.start(receive, instance_id=str(number))
            acknowledged = True
            await hub.wait_idle()

    async def look() -> list[bool]:
        found: list[bool] = []
        async with bank(store.reborn()) as hub:
            await hub.wait_idle()
            for verb, number in what:
                if verb == "note":
                    found.append(await hub.read_entity(Ledger.at(str(number))) == Ledger([number]))
                else:
                    found.append(await _exists(hub, str(number)))
        return found

    with suppress(ProcessDied):
        trio.run(send)
    found = trio.run(look)
    assert set(found) == {True} if acknowledged else len(set(found)) == 1


async def _exists(hub: TaskHub, instance_id: str) -> bool:
    try:
        await hub.instance(instance_id).status()
    except InstanceNotFound:
        return False
    return True
