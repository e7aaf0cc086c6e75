"""Orchestrations on a whole hub: starting (O4), results, events (O9), and ending (O10, O13)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.orchestration import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    OrchestrationContext,
    OrchestrationFailed,
    OrchestrationTerminated,
    RuntimeStatus,
    UnknownOrchestrator,
    activity,
    orchestrator,
)
from perdure.orchestration.history import ExecutionStarted
from perdure.storage.errors import NotStorable
from perdure.storage.memory_store import MemoryStore

from ..orchestration.hubs import a_while, dying, journal_chunks, left_over, opened, until

gate: dict[str, trio.Event] = {}


@define
class Counter(Entity):
    """A number."""

    value: int = 0

    def add(self, amount: int) -> int:
        """Add to it; the new value."""
        self.value += amount
        return self.value


@activity
async def passing(name: str) -> str:
    """Ends when its gate is opened."""
    await gate.setdefault(name, trio.Event()).wait()
    return name


@activity
async def failing(text: str) -> None:
    """Fails at once."""
    raise ValueError(text)


@orchestrator
async def gather(ctx: OrchestrationContext, count: int) -> list[Any]:
    """Takes so many events."""
    return [await ctx.wait_for_external_event("item") for _ in range(count)]


@orchestrator
async def leaving(ctx: OrchestrationContext, how: str) -> str:
    """Ends while an activity runs and another has failed, both unawaited."""
    ctx.call_activity(passing, "leaving")
    ctx.call_activity(failing, "nobody asked")
    await ctx.wait_for_external_event("end")
    if how == "fail":
        raise LookupError("as told")
    return how


@orchestrator
async def holding(ctx: OrchestrationContext) -> None:
    """Holds a lock and waits for ever."""
    async with ctx.lock_entities(Counter.at("locked"), Counter.at("other")):
        await ctx.wait_for_external_event("never")


@orchestrator
async def gossiping(ctx: OrchestrationContext, receiver: str) -> str:
    """Raises an event to another instance, whether it is there or not."""
    ctx.raise_event(receiver, "ITEM", "news")
    return "told"


ALL = (Counter, passing, failing, gather, leaving, holding, gossiping)


@pytest.fixture(autouse=True)
def _closed_gates() -> None:
    gate.clear()


# --- starting


async def test_O4_a_start_is_durable_when_it_returns() -> None:
    """While its commit is under way ``start`` does not return; once it has, a process that dies at once has not lost it."""
    store = MemoryStore()
    async with dying(ALL, store) as hub:
        store.hold_commits()
        async with trio.open_nursery() as nursery:
            started: list[str] = []

            async def start() -> None:
                started.append((await hub.start(gather, 0, instance_id="x")).id)

            nursery.start_soon(start)
            await a_while()
            assert started == []
            store.hold_commits(False)
        assert started == ["x"]
    async with opened(ALL, store) as hub:
        assert await hub.instance("x").result() == []


@pytest.mark.parametrize("if_exists", ["fail", "return", "replace_finished"])
async def test_O4_fifty_concurrent_starts_create_one(if_exists: Any) -> None:
    """One execution begins; the other 49 starts fail, or are given the existing instance."""
    async with opened(ALL) as hub, trio.open_nursery() as nursery:
        outcomes: list[str] = []

        async def start(number: int) -> None:
            try:
                outcomes.append((await hub.start(gather, number, instance_id="one", if_exists=if_exists)).id)
            except InstanceExists as error:
                outcomes.append(type(error).__name__)

        for number in range(50, 100):
            nursery.start_soon(start, number)
        await until(lambda: len(outcomes) == 50)
        assert outcomes.count("one") == (50 if if_exists == "return" else 1)
        assert outcomes.count("InstanceExists") == (0 if if_exists == "return" else 49)
        history = await hub.instance("one").history()
        assert len([entry for entry in history if isinstance(entry, ExecutionStarted)]) == 1


async def test_O4_by_default_an_existing_id_is_refused() -> None:
    """Running or finished: InstanceExists names the id and what to do, and the instance is as before."""
    async with opened(ALL) as hub:
        instance = await hub.start(gather, 1, instance_id="x")
        with pytest.raises(InstanceExists, match=r"'x'.*if_exists"):
            await hub.start(gather, 2, instance_id="x")
        await instance.raise_event("item", "first")
        assert await instance.result() == ["first"]
        with pytest.raises(InstanceExists, match=r"'x'.*if_exists"):
            await hub.start(gather, 2, instance_id="x")
        assert await instance.result() == ["first"]


async def test_O4_return_gives_the_existing_instance() -> None:
    """Its arguments count, not those of the second start; so it is when it has finished."""
    async with opened(ALL) as hub:
        for _ in range(2):
            instance = await hub.start(gather, 0, instance_id="x", if_exists="return")
            assert await instance.result() == []
            assert (await instance.status()).input == (0,)
            instance = await hub.start(gather, 5, instance_id="x", if_exists="return")
            assert (await instance.status()).input == (0,)


@pytest.mark.parametrize("cache_bytes", [1, 10**9], ids=["evicted", "live"])
async def test_O4_replace_finished_replaces_journal_and_result(cache_bytes: int) -> None:
    """Refused while it runs; then a new execution with its own journal and result, and nothing of the old one on disk."""
    store = MemoryStore()
    async with opened(ALL, store, cache_bytes=cache_bytes) as hub:
        instance = await hub.start(gather, 6, instance_id="x")
        with pytest.raises(InstanceExists, match="running"):
            await hub.start(gather, 0, instance_id="x", if_exists="replace_finished")
        for number in range(6):
            await instance.raise_event("item", number)
        assert await instance.result() == list(range(6))
        old, chunks = await instance.status(), journal_chunks(store)
        assert chunks > 2

        again = await hub.start(gather, 1, instance_id="x", if_exists="replace_finished")
        await hub.wait_idle()
        fresh = await again.status()
        assert (fresh.runtime_status, fresh.output, fresh.completed_at) == (RuntimeStatus.RUNNING, None, None)
        assert fresh.execution != old.execution
        assert journal_chunks(store) <= 2
        await again.raise_event("item", "new")
        assert await again.result() == ["new"]
    async with opened(ALL, store) as hub:
        assert await hub.instance("x").result() == ["new"]
        began = [entry for entry in await hub.instance("x").history() if isinstance(entry, ExecutionStarted)]
        assert [entry.execution for entry in began] == [fresh.execution]


async def test_O4_replacing_what_has_finished_but_is_not_yet_on_disk() -> None:
    """While commits are under way an instance ends and is replaced; both results reach those who wait, one journal is left."""
    store = MemoryStore()
    async with opened(ALL, store) as hub, trio.open_nursery() as nursery:
        old = await hub.start(gather, 2, instance_id="x")
        await old.raise_event("item", 1)
        results: list[object] = []

        async def end_and_replace() -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(old.raise_event, "item", 2)
                results.append(await old.result())

        async def replace() -> None:
            instance = await hub.start(gather, 0, instance_id="x", if_exists="replace_finished")
            results.append(await instance.result())

        store.hold_commits()
        nursery.start_soon(end_and_replace)
        await a_while()
        nursery.start_soon(replace)
        await a_while()
        assert results == []
        store.hold_commits(False)
        await until(lambda: len(results) == 2)
        assert results == [[1, 2], []]
        began = [entry for entry in await old.history() if isinstance(entry, ExecutionStarted)]
        assert len(began) == 1


async def test_O4_what_is_wrong_is_refused_before_anything_is_stored() -> None:
    """Bad ids, options, arguments and names raise at the call, and no instance comes of it."""
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        for wrong in ("", "@x", "a\nb", "x" * 257):
            with pytest.raises(ValueError, match="instance id"):
                await hub.start(gather, 1, instance_id=wrong)
        with pytest.raises(ValueError, match="'return'"):
            await hub.start(gather, 1, if_exists="maybe")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await hub.start(gather)  # type: ignore[call-arg]
        with pytest.raises(NotStorable):
            await hub.start(gather, "one")  # type: ignore[arg-type]
        with pytest.raises(UnknownOrchestrator, match=r"'nobody'.*gather"):
            await hub.start("nobody")  # type: ignore[arg-type]
        await hub.wait_idle()
    assert not store.snapshot()["instances"]


async def test_O4_ids_are_generated() -> None:
    """Without an id each start gets its own, a UUID in hex."""
    async with opened(ALL) as hub:
        ids = {(await hub.start(gather, 0)).id for _ in range(20)}
        assert len(ids) == 20
        assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


# --- results


async def test_O4_many_may_wait_for_one_result() -> None:
    """All of them get it, those who come late too; a limit of time ends only that wait; nobody waits for what is not there."""
    async with opened(ALL) as hub, trio.open_nursery() as nursery:
        instance = await hub.start(gather, 1)
        seen: list[object] = []

        async def wait() -> None:
            seen.append(await instance.result())

        for _ in range(5):
            nursery.start_soon(wait)
        await a_while()
        with pytest.raises(TimeoutError, match="goes on"):
            await instance.result(timeout=0)
        await instance.raise_event("item", 1)
        await until(lambda: len(seen) == 5)
        assert [*seen, await instance.result()] == [[1]] * 6
        with pytest.raises(InstanceNotFound, match="'nobody'"):
            await hub.instance("nobody").result()


# --- events


async def test_O9_events_find_their_instance_or_are_refused() -> None:
    """To an unknown instance InstanceNotFound, to a finished one InstanceFinished; each names it."""
    async with opened(ALL) as hub:
        with pytest.raises(InstanceNotFound, match="'nobody'"):
            await hub.raise_event("nobody", "item")
        done = await hub.start(gather, 0, instance_id="done")
        await done.result()
        with pytest.raises(InstanceFinished, match=r"'done'.*Completed"):
            await done.raise_event("item")


async def test_O9_an_orchestrations_event_to_nobody_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Between instances an event arrives; to a missing or a finished one it is dropped with a line, and the sender goes on."""
    async with opened(ALL) as hub:
        receiver = await hub.start(gather, 1, instance_id="receiver")
        for expected in ("", "has finished"):
            assert await (await hub.start(gossiping, "receiver")).result() == "told"
            assert await receiver.result() == ["news"]
            assert expected in caplog.text
        await (await hub.start(gossiping, "nobody")).result()
        assert "'nobody' does not exist" in caplog.text


