"""Delayed signals in a whole hub (E10): never early, once, listed, cancelled, undone with their operation, across restarts."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.entities import Entity, EntityId, EntityOperationFailed
from perdure.entities.delayed import signal_id
from perdure.entities.messages import Operation, SendLater
from perdure.hub import RequestMismatch, TaskHub, limits
from perdure.orchestration import OrchestrationContext, orchestrator
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..entities.on_hub import BrokenStore, opened
from . import disk
from .helpers import SECOND, FakeClock, rounds
from .scripted_store import Harm, ScriptedStore, dies
from .virtual import CACHES, START, everything, hub_in, left_over

Context = OrchestrationContext
Clock = trio.testing.MockClock
BEGIN = datetime.fromtimestamp(START / 1_000_000, UTC)
DAY = 86_400.0


@define
class Diary(Entity):
    """Notes with the second in which they were made, and the ids of signals that it sent."""

    notes: list[tuple[str, float]] = field(factory=list)
    sent: list[str] = field(factory=list)

    def note(self, text: str) -> None:
        """Note it."""
        self.notes.append((text, (self.context.now - BEGIN).total_seconds()))

    def note_later(self, key: str, text: str, delay: float) -> str:
        """Have another diary note it; the signal's id."""
        self.sent.append(self.context.signal_entity(Diary.at(key), Diary.note, text, deliver_at=delay))
        return self.sent[-1]

    def cancel(self, signal_id: str) -> None:
        """Cancel a signal."""
        self.context.cancel_signal(signal_id)

    def send_cancel_and_fail(self, key: str, signal_id: str) -> None:
        """Do all that, and fail."""
        self.note_later(key, "never", 1)
        self.cancel(signal_id)
        raise ValueError("undo it")


A, B = Diary.at("a"), Diary.at("b")


async def texts(hub: TaskHub, key: str = "a") -> list[str]:
    """What a diary has noted."""
    found = await hub.read_entity(Diary.at(key))
    return [] if found is None else [text for text, _ in found.notes]


async def listed(hub: TaskHub, ref: EntityId | None = None) -> list[str]:
    """The operations that are announced, with their seconds."""
    return [
        f"{signal.entity_id.key} {(signal.deliver_at - BEGIN).total_seconds():g}"
        async for signal in hub.iter_delayed_signals(ref)
    ]


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


# --- very many, damage, crashes


async def test_very_many_at_once_are_delivered_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due at one moment, the hub takes up no more than its bound allows at a time, and delivers all of them."""
    monkeypatch.setattr(limits, "BACKLOG_MAX", 50)
    clock = FakeClock()
    async with opened(Diary, clock=clock) as hub:
        async with hub.batch() as batch:
            for number in range(2000):
                batch.signal_entity(Diary.at(str(number % 10)), Diary.note, "x", deliver_at=5)
        hub.pause()
        clock.move(10)
        hub.unpause()
        await rounds(3)
        assert 0 < hub.statistics().backlog <= 50 + 500
        await hub.wait_idle()
        assert sum([len(await texts(hub, str(number))) for number in range(10)]) == 2000


class Steps(trio.abc.Instrument):
    """Ends a scope after so many steps of tasks: for what would otherwise go round for ever."""

    def __init__(self, scope: trio.CancelScope, left: int) -> None:
        self._scope = scope
        self._left = left

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def test_while_the_hub_is_paused_nothing_comes_due(autojump_clock: Clock) -> None:
    """A paused hub sleeps, instead of looking again and again at what is due: it can still be cancelled, and comes afterwards."""
    async with hub_in(MemoryStore(), Diary) as hub:
        await hub.signal_entity(A, Diary.note, "later", deliver_at=10)
        cancelled = await hub.signal_entity(A, Diary.note, "cancelled", deliver_at=10)
        hub.pause()
        await hub.signal_entity(A, Diary.note, "now")
        with trio.CancelScope() as scope:
            steps = Steps(scope, 2000)
            trio.lowlevel.add_instrument(steps)
            await trio.sleep(100)
            trio.lowlevel.remove_instrument(steps)
        assert not scope.cancelled_caught
        assert await hub.cancel_signal(cancelled)
        assert await listed(hub) == ["a 10"]
        hub.unpause()
        await trio.sleep(1)
        assert await texts(hub) == ["now", "later"]


async def test_E10_the_same_signal_is_sent_once(autojump_clock: Clock) -> None:
    """A signal that is sent again under its id, as code that is run again would, is there once, on disk and before it is there."""
    store = MemoryStore()
    async with hub_in(store, Diary) as hub:
        runtime = hub._open_runtime()  # pyright: ignore[reportPrivateUsage] - no verb sends the same id twice
        engine = runtime.engine
        name, arguments = runtime.registry.operation(A, Diary.note, ("x",))
        effect = SendLater(A, Operation(name, arguments), signal_id(START + 10_000_000, "seed"))
        for _ in range(2):
            engine.delayed.send(effect, "", engine.batch)
            engine.delayed.send(effect, "", engine.batch)
            await hub.wait_idle()
        assert await listed(hub) == ["a 10"]
        assert (await hub.describe(A)).delayed_signals == 1
        await trio.sleep(20)
        assert await texts(hub) == ["x"]
        assert left_over(store) == {}


async def test_D9_a_damaged_signal_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A signal that is damaged on disk is set aside and reported; cancelling it says so, and others are delivered."""
    store, clock = BrokenStore(), FakeClock()
    async with opened(Diary, store=store, clock=clock) as hub:
        damaged = await hub.signal_entity(A, Diary.note, "damaged", deliver_at=5)
        await hub.signal_entity(A, Diary.note, "sound", deliver_at=5)
    (key,) = [key for key in store.snapshot()[tables.TIMERS] if key.hex().endswith(damaged[16:])]
    store.broken = {(tables.TIMERS, key)}
    async with opened(Diary, store=store, clock=clock) as hub:
        assert len((await hub.delayed_signals()).items) == len((await hub.delayed_signals(A)).items) == 1
        with pytest.raises(Exception, match="checksum"):
            await hub.cancel_signal(damaged)
        await hub.call_entity(B, Diary.cancel, damaged)
        clock.move(10)
        await hub.signal_entity(B, Diary.note, "go")
        await hub.wait_idle()
        assert await texts(hub) == ["sound"]
    assert key in store.snapshot()[tables.TIMERS]
    assert any(key.hex() in record.getMessage() for record in caplog.records)


