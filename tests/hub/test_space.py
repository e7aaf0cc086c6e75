"""Room for new work: a quota and a floor of free space, beyond which clients are refused and what runs goes on (D4)."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from perdure.entities import Entity
from perdure.hub import TaskHub, limits
from perdure.orchestration import OrchestrationContext, RuntimeStatus, UpdateFailed, orchestrator
from perdure.storage import StorageError, StorageFull
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import StoreStatistics

from .helpers import Account, Ledger, bank, receive, transfer

MIB = 1 << 20


class TightStore(MemoryStore):
    """A store on a disk of a given size.

    Attributes:
      live, file, free: what it says of itself, bytes.
    """

    live = 10 * MIB
    file = 12 * MIB
    free: int | None = 1000 * MIB

    def statistics(self) -> StoreStatistics:
        """With the figures given."""
        return evolve(super().statistics(), live_bytes=self.live, file_bytes=self.file, disk_free_bytes=self.free)


class BlindStore(TightStore):
    """A store that cannot tell its figures while it is blind."""

    blind = False

    def statistics(self) -> StoreStatistics:
        """The figures, if it can."""
        if self.blind:
            raise StorageError("the figures cannot be read")
        return super().statistics()


@pytest.fixture(autouse=True)
def _look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room is looked at whenever somebody asks, so that no test waits."""
    monkeypatch.setattr(limits, "SPACE_SECONDS", 0.0)


async def _batch(hub: TaskHub) -> None:
    async with hub.batch() as batch:
        batch.start(receive)


async def _update(hub: TaskHub) -> None:
    with suppress(UpdateFailed):  # with room it is taken, and the orchestration offers none
        await hub.update("there", "anything")


NEW_WORK: dict[str, Callable[[TaskHub], Awaitable[Any]]] = {
    "signal_entity": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1),
    "call_entity": lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1),
    "call_entity with a request id": lambda hub: hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="new"),
    "start": lambda hub: hub.start(receive),
    "signal_entity for later": lambda hub: hub.signal_entity(Ledger.at("l"), Ledger.note, 1, deliver_at=60.0),
    "update": _update,
    "raise_event": lambda hub: hub.raise_event("there", "other", 1),
    "batch": _batch,
}


@pytest.mark.parametrize("verb", NEW_WORK)
async def test_D4_new_work_is_refused_at_the_quota(verb: str) -> None:
    """Each verb that brings new work is refused by an error that names quota and size, and leaves no trace."""
    store = TightStore()
    async with bank(store, quota=11 * MIB) as hub:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        store.live = 11 * MIB
        before = store.commit_number
        with pytest.raises(StorageFull, match=f"{11 * MIB} bytes, and its quota is {11 * MIB}"):
            await NEW_WORK[verb](hub)
        assert hub.statistics().storage_full
        assert store.commit_number == before
        store.live -= 1
        await NEW_WORK[verb](hub)
        assert not hub.statistics().storage_full


@pytest.mark.parametrize("verb", NEW_WORK)
async def test_D4_new_work_is_refused_at_the_floor(verb: str) -> None:
    """So it is when disk and file have less room than the floor; a free page in the file is as good as one on the disk."""
    store = TightStore()
    async with bank(store, free_space_floor=5 * MIB) as hub:
        await hub.start(receive, instance_id="there")
        await hub.wait_idle()
        store.free = 3 * MIB - 1
        with pytest.raises(StorageFull, match=rf"only {5 * MIB - 1} bytes are free .* and {5 * MIB} are kept"):
            await NEW_WORK[verb](hub)
        store.file += 1
        await NEW_WORK[verb](hub)


async def test_D4_what_runs_goes_on_without_room() -> None:
    """An orchestration under way ends, with its locks, calls and activity; so do the verbs that end work."""
    store = TightStore()
    async with bank(store) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 10)
        for name in ("suspended", "terminated", "cancelled"):
            await hub.start(receive, instance_id=name)
        hub.pause()
        running = await hub.start(transfer, "a", "b", 4)
        store.free = 0
        store.file = store.live
        hub.unpause()
        assert await running.result() == "a -> b: 4"
        await hub.instance("suspended").suspend("later")
        await hub.instance("suspended").resume("now")
        await hub.instance("terminated").terminate("enough")
        await hub.instance("cancelled").cancel("enough")
        await hub.wait_idle()
        assert await hub.purge() == 3
        assert await hub.read_entity(Account.at("b")) == Account(4)
        with pytest.raises(StorageFull):
            await hub.start(receive)