# --- ending


@pytest.mark.parametrize("how", ["return", "fail", "terminate"])
async def test_O10_an_end_is_immediate_and_for_good(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Open work is not waited for, its late result is dropped with a line; the status counts unread events and shows failures."""
    caplog.set_level(logging.INFO, "perdure")
    store = MemoryStore()
    async with opened(ALL, store) as hub:
        instance = await hub.start(leaving, how, instance_id="x")
        await instance.raise_event("unread")
        await instance.raise_event("UNREAD")
        await until(lambda: hub.statistics().activities_running == 1)
        await (instance.terminate("as told") if how == "terminate" else instance.raise_event("end"))
        if how == "return":
            assert await instance.result() == "return"
        else:
            with pytest.raises((OrchestrationFailed, OrchestrationTerminated), match="as told"):
                await instance.result()
        before = await instance.status()
        assert before.unread_events == 2
        assert [failure.message for failure in before.unawaited_failures] == ["nobody asked"]
        assert "nobody asked" in "".join(each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)

        gate.setdefault("leaving", trio.Event()).set()
        await hub.wait_idle()
        dropped = [each for each in caplog.records if "'x'" in each.getMessage() and "is dropped" in each.getMessage()]
        assert bool(dropped) == (how != "fail"), "what comes after a failure waits for a rewind (O16)"
        assert await instance.status() == before
        await instance.purge()
    assert left_over(store) == {}


async def test_O13_terminate_gives_the_reason_and_releases_the_locks() -> None:
    """Whoever waits hears the reason; it is the output; the locks are free; doing it again, or to nobody, is refused."""
    async with opened(ALL) as hub:
        instance = await hub.start(holding, instance_id="holder")
        await hub.wait_idle()
        await hub.signal_entity(Counter.at("other"), Counter.add, 1)
        await instance.terminate("enough")
        with pytest.raises(OrchestrationTerminated, match="enough") as raised:
            await instance.result()
        assert (raised.value.instance_id, raised.value.reason) == ("holder", "enough")
        status = await instance.status()
        assert (status.runtime_status, status.output) == (RuntimeStatus.TERMINATED, "enough")
        assert status.completed_at is not None
        assert await hub.call_entity(Counter.at("other"), Counter.add, 1) == 2
        with pytest.raises(InstanceFinished, match=r"'holder'.*Terminated"):
            await instance.terminate("again")
        with pytest.raises(InstanceNotFound, match="'nobody'"):
            await hub.terminate("nobody")


@pytest.mark.parametrize("verb", ["terminate", "resume", "cancel", "suspend"])
async def test_O13_verbs_on_a_pending_instance(verb: str) -> None:
    """Before its first turn an instance can be told anything; the hub and every other instance go on."""
    store = MemoryStore()
    async with opened(ALL, store, paused=True) as hub:
        instance, other = await hub.start(gather, 0, instance_id="pending"), await hub.start(gather, 0)
        assert (await instance.status()).runtime_status is RuntimeStatus.PENDING
        await getattr(instance, verb)("because")
        hub.unpause()
        assert await other.result() == []
        await hub.wait_idle()
        if verb == "suspend":
            assert (await instance.status()).runtime_status is RuntimeStatus.SUSPENDED
            await instance.resume()
        ends = {"terminate": RuntimeStatus.TERMINATED, "cancel": RuntimeStatus.CANCELED}
        await hub.wait_idle()
        assert (await instance.status()).runtime_status is ends.get(verb, RuntimeStatus.COMPLETED)