acknowledged: dict[str, str | bool] = {}
"""What a client was told, by the name of its request."""


async def live(store: ScriptedStore) -> None:
    """Send two signals for now and one for later that is cancelled, not again what was acknowledged; work everything off."""
    async with TaskHub("Test", [Diary], store) as hub:
        for name, delay in (("x", 0), ("y", 0), ("later", 1000)):
            if name not in acknowledged:
                acknowledged[name] = await hub.signal_entity(A, Diary.note, name, deliver_at=delay, request_id=name)
        if "cancelled" not in acknowledged:
            await hub.cancel_signal(str(acknowledged["later"]))
            acknowledged["cancelled"] = True
        await hub.wait_idle()


async def noted(store: ScriptedStore) -> list[str]:
    """What was noted in the end."""
    async with TaskHub("Test", [Diary], store) as hub:
        await hub.wait_idle()
        return sorted(await texts(hub))


@pytest.mark.parametrize("looks", [0, 2])
def test_E10_once_whatever_happens_to_a_commit(looks: int) -> None:
    """Wherever the process dies while signals are sent, delivered and cancelled, each comes once, and none that was cancelled."""
    died = 0
    for at, harm in itertools.product(range(1, 9), (Harm.DIED_BEFORE, Harm.DIED_AFTER, Harm.LOST, Harm.KEPT)):
        acknowledged.clear()
        store = ScriptedStore(looks=looks).harm(at, harm)
        while dies(live, store):
            died += 1
            disk.check(store.disk.snapshot())
            store = store.reborn()
        assert trio.run(noted, store.reborn()) == ["x", "y"]
        disk.check(store.disk.snapshot())
        assert left_over(store.disk) == {}
    assert died > 12


# --- against a model

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(["client", "operation", "batch"]), st.sampled_from("ab"), st.integers(0, 50)),
        st.tuples(st.just("cancel"), st.sampled_from(["client", "operation", "batch"]), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("delete"), st.sampled_from("ab")),
    ),
    max_size=20,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, cache=st.sampled_from([64 << 20, 1]))
def test_E10_delayed_signals_agree_with_a_model(steps: list[Any], cache: int) -> None:
    """Whatever is sent, cancelled and deleted by whomever, across restarts, what is listed and noted is what a dictionary says."""
    store = MemoryStore()
    pending: dict[str, tuple[str, float]] = {}
    ids: list[str] = []
    done = {"a": 0, "b": 0}

    async def act(hub: TaskHub, step: tuple[Any, ...]) -> None:
        match step:
            case ("send", who, key, delay):
                due = trio.current_time() + delay
                if who == "operation":
                    sent = await hub.call_entity(Diary.at("o"), Diary.note_later, key, "x", float(delay))
                elif who == "batch":
                    async with hub.batch() as batch:
                        sent = batch.signal_entity(Diary.at(key), Diary.note, "x", deliver_at=delay)
                else:
                    sent = await hub.signal_entity(Diary.at(key), Diary.note, "x", deliver_at=delay)
                ids.append(sent)
                pending[sent] = key, due
            case ("cancel", who, number) if number < len(ids):
                chosen = ids[number]
                if who == "operation":
                    await hub.call_entity(Diary.at("o"), Diary.cancel, chosen)
                elif who == "batch":
                    async with hub.batch() as batch:
                        batch.cancel_signal(chosen)
                else:
                    assert await hub.cancel_signal(chosen) == (chosen in pending)
                pending.pop(chosen, None)
            case ("wait", seconds):
                await trio.sleep(seconds)
            case ("delete", key):
                await hub.call_entity(Diary.at(key), "delete")
                done[key] = 0
            case _:
                pass

    async def settle(hub: TaskHub) -> None:
        await trio.sleep(0.001)
        await hub.wait_idle()
        for sent, (key, due) in list(pending.items()):
            if due <= trio.current_time():
                del pending[sent]
                done[key] += 1
        for key in "ab":
            expected = [sent for sent, (each, _) in pending.items() if each == key]
            found = [signal.signal_id async for signal in hub.iter_delayed_signals(Diary.at(key))]
            assert sorted(found) == sorted(expected)
            assert len(await texts(hub, key)) == done[key]
        assert len(await listed(hub)) == len(pending)
        disk.check(store.snapshot())

    async def program() -> None:
        rest = list(steps)
        while True:
            async with hub_in(store, Diary, cache_bytes=cache) as hub:
                await settle(hub)
                while rest:
                    step = rest.pop(0)
                    if step == ("reopen",):
                        break
                    await act(hub, step)
                    await settle(hub)
                else:
                    break

    trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
