"""Activities on a whole hub (O5): after the commit, at least once, the first result counts, and what they know of themselves."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
from attrs import define, field
from perdure.hub import ActivityContext, activity_context
from perdure.orchestration import (
    ActivityFailed,
    FailureDetails,
    OrchestrationContext,
    OrchestrationFailed,
    activity,
    orchestrator,
)
from perdure.storage.errors import NotStorable, StorageInDoubt
from perdure.storage.memory_store import MemoryStore

from .hubs import PATIENCE, a_while, dying, left_over, opened, until


@define(eq=False)
class Stage:
    """What the activities of one test did.

    Attributes:
      begun: the contexts of those that began, in order.
      running, most: how many run, and the most that ran at a time.
      gate: opened to let them end.
    """

    begun: list[ActivityContext] = field(factory=list[ActivityContext])
    running: int = 0
    most: int = 0
    gate: trio.Event = field(factory=trio.Event)

    async def perform(self) -> None:
        """Note that one began, and wait for the gate."""
        self.begun.append(activity_context())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1


stage = Stage()


@pytest.fixture(autouse=True)
def _new_stage() -> None:
    stage.__init__()  # type: ignore[misc]


@activity
async def staged(number: int) -> int:
    """Ends when the gate is opened."""
    await stage.perform()
    return number


@activity(max_concurrent=2)
async def two_at_a_time(number: int) -> int:
    """So does this one, of which two may run."""
    await stage.perform()
    return number


@activity
def in_thread(number: int) -> list[Any]:
    """Tells where it runs."""
    stage.begun.append(activity_context())
    return [number, threading.get_ident()]


@activity
async def on_trio(number: int) -> list[Any]:
    """Tells where it runs."""
    await trio.lowlevel.checkpoint()
    return [number, threading.get_ident()]


@activity
async def unstorable() -> Any:
    """Returns what cannot be kept."""
    return object()


@activity
def raising() -> None:
    """Fails in its thread."""
    raise FileNotFoundError("gone") from KeyError("why")


CHOICE = {"staged": staged, "two_at_a_time": two_at_a_time, "in_thread": in_thread, "on_trio": on_trio}


@orchestrator
async def calling(ctx: OrchestrationContext, name: str, count: int) -> list[Any]:
    """Calls an activity so many times at once."""
    return await ctx.when_all([ctx.call_activity(CHOICE[name], number) for number in range(count)])


@orchestrator
async def trying(ctx: OrchestrationContext, name: str) -> str:
    """Calls one that fails."""
    await ctx.call_activity(name)  # type: ignore[arg-type]
    return "no failure"


ALL = (staged, two_at_a_time, in_thread, on_trio, unstorable, raising, calling, trying)


async def failure_of(name: str) -> FailureDetails:
    """How an orchestration fails whose activity does."""
    async with opened(ALL) as hub:
        with pytest.raises(OrchestrationFailed) as raised:
            await (await hub.start(trying, name)).result()
    assert raised.value.failure.is_caused_by(ActivityFailed)
    return raised.value.failure


async def test_O5_plain_activities_run_in_threads_and_async_ones_on_trio() -> None:
    """A plain function runs beside the event loop's thread, an async one in it; both give their results."""
    async with opened(ALL) as hub:
        (number, thread), (_, same) = [
            (await (await hub.start(calling, name, 1)).result())[0] for name in ("in_thread", "on_trio")
        ]
    assert number == 0
    assert same == threading.get_ident() != thread


async def test_O5_an_activity_knows_itself() -> None:
    """``activity_context`` tells name, instance, attempt and key, in a task and in a thread; elsewhere it is refused."""
    stage.gate.set()
    async with opened(ALL) as hub:
        for name in ("staged", "in_thread"):
            await (await hub.start(calling, name, 1, instance_id=name)).result()
        with pytest.raises(RuntimeError, match="inside a running activity"):
            activity_context()
    assert [(each.name, each.instance_id, each.attempt) for each in stage.begun] == [
        ("staged", "staged", 1),
        ("in_thread", "in_thread", 1),
    ]


async def test_O5_every_call_has_a_key_of_its_own() -> None:
    """The calls of one execution, and the same call in another execution under the same id, have different keys."""
    stage.gate.set()
    async with opened(ALL) as hub:
        for _ in range(2):
            await (await hub.start(calling, "staged", 3, instance_id="x", if_exists="replace_finished")).result()
    keys = [each.idempotency_key for each in stage.begun]
    assert len(keys) == len(set(keys)) == 6


async def test_O5_it_starts_only_after_the_commit() -> None:
    """While the batch that scheduled it is on its way to disk, an activity has not begun (D2); then it does."""
    store = MemoryStore()
    async with opened(ALL, store) as hub, trio.open_nursery() as nursery:
        store.hold_commits()
        nursery.start_soon(hub.start, calling, "staged", 1)
        await a_while()
        assert hub.statistics().turns >= 1, "the turn that schedules it has been run"
        assert stage.begun == []
        store.hold_commits(False)
        await until(lambda: len(stage.begun) == 1)
        stage.gate.set()


