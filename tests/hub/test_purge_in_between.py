"""Purging what is not at rest (O16): nothing of it stays behind, and nothing of it takes another one along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from perdure.hub import TaskHub, activity_context
from perdure.orchestration import (
    InstanceNotFound,
    OrchestrationContext,
    OrchestrationFailed,
    OrchestrationTerminated,
    RuntimeStatus,
    activity,
    orchestrator,
)
from perdure.storage import tables
from perdure.testing import ScriptedStore

from .helpers import Callers, bank, callers, receive, rounds, until

begun: list[str] = []
"""The activities that have begun."""


@activity
async def note(name: str) -> None:
    """Note that it has begun, and take for ever."""
    begun.append(name)
    await trio.sleep_forever()


beats = [trio.Event()]
"""When an activity is to say how far it is."""


@activity
async def beat() -> None:
    """Take for ever, and say so when it is time."""
    while True:
        await beats[-1].wait()
        activity_context().heartbeat("still here")
        begun.append("beat")
        beats.append(trio.Event())


@orchestrator
async def abandon_beat(ctx: OrchestrationContext) -> None:
    """Call an activity, and do not wait for it."""
    ctx.call_activity(beat)


@orchestrator
async def call_note(ctx: OrchestrationContext, name: str) -> None:
    """Call an activity, and wait for its end."""
    await ctx.call_activity(note, name)


def left(store: ScriptedStore) -> dict[str, int]:
    """How many records there are in each table but the hub's own counters."""
    disk = store.disk.snapshot()
    return {table: len(rows) for table, rows in disk.items() if rows and table != tables.META}


async def test_O16_an_id_that_is_purged_and_started_again_is_kept() -> None:
    """The last, empty turn of an instance that was purged in the queue does not delete the new instance of its id."""
    store = ScriptedStore()
    async with bank(store, paused=True) as hub:
        await hub.start(receive, instance_id="x")
        await hub.purge_instance("x", force=True)
        await hub.start(receive, instance_id="x")
        hub.unpause()
        await hub.wait_idle()
        assert (await hub.instance("x").status()).runtime_status is RuntimeStatus.RUNNING
    async with bank(store.reborn()) as hub:
        await hub.raise_event("x", "go", 7)
        assert await hub.instance("x").result() == 7


BEFORE: dict[str, Callable[[TaskHub], Any]] = {
    "a start": lambda hub: hub.start(receive, instance_id="x"),
    "a start and an event": lambda hub: hub.start_and_raise(receive, instance_id="x", event="other"),
    "a replacing start": lambda hub: hub.start(receive, instance_id="x", if_exists="replace"),
}


async def hold_a_commit(hub: TaskHub, store: ScriptedStore, beside: Callers) -> None:
    """Have a commit under way on a slow disk."""
    submitted, store.held = store.submitted, True
    beside.call(lambda: hub.start(receive, instance_id="another"))
    await until(lambda: store.submitted > submitted)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "in the same batch"])
async def test_O16_messages_that_cannot_be_read_yet_are_purged(before: str, under_way: bool) -> None:
    """Whatever an instance was sent shortly before it was purged goes with it, whichever batch that is in."""
    store = ScriptedStore()
    async with bank(store, paused=True) as hub:
        if before == "a replacing start":
            await hub.start(receive, instance_id="x")
        async with callers() as beside:
            if not under_way:
                await hold_a_commit(hub, store, beside)
            submitted, store.held = store.submitted, True
            beside.call(lambda: BEFORE[before](hub))
            if under_way:
                await until(lambda: store.submitted > submitted)
            else:
                await rounds()
            beside.call(lambda: hub.purge_instance("x", force=True))
            await rounds()
            store.held = False
        with pytest.raises(InstanceNotFound):
            await hub.instance("x").status()
        if not under_way:
            await hub.purge_instance("another", force=True)
        assert left(store) == {}


async def test_O16_activities_that_cannot_be_read_yet_are_purged() -> None:
    """An activity whose start is on its way to disk when its instance is purged leaves no row, though it still runs."""
    store = ScriptedStore()
    async with bank(store, note, call_note) as hub, callers() as beside:
        store.held = True
        beside.call(lambda: hub.start(call_note, "a", instance_id="x"))
        await until(lambda: store.submitted > 0)
        beside.call(lambda: hub.purge_instance("x", force=True))
        await rounds()
        assert not store.table(tables.ACTIVITIES)
        store.held = False
        await until(lambda: len(store.batches) > 1)
        assert left(store) == {}


async def test_O16_a_purge_right_after_opening_takes_activities_along() -> None:
    """An activity that was in flight when the hub was closed is not taken up again if its instance is purged at once."""
    store = ScriptedStore()
    begun.clear()
    async with bank(store, note, call_note) as hub:
        await hub.start(call_note, "a", instance_id="x")
        await until(lambda: begun == ["a"])
    store = store.reborn()
    async with bank(store, note, call_note) as hub:
        await hub.purge_instance("x", force=True)
        await rounds()
        assert (left(store), begun) == ({}, ["a"])


async def test_O16_a_heartbeat_does_not_bring_back_a_purged_activity() -> None:
    """An activity that still runs when its instance is purged is cancelled; what it says before it hears of that is not stored."""
    store = ScriptedStore()
    begun.clear()
    beats[:] = [trio.Event()]
    async with bank(store, beat, abandon_beat) as hub, callers() as beside:
        await (await hub.start(abandon_beat, instance_id="x")).result()
        await rounds()
        submitted, store.held = store.submitted, True
        beside.call(lambda: hub.purge_instance("x"))
        await until(lambda: store.submitted > submitted)
        beats[-1].set()
        await until(lambda: begun == ["beat"])
        store.held = False
        await until(lambda: left(store) == {})
        await rounds()
        beats[-1].set()
        await rounds()
        assert (begun, left(store)) == (["beat"], {})


@orchestrator
async def at_once(ctx: OrchestrationContext, fails: bool) -> str:
    """End in its first turn."""
    if fails:
        raise LookupError("as told")
    return "done"


async def test_O16_what_is_started_anew_meanwhile_is_purged_only_if_it_matches() -> None:
    """A purge of what has failed spares the instance that was started again and has completed since, though nobody can read that yet."""
    store = ScriptedStore()
    async with bank(store, at_once) as hub, callers() as beside:
        for instance_id in "xy":
            with pytest.raises(OrchestrationFailed):
                await (await hub.start(at_once, True, instance_id=instance_id)).result()
        await hold_a_commit(hub, store, beside)
        beside.call(lambda: hub.start(at_once, False, instance_id="x", if_exists="replace_finished"))
        await rounds()
        purge = beside.call(lambda: hub.purge(status=RuntimeStatus.FAILED))
        await rounds()
        store.held = False
        await until(lambda: purge.ended)
        assert await hub.instance("x").result() == "done"
        with pytest.raises(InstanceNotFound):
            await hub.instance("y").status()
        await hub.purge_instance("another", force=True)


async def test_what_was_ended_by_its_purge_is_not_found() -> None:
    """Whoever asks for the result of an instance right after it was purged hears that there is none, not how it ended."""
    async with bank(ScriptedStore()) as hub:
        instance = await hub.start(receive, instance_id="ended by its purge")
        await hub.purge_instance(instance.id, force=True)
        with pytest.raises(InstanceNotFound):
            await instance.result()
        ended = await hub.start(receive, instance_id="ended before")
        await ended.terminate("now")
        with pytest.raises(OrchestrationTerminated, match="now"):
            await ended.result()
        await hub.purge_instance(ended.id)
        with pytest.raises(InstanceNotFound):
            await ended.result()
