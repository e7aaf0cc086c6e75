"""Delayed signals in a whole hub (E10): never early, once, listed, cancelled, undone with their operation, across restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.entities import Entity, EntityOperationFailed
from perdure.hub import RequestMismatch, TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..entities.on_hub import opened
from .diary import BEGIN, A, B, Diary, listed, texts
from .helpers import SECOND, FakeClock
from .virtual import CACHES, START, everything, hub_in, left_over

Context = OrchestrationContext
Clock = trio.testing.MockClock
DAY = 86_400.0


# --- when


@pytest.mark.parametrize("days", [0.5, 400.0, 36_500.0])
async def test_E10_any_horizon(days: float) -> None:
    """A signal for today, next year or the next century is delivered then, and leaves nothing behind but what it did."""
    store, clock = MemoryStore(), FakeClock()

    async def look(hub: TaskHub) -> list[str]:
        await hub.call_entity(B, "delete")  # the hub looks at its clock
        await hub.wait_idle()
        return await texts(hub)

    async with opened(Diary, store=store, clock=clock) as hub:
        await hub.signal_entity(A, Diary.note, "x", deliver_at=BEGIN + timedelta(days=days))
        clock.time = START + int(days * DAY) * SECOND - 1
        assert await look(hub) == []
    async with opened(Diary, store=store, clock=clock) as hub:
        clock.time += 1
        assert await look(hub) == ["x"]
        assert left_over(store) == {}
        assert await listed(hub) == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    delays=st.lists(st.floats(0, 300), min_size=1, max_size=8),
    cache=st.sampled_from([64 << 20, 1]),
    restarts=st.lists(st.floats(1, 200), max_size=3),
)
def test_E10_never_early_and_all_of_them(delays: list[float], cache: int, restarts: list[float]) -> None:
    """Whatever the delays, and however often the hub is closed and opened meanwhile: each comes once, and none before its time."""
    store = MemoryStore()

    async def program() -> None:
        async with hub_in(store, Diary, cache_bytes=cache) as hub:
            for number, delay in enumerate(delays):
                await hub.signal_entity(A, Diary.note, str(number), deliver_at=timedelta(seconds=delay))
        for pause in restarts:
            await trio.sleep(pause)
            async with hub_in(store, Diary, cache_bytes=cache) as hub:
                await trio.sleep(pause)
        async with hub_in(store, Diary, cache_bytes=cache) as hub:
            await trio.sleep(1000)
            found = await hub.read_entity(A)
            assert found is not None
            assert sorted(text for text, _ in found.notes) == sorted(map(str, range(len(delays))))
            for text, second in found.notes:
                assert second >= delays[int(text)] - 1e-6

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    assert left_over(store) == {}


@CACHES
async def test_E10_a_time_that_has_passed_is_now(cache: int, autojump_clock: Clock) -> None:
    """A signal for a time in the past is delivered at once, and returns an id all the same."""
    async with hub_in(MemoryStore(), Diary, cache_bytes=cache) as hub:
        for time in (BEGIN - timedelta(days=1), datetime(1960, 1, 1, tzinfo=UTC)):
            assert await hub.signal_entity(A, Diary.note, "x", deliver_at=time)
        await trio.sleep(1)
        assert await texts(hub) == ["x", "x"]


async def test_D6_steps_of_the_clock_deliver_nothing_early() -> None:
    """A wall clock that is set back delays a signal, one that is set forward brings it: once in either case."""
    clock = FakeClock()
    async with opened(Diary, clock=clock) as hub:
        await hub.signal_entity(A, Diary.note, "x", deliver_at=100)
        for seconds, expected in ((-50, []), (149, []), (1, ["x"]), (-1000, ["x"]), (3000, ["x"])):
            clock.move(seconds)
            await hub.signal_entity(B, Diary.note, "the hub looks at its clock")
            await hub.wait_idle()
            assert await texts(hub) == expected


BAD_TIMES = [
    (datetime(2031, 1, 1), ValueError, "naive"),
    (-1, ValueError, "0 or more"), (float("nan"), ValueError, "finite"), (timedelta(seconds=-1), ValueError, "0 or more"),
    (1e300, ValueError, "9999"), (True, TypeError, "bool"), ("tomorrow", TypeError, "str"),
]  # fmt: skip


@orchestrator
async def ask_badly(ctx: Context, which: int) -> str:
    """Send a signal for no time; the error."""
    bad: Any = BAD_TIMES[which][0]
    try:
        ctx.signal_entity(A, Diary.note, "x", deliver_at=bad)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__} {error}"
    return "sent"


@define
class Careless(Entity):
    """Asks for bad times."""

    asked: int = 0

    def ask(self, which: int) -> None:
        """Send a signal for no time."""
        bad: Any = BAD_TIMES[which][0]
        self.context.signal_entity(A, Diary.note, "x", deliver_at=bad)

    def cancel_badly(self, what: str) -> None:
        """Cancel what is no signal."""
        self.context.cancel_signal(what)


@pytest.mark.parametrize("which", range(len(BAD_TIMES)))
async def test_E10_what_is_no_time_is_refused_at_every_door(which: int) -> None:
    """Clients, batches, operations and orchestrations refuse it where it is given, and say what a time is."""
    time, error, says = BAD_TIMES[which]
    untyped: Any = time
    store = MemoryStore()
    async with opened(Diary, Careless, ask_badly, store=store) as hub:
        with pytest.raises(error, match=says):
            await hub.signal_entity(A, Diary.note, "x", deliver_at=untyped)
        with pytest.raises(error, match=says):
            hub.batch().signal_entity(A, Diary.note, "x", deliver_at=untyped)
        with pytest.raises(EntityOperationFailed, match=says):
            await hub.call_entity(Careless.at("c"), Careless.ask, which)
        said = await (await hub.start(ask_badly, which)).result()
        assert said.startswith(error.__name__)
        assert says in said
    assert not store.snapshot()[tables.TIMERS]


@pytest.mark.parametrize(("bad", "error"), [("", ValueError), ("x" * 48, ValueError), ("A" * 48, ValueError), (7, TypeError)])
async def test_E10_what_is_no_id_is_refused_at_every_door(bad: Any, error: type[Exception]) -> None:
    """What sending never returned is refused, rather than said to be gone."""
    async with opened(Diary, Careless) as hub:
        with pytest.raises(error, match="delayed signal"):
            await hub.cancel_signal(bad)
        with pytest.raises(error, match="delayed signal"):
            hub.batch().cancel_signal(bad)
        if isinstance(bad, str):
            with pytest.raises(EntityOperationFailed, match="delayed signal"):
                await hub.call_entity(Careless.at("c"), Careless.cancel_badly, bad)


# --- cancelling


async def test_E10_cancelled_once(autojump_clock: Clock) -> None:
    """Cancelling tells whether the signal was waiting: the first time it was, then not, and not when it was delivered."""
    store = MemoryStore()
    async with hub_in(store, Diary) as hub:
        first = await hub.signal_entity(A, Diary.note, "first", deliver_at=10)
        second = await hub.signal_entity(A, Diary.note, "second", deliver_at=10)
        assert first != second
        assert await hub.cancel_signal(first)
        assert not await hub.cancel_signal(first)
        assert await listed(hub, A) == ["a 10"]
        await trio.sleep(11)
        assert await texts(hub) == ["second"]
        assert not await hub.cancel_signal(second)
        assert not await hub.cancel_signal("0" * 48)
    async with hub_in(store, Diary) as hub:
        third = await hub.signal_entity(A, Diary.note, "third", deliver_at=10)
    async with hub_in(store, Diary) as hub:
        assert await hub.cancel_signal(third)
        await trio.sleep(20)
        assert await texts(hub) == ["second"]


async def test_E11_cancelled_signals_leave_nothing(autojump_clock: Clock) -> None:
    """An entity that has nothing but delayed signals is kept for them; with the last of them everything of it goes."""
    store = MemoryStore()
    async with hub_in(store, Diary) as hub:
        ids = [await hub.signal_entity(A, Diary.note, "x", deliver_at=10) for _ in range(2)]
        assert everything(store) == {"directory": 1, "instances": 1, "timers": 2, "delayed": 2}
        assert await hub.read_entity(A) is None
        await hub.call_entity(A, "delete")
        await hub.cancel_signal(ids[0])
        assert everything(store) == {"directory": 1, "instances": 1, "timers": 1, "delayed": 1}
        await hub.cancel_signal(ids[1])
        assert everything(store) == {}


async def test_E10_cancelled_before_it_is_on_disk() -> None:
    """A signal that is sent and cancelled before either is durable is never delivered, and one that was not cancelled is."""
    store, clock = MemoryStore(), FakeClock()
    async with opened(Diary, store=store, clock=clock) as hub:
        async with hub.batch() as batch:
            cancelled = batch.signal_entity(A, Diary.note, "cancelled", deliver_at=5)
            batch.signal_entity(A, "note", "kept", deliver_at=5)
            batch.cancel_signal(cancelled)
        clock.move(10)
        await hub.signal_entity(B, Diary.note, "go")
        await hub.wait_idle()
        assert await texts(hub) == ["kept"]


# --- who sends


@orchestrator
async def remind(ctx: Context, delay: float, then_cancel: bool) -> str:
    """Send two signals for later, cancel one after a step of its own if told, and return the other's id."""
    kept = ctx.signal_entity(A, Diary.note, "kept", deliver_at=delay)
    other = ctx.signal_entity(A, "note", "other", deliver_at=ctx.now + timedelta(seconds=delay))
    await ctx.sleep(1)
    if then_cancel:
        ctx.cancel_signal(other)
        ctx.cancel_signal(other)
    await ctx.sleep(1)
    return kept


