"""Too much work: clients wait, nobody starves, and other Trio tasks go on."""

from __future__ import annotations

import itertools

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import HubClosed, TaskHub, limits
from perdure.orchestration import OrchestrationContext, RuntimeStatus, orchestrator
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, Caller, Callers, Ledger, bank, callers, receive, rounds, until

MANY = 60

trace: list[str] = []
"""Who ran, in order."""


@define
class Endless(Entity):
    """Signals itself until the test has seen enough."""

    rounds: int = 0

    def go_round(self, who: str, copies: int) -> None:
        """Say that it ran; signal itself, more than once if asked to."""
        self.rounds += 1
        trace.append(who)
        if len(trace) < 3000:
            for _ in range(copies if self.rounds < 40 else 1):
                self.context.signal_entity(Endless.at(self.context.entity_id.key), Endless.go_round, who, copies)


@define
class Slow(Entity):
    """Computes for a while, as code does."""

    done: int = 0

    def compute(self) -> None:
        """About ten microseconds, on a machine of today."""
        self.done += sum(1 for _ in range(200)) // 200


@orchestrator
async def looper(ctx: OrchestrationContext, steps: int) -> int:
    """Call an entity again and again."""
    for _ in range(steps):
        await ctx.call_entity(Ledger.at("looped"), Ledger.note, 1)
        trace.append("looper")
    return steps


@pytest.fixture(autouse=True)
def _fresh() -> None:
    trace.clear()


@pytest.fixture
def small_backlog(monkeypatch: pytest.MonkeyPatch) -> int:
    """A hub that takes on little."""
    monkeypatch.setattr(limits, "BACKLOG_MAX", 10)
    return 10


def signals(hub: TaskHub, beside: Callers, count: int) -> list[Caller]:
    """So many clients that each send one signal, to different entities."""
    return [
        beside.call(lambda number=number: hub.signal_entity(Ledger.at(str(number % 7)), Ledger.note, number))
        for number in range(count)
    ]


async def everything_noted(hub: TaskHub) -> list[int]:
    """What all ledgers have."""
    await hub.wait_idle()
    ledgers = [await hub.read_entity(Ledger.at(str(number))) for number in range(7)]
    return sorted(number for ledger in ledgers if ledger is not None for number in ledger.numbers)


# --- clients wait


async def test_clients_wait_while_too_much_is_ready(small_backlog: int) -> None:
    """A paused hub takes as many messages as its limit allows; the other clients wait, and all get through in the end."""
    async with bank(MemoryStore(), paused=True) as hub:
        await rounds()
        async with callers() as beside:
            calls = signals(hub, beside, MANY)
            await rounds()
            assert sum(call.ended for call in calls) == small_backlog
            assert hub.statistics().backlog == small_backlog
            hub.unpause()
        assert all(call.error is None for call in calls)
        assert await everything_noted(hub) == list(range(MANY))
        assert hub.statistics().backlog == 0


async def test_the_backlog_stays_bounded_with_a_slow_disk(small_backlog: int) -> None:
    """However many clients press, what waits in memory never exceeds the limit."""
    store = ScriptedStore(looks=5)
    highest = 0
    async with bank(store) as hub:
        async with callers() as beside:
            calls = signals(hub, beside, MANY)
            while not all(call.ended for call in calls):
                highest = max(highest, hub.statistics().backlog)
                await trio.lowlevel.checkpoint()
        assert await everything_noted(hub) == list(range(MANY))
    assert highest <= small_backlog


async def test_messages_are_counted_once_from_the_first_moment_on() -> None:
    """Also while the hub still takes up what an earlier one left, the backlog is what waits and no more."""
    async with bank(MemoryStore(), paused=True) as hub:
        async with hub.batch() as batch:
            for number in range(MANY):
                batch.signal_entity(Ledger.at(str(number % 7)), Ledger.note, number)
        await rounds()
        assert hub.statistics().backlog == MANY


async def test_what_an_earlier_hub_left_counts(small_backlog: int) -> None:
    """Messages that are taken up after opening count like new ones: clients wait until there is room."""
    store = MemoryStore()
    async with bank(store, paused=True) as hub, hub.batch() as batch:
        for number in range(MANY):
            batch.signal_entity(Ledger.at(str(number % 7)), Ledger.note, number)
    async with bank(store, paused=True) as hub, callers() as beside:
        await rounds()
        assert hub.statistics().backlog == MANY > small_backlog
        late = beside.call(lambda: hub.signal_entity(Ledger.at("0"), Ledger.note, MANY))
        await rounds()
        assert not late.ended
        hub.unpause()
        assert await everything_noted(hub) == list(range(MANY + 1))


