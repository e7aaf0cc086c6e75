"""Activities in worker processes (O5): what crosses, what kills a process, and who replaces it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, OrchestrationContext, orchestrator
from perdure.storage.memory_store import MemoryStore

from . import in_processes
from .helpers import STUCK_SECONDS
from .in_processes import Matrix, Singular, Tag, make_tagging_converter, tagged, transposed
from .virtual import PATIENCE, left_over

Context = OrchestrationContext

ACTIVITIES = [
    transposed,
    in_processes.own_pid,
    in_processes.what_it_knows,
    in_processes.unfit,
    in_processes.dying_twice,
    in_processes.dying,
    in_processes.leaving_something,
    in_processes.busy,
    in_processes.busy_at_first,
    in_processes.asked,
    in_processes.meeting,
    in_processes.alone,
]


@orchestrator
async def one(ctx: Context, activity: str, arguments: list[Any]) -> Any:
    """Call an activity; what it fails with is a result too."""
    try:
        return await ctx.call_activity(activity, *arguments)
    except ActivityFailed as error:
        return str(error.failure)


@orchestrator
async def in_turn(ctx: Context, count: int) -> list[int]:
    """The processes of activities one after another."""
    return [await ctx.call_activity(in_processes.own_pid) for _ in range(count)]


@orchestrator
async def at_once(ctx: Context, activity: str, arguments: list[list[Any]]) -> list[Any]:
    """Results of calls that were made at once."""
    return await ctx.when_all([ctx.call_activity(activity, *each) for each in arguments])


@orchestrator
async def turned(ctx: Context, matrix: Matrix) -> str:
    """A matrix transposed twice, or why not."""
    try:
        once = await ctx.call_activity(transposed, matrix)
    except ActivityFailed as error:
        failure = error.failure
        return f"{failure} {failure.is_caused_by(Singular)} {failure.is_caused_by(ArithmeticError)}"
    return f"{once} {await ctx.call_activity(transposed, once) == matrix}"


@orchestrator
async def given_up(ctx: Context, fifo: str) -> None:
    """An attempt that never ends, until told."""
    task = ctx.call_activity(in_processes.busy, fifo)
    await ctx.wait_for_external_event("enough")
    task.cancel()


@orchestrator
async def impatient(ctx: Context, limit: str, fifo: str) -> list[str]:
    """What two attempts that never end fail with."""
    limited = in_processes.busy.options(timeout=60) if limit == "timeout" else in_processes.busy.options(heartbeat_timeout=60)
    failures: list[str] = []
    for task in [ctx.call_activity(limited, fifo) for _ in range(2)]:
        try:
            await task
        except ActivityFailed as error:
            failures.append(str(error.failure))
    return failures


@orchestrator
async def tagging(ctx: Context, tag: Tag) -> Tag:
    """What the activity makes of a tag."""
    return await ctx.call_activity(tagged, tag)


@asynccontextmanager
async def processing(store: MemoryStore, patience: float = STUCK_SECONDS, **options: Any) -> AsyncGenerator[TaskHub]:
    """An open hub with all of these; what is stuck inside fails."""
    definitions = [one, in_turn, at_once, turned, given_up, impatient, *ACTIVITIES]
    with trio.fail_after(patience):
        async with TaskHub("Processing", definitions, store, **{"processes_max": 2, **options}) as hub:
            yield hub


async def result(hub: TaskHub, function: Any, *arguments: Any) -> Any:
    return await (await hub.start(function, *arguments)).result()


async def heard(fifo: Path) -> int:
    """The process that writes its number into a FIFO, which it does when it runs."""
    return int(await trio.to_thread.run_sync(fifo.read_text, abandon_on_cancel=True))


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def lives(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not waited for counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- what crosses


async def test_O5_values_and_failures_cross() -> None:
    """Arguments and results of classes arrive as they are, a failure with its type and bases, and what does not fit is refused."""
    async with processing(MemoryStore()) as hub:
        assert await result(hub, turned, Matrix([[1, 2], [3, 4]])) == "Matrix(rows=[[1, 3], [2, 4]]) True"
        assert await result(hub, turned, Matrix([])) == "tests.hub.in_processes.Singular: it is empty True True"
        assert "NotStorable: the result of activity 'unfit'" in await result(hub, one, "unfit", ["text"])
        assert "NotStorable: heartbeat" in await result(hub, one, "unfit", ["heartbeat"])
        assert await result(hub, one, "unfit", ["exit"]) == "SystemExit: enough"


async def test_O5_an_activity_in_a_process_knows_what_others_know() -> None:
    """Its context has its name, instance, attempt and idempotency key; it runs in another process, which is used again."""
    store = MemoryStore()
    async with processing(store) as hub:
        instance = await hub.start(one, "what_it_knows", [], instance_id="i")
        execution = (await instance.status()).execution
        assert await instance.result() == {
            "name": "what_it_knows", "instance_id": "i", "attempt": 1, "idempotency_key": f"{execution}:1", "cancelled": False,
        }  # fmt: skip
        pids = await result(hub, in_turn, 3)
        assert len(set(pids)) == 1
        assert os.getpid() not in pids
        assert hub.statistics().worker_processes == 1
        await hub.wait_idle()
    assert left_over(store) == {}
    assert not lives(pids[0])


async def test_O5_processes_make_a_converter_of_their_own() -> None:
    """A function that makes the hub's converter serves its worker processes too."""
    async with TaskHub("Tagging", [tagging, tagged], MemoryStore(), converter=make_tagging_converter) as hub:
        assert (await result(hub, tagging, Tag("ab"))).text == "abab"


