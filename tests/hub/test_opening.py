"""Opening, owning and leaving a hub: exceptions come out as they are, one owner, forks are refused (D5, D7)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define
from perdure.entities import Entity
from perdure.hub import HubClosed, TaskHub
from perdure.orchestration import OrchestrationContext, RuntimeStatus, activity, orchestrator
from perdure.storage import DamagedRecord, HubInUse, PerdureError, StorageError, StorageUnusable
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, Ledger, bank, callers, ending, receive, rounds

VERBS: dict[str, Callable[[TaskHub], Any]] = {
    "signal_entity": lambda hub: hub.signal_entity(Account.at("a"), Account.deposit, 1),
    "call_entity": lambda hub: hub.call_entity(Account.at("a"), Account.deposit, 1),
    "call_entity with a request id": lambda hub: hub.call_entity(Account.at("a"), Account.deposit, 1, request_id="r"),
    "read_entity": lambda hub: hub.read_entity(Account.at("a")),
    "describe an entity": lambda hub: hub.describe(Account.at("a")),
    "dead_letters": lambda hub: hub.dead_letters(Account.at("a")),
    "delayed_signals": lambda hub: hub.delayed_signals(Account.at("a")),
    "cancel_signal": lambda hub: hub.cancel_signal("0" * 48),
    "clean_entities": lambda hub: hub.clean_entities(),
    "redrive_dead_letters": lambda hub: hub.redrive_dead_letters(),
    "discard_dead_letters": lambda hub: hub.discard_dead_letters(),
    "start": lambda hub: hub.start(receive),
    "raise_event": lambda hub: hub.raise_event("i", "go", 1),
    "terminate": lambda hub: hub.terminate("i"),
    "cancel": lambda hub: hub.cancel("i"),
    "suspend": lambda hub: hub.suspend("i"),
    "resume": lambda hub: hub.resume("i"),
    "get_status": lambda hub: hub.get_status("i"),
    "get_history": lambda hub: hub.get_history("i"),
    "describe an instance": lambda hub: hub.describe("i"),
    "start_and_raise": lambda hub: hub.start_and_raise(receive, instance_id="i", event="go", value=1),
    "restart": lambda hub: hub.restart("i"),
    "query_instances": lambda hub: hub.query_instances(),
    "query_entities": lambda hub: hub.query_entities(),
    "purge": lambda hub: hub.purge(),
    "purge_instance": lambda hub: hub.purge_instance("i"),
    "wait_for_result": lambda hub: hub.wait_for_result("i"),
    "instance.result": lambda hub: hub.instance("i").result(),
    "instance.raise_event": lambda hub: hub.instance("i").raise_event("go", 1),
    "batch": lambda hub: hub.batch(),
    "pause": lambda hub: hub.pause(),
    "unpause": lambda hub: hub.unpause(),
    "statistics": lambda hub: hub.statistics(),
    "wait_idle": lambda hub: hub.wait_idle(),
    "run_forever": lambda hub: hub.run_forever(),
}


async def use(verb: str, hub: TaskHub) -> None:
    """Call a verb, and await it if that is to be done."""
    answer = VERBS[verb](hub)
    if isinstance(answer, Awaitable):
        await answer


# --- HubClosed


@pytest.mark.parametrize("verb", VERBS)
async def test_D7_a_hub_that_was_not_entered_says_so(verb: str) -> None:
    """Every verb of a hub before ``async with`` raises HubClosed, and says what to do."""
    with pytest.raises(HubClosed, match="use it inside 'async with"):
        await use(verb, bank(MemoryStore()))


@pytest.mark.parametrize("verb", VERBS)
async def test_D7_a_hub_that_was_left_says_so(verb: str) -> None:
    """Every verb of a hub after ``async with`` raises HubClosed."""
    async with bank(MemoryStore()) as hub:
        pass
    with pytest.raises(HubClosed, match="closed"):
        await use(verb, hub)


async def test_D7_a_batch_of_a_hub_that_was_left_says_so() -> None:
    """A client batch that was opened in time and is left too late raises HubClosed, and accepts nothing."""
    store = MemoryStore()
    async with bank(store) as hub:
        batch = hub.batch()
    batch.signal_entity(Account.at("a"), Account.deposit, 1)
    with pytest.raises(HubClosed):
        async with batch:
            pass
    async with bank(store) as hub:
        assert await hub.read_entity(Account.at("a")) is None


async def test_D7_who_still_waits_when_the_hub_is_left_is_told() -> None:
    """Calls that wait in tasks outside of the hub's block get HubClosed when it is left, and are not left hanging."""
    store = MemoryStore()
    async with callers() as beside, bank(store, paused=True) as hub:
        instance = await hub.start(receive)
        waiting = [
            beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1)),
            beside.call(lambda: hub.call_entity(Account.at("a"), Account.deposit, 1, request_id="r")),
            beside.call(instance.result),
            beside.call(hub.wait_idle),
        ]
        await rounds()
    assert [type(call.error) for call in waiting] == [HubClosed] * 4
    async with bank(store) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 3, "both calls had been accepted"