async def test_each_verb_waits_at_the_limit(small_backlog: int) -> None:
    """Signals, calls, starts, events, terminations and batches all wait, and all go through when there is room."""
    async with bank(MemoryStore(), paused=True) as hub:
        await hub.start(receive, instance_id="there")
        await hub.start(receive, instance_id="doomed")

        async def send_batch() -> None:
            async with hub.batch() as batch:
                batch.signal_entity(Account.at("a"), Account.deposit, 1)

        async with callers() as beside:
            signals(hub, beside, small_backlog)
            await rounds()
            waiting = [
                beside.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1)),
                beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1)),
                beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1, request_id="r")),
                beside.call(lambda: hub.start(receive, instance_id="new")),
                beside.call(lambda: hub.raise_event("there", "go", 5)),
                beside.call(lambda: hub.terminate("doomed")),
                beside.call(send_batch),
            ]
            await rounds()
            assert not any(call.ended for call in waiting)
            hub.unpause()
        assert [call.error for call in waiting] == [None] * len(waiting)
        assert await hub.call_entity(Account.at("a"), Account.deposit, 0) == 4
        assert await hub.instance("there").result() == 5
        assert (await hub.instance("doomed").status()).runtime_status is RuntimeStatus.TERMINATED


async def test_E2_the_order_of_calls_survives_the_waiting(small_backlog: int) -> None:
    """What one hub object was asked to send arrives in the order of the asking, also if the later ones had to wait."""
    asked: list[int] = []
    async with bank(MemoryStore(), paused=True) as hub:

        async def send(number: int) -> None:
            asked.append(number)
            await hub.signal_entity(Ledger.at("l"), Ledger.note, number)

        async with trio.open_nursery() as nursery:
            for number in range(4 * small_backlog):
                nursery.start_soon(send, number)
            await rounds()
            hub.unpause()
            for number in range(4 * small_backlog, 6 * small_backlog):
                nursery.start_soon(send, number)
                await trio.lowlevel.checkpoint()
        await hub.wait_idle()
        ledger = await hub.read_entity(Ledger.at("l"))
    assert ledger is not None
    assert ledger.numbers == asked


async def test_a_batch_may_exceed_the_limit_once(small_backlog: int) -> None:
    """One batch is taken whole however large it is; whoever comes after it waits."""
    async with bank(MemoryStore(), paused=True) as hub, callers() as beside:
        await rounds()
        async with hub.batch() as batch:
            for number in range(MANY):
                batch.signal_entity(Ledger.at(str(number % 7)), Ledger.note, number)
        assert hub.statistics().backlog == MANY > small_backlog
        late = beside.call(lambda: hub.signal_entity(Ledger.at("1"), Ledger.note, MANY))
        await rounds()
        assert not late.ended
        hub.unpause()
        await until(lambda: late.ended)
        assert await everything_noted(hub) == list(range(MANY + 1))


async def test_who_waits_at_the_limit_can_be_cancelled(small_backlog: int) -> None:
    """A client that gives up before there was room has sent nothing."""
    async with bank(MemoryStore(), paused=True) as hub:
        async with callers() as beside:
            signals(hub, beside, small_backlog)
            await rounds()
            with trio.CancelScope() as scope:
                async with callers() as impatient:
                    impatient.call(lambda: hub.signal_entity(Account.at("a"), Account.deposit, 1))
                    await rounds()
                    scope.cancel()
            assert scope.cancelled_caught
            hub.unpause()
        await hub.wait_idle()
        assert await hub.read_entity(Account.at("a")) is None


async def test_who_waits_at_the_limit_is_told_when_the_hub_closes(small_backlog: int) -> None:
    """Clients that never got in get HubClosed; nothing of theirs was accepted, everything accepted is kept."""
    store = MemoryStore()
    async with callers() as beside, bank(store, paused=True) as hub:
        calls = signals(hub, beside, MANY)
        await rounds()
    accepted = [number for number, call in enumerate(calls) if call.error is None]
    assert len(accepted) == small_backlog
    assert {type(call.error) for call in calls if call.error is not None} == {HubClosed}
    async with bank(store) as hub:
        assert await everything_noted(hub) == accepted


async def test_reading_does_not_wait_at_the_limit(small_backlog: int) -> None:
    """Reads, statuses and statistics work however much is ready (E9)."""
    async with bank(MemoryStore(), paused=True) as hub:
        await hub.start(receive, instance_id="there")
        async with callers() as beside:
            signals(hub, beside, 2 * small_backlog)
            await rounds()
            assert await hub.read_entity(Ledger.at("1")) is None
            assert (await hub.instance("there").status()).runtime_status is RuntimeStatus.PENDING
            hub.unpause()


