"""Owners of locks that end, and releases that come late or again, in a whole hub (L5, L6, E11)."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
from perdure.entities.lock import Lock
from perdure.entities.messages import LockRelease, LockRequest, SectionId
from perdure.entities.record import EntityRecord
from perdure.hub import TaskHub
from perdure.hub.records import encode
from perdure.orchestration import OrchestrationContext, OrchestrationTerminated, RuntimeStatus, orchestrator
from perdure.storage.errors import StorageInDoubt
from perdure.storage.memory_store import MemoryCommit, MemoryStore
from perdure.storage.store import Batch
from perdure.storage.tables import DIRECTORY, INBOX, INSTANCES

from ..entities.on_hub import WatchedStore, opened
from .lock_world import (
    DEFINITIONS,
    A,
    B,
    C,
    Counter,
    child,
    entity_inboxes,
    hold,
    holders,
    leave,
    orphans,
    waiting,
    watched,
)

# --- L5


async def terminate(hub: TaskHub) -> None:
    """End it with a reason."""
    await hub.terminate("second", "enough")


async def cancel(hub: TaskHub) -> None:
    """Ask it to end."""
    await hub.cancel("second")


async def replace(hub: TaskHub) -> None:
    """Start something else under its id."""
    await hub.start(child, instance_id="second", if_exists="replace")


async def purge(hub: TaskHub) -> None:
    """Remove it, whatever it does."""
    await hub.instance("second").purge(force=True)


ENDS: list[Callable[[TaskHub], Awaitable[None]]] = [terminate, cancel, replace, purge]


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("end", ENDS)
async def test_L5_an_owner_that_ends_while_it_waits(end: Callable[[TaskHub], Awaitable[None]], reopen: bool) -> None:
    """An owner that is ended while it waits for its second lock lets the first go, and its request, for the next waiters."""
    found: list[str] = []
    store = WatchedStore(lambda: found.extend(orphans(store)))
    async with opened(*DEFINITIONS, store=store) as hub:
        for name, keys in (("first", "b"), ("second", "abc"), ("third", "a"), ("fourth", "b")):
            await hub.start(hold, keys, instance_id=name)
            await hub.wait_idle()
        assert await holders(hub, "abc") == ["second", "first", None]
        if not reopen:
            await end(hub)
            assert await holders(hub, "abc") == ["third", "first", None]
    async with opened(*DEFINITIONS, store=store) as hub:
        if reopen:
            await end(hub)
        assert await holders(hub, "abc") == ["third", "first", None]
        assert await waiting(hub, "b") == ("fourth",)
        for name in ("first", "third", "fourth"):
            await leave(hub, name)
        assert await holders(hub, "abc") == [None] * 3
    assert found == []


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("end", ENDS)
async def test_L5_an_owner_that_ends_while_it_holds(end: Callable[[TaskHub], Awaitable[None]], reopen: bool) -> None:
    """However an owner is ended inside its section, all its locks fall, and each next waiter is served."""
    found: list[str] = []
    store = WatchedStore(lambda: found.extend(orphans(store)))
    async with opened(*DEFINITIONS, store=store) as hub:
        for name, keys in (("second", "abc"), ("third", "a"), ("fourth", "bc")):
            await hub.start(hold, keys, instance_id=name)
            await hub.wait_idle()
        assert await holders(hub, "abc") == ["second"] * 3
        if not reopen:
            await end(hub)
            assert await holders(hub, "abc") == ["third", "fourth", "fourth"]
    async with opened(*DEFINITIONS, store=store) as hub:
        if reopen:
            await end(hub)
        assert await holders(hub, "abc") == ["third", "fourth", "fourth"]
        for name in ("third", "fourth"):
            await leave(hub, name)
        assert await holders(hub, "abc") == [None] * 3
    assert found == []


@orchestrator
async def hold_or_fail(ctx: OrchestrationContext, keys: str) -> None:
    """Hold what is named by the letters, in a nursery whose other task fails when it is told."""

    async def in_section() -> None:
        async with ctx.lock_entities(*map(Counter.at, keys)):
            await ctx.wait_for_external_event("then")

    async with ctx.open_nursery() as nursery:
        nursery.start_soon(in_section)
        await ctx.wait_for_external_event("fail")
        raise ValueError("failed")


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("waits", [False, True])
async def test_L5_an_owner_that_fails(waits: bool, reopen: bool) -> None:
    """An owner whose other task fails while it waits for its second lock, or holds it, leaves nothing locked."""
    found: list[str] = []
    store = WatchedStore(lambda: found.extend(orphans(store)))

    async def fail(hub: TaskHub) -> None:
        assert await holders(hub, "abc") == ["second", *(["first", None] if waits else ["second", "second"])]
        await hub.raise_event("second", "fail")
        assert await holders(hub, "abc") == ["third", "first" if waits else "fourth", None]
        assert (await hub.get_status("second")).runtime_status is RuntimeStatus.FAILED

    async with opened(*DEFINITIONS, hold_or_fail, store=store) as hub:
        if waits:
            await hub.start(hold, "b", instance_id="first")
        await hub.wait_idle()
        await hub.start(hold_or_fail, "abc", instance_id="second")
        for name, key in (("third", "a"), ("fourth", "b")):
            await hub.wait_idle()
            await hub.start(hold, key, instance_id=name)
        if not reopen:
            await fail(hub)
    async with opened(*DEFINITIONS, hold_or_fail, store=store) as hub:
        if reopen:
            await fail(hub)
        for name in (["first"] if waits else []) + ["third", "fourth"]:
            await leave(hub, name)
        assert await holders(hub, "abc") == [None] * 3
    assert found == []


@pytest.mark.parametrize("reopen", [False, True])
async def test_L8_a_suspended_owner_keeps_its_locks_and_its_place(reopen: bool) -> None:
    """Suspended while it holds, an owner keeps its locks; suspended while it waits, it keeps its place and is served there."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, store=store) as hub:
        for name, keys in (("first", "a"), ("second", "ab"), ("third", "a")):
            await hub.start(hold, keys, instance_id=name)
            await hub.wait_idle()
        for name in ("first", "second"):
            await hub.suspend(name)
        assert await holders(hub, "ab") == ["first", None]
        if not reopen:
            await go_on_with(hub)
    if reopen:
        async with opened(*DEFINITIONS, store=store) as hub:
            await go_on_with(hub)