# --- how many


async def test_O5_a_process_is_replaced_after_so_many_attempts() -> None:
    """With ``process_calls_max=2`` each process runs two attempts, and is gone then."""
    async with processing(MemoryStore(), process_calls_max=2) as hub:
        first, again, second, *_ = pids = await result(hub, in_turn, 4)
        assert pids == [first, first, second, second]
        assert again != second
        assert not lives(first)


async def test_O5_so_many_processes_run_at_a_time(fifo: Path) -> None:
    """Two attempts that wait for each other are run by two processes; ``processes_max`` and ``max_concurrent`` let but one be."""
    async with processing(MemoryStore(), processes_max=2) as hub:
        assert len(set(await result(hub, at_once, "alone", [[]] * 4))) == 1
        assert hub.statistics().worker_processes == 1
        assert len(set(await result(hub, at_once, "meeting", [[str(fifo), "r"], [str(fifo), "w"]]))) == 2
        assert hub.statistics().worker_processes == 2
    async with processing(MemoryStore(), processes_max=1) as hub:
        assert len(set(await result(hub, at_once, "own_pid", [[]] * 4))) == 1


# --- processes that die


async def test_O5_a_process_that_dies_fails_its_attempt_and_is_replaced() -> None:
    """The failure says how the process ended; retries find the last heartbeat and the same key, and what follows has a process."""
    clock = iter(range(1_900_000_000_000_000, 2_000_000_000_000_000, 3_600_000_000))
    async with processing(MemoryStore(), processes_max=1, clock=lambda: next(clock)) as hub:
        instance = await hub.start(one, "dying_twice", [])
        assert await instance.result() == [3, ["item", 2], f"{(await instance.status()).execution}:1"]
        assert await result(hub, one, "dying", ["exit"]) == (
            "perdure.hub.errors.WorkerProcessDied: the worker process that ran attempt 1 of activity 'dying' ended with exit code 7"
        )
        assert (await result(hub, one, "dying", ["SIGTERM"])).endswith("was killed by SIGTERM")
        assert hub.statistics().worker_processes == 0
        assert len(await result(hub, in_turn, 1)) == 1


async def test_O5_what_an_activity_has_started_does_not_hide_its_death(fifo: Path) -> None:
    """The attempt fails at once, though a program that it started in the background goes on."""
    async with processing(MemoryStore()) as hub:
        assert (await result(hub, one, "leaving_something", [str(fifo)])).endswith("ended with exit code 0")
        await trio.to_thread.run_sync(fifo.write_text, "you may go")


