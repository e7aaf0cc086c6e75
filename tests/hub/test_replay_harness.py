"""The corpus on a whole hub (O1, O3, D1): live, evicted after every commit, restarted after every commit, killed at any commit.

However often the code is dropped and replayed, and wherever the process dies, what is on disk in the end is the same but for
times, ids and the order of independent results. What a client does is repeated with request ids (D8) after each restart, as
a client that does not know what got through would do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
from perdure.entities.record import EntityRecord
from perdure.hub import HubClosed, HubStatistics, TaskHub
from perdure.hub.records import decode_history, decode_instance
from perdure.orchestration import RuntimeStatus
from perdure.orchestration.history import EventReceived, ExecutionEnded, ExecutionStarted, HistoryEntry, TurnStarted
from perdure.storage import tables
from perdure.storage.errors import StorageInDoubt
from perdure.storage.memory_store import MemoryCommit, MemoryStore
from perdure.storage.store import Batch

from ..orchestration.corpus import DEFINITIONS, SHAPES, Shape

EACH = pytest.mark.parametrize("shape", SHAPES, ids=str)
PATIENCE = 20
"""Seconds after which a run that is stuck fails; none takes a noticeable part of that."""
LIFETIMES_MAX = 1000
_EXECUTION = re.compile("[0-9a-f]{32}")


# --- what a client does


async def drive(hub: TaskHub, shape: Shape) -> None:
    """Start the shape and raise its events, each when everything before it has been worked off."""
    await hub.start(shape.orchestrator, *shape.arguments, instance_id="shape", request_id="the start")
    await hub.wait_idle()
    for number, happening in enumerate(shape.happenings):
        await hub.raise_event(happening.instance_id, happening.name, happening.value, request_id=f"event {number}")
        await hub.wait_idle()


def hub_on(store: MemoryStore, **options: Any) -> TaskHub:
    """A hub of the whole corpus."""
    return TaskHub("Corpus", DEFINITIONS, store, **options)


class RestlessStore(MemoryStore):
    """A store that does something when it has made so many commits."""

    def after_commit(self, number: int, action: Callable[[], None]) -> None:
        """Do it when the n-th commit from now is durable."""
        self._left, self._action = number, action

    def submit(self, batch: Batch) -> MemoryCommit:
        """Write, and count."""
        commit = super().submit(batch)
        self._left -= 1
        if self._left == 0:
            self._action()
        return commit


# --- what is on disk in the end


def seen(entry: object) -> str:
    """A journal entry as text, without the ids that differ from run to run."""
    return _EXECUTION.sub("#", repr(entry))


def canonical(journal: list[HistoryEntry]) -> list[list[str]]:
    """A journal without times: its beginning and end, its events in their order, and the rest without order."""
    marks = [entry for entry in journal if isinstance(entry, ExecutionStarted)]
    events = [entry for entry in journal if isinstance(entry, EventReceived)]
    others = [
        entry for entry in journal if not isinstance(entry, TurnStarted | ExecutionStarted | EventReceived | ExecutionEnded)
    ]
    return [[seen(entry) for entry in marks], [seen(entry) for entry in events], sorted(_short(entry) for entry in others)]


def _short(entry: HistoryEntry) -> str:
    """An entry as text; of a failure only what it is, since tracebacks name places in the framework."""
    failure = getattr(entry, "failure", None)
    return seen(entry) if failure is None else f"{getattr(entry, 'task', '')} {seen(str(failure))}"


def on_disk(store: MemoryStore, shape: Shape) -> list[tuple[Any, ...]]:
    """Every instance and entity of the store, in an order that does not depend on ids."""
    disk = store.snapshot()
    assert not disk[tables.ACTIVITIES], "an activity was left over"
    assert not disk[tables.INBOX], "a message was left over"
    found: list[tuple[Any, ...]] = []
    for number, data in disk[tables.INSTANCES].items():
        record = decode_instance(data)
        if isinstance(record, EntityRecord):
            found.append(("entity", record.name, record.key, b"" if shape.draws else record.state, record.lock))
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
                *([] if shape.draws else canonical(journal)),
            )
        )
    return sorted(found, key=repr)


def run(program: Callable[[], Any]) -> Any:
    """Run an async program with a limit."""

    async def limited() -> Any:
        with trio.fail_after(PATIENCE):
            return await program()

    return trio.run(limited)


def whole_run(store: MemoryStore, shape: Shape, **options: Any) -> HubStatistics:
    """One hub from beginning to end; checks the shape's own result, and returns the figures at the end."""

    async def program() -> HubStatistics:
        async with hub_on(store, **options) as hub:
            await drive(hub, shape)
            status = await hub.instance("shape").status()
            if shape.failure is None:
                assert status.runtime_status is RuntimeStatus.COMPLETED, status.failure
                assert status.output == shape.result
            else:
                assert status.runtime_status is RuntimeStatus.FAILED
                assert shape.failure in str(status.failure)
            return hub.statistics()

    return run(program)