async def test_messages_between_entities_do_not_wait(small_backlog: int) -> None:
    """Only clients wait: entities that signal each other get on beyond the limit, so that work can end."""
    async with bank(MemoryStore(), Endless) as hub:
        async with trio.open_nursery() as nursery:
            for number in range(3 * small_backlog):
                nursery.start_soon(hub.signal_entity, Endless.at(str(number)), Endless.go_round, "x", 2)
        await hub.wait_idle()
        assert len(trace) >= 3000
        assert hub.statistics().backlog == 0


async def test_a_paused_hub_takes_clients_and_runs_no_turn() -> None:
    """What is sent to a paused hub is acknowledged, kept, and run after the pause."""
    store = MemoryStore()
    async with bank(store, paused=True) as hub:
        await hub.signal_entity(Ledger.at("0"), Ledger.note, 0)
        assert hub.statistics().turns == 0
        hub.unpause()
        await hub.wait_idle()
        hub.pause()
        await hub.signal_entity(Ledger.at("0"), Ledger.note, 1)
        await rounds()
        assert await hub.read_entity(Ledger.at("0")) == Ledger([0])
    async with bank(store) as hub:
        assert await everything_noted(hub) == [0, 1]


# --- nobody starves


@pytest.mark.parametrize("copies", [1, 2])
async def test_an_endless_entity_does_not_starve_others(copies: int) -> None:
    """Between two turns of one instance every other one that is ready has its turn, of a bounded number of messages."""
    async with bank(MemoryStore(), Endless) as hub:
        async with hub.batch() as batch:
            batch.signal_entity(Endless.at("greedy"), Endless.go_round, "greedy", copies)
            for number in range(5):
                batch.signal_entity(Endless.at(str(number)), Endless.go_round, str(number), 1)
        await hub.wait_idle()
    runs = "".join("g" if who == "greedy" else who for who in trace[:2000])
    assert all(runs.count(who) > 40 for who in "g01234"), runs
    assert "g" * (limits.TURN_MESSAGES_MAX + 1) not in runs


async def test_a_flood_at_one_entity_does_not_starve_others() -> None:
    """Ten thousand messages at one entity: another one's few messages are run after a few turns, not at the end."""
    async with bank(MemoryStore(), Slow) as hub:
        async with hub.batch() as batch:
            for _ in range(10_000):
                batch.signal_entity(Slow.at("flooded"), Slow.compute)
            batch.signal_entity(Slow.at("other"), Slow.compute)
        while await hub.read_entity(Slow.at("other")) is None:
            await trio.lowlevel.checkpoint()
        flooded = await hub.read_entity(Slow.at("flooded"))
        assert flooded is None or flooded.done < 10_000
        await hub.wait_idle()
        assert hub.statistics().turns >= 10_000 // limits.TURN_MESSAGES_MAX


async def test_a_long_orchestration_takes_turns_with_entities() -> None:
    """An orchestration of many steps and an entity that signals itself take turns."""
    async with bank(MemoryStore(), Endless, looper) as hub:
        async with hub.batch() as batch:
            batch.signal_entity(Endless.at("greedy"), Endless.go_round, "greedy", 1)
            instance_id = batch.start(looper, 50)
        assert await hub.instance(instance_id).result() == 50
        await hub.wait_idle()
    steps = [place for place, who in enumerate(trace) if who == "looper"]
    assert len(steps) == 50
    assert max(later - earlier for earlier, later in itertools.pairwise(steps)) <= 4 * limits.TURN_MESSAGES_MAX


# --- other tasks go on


async def test_other_tasks_get_their_checkpoints() -> None:
    """While a long backlog is worked off, another Trio task gets on, again and again."""
    checkpoints = 0
    working = True

    async def other() -> None:
        nonlocal checkpoints
        while working:
            checkpoints += 1
            await trio.lowlevel.checkpoint()

    async with bank(MemoryStore(), Slow, paused=True) as hub:
        async with hub.batch() as batch:
            for number in range(4000):
                batch.signal_entity(Slow.at(str(number % 50)), Slow.compute)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await rounds(5)
            hub.unpause()
            before, turns = checkpoints, hub.statistics().turns
            await hub.wait_idle()
            working = False
            given, turns = checkpoints - before, hub.statistics().turns - turns
    assert turns >= 4000 // limits.TURN_MESSAGES_MAX
    assert given >= 20, f"{given} checkpoints in {turns} turns"