async def go_on_with(hub: TaskHub) -> None:
    """Resume the first, whose lock falls to the second, which is suspended; resume that, and then serve the third."""
    assert await holders(hub, "ab") == ["first", None]
    assert await waiting(hub, "a") == ("second", "third")
    await hub.resume("first")
    await leave(hub, "first")
    assert await holders(hub, "ab") == ["second", "second"]
    assert (await hub.get_status("second")).runtime_status is RuntimeStatus.SUSPENDED
    await hub.resume("second")
    await leave(hub, "second")
    assert await holders(hub, "ab") == ["third", None]
    await leave(hub, "third")


@pytest.mark.parametrize("order", list(itertools.permutations(["leave", "terminate", "queue"])))
async def test_L5_a_grant_that_meets_the_end(order: tuple[str, ...]) -> None:
    """A lock that falls free in the same moment in which its waiter is terminated goes to the next one, whatever comes first."""
    async with watched() as hub:
        for name, keys in (("first", "b"), ("second", "ab")):
            await hub.start(hold, keys, instance_id=name)
            await hub.wait_idle()
        hub.pause()
        for what in order:
            match what:
                case "leave":
                    await hub.raise_event("first", "then", "leave")
                case "terminate":
                    await hub.terminate("second")
                case _:
                    await hub.start(hold, "b", instance_id="third")
        hub.unpause()
        assert await holders(hub, "ab") == [None, "third"]
        with pytest.raises(OrchestrationTerminated):
            await hub.instance("second").result()
        await leave(hub, "third")


class DyingStore(MemoryStore):
    """Its process dies at the n-th commit, before or after that has taken effect.

    Attributes:
      left: commits up to that one; ``None`` when no death is ahead.
    """

    def __init__(self, at: int, after_effect: bool) -> None:
        super().__init__()
        self.left: int | None = at
        self._after_effect = after_effect

    def submit(self, batch: Batch) -> MemoryCommit:
        """Hand over, or die."""
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.left = None
                self.fail_next(StorageInDoubt, after_effect=self._after_effect)
        return super().submit(batch)