@pytest.fixture(scope="module")
def live() -> Callable[[Shape], list[tuple[Any, ...]]]:
    """What a run without evictions and restarts leaves on disk, run once for each shape."""
    results: dict[str, list[tuple[Any, ...]]] = {}

    def of(shape: Shape) -> list[tuple[Any, ...]]:
        if str(shape) not in results:
            store = MemoryStore()
            assert whole_run(store, shape).evictions == 0
            results[str(shape)] = on_disk(store, shape)
        return results[str(shape)]

    return of


# --- the runs


@EACH
def test_O1_live(shape: Shape, live: Callable[[Shape], list[tuple[Any, ...]]]) -> None:
    """Each shape ends on a hub as it says, in two runs alike, and nothing is left waiting."""
    store = MemoryStore()
    whole_run(store, shape)
    assert on_disk(store, shape) == live(shape)


@EACH
def test_O1_evicted_after_every_commit(shape: Shape, live: Callable[[Shape], list[tuple[Any, ...]]]) -> None:
    """With a cache that holds nothing, every instance leaves memory whenever it is idle; the disk is the same in the end."""
    store = MemoryStore()
    figures = whole_run(store, shape, cache_bytes=1)
    assert figures.orchestrations_in_memory == figures.entities_in_memory == 0
    waits = max(1, len(shape.happenings))
    assert figures.evictions >= waits, "nothing was evicted"
    assert on_disk(store, shape) == live(shape)


@EACH
def test_D1_killed_at_any_commit(shape: Shape, live: Callable[[Shape], list[tuple[Any, ...]]]) -> None:
    """The process dies at the n-th commit, before or after that took effect, for one n after another; the next one ends the work."""

    async def dies(store: MemoryStore) -> bool:
        try:
            async with hub_on(store) as hub:
                await drive(hub, shape)
        except (StorageInDoubt, HubClosed):
            return True
        return False

    commit = deaths = 0
    while True:
        died = False
        for after_effect in (False, True):
            store = MemoryStore()
            store.fail_next(StorageInDoubt, skip=commit, after_effect=after_effect)
            if run(lambda store=store: dies(store)):
                died = True
                deaths += 1
                whole_run(store, shape)
            assert on_disk(store, shape) == live(shape), f"commit {commit}, {after_effect=}"
        if not died:
            break
        commit += 1 + commit // 3
    assert deaths >= 2, "the fault was never met"


@EACH
def test_D7_restarted_after_every_commit(shape: Shape, live: Callable[[Shape], list[tuple[Any, ...]]]) -> None:
    """The hub is closed and opened again after each commit; every lifetime gets a little further, and the end is the same."""

    async def lifetime(store: RestlessStore, commits: int) -> bool:
        ended = False
        async with hub_on(store) as hub:
            with trio.CancelScope() as scope:
                store.after_commit(commits, scope.cancel)
                await drive(hub, shape)
                ended = True
        return ended

    store = RestlessStore()
    lifetimes, commits = 0, 1
    ended = False
    while not ended:
        lifetimes += 1
        assert lifetimes < LIFETIMES_MAX, "it gets no further"
        before = _progress(store)
        ended = run(lambda commits=commits: lifetime(store, commits))
        # An activity that was in flight is started again by the first commit, and can end with the second.
        commits = 1 if _progress(store) != before else commits + 1
    assert lifetimes > 2
    assert on_disk(store, shape) == live(shape)


def _progress(store: MemoryStore) -> tuple[object, ...]:
    disk = store.snapshot()
    return tuple(tuple(disk[table]) for table in (tables.HISTORY, tables.INBOX, tables.INSTANCES, tables.REQUESTS))


def test_the_harness_notices(live: Callable[[Shape], list[tuple[Any, ...]]]) -> None:
    """What is compared holds the journals: a run of another shape, or one without its last entry, does not compare equal."""
    shape = next(shape for shape in SHAPES if str(shape) == "sequence")
    assert any("ScheduleActivity" in repr(each) for each in live(shape))
    other = next(shape for shape in SHAPES if str(shape) == "shared_tasks")
    assert live(shape) != live(other)
