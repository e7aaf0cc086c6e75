"""Nothing leaves before it is durable, what returned has happened, and doubt stops the hub (D2, D3, D10, E9)."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import HubClosed, TaskHub
from perdure.orchestration import InstanceNotFound, OrchestrationContext, RuntimeStatus, activity, orchestrator
from perdure.storage.errors import StorageInDoubt
from perdure.testing.scripted_store import Harm, ScriptedStore

from .helpers import Account, Caller, Ledger, bank, callers, ending, leaves, receive, rounds, transfer, until

ran: list[str] = []
"""What code of the tests' own definitions has run, in order."""


@define
class Relay(Entity):
    """Says that it ran, and passes on."""

    hops: int = 0

    def hop(self, left: int) -> int:
        """Pass on to the next one until none is left."""
        self.hops += 1
        ran.append(f"hop {left}")
        if left:
            self.context.signal_entity(Relay.at(str(left - 1)), Relay.hop, left - 1)
        return left

    async def hop_slowly(self, left: int) -> int:
        """Say so, after the commit of the message."""
        ran.append(f"slow hop {left}")
        await trio.lowlevel.checkpoint()
        self.hops += 1
        return left


@activity
async def work(number: int) -> int:
    """Say so."""
    ran.append(f"activity {number}")
    await trio.lowlevel.checkpoint()
    return number


@orchestrator
async def worker(ctx: OrchestrationContext, number: int) -> int:
    """Signal, then have an activity."""
    ran.append(f"orchestration {number}")
    ctx.signal_entity(Relay.at("orchestrated"), Relay.hop, 0)
    return await ctx.call_activity(work, number)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def hub_on(store: ScriptedStore, **options: Any) -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, Relay, work, worker, **options)


# --- D2


async def held_back(verb: Callable[[TaskHub], Awaitable[Any]], done_while_held: list[str], done_after: list[str]) -> Caller:
    """Make a call while the disk holds back, look at what ran, let go, and look again."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        store.held = True
        call = beside.call(lambda: verb(hub))
        await rounds()
        assert not call.ended, "it was answered although nothing is durable"
        assert ran == done_while_held
        assert store.batches == []
        store.held = False
        await until(lambda: call.ended)
        await hub.wait_idle()
        assert ran == done_after
    return call


async def test_D2_a_signal_is_acknowledged_when_it_is_durable() -> None:
    """Messages between entities go on while the disk holds back; the acknowledgement does not come."""
    hops = ["hop 2", "hop 1", "hop 0"]
    await held_back(lambda hub: hub.signal_entity(Relay.at("2"), Relay.hop, 2), hops, hops)


async def test_D2_a_call_is_answered_when_its_effect_is_durable() -> None:
    """A plain operation may run before; its result does not leave the hub."""
    call = await held_back(lambda hub: hub.call_entity(Relay.at("0"), Relay.hop, 0), ["hop 0"], ["hop 0"])
    assert call.outcome == 0


async def test_D2_a_call_with_a_request_id_is_answered_when_its_effect_is_durable() -> None:
    """The same goes for an answer that is kept."""
    call = await held_back(lambda hub: hub.call_entity(Relay.at("0"), Relay.hop, 0, request_id="r"), ["hop 0"], ["hop 0"])
    assert call.outcome == 0


async def test_D2_an_async_operation_begins_when_its_message_is_durable() -> None:
    """It may do I/O, so it must not run for a message that a crash could take back."""
    call = await held_back(lambda hub: hub.call_entity(Relay.at("0"), Relay.hop_slowly, 0), [], ["slow hop 0"])
    assert call.outcome == 0


async def test_D2_an_activity_starts_when_its_request_is_durable() -> None:
    """The orchestration and the entity that it signals run before; the activity does not."""
    inside = ["orchestration 7", "hop 0"]
    await held_back(lambda hub: hub.start(worker, 7), inside, [*inside, "activity 7"])


async def test_D2_a_client_batch_is_acknowledged_when_it_is_durable() -> None:
    """One acknowledgement, and not early either."""

    async def send(hub: TaskHub) -> None:
        async with hub.batch() as batch:
            batch.signal_entity(Relay.at("0"), Relay.hop, 0)

    await held_back(send, ["hop 0"], ["hop 0"])


async def test_D2_a_result_is_told_when_it_is_durable() -> None:
    """An orchestration that has ended in memory has not ended for whoever waits for it, or looks at it."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        instance = await hub.start(receive)
        await hub.wait_idle()
        store.held = True
        result = beside.call(instance.result)
        event = beside.call(lambda: instance.raise_event("go", 5))
        await rounds()
        late = beside.call(instance.result)
        await rounds()
        assert [call.ended for call in (result, event, late)] == [False] * 3
        assert (await instance.status()).runtime_status is RuntimeStatus.RUNNING
        store.held = False
        await until(lambda: result.ended and event.ended and late.ended)
        assert result.outcome == late.outcome == 5


