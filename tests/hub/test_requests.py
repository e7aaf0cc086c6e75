"""Repeating safely: one request id, one effect, one answer (D8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity, EntityOperationFailed
from perdure.hub import HubClosed, RequestMismatch, TaskHub
from perdure.orchestration import InstanceExists, InstanceFinished, InstanceNotFound, RuntimeStatus
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, FakeClock, InsufficientFunds, Ledger, bank, callers, receive, rounds, until

TTL = 100.0
"""Seconds."""


@define
class Gate(Entity):
    """Runs an operation that waits until the test lets it go on."""

    passed: int = 0

    async def wait_and_pass(self) -> int:
        """Wait for the test."""
        await gates[0].wait()
        self.passed += 1
        return self.passed


gates: list[trio.Event] = []


def hub_on(store: Any, clock: FakeClock | None = None, **options: Any) -> TaskHub:
    """A hub whose request ids live for :data:`TTL`."""
    return bank(store, Gate, clock=clock or FakeClock(), request_ttl=TTL, **options)


async def numbers(hub: TaskHub) -> list[int]:
    """What the ledger has."""
    await hub.wait_idle()
    ledger = await hub.read_entity(Ledger.at("l"))
    return [] if ledger is None else ledger.numbers


async def note(hub: TaskHub, number: int, request_id: str) -> None:
    """Signal the ledger."""
    await hub.signal_entity(Ledger.at("l"), Ledger.note, number, request_id=request_id)


Verb = Callable[[TaskHub], Awaitable[Any]]
VERBS: dict[str, Verb] = {
    "signal": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1, request_id="r"),
    "call": lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="r"),
    "start": lambda hub: hub.start(receive, instance_id="i", request_id="r"),
    "generated start": lambda hub: hub.start(receive, request_id="r"),
    "event": lambda hub: hub.raise_event("there", "go", 1, request_id="r"),
}


async def effects(hub: TaskHub, store: ScriptedStore) -> tuple[int, int, int]:
    """How many numbers, instances and received events there are."""
    noted = await numbers(hub)
    instances = sum(key[:1] == tables.ORCHESTRATION_KIND for key in store.table(tables.DIRECTORY))
    status = await hub.instance("there").status()
    return len(noted), instances, int(status.runtime_status is RuntimeStatus.COMPLETED) + status.unread_events


# --- one effect, one answer


@pytest.mark.parametrize("verb", VERBS)
async def test_D8_repeating_has_one_effect_and_one_answer(verb: str) -> None:
    """The second and third time change nothing, and give the first answer: in one hub and after a restart."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="there")
        first = await VERBS[verb](hub)
        once = await effects(hub, store)
        assert sum(once) == 2
        assert str(await VERBS[verb](hub)) == str(first)
        assert await effects(hub, store) == once
        assert hub.statistics().request_ids == 1
    async with hub_on(store) as hub:
        assert str(await VERBS[verb](hub)) == str(first)
        assert await effects(hub, store) == once
        assert hub.statistics().request_ids == 1


@pytest.mark.parametrize("verb", VERBS)
async def test_D8_concurrent_duplicates_are_one(verb: str) -> None:
    """Ten at a time, on a slow disk, and with one more while the commit is under way: one effect, the same answer to all."""
    store = ScriptedStore(looks=2)
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        async with callers() as beside:
            calls = [beside.call(lambda: VERBS[verb](hub)) for _ in range(10)]
            store.held = True
            await rounds()
            calls.append(beside.call(lambda: VERBS[verb](hub)))
            await rounds()
            assert not any(call.ended for call in calls), "somebody was answered before the commit"
            store.held = False
        assert len({str(call.outcome) for call in calls}) == 1
        assert sum(await effects(hub, store)) == 2


async def test_D8_the_answer_of_a_failed_call_is_repeated() -> None:
    """A call that failed once has failed for good under its id, with the same failure, also when it would work by now."""
    store = MemoryStore()
    refusals: list[str] = []
    for _ in range(2):
        async with hub_on(store) as hub:
            for _ in range(2):
                with pytest.raises(EntityOperationFailed) as refused:
                    await hub.call_entity(Account.at("a"), Account.withdraw, 5, request_id="r")
                assert refused.value.failure.is_caused_by(InsufficientFunds)
                refusals.append(str(refused.value))
                await hub.signal_entity(Account.at("a"), Account.deposit, 5)
            assert await hub.call_entity(Account.at("a"), Account.deposit, 0, request_id=f"other-{len(refusals)}") > 0
    assert len(set(refusals)) == 1


async def test_D8_a_duplicate_of_a_call_that_still_runs_waits_for_its_answer() -> None:
    """The operation runs once; whoever asks meanwhile, before and after a restart, gets its one answer."""
    gates[:] = [trio.Event()]
    store = MemoryStore()
    async with callers() as beside:
        async with hub_on(store) as hub:
            cut_off = beside.call(lambda: hub.call_entity(Gate.at("g"), Gate.wait_and_pass, request_id="r"))
            await until(lambda: hub.statistics().operations_running == 1)
        await until(lambda: cut_off.ended)
        assert isinstance(cut_off.error, HubClosed)
        async with hub_on(store) as hub:
            calls = [beside.call(lambda: hub.call_entity(Gate.at("g"), Gate.wait_and_pass, request_id="r")) for _ in range(3)]
            await rounds()
            assert not any(call.ended for call in calls)
            gates[0].set()
            await until(lambda: all(call.ended for call in calls))
            assert [call.outcome for call in calls] == [1, 1, 1]
            assert await hub.read_entity(Gate.at("g")) == Gate(1)


