"""Runs a scenario on a whole hub in three manners, and tells what is on disk in the end.

*Live*: one hub, and everything stays in memory. *Evicted*: the cache holds nothing, so an instance leaves memory after each of
its turns and is replayed for the next one. *Restarted*: the hub is closed and opened again after each commit; what lies between
two commits was never on disk, so there is no other place from which a hub could begin again.

What is compared leaves out what may differ: times, ids of executions, the order of independent results. Scenarios without
timers run in real time, since some have activities in threads, which a clock that jumps ahead does not wait for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import trio
import trio.testing
from perdure.entities.record import EntityRecord
from perdure.hub import HubStatistics, TaskHub
from perdure.hub.clock import wall_clock
from perdure.hub.records import decode_history, decode_instance
from perdure.orchestration import RuntimeStatus
from perdure.orchestration.history import (
    EventReceived,
    ExecutionEnded,
    ExecutionStarted,
    HistoryEntry,
    SignalEntity,
    StartTimer,
    TurnStarted,
    UpdateReceived,
)
from perdure.storage import tables
from perdure.storage.memory_store import MemoryStore

from ..orchestration.corpus import SHAPES
from . import durable_lives, durable_shapes
from .scenarios import INSTANCE, PLANS, Scenario, of_shape
from .virtual import RestlessStore, holder_of, left_over, tally, virtual_clock

T = TypeVar("T")
Found = list[tuple[Any, ...]]

UNTIMED = [of_shape(shape) for shape in SHAPES]
SCENARIOS = [*UNTIMED, *PLANS]
PARTS = (durable_shapes, durable_lives)
"""Where the timed ones are written."""

SECONDS_MAX = 20
VIRTUAL_SECONDS_MAX = 1_000_000
"""After which a run that is stuck fails; none takes a noticeable part of that."""
LIFETIMES_MAX = 1000
_VARYING = re.compile("[0-9a-f]{32,}|attempt [0-9]+")
"""Ids of executions, and what begins with one; and which attempt it was, since a restart makes another one."""


# --- running


def hub_of(scenario: Scenario, store: MemoryStore, **options: Any) -> TaskHub:
    """A hub of everything that the scenario needs, not yet open."""
    clock = virtual_clock if scenario.timed else wall_clock
    return TaskHub("Scenarios", scenario.definitions, store, clock=clock, **scenario.options, **options)


async def drive(hub: TaskHub, scenario: Scenario) -> None:
    """Start it and do its deeds, each at its time or when everything before it has been worked off; all can be repeated (D8)."""
    await hub.start(scenario.orchestrator, *scenario.arguments, instance_id=INSTANCE, request_id="the start")
    for number, deed in enumerate(scenario.deeds):
        if deed.at is None:
            await hub.wait_idle()
        else:
            await trio.sleep_until(deed.at)
        await deed.act(hub, f"deed {number}")
    while not (status := await hub.get_status(INSTANCE)).runtime_status.final:
        await hub.wait_for_status_change(INSTANCE, status)
    await hub.wait_idle()


async def check(hub: TaskHub, scenario: Scenario) -> None:
    """The scenario has ended as it says."""
    status = await hub.get_status(INSTANCE)
    if scenario.failure is None:
        assert status.runtime_status is RuntimeStatus.COMPLETED, status.failure
        assert status.output == scenario.result
    else:
        assert status.runtime_status is RuntimeStatus.FAILED
        assert scenario.failure in str(status.failure)
    for key, value in scenario.tallies.items():
        assert await tally(hub, key) == value, key
        assert await holder_of(hub, key) is None


def run(scenario: Scenario, program: Callable[[], Awaitable[T]]) -> T:
    """Run an async program in the scenario's time, with a limit."""

    async def limited() -> T:
        with trio.fail_after(VIRTUAL_SECONDS_MAX if scenario.timed else SECONDS_MAX):
            return await program()

    clock = trio.testing.MockClock(autojump_threshold=0) if scenario.timed else None
    return trio.run(limited, clock=clock)


def whole_run(store: MemoryStore, scenario: Scenario, **options: Any) -> HubStatistics:
    """One hub from beginning to end; the figures at the end."""

    async def program() -> HubStatistics:
        async with hub_of(scenario, store, **options) as hub:
            await drive(hub, scenario)
            figures = hub.statistics()
            await check(hub, scenario)
            return figures

    return run(scenario, program)


# --- the three manners


