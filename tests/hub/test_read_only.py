"""A client's call of a read-only operation waits for nothing, and changes nothing (E13, E9); elsewhere it has its place."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import trio
from attrs import define, field
from perdure.entities import (
    Entity,
    EntityContext,
    EntityOperationFailed,
    ReadOnlyViolation,
    StateUnreadable,
    UnknownOperation,
    entity,
    read_only,
)
from perdure.hub import HubClosed, TaskHub
from perdure.orchestration import ForbiddenAwait, OrchestrationContext, orchestrator
from perdure.storage import StorageError

from ..entities.on_hub import WatchedStore, a_while, opened, until

gates: dict[str, trio.Event] = {}
"""Where async operations wait until a test lets them go on."""
hubs: list[TaskHub] = []
"""The hub that operations use from inside."""


@pytest.fixture(autouse=True)
def clean() -> None:
    gates.clear()
    hubs.clear()


async def gate(name: str) -> None:
    """Wait until a test opens the gate."""
    await gates.setdefault(name, trio.Event()).wait()


@define
class Shelf(Entity):
    """Things."""

    things: list[str] = field(factory=list[str])

    def put(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)

    async def put_slowly(self, thing: str) -> None:
        self.things.append(thing)
        await gate("put")

    @read_only
    def count(self) -> int:
        return len(self.things)

    @read_only
    def all_things(self) -> list[str]:
        return self.things

    @read_only
    def when(self) -> datetime:
        return self.context.now

    @read_only
    def take(self) -> str:
        return self.things.pop()

    @read_only
    def refuse(self) -> None:
        raise ValueError("no")

    @read_only
    def scope(self) -> None:
        trio.CancelScope().__enter__()

    @read_only
    async def count_slowly(self) -> int:
        await gate("count")
        return len(self.things)

    @read_only
    async def count_other(self, key: str) -> int:
        return await hubs[0].call_entity(Shelf.at(key), Shelf.count)

    @read_only
    async def put_elsewhere(self) -> int:
        return await hubs[0].call_entity(Shelf.at("other"), Shelf.put, "x")

    async def count_from_inside(self) -> int:
        return await hubs[0].call_entity(Shelf.at("a"), Shelf.count)


@entity(read_only=["get"])
def box(ctx: EntityContext) -> object:
    """A function with a read-only operation."""
    value = ctx.get_state(int, 0)
    if ctx.operation == "add":
        ctx.set_state(value + ctx.get_input(int))
    return value


@orchestrator
async def hold(ctx: OrchestrationContext) -> None:
    """Hold the lock until told."""
    async with ctx.lock_entities(Shelf.at("a")):
        await ctx.call_entity(Shelf.at("a"), Shelf.put, "held")
        await ctx.wait_for_external_event("go")


@orchestrator
async def put_and_count(ctx: OrchestrationContext, times: int) -> list[int]:
    """Signal and count in turns."""
    counts: list[int] = []
    for number in range(times):
        ctx.signal_entity(Shelf.at("a"), Shelf.put, str(number))
        counts.append(await ctx.call_entity(Shelf.at("a"), Shelf.count))
    async with ctx.lock_entities(Shelf.at("a")):
        counts.append(await ctx.call_entity(Shelf.at("a"), Shelf.count))
    return counts


A = Shelf.at("a")


async def test_E13_it_waits_for_no_lock_and_no_running_operation() -> None:
    """While the entity is locked, and while an operation of it runs, a client's read-only call answers from the last commit."""
    async with opened(Shelf, hold) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        holder = await hub.start(hold)
        await until(lambda: hub.statistics().turns > 3)
        await hub.wait_idle()
        assert (await hub.describe(A)).locked_by == holder.id
        assert await hub.call_entity(A, Shelf.all_things) == ["x", "held"]
        await holder.raise_event("go")
        await holder.result()
        await hub.signal_entity(A, Shelf.put_slowly, "slow")
        await until(lambda: "put" in gates)
        assert (await hub.describe(A)).running == "put_slowly"
        assert await hub.call_entity(A, Shelf.count) == 2
        gates["put"].set()
        await hub.wait_idle()
        assert await hub.call_entity(A, Shelf.count) == 3


