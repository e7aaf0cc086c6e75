"""A disk that fails: who is told, what is refused, and that nothing is lost or doubled (D4)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.hub import TaskHub, limits
from perdure.orchestration import RuntimeStatus, activity, orchestrator
from perdure.orchestration.context import OrchestrationContext
from perdure.storage import tables
from perdure.storage.errors import StorageError, StorageInDoubt
from perdure.testing.scripted_store import Harm, ScriptedStore

from . import disk
from .helpers import Account, Ledger, bank, callers, ending, leaves, receive, rounds, transfer, until

started: list[int] = []
"""The activities that have started."""


@activity
async def begin(number: int) -> int:
    """Say that it started."""
    started.append(number)
    await trio.lowlevel.checkpoint()
    return number


@orchestrator
async def beginner(ctx: OrchestrationContext, number: int) -> int:
    """Have an activity."""
    return await ctx.call_activity(begin, number)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused commit is tried again at once, so that no test waits."""
    monkeypatch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))
    started.clear()


def hub_on(store: ScriptedStore, *, on_storage_error: Literal["retry", "stop"] = "retry") -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, begin, beginner, on_storage_error=on_storage_error)


async def _batch(hub: TaskHub) -> None:
    async with hub.batch() as batch:
        batch.signal_entity(Ledger.at("l"), Ledger.note, 1)


WAITING: dict[str, Callable[[TaskHub], Awaitable[Any]]] = {
    "signal_entity": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1),
    "signal_entity with a request id": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1, request_id="r"),
    "call_entity": lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1),
    "call_entity with a request id": lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="r"),
    "start": lambda hub: hub.start(receive),
    "raise_event": lambda hub: hub.raise_event("there", "other", 1),
    "terminate": lambda hub: hub.terminate("there", "enough"),
    "batch": _batch,
}


@pytest.mark.parametrize("verb", WAITING)
@pytest.mark.parametrize("looks", [0, 3], ids=["fails at once", "fails later"])
async def test_D4_a_waiting_caller_is_told(verb: str, looks: int) -> None:
    """Whoever waits for the commit that failed gets StorageError with the disk's own words, and no acknowledgement."""
    store = ScriptedStore(looks=looks)
    async with hub_on(store) as hub, callers() as beside:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        store.refusing = True
        call = beside.call(lambda: WAITING[verb](hub))
        await until(lambda: call.ended)
        store.refusing = False
        with pytest.raises(StorageError, match="the disk is full"):
            _ = call.outcome
        assert not isinstance(call.error, StorageInDoubt)


@pytest.mark.parametrize("looks", [0, 3], ids=["fails at once", "fails later"])
async def test_D4_a_single_failure_is_told_too(looks: int) -> None:
    """A caller hears of a commit that failed once, also if the next attempt succeeds."""
    store = ScriptedStore(looks=looks).harm(1, Harm.REFUSED)
    async with hub_on(store) as hub:
        with pytest.raises(StorageError):
            await hub.signal_entity(Ledger.at("l"), Ledger.note, 1)
        await hub.wait_idle()
        assert await hub.call_entity(Ledger.at("l"), Ledger.note, 2) == 2


@pytest.mark.parametrize("verb", WAITING)
async def test_D4_new_work_is_refused_while_storage_fails(verb: str) -> None:
    """It is refused at once, by an error that says what is going on, and leaves no trace."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        store.refusing = True
        beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1))
        await until(lambda: hub.statistics().storage_failing)
        with pytest.raises(StorageError, match="no new work is taken"):
            await WAITING[verb](hub)
        store.refusing = False
        await hub.wait_idle()
        assert await hub.read_entity(Ledger.at("l")) is None
        assert (await hub.instance("there").status()).runtime_status is RuntimeStatus.RUNNING
        assert hub.statistics().request_ids == 0
        assert len(store.table(tables.DIRECTORY)) == 2, "only the account and the instance that was there"


async def test_D4_it_recovers_by_itself_and_does_everything_once() -> None:
    """What was computed before and during the failure takes effect once when the disk works again, and work goes on."""
    store = ScriptedStore(looks=1)
    async with hub_on(store) as hub, callers() as beside:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        store.refusing = True
        calls = [
            beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1)),
            beside.call(lambda: hub.start(transfer, "a", "b", 4, instance_id="t")),
            beside.call(lambda: hub.start(beginner, 7, instance_id="g")),
        ]
        await until(lambda: all(call.ended for call in calls))
        assert all(isinstance(call.error, StorageError) for call in calls)
        await rounds()
        attempts = store.attempts[-3:]
        assert len(set(attempts)) == 1, "the same batch is tried again, no other one"
        store.refusing = False
        assert await hub.instance("t").result() == "a -> b: 4"
        assert await hub.instance("g").result() == 7
        assert not hub.statistics().storage_failing
        assert await hub.call_entity(Account.at("a"), Account.deposit, 0) == 7
        assert await hub.call_entity(Account.at("b"), Account.deposit, 0) == 4
    assert started == [7]


async def test_D4_nothing_leaves_while_storage_fails() -> None:
    """No activity starts and no turn is run meanwhile: what could not be kept is not acted upon."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        store.refusing = True
        beside.call(lambda: hub.start(beginner, 7))
        await until(lambda: hub.statistics().storage_failing)
        turns = hub.statistics().turns
        await rounds()
        assert hub.statistics().turns == turns
        assert started == []
        store.refusing = False
        await hub.wait_idle()
        assert started == [7]