@functools.cache
def live(scenario_name: str) -> tuple[tuple[Any, ...], ...]:
    """What a live run leaves on disk; run once."""
    scenario = next(each for each in SCENARIOS if str(each) == scenario_name)
    store = MemoryStore()
    assert whole_run(store, scenario).evictions == 0
    return tuple(on_disk(store, scenario))


def evicted(scenario: Scenario) -> MemoryStore:
    """Run it with nothing kept in memory."""
    store = MemoryStore()
    figures = whole_run(store, scenario, cache_bytes=1)
    assert figures.orchestrations_in_memory == figures.entities_in_memory == 0
    waits = 1 if scenario.timed else max(1, len(scenario.deeds))
    assert figures.evictions >= waits or figures.commits == 1, "nothing was evicted, although something waited"
    return store


def restarted(scenario: Scenario) -> MemoryStore:
    """Run it in many lives, each until a commit has been made."""
    store = RestlessStore()

    async def lifetime(commits: int) -> bool:
        ended = False
        async with hub_of(scenario, store) as hub:
            with trio.CancelScope() as scope:
                store.after_commit(commits, scope.cancel)
                await drive(hub, scenario)
                ended = True
        return ended

    def progress() -> tuple[object, ...]:
        disk = store.snapshot()
        return tuple(tuple(disk[table]) for table in (tables.HISTORY, tables.INBOX, tables.INSTANCES, tables.REQUESTS))

    async def program() -> None:
        lifetimes, commits, ended = 0, 1, False
        while not ended:
            lifetimes += 1
            assert lifetimes < LIFETIMES_MAX, "it gets no further"
            before = progress()
            ended = await lifetime(commits)
            # An activity that was in flight is started again by the first commit, and can end with the second.
            commits = 1 if progress() != before else commits + 1
        assert lifetimes > 2
        async with hub_of(scenario, store) as hub:
            await check(hub, scenario)

    run(scenario, program)
    return store


# --- what is on disk in the end


def seen(entry: object) -> str:
    """A journal entry as text, without what differs from run to run."""
    return _VARYING.sub("#", repr(entry))


def _short(entry: HistoryEntry) -> str:
    """An entry as text; of a failure only what it is, since tracebacks name places in the framework; without times."""
    if isinstance(entry, StartTimer):
        entry = msgspec.structs.replace(entry, fire_at=0)
    elif isinstance(entry, SignalEntity) and entry.due is not None:
        entry = msgspec.structs.replace(entry, due=0)
    failure = getattr(entry, "failure", None)
    heartbeat = getattr(entry, "heartbeat", None)
    return seen(entry) if failure is None else f"{getattr(entry, 'task', '')} {seen(str(failure))} {heartbeat!r}"


def canonical(journal: list[HistoryEntry]) -> list[list[str]]:
    """A journal without times: its beginning, what came from outside in its order, and the rest without order."""
    marks = [entry for entry in journal if isinstance(entry, ExecutionStarted)]
    asked = [
        msgspec.structs.replace(entry, reply_to=None) if isinstance(entry, UpdateReceived) else entry
        for entry in journal
        if isinstance(entry, EventReceived | UpdateReceived)
    ]
    elsewhere = TurnStarted | ExecutionStarted | EventReceived | UpdateReceived | ExecutionEnded
    others = [entry for entry in journal if not isinstance(entry, elsewhere)]
    return [[seen(entry) for entry in marks], [seen(entry) for entry in asked], sorted(_short(entry) for entry in others)]


def on_disk(store: MemoryStore, scenario: Scenario) -> Found:
    """Every instance and entity of the store, in an order that does not depend on ids; nothing may be left waiting."""
    assert left_over(store) == {}
    disk = store.snapshot()
    found: Found = []
    for number, data in disk[tables.INSTANCES].items():
        record = decode_instance(data)
        if isinstance(record, EntityRecord):
            found.append(("entity", record.name, record.key, b"" if scenario.draws else record.state, record.lock))
            continue
        journal = [entry for key, chunk in disk[tables.HISTORY].items() if key[:8] == number for entry in decode_history(chunk)]
        assert record.status.final, f"{record.instance_id} is {record.status}"
        found.append(
            (
                "orchestration",
                seen(record.instance_id),
                record.status.value,
                repr(record.output),
                seen(str(record.failure)),
                str(record.unread_events),
                str(record.custom_status),
                *(str(failure) for failure in record.unawaited_failures),
                *([] if scenario.draws else map(repr, canonical(journal))),
            )
        )
    return sorted(found, key=repr)