async def test_O5_a_process_that_was_killed_while_idle_harms_nobody() -> None:
    """The next attempt runs in a fresh process."""
    async with processing(MemoryStore(), processes_max=1) as hub:
        (before,) = await result(hub, in_turn, 1)
        (process,) = multiprocessing.active_children()
        os.kill(before, signal.SIGKILL)
        await trio.to_thread.run_sync(process.join)
        (after,) = await result(hub, in_turn, 1)
        assert after != before
        await hub.wait_idle()
        assert hub.statistics().worker_processes == 1


# --- what kills a process


async def test_O5_a_cancelled_attempt_is_killed(fifo: Path) -> None:
    """An attempt that computes for ever is gone as soon as nobody waits for it, and its place is free."""
    store = MemoryStore()
    async with processing(store, processes_max=1) as hub:
        instance = await hub.start(given_up, str(fifo))
        pid = await heard(fifo)
        waiting = await hub.start(in_turn, 1)
        await instance.raise_event("enough")
        (other,) = await waiting.result()
        assert not lives(pid)
        assert other != pid
        await hub.wait_idle()
    assert left_over(store) == {}


async def test_O5_an_attempt_that_waits_for_a_process_can_be_cancelled(fifo: Path) -> None:
    """It never runs, and does not keep the place that it waited for."""
    async with processing(MemoryStore(), processes_max=1) as hub:
        busy = await hub.start(given_up, str(fifo))
        await heard(fifo)
        waiting = await hub.start(given_up, str(fifo))
        await waiting.raise_event("enough")
        await waiting.result()
        await busy.raise_event("enough")
        assert len(await result(hub, in_turn, 1)) == 1
        await hub.wait_idle()


@pytest.mark.parametrize("limit", ["timeout", "heartbeat_timeout"])
async def test_O5_an_attempt_that_takes_too_long_is_killed(limit: str, fifo: Path, mock_clock: trio.testing.MockClock) -> None:
    """A time limit ends a process that computes for ever, with a TimeoutError; what waits for its place is not counted."""
    async with processing(MemoryStore(), PATIENCE, processes_max=1) as hub:
        instance = await hub.start(impatient, limit, str(fifo))
        for _ in range(2):
            pid = await heard(fifo)
            mock_clock.jump(61)
        failures = await instance.result()
        assert not lives(pid)
    said = "took longer than 60.0 s" if limit == "timeout" else "gave no heartbeat for 60.0 s"
    assert failures == [f"TimeoutError: attempt 1 of activity 'busy' {said}"] * 2


async def test_D7_closing_the_hub_kills_what_computes(fifo: Path) -> None:
    """Closing ends working and idle processes at once and fails nothing: the attempt is repeated at the next opening."""
    store = MemoryStore()
    async with processing(store) as hub:
        await hub.start(one, "busy_at_first", [str(fifo)], instance_id="i")
        working = await heard(fifo)
        (idle,) = await result(hub, in_turn, 1)
        assert working != idle
    assert not lives(working)
    assert not lives(idle)
    async with processing(store) as hub:
        assert await hub.instance("i").result() == 2


# --- Ctrl-C


async def test_ctrl_c_is_for_the_hub(tmp_path: Path) -> None:
    """A worker process is not disturbed by SIGINT: neither while it starts, nor while it runs an attempt."""
    telling, hearing = tmp_path / "telling", tmp_path / "hearing"
    for each in (telling, hearing):
        os.mkfifo(each)
    async with processing(MemoryStore()) as hub:
        instance = await hub.start(one, "asked", [str(telling), str(hearing)])
        while not (started := multiprocessing.active_children()):
            await trio.lowlevel.checkpoint()
        (process,) = started
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        assert await heard(telling) == process.pid
        os.kill(process.pid, signal.SIGINT)
        await trio.to_thread.run_sync(hearing.write_text, "go on")
        assert await instance.result() == "go on"
