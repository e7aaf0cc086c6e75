"""Delayed signals when there is trouble (E10, D9): very many at once, a paused hub, damage, crashes; and against a model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perdure.entities.delayed import signal_id
from perdure.entities.messages import Operation, SendLater
from perdure.hub import TaskHub, limits
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import Harm, ScriptedStore

from ..entities.on_hub import BrokenStore, opened
from . import disk
from .diary import A, B, Diary, listed, texts
from .helpers import FakeClock, callers, dies
from .virtual import START, hub_in, left_over

Clock = trio.testing.MockClock


async def test_very_many_at_once_are_delivered_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due at one moment, the hub takes up no more than its bound allows at a time, and delivers all of them."""
    monkeypatch.setattr(limits, "TURN_MESSAGES_MAX", 1)
    clock, highest = FakeClock(), 0
    async with opened(Diary, clock=clock) as hub:
        async with hub.batch() as batch:
            for number in range(2000):
                batch.signal_entity(Diary.at(str(number % 10)), Diary.note, "x", deliver_at=5)
        hub.pause()
        clock.move(10)
        hub.unpause()
        async with callers() as beside:
            idle = beside.call(hub.wait_idle)
            while not idle.ended:
                highest = max(highest, hub.statistics().backlog)
                await trio.lowlevel.checkpoint()
        assert highest <= limits.DUE_AT_A_TIME
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
