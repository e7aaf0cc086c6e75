"""Jobs in tasks that are used again: nobody can tell that they do not each have a task of their own."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from perdure.hub import limits
from perdure.hub.task_pool import Job, TaskPool

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="nobody's")


class Errand(Job):
    """A job of a test: runs a function, and notes how it went."""

    def __init__(self, what: Callable[[], Awaitable[Any]], name: str = "errand") -> None:
        self.scope: trio.CancelScope | None = None
        self.context = contextvars.copy_context()
        self.outcome: tuple[str, Any] | None = None
        self.over = trio.Event()
        self._name = name
        self._what = what

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def begin(self) -> Coroutine[Any, Any, Any]:
        """Make its coroutine."""

        async def run() -> Any:
            return await self._what()

        return run()

    def ended(self, value: Any) -> None:
        """It has returned that."""
        assert self.outcome is None
        self.outcome = ("ended", value)
        self.over.set()

    def dropped(self) -> None:
        """It was cancelled."""
        assert self.outcome is None
        self.outcome = ("dropped", None)
        self.over.set()


async def at_once() -> str:
    """Something that waits for nothing."""
    return mark.get()


async def test_short_jobs_share_a_task() -> None:
    """A thousand jobs that wait for nothing take one task, and end in the order in which they were added."""
    order: list[int] = []

    def numbered(number: int) -> Errand:
        async def what() -> None:
            order.append(number)

        return Errand(what)

    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        for number in range(1000):
            pool.add(numbered(number))
        await trio.testing.wait_all_tasks_blocked()
        assert order == list(range(1000))
        assert pool.made == 1
        nursery.cancel_scope.cancel()


async def test_one_that_waits_holds_up_nobody() -> None:
    """Behind jobs that wait for ever others run, and as many tasks are made as wait; they are used again afterwards."""
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        waiting = [Errand(gate.wait) for _ in range(5)]
        for job in waiting:
            pool.add(job)
        short = Errand(at_once)
        pool.add(short)
        await trio.testing.wait_all_tasks_blocked()
        assert short.outcome == ("ended", "nobody's")
        assert [job.outcome for job in waiting] == [None] * 5
        assert pool.made == 6
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [job.outcome for job in waiting] == [("ended", None)] * 5
        for _ in range(6):
            pool.add(Errand(trio.lowlevel.checkpoint))
        await trio.testing.wait_all_tasks_blocked()
        assert pool.made == 6
        nursery.cancel_scope.cancel()


async def test_context_variables_are_each_jobs_own() -> None:
    """What a job sets is there after each of its waits, and in what it starts, and gone for the next job of the same task."""
    gate = trio.Event()

    async def child(seen: list[str]) -> None:
        seen.append(mark.get())

    async def sets(value: str) -> list[str]:
        seen = [mark.get()]
        mark.set(value)
        await gate.wait()
        seen.append(mark.get())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, seen)
        seen.append(await trio.to_thread.run_sync(mark.get))
        return seen

    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        jobs = [Errand(lambda value=value: sets(value)) for value in "ab"]
        token = mark.set("the caller's")
        late = Errand(at_once)
        mark.reset(token)
        for job in (*jobs, late):
            pool.add(job)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        for job in jobs:
            await job.over.wait()
        assert [job.outcome for job in jobs] == [("ended", ["nobody's", value, value, value]) for value in "ab"]
        assert late.outcome == ("ended", "the caller's")
        assert mark.get() == "nobody's"
        nursery.cancel_scope.cancel()


async def test_a_cancelled_job_is_the_only_one() -> None:
    """Cancelling the scope of a job that waits ends that job; its task goes on with others, which are not cancelled."""
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        cancelled, other = Errand(gate.wait), Errand(gate.wait)
        pool.add(cancelled)
        pool.add(other)
        await trio.testing.wait_all_tasks_blocked()
        assert cancelled.scope is not None
        cancelled.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (cancelled.outcome, cancelled.scope, other.outcome) == (("dropped", None), None, None)
        later = Errand(trio.lowlevel.checkpoint)
        pool.add(later)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert later.outcome == other.outcome == ("ended", None)
        assert pool.made == 2
        nursery.cancel_scope.cancel()


async def test_one_that_swallows_its_cancellation_is_dropped() -> None:
    """A job that returns something although it was cancelled while it waited does not count as ended; the next one does."""

    async def stubborn() -> str:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        return "something"

    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        job, later = Errand(stubborn), Errand(at_once)
        pool.add(job)
        await trio.testing.wait_all_tasks_blocked()
        assert job.scope is not None
        job.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        pool.add(later)
        await trio.testing.wait_all_tasks_blocked()
        assert job.outcome == ("dropped", None)
        assert later.outcome == ("ended", "nobody's")
        nursery.cancel_scope.cancel()


async def test_closing_drops_what_waits() -> None:
    """When the nursery is cancelled, each job that waits is dropped, and all tasks end."""
    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        jobs = [Errand(trio.sleep_forever) for _ in range(3)]
        for job in jobs:
            pool.add(job)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [job.outcome for job in jobs] == [("dropped", None)] * 3


async def test_others_run_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a slice of short jobs other tasks run before the next."""
    monkeypatch.setattr(limits, "SLICE_SECONDS", 0.0)
    trace: list[str] = []

    async def note() -> None:
        trace.append("job")

    async def other() -> None:
        for _ in range(3):
            trace.append("other")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        for _ in range(6):
            pool.add(Errand(note))
        nursery.start_soon(other)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert trace.count("job") == 6
    assert trace.index("other") < 3
    assert len(trace) - trace[::-1].index("other") > 3