async def test_D8_cancelling_the_caller_takes_nothing_back() -> None:
    """A call whose caller was cancelled has happened all the same; asking again gives its answer."""
    gates[:] = [trio.Event()]
    async with hub_on(MemoryStore()) as hub:
        with trio.CancelScope() as scope:
            async with callers() as beside:
                beside.call(lambda: hub.call_entity(Gate.at("g"), Gate.wait_and_pass, request_id="r"))
                await until(lambda: hub.statistics().operations_running == 1)
                scope.cancel()
        gates[0].set()
        assert await hub.call_entity(Gate.at("g"), Gate.wait_and_pass, request_id="r") == 1


async def test_D8_a_generated_instance_id_is_returned_again() -> None:
    """A start without an instance id gives the same id to each repetition; the instance is the same one."""
    store = MemoryStore()
    async with hub_on(store) as hub:
        first = await hub.start(receive, request_id="r")
    async with hub_on(store) as hub:
        again = await hub.start(receive, request_id="r")
        other = await hub.start(receive, request_id="s")
        assert again.id == first.id != other.id
        await again.raise_event("go", 3)
        assert await hub.instance(first.id).result() == 3


async def test_D8_an_event_is_repeated_after_the_end() -> None:
    """A repetition of an event to an instance that has finished by it is no error; a new event is."""
    async with hub_on(MemoryStore()) as hub:
        await hub.start(receive, instance_id="there")
        await VERBS["event"](hub)
        assert await hub.instance("there").result() == 1
        await VERBS["event"](hub)
        with pytest.raises(InstanceFinished):
            await hub.raise_event("there", "go", 1, request_id="another")


async def test_D8_what_is_refused_keeps_no_id() -> None:
    """A request that was refused leaves its id free: it can be used when the request is possible."""
    async with hub_on(MemoryStore()) as hub:
        with pytest.raises(InstanceNotFound):
            await hub.raise_event("later", "go", 7, request_id="r")
        await hub.start(receive, instance_id="later")
        with pytest.raises(InstanceExists):
            await hub.start(receive, instance_id="later", request_id="s")
        assert hub.statistics().request_ids == 0
        await hub.raise_event("later", "go", 7, request_id="r")
        assert await hub.instance("later").result() == 7


# --- mismatch


OTHER_USES: dict[str, Verb] = {
    **{name: verb for name, verb in VERBS.items() if name != "signal"},
    "other argument": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 2, request_id="r"),
    "other entity": lambda hub: hub.signal_entity(Ledger.at("m"), Ledger.note, 1, request_id="r"),
    "other operation": lambda hub: hub.signal_entity(Account.at("l"), Account.deposit, 1, request_id="r"),
    "other number of arguments": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note_and_pass, 1, "l", request_id="r"),
}


@pytest.mark.parametrize("use", OTHER_USES)
async def test_D8_another_request_under_the_same_id_is_refused(use: str) -> None:
    """Another verb, target or argument under a used id raises RequestMismatch that names the id, and has no effect."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="there")
        await VERBS["signal"](hub)
        before = await effects(hub, store)
        with pytest.raises(RequestMismatch, match="'r' was used before for another verb, target or arguments"):
            await OTHER_USES[use](hub)
        assert await effects(hub, store) == before
        await VERBS["signal"](hub)


async def test_D8_if_exists_is_an_argument() -> None:
    """A start with another ``if_exists`` under the same id is another request."""
    async with hub_on(MemoryStore()) as hub:
        await hub.start(receive, instance_id="i", request_id="r")
        with pytest.raises(RequestMismatch):
            await hub.start(receive, instance_id="i", if_exists="return", request_id="r")


@pytest.mark.parametrize(
    ("request_id", "error", "says"),
    [
        (7, TypeError, "a request id is a str, not int"),
        ("", ValueError, "1 to 200 UTF-8 bytes"),
        ("é" * 101, ValueError, "1 to 200 UTF-8 bytes"),
        ("\ud800", ValueError, "lone surrogates"),
    ],
)
@pytest.mark.parametrize("verb", ["signal_entity", "call_entity", "start", "raise_event"])
async def test_D8_a_bad_request_id_is_refused(verb: str, request_id: Any, error: type[Exception], says: str) -> None:
    """At every door, saying what is allowed; nothing is sent."""
    arguments: dict[str, tuple[Any, ...]] = {
        "signal_entity": (Ledger.at("l"), Ledger.note, 1),
        "call_entity": (Ledger.at("l"), Ledger.note, 1),
        "start": (receive,),
        "raise_event": ("there", "go", 1),
    }
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        with pytest.raises(error, match=says):
            await getattr(hub, verb)(*arguments[verb], request_id=request_id)
        assert await effects(hub, store) == (0, 1, 0)


@pytest.mark.parametrize("request_id", ["x" * 200, "é" * 100, "\0", " ", "a@b/ü"])
async def test_D8_request_ids_are_any_text(request_id: str) -> None:
    """Up to 200 bytes of any text, told apart exactly."""
    async with hub_on(MemoryStore()) as hub:
        for _ in range(2):
            await note(hub, 1, request_id)
        await note(hub, 2, request_id[:-1] + "y")
        assert await numbers(hub) == [1, 2]