async def test_E13_a_paused_hub_answers() -> None:
    """A hub that runs no turns answers read-only calls, which do not show the signals that wait."""
    async with opened(Shelf, box) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        hub.pause()
        await hub.signal_entity(A, Shelf.put, "y")
        assert await hub.call_entity(A, Shelf.count) == 1
        assert await hub.call_entity(A, "count") == 1
        assert await hub.call_entity(box.at("b"), "get") == 0
        hub.unpause()
        assert await hub.call_entity(A, Shelf.put, "z") == 3


async def test_E13_it_sees_the_last_commit_only() -> None:
    """What an operation did is not shown before it is durable, and is shown after."""
    store = WatchedStore()
    async with opened(Shelf, store=store) as hub, trio.open_nursery() as nursery:
        await hub.call_entity(A, Shelf.put, "x")
        store.hold_commits()
        nursery.start_soon(hub.call_entity, A, Shelf.put, "y")
        await until(lambda: store.submitted > 1)
        await a_while()
        assert await hub.call_entity(A, Shelf.count) == 1
        store.hold_commits(False)
        await hub.wait_idle()
        assert await hub.call_entity(A, Shelf.count) == 2


async def test_E13_it_answers_while_storage_refuses_work() -> None:
    """When no commit succeeds, calls are refused with StorageError, and read-only calls still answer."""
    store = WatchedStore()
    async with opened(Shelf, store=store) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        store.fail_next(StorageError)
        with pytest.raises(StorageError):
            await hub.call_entity(A, Shelf.put, "y")
        assert await hub.call_entity(A, Shelf.count) == 1


async def test_E13_nothing_is_written() -> None:
    """Read-only calls hand no batch to storage and leave nothing in memory or on disk, of entities that do not exist either."""
    store = WatchedStore()
    async with opened(Shelf, box, store=store) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        submitted, left, turns = store.submitted, store.left_over(), hub.statistics().turns
        for key in ("a", "nobody"):
            await hub.call_entity(Shelf.at(key), Shelf.count)
            with pytest.raises(EntityOperationFailed):
                await hub.call_entity(Shelf.at(key), Shelf.take)
        assert await hub.call_entity(box.at("nobody"), "get") == 0
        await hub.wait_idle()
        assert (store.submitted, store.left_over(), hub.statistics().turns) == (submitted, left, turns)
        assert await hub.read_entity(A) == Shelf(["x"])
        assert await hub.read_entity(Shelf.at("nobody")) is None


async def test_E13_its_result_is_a_copy() -> None:
    """Changing what a read-only operation returned changes nothing (E6)."""
    async with opened(Shelf) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        (await hub.call_entity(A, Shelf.all_things)).append("y")
        assert await hub.call_entity(A, Shelf.all_things) == ["x"]
        assert (await hub.call_entity(A, Shelf.when)).tzinfo is not None


async def test_E13_failures_reach_the_caller() -> None:
    """What it raises, and a broken promise, is EntityOperationFailed with the details, as of any call (E4)."""
    async with opened(Shelf) as hub:
        for operation, kind in ((Shelf.refuse, ValueError), (Shelf.take, IndexError), (Shelf.scope, ForbiddenAwait)):
            with pytest.raises(EntityOperationFailed) as caught:
                await hub.call_entity(A, operation)
            assert caught.value.failure.is_caused_by(kind)
        await hub.call_entity(A, Shelf.put, "x")
        with pytest.raises(EntityOperationFailed, match=r"'take' of @shelf@a .*marked read-only, but changed state\.things"):
            await hub.call_entity(A, Shelf.take)
        with pytest.raises(TypeError):
            await hub.call_entity(A, "count", 1)
        assert (await hub.dead_letters(A)).items == []


async def test_E13_async_ones_run_side_by_side() -> None:
    """Several async read-only calls of one entity are under way at once, beside its operations, each on the state that it found."""
    counts: list[int] = []

    async def count(hub: TaskHub) -> None:
        counts.append(await hub.call_entity(A, Shelf.count_slowly))

    async with opened(Shelf) as hub, trio.open_nursery() as nursery:
        await hub.call_entity(A, Shelf.put, "x")
        nursery.start_soon(count, hub)
        nursery.start_soon(count, hub)
        await until(lambda: "count" in gates and gates["count"].statistics().tasks_waiting == 2)
        await hub.call_entity(A, Shelf.put, "y")
        gates["count"].set()
        await until(lambda: len(counts) == 2)
        assert counts == [1, 1]
        assert await hub.call_entity(A, Shelf.count_slowly) == 2