async def test_too_many_idle_tasks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many tasks that have become idle only so many are kept."""
    monkeypatch.setattr(limits, "TASKS_PARKED_MAX", 2)
    async with trio.open_nursery() as nursery:
        pool = TaskPool(nursery)
        gate = trio.Event()
        for _ in range(10):
            pool.add(Errand(gate.wait))
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 10
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        nursery.cancel_scope.cancel()


STEPS = st.lists(st.sampled_from(["nothing", "checkpoint", "sleep", "scope", "nursery", "thread", "fail"]), max_size=6)


async def perform(steps: list[str]) -> list[str]:
    """Do things with Trio, and tell what came of each."""
    done: list[str] = []

    async def child() -> None:
        await trio.lowlevel.checkpoint()
        done.append("child")

    for step in steps:
        match step:
            case "checkpoint":
                await trio.lowlevel.checkpoint()
            case "sleep":
                await trio.sleep(1)
            case "scope":
                with trio.move_on_after(1) as scope:
                    await trio.sleep_forever()
                assert scope.cancelled_caught
            case "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)
                    nursery.start_soon(child)
            case "thread":
                done.append(await trio.to_thread.run_sync(str, 1))
            case "fail":
                try:
                    await trio.to_thread.run_sync(int, "x")
                except ValueError:
                    done.append("failed")
            case _:
                pass
        done.append(step)
    return done


@given(programs=st.lists(STEPS, min_size=1, max_size=6))
def test_jobs_behave_as_in_tasks_of_their_own(programs: list[list[str]]) -> None:
    """Whatever jobs do with Trio, one after another and side by side, each comes to what it comes to in a task of its own."""

    async def in_tasks() -> list[Any]:
        results: list[Any] = [None] * len(programs)

        async def run(place: int) -> None:
            results[place] = await perform(programs[place])

        async with trio.open_nursery() as nursery:
            for place in range(len(programs)):
                nursery.start_soon(run, place)
        return results

    async def in_pool() -> list[Any]:
        jobs = [Errand(lambda steps=steps: perform(steps)) for steps in programs]
        async with trio.open_nursery() as nursery:
            pool = TaskPool(nursery)
            for job in jobs:
                pool.add(job)
            for job in jobs:
                await job.over.wait()
            nursery.cancel_scope.cancel()
        return [job.outcome and job.outcome[1] for job in jobs]

    def run(program: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        return trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))

    assert run(in_pool) == run(in_tasks)