async def use_locks(hub: TaskHub) -> None:
    """Contend for locks, and end one owner; what was done by an earlier life is not done again."""
    for name, keys in (("first", "ab"), ("second", "abc"), ("third", "ca"), ("fourth", "cb")):
        await hub.start(hold, keys, instance_id=name, if_exists="return")
    for name in ("first", "third", "fourth"):
        if not (await hub.get_status(name)).runtime_status.final:
            await hub.raise_event(name, "then", "leave")
    if not (await hub.get_status("second")).runtime_status.final:
        await hub.terminate("second")
    await hub.wait_idle()


@pytest.mark.parametrize("after_effect", [False, True])
async def test_L5_a_crash_at_any_commit(after_effect: bool) -> None:
    """Wherever in a run with contending sections the process dies, the disk holds no orphan, and the next one ends it all."""
    died = 0
    for at in itertools.count(1):
        store = DyingStore(at, after_effect)
        try:
            async with opened(*DEFINITIONS, store=store) as hub:
                await use_locks(hub)
            survived = True
        except StorageInDoubt:
            survived, died = False, died + 1
        store.left = None
        assert orphans(store) == []
        async with opened(*DEFINITIONS, store=store) as hub:
            await use_locks(hub)
            statuses = {
                name: (await hub.get_status(name)).runtime_status.value for name in ("first", "second", "third", "fourth")
            }
            assert statuses == {"first": "Completed", "second": "Terminated", "third": "Completed", "fourth": "Completed"}
            assert await holders(hub, "abc") == [None] * 3
        assert not entity_inboxes(store.snapshot())
        if survived:
            break
    assert died > 5


# --- L6


async def test_L6_a_release_of_an_earlier_section() -> None:
    """The same instance id locks the same entities again and again: each section is released on its own, once."""
    async with watched() as hub:
        for _ in range(3):
            await hub.start(hold, "ab", instance_id="again", if_exists="replace_finished")
            assert await holders(hub, "ab") == ["again", "again"]
            await hub.start(hold, "b", instance_id="other", if_exists="replace_finished")
            assert await waiting(hub, "b") == ("other",)
            await leave(hub, "again")
            assert await holders(hub, "ab") == [None, "other"]
            await leave(hub, "other")


async def test_L6_releases_that_come_again() -> None:
    """A release of a section that is over, delivered once more to each entity, frees nobody's lock."""
    async with watched() as hub:
        await hub.start(hold, "ab", instance_id="first")
        await hub.wait_idle()
        (execution,) = {(await hub.get_status("first")).execution}
        await leave(hub, "first")
        await hub.start(hold, "ab", instance_id="second")
        assert await holders(hub, "ab") == ["second"] * 2
        engine = hub._open_runtime().engine  # pyright: ignore[reportPrivateUsage] - there is no door for such a message
        for ref, position in itertools.product((A, B), map(str, range(1, 6))):
            engine.to_entity(ref, LockRelease(SectionId("first", execution, position)))
        await hub.signal_entity(A, Counter.add, 1)
        assert await holders(hub, "ab") == ["second"] * 2
        await leave(hub, "second")


@orchestrator
async def lock_for_nothing(ctx: OrchestrationContext) -> None:
    """Lock three, and do nothing."""
    async with ctx.lock_entities(C, A, B):
        pass


async def test_E11_locks_leave_nothing() -> None:
    """Entities that were only locked and freed leave no record."""
    store = WatchedStore()
    async with opened(*DEFINITIONS, lock_for_nothing, store=store) as hub:
        await (await hub.start(lock_for_nothing)).result()
        await hub.wait_idle()
    assert not [key for key in store.snapshot()[DIRECTORY] if b"counter" in key]


def test_the_lookout_finds_orphans() -> None:
    """What the tests look for on disk would be found: a lock of nobody's."""
    store = MemoryStore()
    epoch = store.open()
    lock = Lock(SectionId("gone", "x", "1"), (("counter", "a"),), 0)
    record = EntityRecord("counter", "a", None, 0, lock, 0)
    store.submit(Batch(0, epoch, 1, {INSTANCES: {b"\0" * 7 + b"\1": encode(record)}}))
    assert len(orphans(store)) == 1
    request = encode(LockRequest(SectionId("gone", "x", "2"), (("counter", "a"),), 0))
    store.submit(Batch(0, epoch, 2, {INBOX: {b"\0" * 7 + b"\1" + b"\0" * 8: request}}))
    assert len(orphans(store)) == 2