@CACHES
@pytest.mark.parametrize("then_cancel", [False, True])
async def test_E10_orchestrations_send_and_cancel(then_cancel: bool, cache: int, autojump_clock: Clock) -> None:
    """The signals of an orchestration outlive it; their ids are the same in each replay, and they are sent once."""
    store = MemoryStore()
    async with hub_in(store, Diary, remind, cache_bytes=cache) as hub:
        instance = await hub.start(remind, 10.0, then_cancel, instance_id="r")
        await trio.sleep(0.5)
        assert await listed(hub) == ["a 10", "a 10"]
        by = [signal.sent_by async for signal in hub.iter_delayed_signals()]
        assert by == ["r", "r"]
        kept = await instance.result()
        assert kept in [signal.signal_id async for signal in hub.iter_delayed_signals(A)]
        assert len(await listed(hub)) == (1 if then_cancel else 2)
        await trio.sleep(10)
        assert sorted(await texts(hub)) == (["kept"] if then_cancel else ["kept", "other"])
        assert left_over(store) == {}


async def test_E10_an_operation_sends_and_cancels(autojump_clock: Clock) -> None:
    """An operation's signal is listed with its sender; another operation cancels it by the id that was passed on."""
    async with hub_in(MemoryStore(), Diary) as hub:
        sent = await hub.call_entity(B, Diary.note_later, "a", "x", 10.0)
        (signal,) = (await hub.delayed_signals()).items
        assert (signal.signal_id, signal.entity_id, signal.operation, signal.sent_by) == (sent, A, "note", B)
        assert signal.deliver_at == BEGIN + timedelta(seconds=10)
        await hub.call_entity(A, Diary.cancel, sent)
        await hub.wait_idle()
        assert await listed(hub) == []
        await trio.sleep(20)
        assert await texts(hub) == []


