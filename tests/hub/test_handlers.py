"""Queries and updates of running orchestrations (O21): what is answered, when, once, and whatever becomes of the instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from perdure.entities import Entity
from perdure.hub import Instance, TaskHub, activity_context
from perdure.orchestration import (
    CannotQuery,
    InstanceFinished,
    InstanceNotFound,
    OrchestrationContext,
    OrchestrationFailed,
    QueryFailed,
    RuntimeStatus,
    UpdateFailed,
    activity,
    orchestrator,
)
from perdure.orchestration.history import EventReceived, TurnStarted, UpdateAnswered, UpdateReceived
from perdure.storage.errors import NotStorable, ValueUnreadable
from perdure.storage.memory_store import MemoryStore

from .virtual import CACHES, Tally, hub_in, left_over

Context = OrchestrationContext


@define
class Item:
    """Something in a cart."""

    name: str
    count: int = 1


@activity
async def reserve(name: str) -> str:
    """A place in a store."""
    return f"{name}:{activity_context().idempotency_key[-4:]}"


@orchestrator
async def cart(ctx: Context) -> list[Any]:
    """A cart that is asked and changed from outside until it is checked out."""
    items: list[Item] = []
    done = False

    def content(at_least: int = 0) -> list[Item]:
        return [item for item in items if item.count >= at_least]

    def check(item: Item) -> None:
        if item.count < 1:
            raise ValueError(f"{item.count} of {item.name}")

    async def add(item: Item) -> str:
        place = await ctx.call_activity(reserve, item.name)
        await ctx.call_entity(Tally.at("sold"), Tally.add, item.count)
        items.append(item)
        return place.partition(":")[0]

    def drop(name: str) -> int:
        before = len(items)
        items[:] = [item for item in items if item.name != name]
        return before - len(items)

    async def wait_for(event: str) -> object:
        return await ctx.wait_for_external_event(event)

    def wrong() -> None:
        raise LookupError("as told")

    def ask_the_context() -> None:
        ctx.call_activity(reserve, "nothing")

    ctx.on_query("Content", content)
    ctx.on_query("wrong", wrong)
    ctx.on_query("ask the context", ask_the_context)
    ctx.on_update("add", add, validate=check)
    ctx.on_update("drop", drop)
    ctx.on_update("wait", wait_for)
    ctx.on_update("wrong", wrong)
    while not done:
        match await ctx.wait_for_external_event("do"):
            case "fail":
                raise LookupError("the cart fell over")
            case "renew":
                ctx.continue_as_new()
            case _:
                done = True
    return [(item.name, item.count) for item in items]


ALL = (cart, reserve, Tally)


@CACHES
async def test_O21_updates_change_and_queries_show(cache: int) -> None:
    """An update is answered when it is done, with its effects; a query shows what the code has then; names compare without case."""
    store = MemoryStore()
    async with TaskHub("Handlers", ALL, store, cache_bytes=cache) as hub:
        instance = await hub.start(cart, instance_id="x")
        assert await instance.update("add", {"name": "pen", "count": 3}) == "pen"
        assert await instance.update("ADD", {"name": "ink"}, type=str) == "ink"
        assert await instance.query("content") == [{"name": "pen", "count": 3}, {"name": "ink", "count": 1}]
        assert await instance.query("CONTENT", 2, type=list[Item]) == [Item("pen", 3)]
        assert await instance.update("drop", "pen") == 1
        assert await instance.query("content", type=list[Item]) == [Item("ink")]
        sold = await hub.read_entity(Tally.at("sold"))
        assert sold is not None
        assert sold.value == 4
    async with TaskHub("Handlers", ALL, store, cache_bytes=cache) as hub:
        instance = hub.instance("x")
        assert await instance.query("content", type=list[Item]) == [Item("ink")], "after a restart the code is replayed"
        await instance.raise_event("do", "end")
        assert await instance.result() == [("ink", 1)]
    assert left_over(store) == {}


async def test_O21_a_refused_update_leaves_no_trace() -> None:
    """What the validator refuses, what does not fit, and what is not offered reach neither code nor journal."""
    async with TaskHub("Handlers", ALL, MemoryStore()) as hub:
        instance = await hub.start(cart, instance_id="x")
        await hub.wait_idle()
        before = [entry for entry in await instance.history() if not isinstance(entry, TurnStarted)]
        with pytest.raises(UpdateFailed, match="0 of pen") as refused:
            await instance.update("add", {"name": "pen", "count": 0})
        assert refused.value.failure.is_caused_by(ValueError)
        with pytest.raises(UpdateFailed, match="count"):
            await instance.update("add", {"name": "pen", "count": "many"})
        with pytest.raises(UpdateFailed, match="offers no update 'sub'; it offers: 'add', 'drop', 'wait', 'wrong'"):
            await instance.update("sub")
        assert [entry for entry in await instance.history() if not isinstance(entry, TurnStarted)] == before


async def test_O21_a_failed_update_fails_nobody_else() -> None:
    """An accepted update that raises is a failure of its caller; the orchestration goes on."""
    async with TaskHub("Handlers", ALL, MemoryStore()) as hub:
        instance = await hub.start(cart)
        with pytest.raises(UpdateFailed, match="as told"):
            await instance.update("wrong")
        await instance.raise_event("do", "end")
        assert await instance.result() == []


async def test_O21_queries_are_harmless() -> None:
    """A query that raises, that is not offered, or that wants something of the context fails for its caller; nothing is written."""
    async with TaskHub("Handlers", ALL, MemoryStore()) as hub:
        instance = await hub.start(cart)
        await hub.wait_idle()
        commits = hub.statistics().commits
        for name, words in (("wrong", "as told"), ("nothing", "offers no query"), ("ask the context", "only in its own code")):
            with pytest.raises(QueryFailed, match=words):
                await instance.query(name)
        with pytest.raises(QueryFailed, match="at_least"):
            await instance.query("content", "many")
        with pytest.raises(ValueUnreadable, match="the answer of query 'content'"):
            await instance.query("content", type=int)
        with pytest.raises(NotStorable):
            await instance.query("content", object())
        assert hub.statistics().commits == commits
        await instance.raise_event("do", "end")
        assert await instance.result() == []


async def test_O21_a_query_tells_only_what_is_durable() -> None:
    """While the commit of what it may tell of is under way, a query waits for it (D2)."""
    store = MemoryStore()
    async with TaskHub("Handlers", ALL, store) as hub, trio.open_nursery() as nursery:
        instance = await hub.start(cart, instance_id="x")
        await hub.wait_idle()
        store.hold_commits(True)
        nursery.start_soon(instance.update, "drop", "pen")
        while not (machine := hub._open_runtime().residence.orchestrations["x"].machine).kernel or machine.mailbox.waiting:
            await trio.lowlevel.checkpoint()
        answered = trio.Event()

        async def ask() -> None:
            await instance.query("content")
            answered.set()

        nursery.start_soon(ask)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert not answered.is_set()
        store.hold_commits(False)
        await answered.wait()


@pytest.mark.parametrize("verb", ["query", "update"])
async def test_O21_there_must_be_somebody_to_ask(verb: str, autojump_clock: object) -> None:
    """What does not exist, has finished, or (for a query) has not begun is named so."""
    async with hub_in(MemoryStore(), *ALL) as hub:
        ask: Callable[[str], Any] = lambda name: getattr(hub.instance(name), verb)("drop" if verb == "update" else "content")  # noqa: E731
        with pytest.raises(InstanceNotFound):
            await ask("nobody")
        done = await hub.start(cart, instance_id="done")
        await done.raise_event("do", "end")
        await done.result()
        with pytest.raises(InstanceFinished):
            await ask("done")
        if verb == "query":
            await hub.start(cart, instance_id="later", start_at=60)
            for _ in range(2):
                with pytest.raises(CannotQuery, match="not begun"):
                    await ask("later")
                await hub.suspend("later")


@pytest.mark.parametrize("how", ["end", "fail", "renew", "terminate", "cancel", "purge", "replace"])
async def test_O21_an_update_that_does_not_end_is_answered(how: str) -> None:
    """Whatever ends the execution, who waits for an update that runs, or that waits behind the end, gets a failure."""
    store = MemoryStore()
    failures: list[str] = []

    async def ask(hub: TaskHub) -> None:
        with pytest.raises(UpdateFailed) as raised:
            await hub.instance("x").update("wait", "never")
        failures.append(raised.value.failure.message)

    async with TaskHub("Handlers", ALL, store) as hub:
        instance = await hub.start(cart, instance_id="x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, hub)
            await trio.testing.wait_all_tasks_blocked()
            match how:
                case "terminate" | "cancel":
                    await getattr(instance, how)()
                case "purge":
                    await instance.purge(force=True)
                case "replace":
                    await hub.start(cart, instance_id="x", if_exists="replace")
                case _:
                    await instance.raise_event("do", how)
        assert len(failures) == 1
        assert ("continued as new" if how == "renew" else "before the update had") in failures[0]


async def test_O21_updates_that_wait_behind_the_end_are_answered() -> None:
    """An update that arrives in the same turn as the end is answered with a failure."""

    async def ask(instance: Instance[Any]) -> None:
        with pytest.raises(UpdateFailed, match="before it took the update"):
            await instance.update("drop", "pen")

    async with TaskHub("Handlers", ALL, MemoryStore(), paused=True) as hub, trio.open_nursery() as nursery:
        for how in ("end", "fail"):
            instance = await hub.start(cart, instance_id=how)
            await instance.raise_event("do", how)
            nursery.start_soon(ask, instance)
        await trio.testing.wait_all_tasks_blocked()
        hub.unpause()


@CACHES
async def test_O21_an_update_with_a_request_id_runs_once(cache: int) -> None:
    """Repeated, also after a restart and while it runs, it has one effect and one answer (D8)."""
    store = MemoryStore()
    async with TaskHub("Handlers", ALL, store, cache_bytes=cache) as hub:
        instance = await hub.start(cart, instance_id="x")
        for _ in range(2):
            assert await instance.update("add", {"name": "pen"}, request_id="1") == "pen"
        with trio.move_on_after(0.05):
            await instance.update("wait", "word", request_id="2")
    async with TaskHub("Handlers", ALL, store, cache_bytes=cache) as hub:
        instance = hub.instance("x")
        assert await instance.update("add", {"name": "pen"}, request_id="1") == "pen"
        assert await instance.query("content", type=list[Item]) == [Item("pen")]
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await instance.update("wait", "word", request_id="2"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await instance.raise_event("word", "at last")
        assert answers == ["at last", "at last"]
        journal = await instance.history()
        assert sum(isinstance(entry, UpdateReceived) for entry in journal) == 2
        assert [entry.number for entry in journal if isinstance(entry, UpdateAnswered)] == [1, 2]


async def test_O21_order_with_events() -> None:
    """Updates and events of one client reach the code in the order in which they were sent (E2)."""
    async with TaskHub("Handlers", ALL, MemoryStore()) as hub:
        instance = await hub.start(cart, instance_id="x")
        await instance.raise_event("first")
        await instance.update("drop", "pen")
        await instance.raise_event("second")
        kept = [entry for entry in await instance.history() if isinstance(entry, EventReceived | UpdateReceived)]
        assert [entry.name for entry in kept] == ["first", "drop", "second"]


async def test_O21_a_suspended_instance_answers_queries_and_keeps_updates(autojump_clock: object) -> None:
    """A query is answered at once; an update when it is resumed (O12)."""
    async with hub_in(MemoryStore(), *ALL) as hub, trio.open_nursery() as nursery:
        instance = await hub.start(cart, instance_id="x")
        await instance.suspend()
        assert await instance.query("content") == []
        answered = trio.Event()

        async def ask() -> None:
            assert await instance.update("drop", "pen") == 0
            answered.set()

        nursery.start_soon(ask)
        await trio.sleep(60)
        assert not answered.is_set()
        await instance.resume()
        await answered.wait()


async def update_fails(instance: Instance[object], name: str, *arguments: object) -> None:
    """Ask for an update that does not come to its end."""
    with pytest.raises(UpdateFailed):
        await instance.update(name, *arguments)


async def test_O16_a_rewind_does_not_answer_twice() -> None:
    """Updates of before the failure are run again by the replay, and answered no more; they are there for the code."""
    async with TaskHub("Handlers", ALL, MemoryStore()) as hub, trio.open_nursery() as nursery:
        instance = await hub.start(cart, instance_id="x")
        assert await instance.update("add", {"name": "pen"}, request_id="1") == "pen"
        nursery.start_soon(update_fails, instance, "wait", "nothing")
        await trio.testing.wait_all_tasks_blocked()
        await instance.raise_event("do", "fail")
        with pytest.raises(OrchestrationFailed):
            await instance.result()
        await instance.rewind()
        answered = [entry.number for entry in await instance.history() if isinstance(entry, UpdateAnswered)]
        assert answered == [1, 2], "the second one was cut off by the failure, and again by the next one"
        assert (await instance.status()).runtime_status is RuntimeStatus.FAILED, "its code fails by itself"
        assert await instance.update("add", {"name": "pen"}, request_id="1") == "pen"


@define
class Caller(Entity):
    """An entity that waits for an update inside an operation."""

    async def ask(self) -> str:
        """Is refused."""
        hub = hubs[-1]
        with pytest.raises(RuntimeError, match="could deadlock"):
            await hub.update("x", "drop", "pen")
        return "refused"


hubs: list[TaskHub] = []


async def test_E8_no_update_inside_an_operation() -> None:
    """An operation may not wait for an orchestration's answer."""
    async with TaskHub("Handlers", [*ALL, Caller], MemoryStore()) as hub:
        hubs.append(hub)
        assert await hub.call_entity(Caller.at("c"), Caller.ask) == "refused"


@pytest.mark.parametrize("offer", ["name", "function", "async query", "async validator", "types"])
async def test_O21_a_handler_that_cannot_work_is_refused_where_it_is_offered(offer: str) -> None:
    """Bad names, things that are no functions, and types that cannot be kept raise at the offer."""

    def untyped(_: threading_lock) -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]

    async def waiting() -> None: ...

    @orchestrator
    async def offering(ctx: Context) -> str:
        try:
            match offer:
                case "name":
                    ctx.on_query("", lambda: 1)
                case "function":
                    ctx.on_update("x", 7)  # pyright: ignore[reportArgumentType]
                case "async query":
                    ctx.on_query("x", waiting)
                case "async validator":
                    ctx.on_update("x", waiting, validate=waiting)
                case _:
                    ctx.on_query("x", untyped)  # pyright: ignore[reportUnknownArgumentType]
        except (TypeError, ValueError) as error:
            return type(error).__name__
        except Exception as error:
            return type(error).__name__
        return "accepted"

    async with TaskHub("Handlers", [offering], MemoryStore()) as hub:
        expected = {"name": "ValueError", "types": "DefinitionError"}.get(offer, "TypeError")
        assert await (await hub.start(offering)).result() == expected