async def test_D2_the_answer_of_a_second_call_waits_for_its_own_commit() -> None:
    """A call that comes while a batch is under way is answered by the next one, not by the one that knows nothing of it."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        store.held = True
        first = beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1))
        await until(lambda: store.submitted == 1)
        second = beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1))
        await rounds()
        store.held = False
        await until(lambda: first.ended)
        store.held = True
        await rounds()
        assert (first.outcome, second.ended) == (1, store.batches[-1].number == 2)
        store.held = False
        await until(lambda: second.ended)
        assert second.outcome == 2


async def test_E9_a_read_shows_the_last_commit_and_does_not_wait() -> None:
    """While the disk holds back, a read returns at once, with the state before."""
    store = ScriptedStore()
    async with hub_on(store) as hub, callers() as beside:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
        store.held = True
        call = beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1))
        await rounds()
        assert not call.ended
        assert await hub.read_entity(Account.at("a")) == Account(1)
        store.held = False
    assert call.outcome == 2


# --- D3


async def _batch(hub: TaskHub) -> None:
    async with hub.batch() as batch:
        batch.signal_entity(Ledger.at("l"), Ledger.note, 1)


async def _was_noted(hub: TaskHub) -> bool:
    return await hub.read_entity(Ledger.at("l")) == Ledger([1])


async def _has_status(hub: TaskHub, status: RuntimeStatus) -> bool:
    try:
        return (await hub.instance("waits").status()).runtime_status is status
    except InstanceNotFound:
        return False


VERBS: dict[str, tuple[Callable[[TaskHub], Awaitable[Any]], Callable[[TaskHub], Awaitable[bool]]]] = {
    "signal_entity": (lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1), _was_noted),
    "call_entity": (lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1), _was_noted),
    "batch": (_batch, _was_noted),
    "start": (lambda hub: hub.start(receive, instance_id="new"), lambda hub: _starts(hub)),
    "raise_event": (lambda hub: hub.raise_event("waits", "go", 1), lambda hub: _has_status(hub, RuntimeStatus.COMPLETED)),
    "start_and_raise": (
        lambda hub: hub.start_and_raise(receive, instance_id="both", event="go", value=3),
        lambda hub: _has_ended(hub, "both", 3),
    ),
    "terminate": (lambda hub: hub.terminate("waits"), lambda hub: _has_status(hub, RuntimeStatus.TERMINATED)),
    "cancel": (lambda hub: hub.cancel("waits"), lambda hub: _has_status(hub, RuntimeStatus.CANCELED)),
    "suspend": (lambda hub: hub.suspend("waits"), lambda hub: _has_status(hub, RuntimeStatus.SUSPENDED)),
    "replacement": (
        lambda hub: hub.start(receive, instance_id="over", if_exists="replace_finished"),
        lambda hub: _ends_again(hub, "over", 4),
    ),
}


async def _has_ended(hub: TaskHub, instance_id: str, value: int) -> bool:
    return await hub.instance(instance_id).result() == value


async def _ends_again(hub: TaskHub, instance_id: str, value: int) -> bool:
    await hub.raise_event(instance_id, "go", value)
    return await _has_ended(hub, instance_id, value)


async def _starts(hub: TaskHub) -> bool:
    await hub.raise_event("new", "go", 3)
    return await hub.instance("new").result() == 3


@pytest.mark.parametrize("verb", VERBS)
async def test_D3_what_returned_has_happened(verb: str) -> None:
    """The disk as it is when a verb returns is enough for the next process to show its effect."""
    act, shows = VERBS[verb]
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="waits")
        await hub.start_and_raise(receive, instance_id="over", event="go", value=1)
        await hub.wait_idle()
        await act(hub)
        left_behind = ScriptedStore(copy.deepcopy(store.disk)).reborn()
    async with hub_on(left_behind) as hub:
        await hub.wait_idle()
        assert await shows(hub)


# --- D10


@pytest.mark.parametrize("harm", [Harm.LOST, Harm.KEPT])
async def test_D10_in_doubt_stops_the_hub_and_reopening_settles(harm: Harm) -> None:
    """The waiting call and the hub itself end with StorageInDoubt, nothing is written after it, and reopening decides."""
    store = ScriptedStore().harm(2, harm)
    calls: list[Caller] = []

    async def run() -> None:
        async with hub_on(store) as hub:
            await hub.signal_entity(Account.at("a"), Account.deposit, 10)
            async with callers() as beside:
                calls.append(beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 5, request_id="once")))
            await trio.sleep_forever()

    error = await ending(run)
    assert type(error) is StorageInDoubt
    assert "did not answer" in str(error)
    assert isinstance(calls[0].error, StorageInDoubt)
    assert store.submitted == 2
    async with hub_on(store.reborn()) as hub:
        assert await hub.read_entity(Account.at("a")) == Account(10 if harm is Harm.LOST else 15)
        assert await hub.call_entity(Account.at("a"), Account.deposit, 5, request_id="once") == 15


async def test_D10_a_hub_that_has_stopped_takes_nothing_more() -> None:
    """Verbs after the doubt raise HubClosed that says why, and what comes out of the block is still the doubt."""
    store = ScriptedStore().harm(1, Harm.LOST)

    async def run() -> None:
        async with hub_on(store) as hub:
            with trio.CancelScope(shield=True):
                with pytest.raises(StorageInDoubt):
                    await hub.signal_entity(Account.at("a"), Account.deposit, 1)
                with pytest.raises(HubClosed, match="did not answer"):
                    await hub.signal_entity(Account.at("a"), Account.deposit, 1)
                await hub.read_entity(Account.at("a"))  # a client that does not know yet

    assert type(await ending(run)) is StorageInDoubt
    assert store.submitted == 1


async def test_D10_clients_in_a_nursery_see_the_doubt_and_no_stray_cancellation() -> None:
    """Clients that run side by side in the block get StorageInDoubt; the hub's own cancellation does not leak out."""
    store = ScriptedStore().harm(1, Harm.LOST)

    async def run() -> None:
        async with hub_on(store) as hub, trio.open_nursery() as nursery:
            nursery.start_soon(hub.signal_entity, Account.at("a"), Account.deposit, 1)
            nursery.start_soon(trio.sleep_forever)

    error = await ending(run)
    assert error is not None
    assert {type(leaf) for leaf in leaves(error)} == {StorageInDoubt}


async def test_D10_a_body_that_waits_in_a_nursery_hears_of_the_doubt() -> None:
    """The doubt comes out of the block also if everything in it was just waiting in nurseries of its own."""
    store = ScriptedStore().harm(1, Harm.LOST)

    async def run() -> None:
        async with hub_on(store) as hub, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            with suppress(StorageInDoubt):
                await hub.signal_entity(Account.at("a"), Account.deposit, 1)
            await trio.sleep_forever()

    assert type(await ending(run)) is StorageInDoubt


async def test_E9_readers_see_money_in_an_account_or_under_way() -> None:
    """A read between two commits shows money that is in an account or under way, never more than there is."""
    store = ScriptedStore(looks=2)
    async with hub_on(store) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        instance = await hub.start(transfer, "a", "b", 4)
        while not (await instance.status()).runtime_status.final:
            balances = [await hub.read_entity(Account.at(key)) for key in "ab"]
            assert sum(account.balance for account in balances if account is not None) in (6, 10)
            await trio.lowlevel.checkpoint()