async def test_E4_a_failed_operation_sends_and_cancels_nothing(autojump_clock: Clock) -> None:
    """The delayed signals and the cancellations of an operation that fails do not happen."""
    async with hub_in(MemoryStore(), Diary) as hub:
        first = await hub.signal_entity(A, Diary.note, "first", deliver_at=10)
        (signal,) = (await hub.delayed_signals()).items
        assert signal.sent_by is None
        with pytest.raises(EntityOperationFailed, match="undo"):
            await hub.call_entity(B, Diary.send_cancel_and_fail, "a", first)
        assert await listed(hub) == ["a 10"]
        await trio.sleep(20)
        assert await texts(hub) == ["first"]


@orchestrator
async def hold(ctx: Context, seconds: float) -> None:
    """Hold the lock of a diary."""
    async with ctx.lock_entities(A):
        await ctx.sleep(seconds)


async def test_E10_one_that_is_due_while_the_entity_is_locked_waits(autojump_clock: Clock) -> None:
    """It leaves the list when it is due, stands in the queue, and runs when the lock has fallen, behind what waited before."""
    async with hub_in(MemoryStore(), Diary, hold) as hub:
        await hub.start(hold, 100.0)
        await hub.wait_idle()
        await hub.signal_entity(A, Diary.note, "delayed", deliver_at=10)
        await hub.signal_entity(A, Diary.note, "at once")
        description = await hub.describe(A)
        assert (description.delayed_signals, description.queued) == (1, ("note",))
        await trio.sleep(50)
        assert await listed(hub) == []
        description = await hub.describe(A)
        assert (description.delayed_signals, description.queued) == (0, ("note", "note"))
        await trio.sleep(100)
        found = await hub.read_entity(A)
        assert found is not None
        assert [text for text, _ in found.notes] == ["at once", "delayed"]
        assert all(100 <= second < 101 for _, second in found.notes)