async def test_D4_reading_goes_on() -> None:
    """Reads of what is committed work while commits fail."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        instance = await hub.start(receive)
        await hub.wait_idle()
        store.refusing = True
        beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1))
        await until(lambda: hub.statistics().storage_failing)
        assert await hub.read_entity(Account.at("a")) == Account(10)
        assert (await instance.status()).runtime_status is RuntimeStatus.RUNNING
        store.refusing = False


async def test_D4_who_waits_for_a_result_gets_it_after_all() -> None:
    """A result that could not be told during the failure is told when it is durable."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        instance = await hub.start(receive)
        result = beside.call(instance.result)
        await hub.wait_idle()
        store.refusing = True
        event = beside.call(lambda: instance.raise_event("go", 5))
        await until(lambda: event.ended)
        assert isinstance(event.error, StorageError)
        store.refusing = False
        await until(lambda: result.ended)
        assert result.outcome == 5


async def test_D4_D8_repeating_after_a_failure_is_safe() -> None:
    """What was told to have failed may still take effect; with the same request id, repeating it changes nothing more."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        store.refusing = True
        calls = [
            beside.call(lambda: hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="call")),
            beside.call(lambda: hub.signal_entity(Ledger.at("l"), Ledger.note, 2, request_id="signal")),
            beside.call(lambda: hub.start(receive, request_id="start")),
        ]
        await until(lambda: all(call.ended for call in calls))
        assert all(isinstance(call.error, StorageError) for call in calls)
        store.refusing = False
        await hub.wait_idle()
        first = await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="call")
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 2, request_id="signal")
        instance = await hub.start(receive, request_id="start")
        assert first in (1, 2)
        ledger = await hub.read_entity(Ledger.at("l"))
        assert ledger is not None
        assert sorted(ledger.numbers) == [1, 2]
        await instance.raise_event("go", 9)
        assert await instance.result() == 9
        assert len([row for row in store.table(tables.DIRECTORY) if row[:1] == tables.ORCHESTRATION_KIND]) == 1


async def test_D4_the_failure_and_the_recovery_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An operator sees why, and that it is over."""
    store = ScriptedStore().harm(1, Harm.REFUSED)
    async with hub_on(store) as hub, callers() as beside:
        beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1))
        await until(lambda: bool(store.batches))
    assert any("the disk is full" in record.message and record.levelno == logging.ERROR for record in caplog.records)
    assert "storage works again" in caplog.text


@pytest.mark.parametrize("looks", [0, 3], ids=["fails at once", "fails later"])
async def test_D4_a_hub_that_shall_stop_stops(looks: int) -> None:
    """With on_storage_error="stop" the first failure comes out of the block, and nothing is tried again."""
    store = ScriptedStore(looks=looks)

    async def run() -> None:
        async with hub_on(store, on_storage_error="stop") as hub:
            await hub.call_entity(Account.at("a"), Account.deposit, 10)
            store.refusing = True
            with trio.CancelScope(shield=True), pytest.raises(StorageError, match="the disk is full"):
                await hub.call_entity(Account.at("a"), Account.deposit, 5)
            await trio.sleep_forever()

    error = await ending(run)
    assert type(error) is StorageError
    assert "the disk is full" in str(error)
    assert store.attempts == [1, 2]
    store = store.reborn()
    async with hub_on(store) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 11


async def test_D4_a_hub_that_shall_stop_stops_at_a_single_failure() -> None:
    """Also when the next attempt would have succeeded."""
    store = ScriptedStore().harm(1, Harm.REFUSED)

    async def run() -> None:
        async with hub_on(store, on_storage_error="stop") as hub, callers() as beside:
            beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 5))
            await until(lambda: store.submitted > 1)

    assert {type(leaf) for leaf in leaves(await ending(run) or ValueError())} == {StorageError}
    assert store.batches == []


async def test_D4_leaving_while_storage_fails_loses_nothing_acknowledged() -> None:
    """A hub can be left in the midst of a failure: it does not hang, and the next one starts from what was acknowledged."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        store.refusing = True
        call = beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 5))
        await until(lambda: call.ended)
    store.refusing = False
    async with hub_on(ScriptedStore(store.disk)) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) in (11, 16)


def test_the_option_is_checked() -> None:
    """Another word than the two that exist is refused, by name and value."""
    with pytest.raises(ValueError, match="on_storage_error is 'retry' or 'stop', not 'ignore'"):
        hub_on(ScriptedStore(), on_storage_error="ignore")  # type: ignore[arg-type]


failures = st.lists(st.booleans(), max_size=30)


@settings(max_examples=25, deadline=None)
@given(failures, st.integers(0, 2))
def test_D4_any_pattern_of_failures_keeps_a_prefix_with_everything_acknowledged(pattern: list[bool], looks: int) -> None:
    """Whichever commits fail, the numbers that were acknowledged are on disk at every moment after, in order, once."""
    store = ScriptedStore(looks=looks)
    for place, fails in enumerate(pattern, 1):
        if fails:
            store.harm(place, Harm.REFUSED)
    acknowledged: list[tuple[int, int]] = []

    async def run() -> None:
        async with bank(store) as hub:
            for number in range(20):
                try:
                    await hub.signal_entity(Ledger.at("l"), Ledger.note, number)
                except StorageError:
                    await trio.lowlevel.checkpoint()
                else:
                    acknowledged.append((number, len(store.batches)))
            await hub.wait_idle()
            ledger = await hub.read_entity(Ledger.at("l"))
            numbers = [] if ledger is None else ledger.numbers
            assert numbers == sorted(set(numbers))
            assert {number for number, _ in acknowledged} <= set(numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))
        trio.run(run)
    for rows in disk.after_each(store.batches):
        disk.check(rows)