async def test_a_hub_object_is_entered_once() -> None:
    """Entering it again is refused, inside and after; a new object opens the hub again."""
    store = MemoryStore()
    async with bank(store) as hub:
        with pytest.raises(RuntimeError, match="make a new TaskHub"):
            await hub.__aenter__()
        await hub.signal_entity(Account.at("a"), Account.deposit, 1)
    with pytest.raises(RuntimeError, match="make a new TaskHub"):
        await hub.__aenter__()
    async with bank(store) as again:
        assert await again.read_entity(Account.at("a")) == Account(1)


# --- exceptions


class Mine(Exception):
    """The user's own."""


class MineForAll(BaseException):
    """No Exception at all."""


@pytest.mark.parametrize("error", [Mine("x"), MineForAll("x"), ExceptionGroup("g", [Mine("x"), ValueError("y")])])
async def test_exceptions_of_the_body_come_out_as_they_are(error: BaseException) -> None:
    """The very object comes out, no group around it, and the hub is closed: it can be opened again."""
    store = MemoryStore()

    async def run() -> None:
        async with bank(store) as hub:
            await hub.signal_entity(Account.at("a"), Account.deposit, 1)
            raise error

    assert await ending(run) is error
    async with bank(store) as hub:
        assert await hub.read_entity(Account.at("a")) == Account(1)


async def test_a_cancelled_body_ends_as_cancelled() -> None:
    """A scope around the hub catches its own cancellation; nothing else comes out."""
    with trio.CancelScope() as scope:
        async with bank(MemoryStore()) as hub:
            await hub.wait_idle()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_D7_an_interrupt_in_an_activity_comes_out_alone() -> None:
    """Ctrl-C that hits an activity ends the hub and comes out as KeyboardInterrupt, not in groups."""

    @activity
    async def interrupted() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    @orchestrator
    async def calls_it(ctx: OrchestrationContext) -> None:
        await ctx.call_activity(interrupted)

    store = MemoryStore()

    async def run() -> None:
        async with bank(store, interrupted, calls_it) as hub:
            await hub.start(calls_it, instance_id="i")
            await trio.sleep_forever()

    assert type(await ending(run)) is KeyboardInterrupt
    async with bank(store) as hub:
        assert (await hub.instance("i").status()).runtime_status is RuntimeStatus.RUNNING, "it failed nothing"


class Unreadable(MemoryStore):
    """A store whose first read fails, as often as it is told to."""

    failures = 1

    def get(self, table: str, key: bytes) -> bytes | None:
        """Fail, or read."""
        if self.failures:
            self.failures -= 1
            raise DamagedRecord(table, key)
        return super().get(table, key)


async def test_an_opening_that_fails_comes_out_plain_and_leaves_nothing_open() -> None:
    """What goes wrong while the hub reads its first records comes out as it is, and the store can be opened again."""
    store = Unreadable()
    with pytest.raises(StorageError, match="does not match its checksum"):
        async with bank(store):
            pytest.fail("the hub was opened")
    async with bank(store) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1


async def test_a_hub_folder_that_cannot_be_used_comes_out_plain(tmp_path: Path) -> None:
    """The storage's own error is what a user sees, with the path."""
    (tmp_path / "bank").write_text("a file")
    with pytest.raises(StorageUnusable, match=r"bank is a file"):
        async with bank(tmp_path):
            pytest.fail("the hub was opened")


# --- D5


async def test_D5_a_second_hub_object_is_refused() -> None:
    """A second object on the same store gets HubInUse at once, and the first one is not disturbed."""
    store = MemoryStore()
    async with bank(store) as hub:
        with pytest.raises(HubInUse):
            async with bank(store):
                pytest.fail("two hubs run on one store")
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1