async def test_E13_cancelling_the_call_ends_it() -> None:
    """A cancelled call of an async read-only operation stops where it waits, and the entity goes on as if nothing had been."""
    async with opened(Shelf) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(hub.call_entity, A, Shelf.count_slowly)
        await until(lambda: "count" in gates and gates["count"].statistics().tasks_waiting == 1)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await until(lambda: gates["count"].statistics().tasks_waiting == 0)
            assert await hub.call_entity(A, Shelf.put, "x") == 1


async def test_E13_from_inside_an_operation() -> None:
    """An operation may call what only reads, since that cannot deadlock; a read-only operation may not call what does not (E8)."""
    async with opened(Shelf) as hub:
        hubs.append(hub)
        await hub.call_entity(A, Shelf.put, "x")
        assert await hub.call_entity(A, Shelf.count_from_inside) == 1
        assert await hub.call_entity(Shelf.at("b"), Shelf.count_other, "a") == 1
        with pytest.raises(EntityOperationFailed, match="@shelf@b waits for @shelf@other, which could deadlock"):
            await hub.call_entity(Shelf.at("b"), Shelf.put_elsewhere)
        assert await hub.call_entity(Shelf.at("other"), Shelf.put, "still allowed outside") == 1


async def test_E13_with_a_request_id_it_has_one_answer() -> None:
    """With a request id it is an ordinary call: repeated, it gives the answer that was kept (D8)."""
    async with opened(Shelf) as hub:
        assert await hub.call_entity(A, Shelf.count, request_id="r") == 0
        await hub.call_entity(A, Shelf.put, "x")
        assert await hub.call_entity(A, Shelf.count, request_id="r") == 0
        assert await hub.call_entity(A, Shelf.count) == 1


async def test_E13_an_orchestration_s_call_has_its_place() -> None:
    """From an orchestration it runs after the signals sent before it, inside a lock too."""
    async with opened(Shelf, put_and_count) as hub:
        assert await (await hub.start(put_and_count, 3)).result() == [1, 2, 3, 3]


@entity(name="shelf", version=1)
@define
class Stricter(Entity):
    """The same shelf, of a version that cannot read what is stored."""

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        return state

    @read_only
    def count(self) -> int:
        return 0


async def test_E13_an_unreadable_state_fails_the_call() -> None:
    """A state that the class cannot read fails the read-only call as it fails any call (E12)."""
    store = WatchedStore()
    async with opened(Shelf, store=store) as hub:
        await hub.call_entity(A, Shelf.put, "x")
    async with opened(Stricter, store=store) as hub:
        with pytest.raises(EntityOperationFailed) as caught:
            await hub.call_entity(Stricter.at("a"), Stricter.count)
        assert caught.value.failure.is_caused_by(StateUnreadable)


async def test_E13_a_closed_hub_refuses() -> None:
    """After the hub was closed a read-only call raises HubClosed like any verb; an unknown operation is refused at the call."""
    async with opened(Shelf) as hub:
        with pytest.raises(UnknownOperation):
            await hub.call_entity(A, "counts")
    with pytest.raises(HubClosed):
        await hub.call_entity(A, Shelf.count)


async def test_E13_a_signal_that_breaks_its_promise_is_a_dead_letter() -> None:
    """A read-only operation may be signalled; when it fails, the signal is kept (E4)."""
    async with opened(Shelf) as hub:
        await hub.call_entity(A, Shelf.put, "x")
        await hub.signal_entity(A, Shelf.take)
        await hub.signal_entity(A, Shelf.count)
        await hub.wait_idle()
        (letter,) = (await hub.dead_letters(A)).items
        assert letter.failure.is_caused_by(ReadOnlyViolation)
        assert await hub.call_entity(A, Shelf.count) == 1
