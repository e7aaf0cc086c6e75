"""What is running when a hub is left runs again; however it takes its cancellation, it has not failed by it (D7, E5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import TaskHub, activity_context
from perdure.orchestration import OrchestrationContext, RuntimeStatus, activity, orchestrator
from perdure.testing.scripted_store import ScriptedStore

from .helpers import bank, rounds, until

begun: list[str] = []
"""Work that has begun, in order; the second time it ends at once."""


async def waits() -> None:
    """Take the cancellation as it is."""
    await trio.sleep_forever()


async def fails_at_it() -> None:
    """Raise something else in its place."""
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("the clean-up failed")


async def fails_beside_it() -> None:
    """Raise a group of it and something else."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        nursery.start_soon(fails_at_it)


async def cleans_up() -> None:
    """Wait for something in the clean-up, which is cancelled as well."""
    try:
        await trio.sleep_forever()
    finally:
        await trio.sleep(1)


async def takes_its_time() -> None:
    """Clean up under a shield."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await rounds(20)


MANNERS: dict[str, Callable[[], Awaitable[None]]] = {
    work.__name__: work for work in (waits, fails_at_it, fails_beside_it, cleans_up, takes_its_time)
}


async def work_once(manner: str) -> str:
    """The first time, wait until cancelled; after that, end."""
    begun.append(manner)
    if len(begun) == 1:
        await MANNERS[manner]()
    return f"done at attempt {len(begun)}"


@define
class Worker(Entity):
    """Does its work in an async operation."""

    done: str = ""
    other: int = 0

    async def work(self, manner: str) -> str:
        """Begin, and keep what came of it."""
        self.other = 99
        self.done = await work_once(manner)
        self.other = 1
        return self.done


@activity
async def work(manner: str) -> str:
    """The same as an activity."""
    return f"{await work_once(manner)}, said to be {activity_context().attempt}"


@orchestrator
async def boss(ctx: OrchestrationContext, manner: str) -> str:
    """Have it done."""
    return await ctx.call_activity(work, manner)


@orchestrator
async def caller(ctx: OrchestrationContext, manner: str) -> str:
    """Have the entity do it."""
    return await ctx.call_entity(Worker.at("w"), Worker.work, manner)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begun.clear()


def hub_on(store: ScriptedStore) -> TaskHub:
    """A hub of everything in this file."""
    return bank(store, Worker, work, boss, caller)


class Mine(Exception):
    """Ends a body."""


async def leave(store: ScriptedStore, how: str, start: Callable[[TaskHub], Awaitable[object]]) -> None:
    """Open a hub, begin the work, and leave in one of the ways there are."""
    with trio.CancelScope() as scope:
        try:
            async with hub_on(store) as hub:
                await start(hub)
                await until(lambda: len(begun) == 1)
                await rounds()
                if how == "an exception":
                    raise Mine
                if how == "a cancellation":
                    scope.cancel()
                    with trio.CancelScope(shield=True):
                        await rounds()  # the program's own clean-up; the work notices the cancellation first
                    await trio.sleep_forever()
        except Mine:
            pass


WAYS = {"the end of the block": 1, "an exception": 1, "a cancellation": 6}
"""How a hub is left, and how often that is tried: which task notices a cancellation first is Trio's choice."""


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("manner", MANNERS)
async def test_D7_an_activity_that_was_cut_off_runs_again(manner: str, how: str) -> None:
    """Its orchestration neither fails nor ends by that, and gets the result of the next attempt."""
    for _ in range(WAYS[how]):
        begun.clear()
        store = ScriptedStore()
        await leave(store, how, lambda hub: hub.start(boss, manner, instance_id="b"))
        async with hub_on(ScriptedStore(store.disk)) as hub:
            assert await hub.instance("b").result() == "done at attempt 2, said to be 2"


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("manner", MANNERS)
async def test_D7_an_operation_that_was_cut_off_runs_again(manner: str, how: str) -> None:
    """From the old state; its caller gets the result of the next run, and there is no dead letter."""
    for _ in range(WAYS[how]):
        begun.clear()
        store = ScriptedStore()
        await leave(store, how, lambda hub: hub.start(caller, manner, instance_id="c"))
        async with hub_on(ScriptedStore(store.disk)) as hub:
            assert await hub.instance("c").result() == "done at attempt 2"
            assert await hub.read_entity(Worker.at("w")) == Worker("done at attempt 2", 1)
            assert (await hub.dead_letters(Worker.at("w"))).items == []


async def test_D7_work_in_a_thread_ends_before_the_hub_does() -> None:
    """A plain activity cannot be cancelled: leaving waits for its thread, and it runs again or its result is kept."""
    going = trio.lowlevel.current_trio_token()
    entered = trio.Event()
    attempts: list[int] = []

    @activity
    def in_a_thread() -> int:
        attempts.append(activity_context().attempt)
        trio.from_thread.run_sync(entered.set, trio_token=going)
        return len(attempts)

    @orchestrator
    async def has_it_done(ctx: OrchestrationContext) -> int:
        return await ctx.call_activity(in_a_thread)

    store = ScriptedStore()
    async with bank(store, in_a_thread, has_it_done) as hub:
        await hub.start(has_it_done, instance_id="i")
        await entered.wait()
    async with bank(ScriptedStore(store.disk), in_a_thread, has_it_done) as hub:
        assert await hub.instance("i").result() == len(attempts)
        assert (await hub.instance("i").status()).runtime_status is RuntimeStatus.COMPLETED