@pytest.mark.parametrize("other_name", ["Bank", "BANK"])
async def test_D5_a_second_hub_object_on_one_folder_is_refused(tmp_path: Path, other_name: str) -> None:
    """The same with LMDB, however the name is written; the message names the process. Another name is another hub."""
    async with bank(tmp_path) as hub:
        with pytest.raises(HubInUse, match=str(os.getpid())):
            async with TaskHub(other_name, [Account], tmp_path):
                pytest.fail("two hubs run on one folder")
        async with TaskHub("Other", [Account], tmp_path) as other:
            await other.signal_entity(Account.at("a"), Account.deposit, 5)
        assert await hub.read_entity(Account.at("a")) is None
    async with bank(tmp_path) as hub:
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1


OTHER_PROCESS = """
import sys, trio
from perdure.hub import TaskHub
from perdure.storage import HubInUse

async def main():
    try:
        async with TaskHub("Bank", [], sys.argv[1]):
            print("opened")
    except HubInUse as error:
        print("refused", str(error))

trio.run(main)
"""


async def test_D5_a_second_process_is_refused(tmp_path: Path) -> None:
    """Another process gets HubInUse, which names this one; when this one has left, it may open the hub."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)]
    async with bank(tmp_path):
        said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - nothing else is to run
    assert said.stdout.startswith("refused")
    assert str(os.getpid()) in said.stdout
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "opened\n"  # noqa: ASYNC221


FORK = """
import os, sys, traceback, trio
from perdure.hub import HubClosed
from perdure.storage import ForkedHub
from tests.hub.helpers import Account, bank
from tests.hub.test_opening import VERBS
from collections.abc import Awaitable

def refused(hub, name):
    try:
        answer = VERBS[name](hub)
        if isinstance(answer, Awaitable):
            answer.__await__().send(None)
    except ForkedHub:
        return "ForkedHub"
    except BaseException as error:
        return repr(error)
    return "nothing"

async def main():
    async with bank(sys.argv[1]) as hub:
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            others = {name: said for name in VERBS if (said := refused(hub, name)) != "ForkedHub"}
            print("child", others, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", await hub.call_entity(Account.at("a"), Account.deposit, 1), flush=True)

trio.run(main)
"""


def test_D5_a_forked_child_is_refused_at_every_verb(tmp_path: Path) -> None:
    """In a forked child every verb raises ForkedHub, and the parent's hub goes on."""
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path)], capture_output=True, text=True, check=False, cwd=root
    )
    assert (said.stdout, said.returncode) == ("child {}\nparent 2\n", 0), said.stderr


async def test_D5_a_replaced_owner_writes_nothing_more() -> None:
    """If the lock is circumvented and another owner takes over, the old hub stops at its next commit."""
    store = ScriptedStore()

    async def run() -> None:
        async with bank(store) as hub:
            await hub.call_entity(Account.at("a"), Account.deposit, 1)
            store.disk.crash()
            store.disk.open()
            await hub.call_entity(Account.at("a"), Account.deposit, 1)

    assert isinstance(await ending(run), PerdureError)
    assert len(store.batches) == 1


# --- on a real disk


@define
class Note(Entity):
    """A text."""

    text: str = ""

    def write(self, text: str) -> None:
        """Replace it."""
        self.text = text


async def test_a_hub_in_a_folder_keeps_everything(tmp_path: Path) -> None:
    """What a hub wrote into a folder is there for the next one, also for one that is given the store itself."""
    async with bank(tmp_path / "deep" / "er", Note) as hub:
        await hub.signal_entity(Note.at("ü@/\0"), Note.write, "words")
        await hub.start(receive, instance_id="waits")
        await hub.wait_idle()
    async with bank(str(tmp_path / "deep" / "er"), Note) as hub:
        assert await hub.read_entity(Note.at("ü@/\0")) == Note("words")
        await hub.raise_event("waits", "go", 4)
        assert await hub.instance("waits").result() == 4
    async with TaskHub("Another", [Note], LmdbStore(tmp_path / "deep" / "er" / "bank")) as hub:
        assert await hub.read_entity(Note.at("ü@/\0")) == Note("words")


async def test_wait_idle_means_durable() -> None:
    """When wait_idle returns, nothing is under way and everything that was accepted is on disk."""
    store = ScriptedStore(looks=3)
    async with bank(store) as hub:
        async with hub.batch() as batch:
            for number in range(50):
                batch.signal_entity(Ledger.at(str(number % 7)), Ledger.note_and_pass, number, "all")
        await hub.wait_idle()
        noted = await hub.read_entity(Ledger.at("all"))
        assert noted is not None
        assert sorted(noted.numbers) == list(range(50))
        assert (hub.statistics().backlog, hub.statistics().ready) == (0, 0)