async def test_O5_it_never_starts_if_the_commit_fails() -> None:
    """A process that dies with the commit that would have scheduled it has not begun it, and the next one knows nothing of it."""
    store = MemoryStore()
    store.fail_next(StorageInDoubt)
    with trio.fail_after(PATIENCE), pytest.raises(StorageInDoubt):
        async with opened(ALL, store) as hub:
            await hub.start(calling, "staged", 1, instance_id="x")
    async with opened(ALL, store) as hub:
        await hub.wait_idle()
    assert stage.begun == []
    assert left_over(store) == {}


@pytest.mark.parametrize("death", ["killed", "closed"])
async def test_O5_what_was_running_runs_again(death: str) -> None:
    """After the process died, or the hub was closed, it is started again: the attempt is counted up, the key is the same."""
    store = MemoryStore()
    for _ in range(3):
        async with dying(ALL, store) if death == "killed" else opened(ALL, store) as hub:
            await hub.start(calling, "staged", 2, instance_id="x", if_exists="return")
            await until(lambda: stage.running == 2)
    stage.gate.set()
    async with opened(ALL, store) as hub:
        assert await hub.instance("x").result() == [0, 1]

    assert [each.attempt for each in stage.begun] == [1, 1, 2, 2, 3, 3, 4, 4]
    keys = [each.idempotency_key for each in stage.begun]
    assert all(set(keys[place : place + 2]) == set(keys[:2]) for place in (2, 4, 6))
    assert len(set(keys)) == 2
    assert left_over(store) == {}


async def test_O5_a_result_that_is_durable_is_not_worked_out_again() -> None:
    """Of two activities one ends before the process dies: only the other one runs again."""
    store = MemoryStore()
    async with dying(ALL, store) as hub:
        await hub.start(calling, "staged", 1, instance_id="done")
        await until(lambda: stage.running == 1)
        stage.gate.set()
        await hub.instance("done").result()
        stage.gate = trio.Event()
        await hub.start(calling, "staged", 1, instance_id="running")
        await until(lambda: stage.running == 1)
    stage.gate.set()
    async with opened(ALL, store) as hub:
        assert await hub.instance("running").result() == [0]
        assert await hub.instance("done").result() == [0]
    assert [(each.instance_id, each.attempt) for each in stage.begun] == [("done", 1), ("running", 1), ("running", 2)]


async def test_O5_no_more_run_than_are_allowed() -> None:
    """Of an activity with ``max_concurrent=2`` two run at a time, in the hub as a whole; other activities do not wait for it."""
    async with opened(ALL) as hub:
        instances = [await hub.start(calling, "two_at_a_time", 4) for _ in range(2)]
        await until(lambda: stage.running == 2)
        await a_while()
        assert len(stage.begun) == 2
        assert await (await hub.start(calling, "on_trio", 3)).result()
        assert hub.statistics().activities_running == 8
        stage.gate.set()
        for instance in instances:
            assert await instance.result() == [0, 1, 2, 3]
        assert hub.statistics().activities_running == 0
    assert stage.most == 2
    assert len(stage.begun) == 8


async def test_O5_the_limit_holds_after_a_restart_too() -> None:
    """Eight that were scheduled when the process died are taken up again two at a time."""
    store = MemoryStore()
    async with dying(ALL, store) as hub:
        await hub.start(calling, "two_at_a_time", 8, instance_id="x")
        await until(lambda: stage.running == 2)
    stage.most = 0
    async with opened(ALL, store) as hub:
        await until(lambda: stage.running == 2)
        stage.gate.set()
        assert await hub.instance("x").result() == list(range(8))
    assert stage.most == 2


async def test_O5_a_failure_tells_what_happened() -> None:
    """The exception's type, text, cause and traceback reach the orchestration, also out of a thread."""
    failure = await failure_of("raising")
    assert failure.is_caused_by(FileNotFoundError)
    assert failure.is_caused_by(KeyError)
    assert failure.cause is not None
    assert (failure.cause.type_name, failure.cause.message) == ("FileNotFoundError", "gone")
    assert "raise FileNotFoundError" in failure.cause.traceback


async def test_O5_a_result_that_cannot_be_kept_is_a_failure() -> None:
    """The activity has failed with NotStorable; the hub and the row on disk are as after any failure."""
    assert (await failure_of("unstorable")).is_caused_by(NotStorable)


async def test_O5_a_late_result_is_dropped() -> None:
    """The result of an execution that was replaced does not reach the new one under the same id."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        old = await hub.start(calling, "staged", 1, instance_id="x")
        await until(lambda: stage.running == 1)
        old_gate, stage.gate = stage.gate, trio.Event()
        await old.terminate()
        new = await hub.start(calling, "staged", 1, instance_id="x", if_exists="replace_finished")
        await until(lambda: len(stage.begun) == 2)
        old_gate.set()
        await a_while()
        assert not (await new.status()).runtime_status.final
        stage.gate.set()
        assert await new.result() == [0]
    assert left_over(store) == {}