async def test_D4_entities_can_be_deleted_without_room() -> None:
    """Deleting makes room, so a client may signal it and call it when nothing else is accepted."""
    store = TightStore()
    async with bank(store) as hub:
        for name in "abc":
            await hub.call_entity(Account.at(name), Account.deposit, 10)
        store.free = 0
        await hub.signal_entity(Account.at("a"), "delete")
        await hub.call_entity(Account.at("b"), "delete")
        await hub.call_entity(Account.at("c"), "delete", request_id="once")
        await hub.wait_idle()
        assert [await hub.read_entity(Account.at(name)) for name in "abc"] == [None] * 3
        with pytest.raises(StorageFull):
            await hub.call_entity(Account.at("a"), Account.deposit, 1)


async def test_D8_what_was_accepted_is_answered_again_without_room() -> None:
    """A request that was accepted before is no new work."""
    store = TightStore()
    async with bank(store) as hub:
        assert await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="old") == 1
        store.free = 0
        assert await hub.call_entity(Ledger.at("l"), Ledger.note, 1, request_id="old") == 1


async def test_D4_what_needs_no_room_does_not_ask_for_it() -> None:
    """Where the store cannot say how much room there is, new work is refused, and what ends or repeats work is not."""
    store = BlindStore()
    async with bank(store) as hub:
        await hub.start(receive, instance_id="there", request_id="old")
        signal = await hub.signal_entity(Ledger.at("l"), Ledger.note, 1, deliver_at=3600.0)
        store.blind = True
        with pytest.raises(StorageError, match="cannot be read"):
            await hub.start(receive)
        with pytest.raises(StorageError, match="cannot be read"):
            await hub.signal_entity(Ledger.at("l"), Ledger.note, 1)
        assert (await hub.start(receive, instance_id="there", request_id="old")).id == "there"
        await hub.suspend("there")
        await hub.resume("there")
        async with hub.batch() as batch:
            batch.cancel_signal(signal)
        await hub.terminate("there")
        store.blind = False


async def test_a_store_without_a_disk_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a quota and a disk nobody pays for what nobody uses."""
    looks: list[int] = []
    store = TightStore()
    store.free = None
    monkeypatch.setattr(store, "statistics", lambda: looks.append(1) or TightStore.statistics(store))
    async with bank(store) as hub:
        for number in range(10):
            await hub.signal_entity(Ledger.at("l"), Ledger.note, number)
    assert looks == [1]


@pytest.mark.parametrize(
    ("option", "value"),
    [("quota", 0), ("quota", True), ("quota", "1 GB"), ("free_space_floor", -1), ("free_space_floor", 1.5)],
)
def test_the_options_are_checked(option: str, value: object) -> None:
    """What is no number of bytes is refused by the option's name and the value."""
    with pytest.raises(ValueError, match=f"{option} is .*not {value!r}"):
        bank(MemoryStore(), **{option: value})


def test_the_file_system_is_the_stores_business() -> None:
    """An option that would be ignored beside a store is refused."""
    with pytest.raises(ValueError, match="allow_network_filesystem goes with the path"):
        bank(MemoryStore(), allow_network_filesystem=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes; the test is skipped where none can be mounted."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@define
class Shelf(Entity):
    """Something large."""

    content: str = ""

    def put(self, content: str) -> int:
        """Put it there; how large it is."""
        self.content = content
        return len(content)


@orchestrator
async def fill_later(ctx: OrchestrationContext, size: int) -> int:
    """Put something large, when told."""
    await ctx.wait_for_external_event("go")
    return await ctx.call_entity(Shelf.at("later"), Shelf.put, "x" * size)


async def fill(hub: TaskHub) -> int:
    """Fill shelves until that is refused; how many were filled."""
    for number in range(100):
        try:
            await hub.signal_entity(Shelf.at(f"{number}"), Shelf.put, "x" * 100_000)
        except StorageFull:
            return number
    raise AssertionError("a disk of eight megabytes took a hundred shelves")


def take_all(ballast: Path) -> None:
    """Write a file until the disk is full."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def test_D4_a_disk_that_fills_up(small_disk: Path) -> None:
    """On a small real disk clients are refused early; when it is really full nothing is lost, and with room again all goes on."""
    async with TaskHub("Shelves", [Shelf, fill_later], small_disk, free_space_floor=2 * MIB) as hub:
        running = await hub.start(fill_later, 3_000_000)
        await hub.wait_idle()
        filled = await fill(hub)
        assert filled > 5
        take_all(small_disk / "ballast")
        with suppress(StorageError):  # it fits into pages that are free in the file, or is written when there is room
            await running.cancel("enough")
        with pytest.raises(StorageError):
            await hub.signal_entity(Shelf.at("new"), Shelf.put, "x")
        (small_disk / "ballast").unlink()
        await hub.wait_idle()
        assert (await running.status()).runtime_status is RuntimeStatus.CANCELED
        shelves = [await hub.read_entity(Shelf.at(f"{number}")) for number in range(filled)]
        assert {len(shelf.content) for shelf in shelves if shelf is not None} == {100_000}
        assert None not in shelves