async def test_E4_a_delayed_signal_that_fails_is_a_letter(autojump_clock: Clock) -> None:
    """When its operation fails, a delayed signal becomes a dead letter like any other."""
    async with hub_in(MemoryStore(), Diary) as hub:
        await hub.signal_entity(A, "send_cancel_and_fail", "b", "0" * 48, deliver_at=10)
        await trio.sleep(11)
        (letter,) = (await hub.dead_letters()).items
        assert (letter.operation, letter.failure.message) == ("send_cancel_and_fail", "undo it")


# --- request ids


async def test_D8_a_repeated_request_returns_the_same_id(autojump_clock: Clock) -> None:
    """The same request gives the same id and one signal, a delay counted from the first time, across restarts too."""
    store = MemoryStore()

    async def ask(hub: TaskHub, **options: Any) -> str:
        return await hub.signal_entity(A, Diary.note, "x", request_id="r", **{"deliver_at": 100, **options})

    async with hub_in(store, Diary) as hub:
        first = await ask(hub)
        await trio.sleep(10)
        assert await ask(hub) == await ask(hub, deliver_at=timedelta(seconds=100)) == first
        for other in (101, BEGIN + timedelta(seconds=100), datetime(1970, 1, 1, 0, 1, 40, tzinfo=UTC)):
            with pytest.raises(RequestMismatch):
                await ask(hub, deliver_at=other)
        with pytest.raises(RequestMismatch):
            await hub.signal_entity(A, Diary.note, "x", request_id="r")
    async with hub_in(store, Diary) as hub:
        assert await ask(hub) == first
        assert await listed(hub) == ["a 100"]
        await trio.sleep(100)
        assert await texts(hub) == ["x"]
        assert await ask(hub) == first
        await trio.sleep(200)
        assert await texts(hub) == ["x"]
        await trio.sleep(2 * DAY)
        assert await ask(hub) != first  # the request id was forgotten after its time (request_ttl)


# --- listing


async def test_E10_listed_in_the_order_of_their_times(autojump_clock: Clock) -> None:
    """All are listed by time, one entity's too, in pages of any size; orchestrations' timers are not among them."""
    async with hub_in(MemoryStore(), Diary, hold) as hub:
        await hub.start(hold, 35.0)
        for key, delay in (("b", 30), ("a", 40), ("a", 20), ("b", 10), ("a", 30)):
            await hub.signal_entity(Diary.at(key), Diary.note, "x", deliver_at=delay)
        assert sorted(await listed(hub)) == ["a 20", "a 30", "a 40", "b 10", "b 30"]
        times = [signal.deliver_at async for signal in hub.iter_delayed_signals()]
        assert times == sorted(times)
        assert await listed(hub, A) == ["a 20", "a 30", "a 40"]
        for ref in (None, A):
            paged: list[str] = []
            token: str | None = None
            while True:
                page = await hub.delayed_signals(ref, limit=1, token=token)
                paged += [signal.signal_id for signal in page.items]
                token = page.token
                if token is None:
                    break
            assert paged == [signal.signal_id async for signal in hub.iter_delayed_signals(ref)]
        assert (await hub.delayed_signals(Diary.at("nobody"))).items == []
