"""A workload with everything in it, a client that repeats what it was not told had happened, and what must come of it.

Signals, calls, locked transfers, activities, children, events, failures, a termination: see :data:`LANES`. However often
the process is cut off in between, the end must be :data:`EXPECTED`, which is what an undisturbed run ends with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from attrs import define, field, frozen
from perdure.entities import Entity
from perdure.hub import HubClosed, Instance, TaskHub, limits
from perdure.orchestration import (
    InstanceFinished,
    InstanceNotFound,
    OrchestrationContext,
    orchestrator,
)
from perdure.storage import tables
from perdure.storage.errors import StorageError, StorageInDoubt
from perdure.testing.scripted_store import ProcessDied, ScriptedStore

from .helpers import Account, Ledger, bank, leaves, receive, transfer

MONEY = {"alice": 100, "bob": 100, "carol": 100}
LEDGERS = ("first", "second", "third")


@define
class Clerk(Entity):
    """Does, in one operation, everything that an operation may do (E8)."""

    errands: int = 0

    def run_errand(self, number: int) -> int:
        """Signal, start, and raise an event."""
        self.errands += 1
        self.context.signal_entity(Ledger.at("second"), Ledger.note, number)
        self.context.start(receive, instance_id=f"errand-{number}")
        self.context.raise_event("waiting-for-clerk", "go", number)
        return self.errands


@orchestrator
async def family(ctx: OrchestrationContext, name: str) -> list[str]:
    """Children that move money under locks, beside an event and a signal."""
    there = ctx.call_sub_orchestrator(transfer, "alice", "carol", 7, instance_id=f"{name}-there")
    back = ctx.call_sub_orchestrator(transfer, "carol", "alice", 3, instance_id=f"{name}-back")
    ctx.signal_entity(Ledger.at("third"), Ledger.note, 1000)
    first, second = await ctx.when_all([there, back])
    await ctx.sleep(0)
    number = await ctx.wait_for_external_event("go", int)
    await ctx.call_entity(Ledger.at("third"), Ledger.note, number)
    return [first, second]


@orchestrator
async def holder(ctx: OrchestrationContext) -> None:
    """Keep locks until it is ended from outside."""
    async with ctx.lock_entities(Account.at("bob"), Account.at("carol")):
        await ctx.wait_for_external_event("never")


@frozen
class Step:
    """One request of the client; repeating it is safe."""

    name: str
    send: Callable[[TaskHub], Awaitable[object]]


def signal(number: int, ledger: str) -> Step:
    """A ledger notes a number."""
    return Step(
        f"signal-{number}",
        lambda hub: hub.signal_entity(Ledger.at(ledger), Ledger.note, number, request_id=f"signal-{number}"),
    )


def deposit(number: int, account: str, amount: int) -> Step:
    """An account gets money."""
    return Step(
        f"deposit-{number}",
        lambda hub: hub.call_entity(Account.at(account), Account.deposit, amount, request_id=f"deposit-{number}"),
    )


def start(instance_id: str, function: Any, *arguments: Any) -> Step:
    """An orchestration starts."""
    return Step(
        instance_id, lambda hub: hub.start(function, *arguments, instance_id=instance_id, request_id=f"start-{instance_id}")
    )


def event(instance_id: str, value: int) -> Step:
    """An orchestration gets its event."""
    return Step(f"event-{instance_id}", lambda hub: hub.raise_event(instance_id, "go", value, request_id=f"event-{instance_id}"))


async def _end_holder(hub: TaskHub) -> None:
    with suppress(InstanceFinished):  # the earlier attempt has done it
        await hub.terminate("holder", "enough")


async def _slow_deposit(hub: TaskHub) -> None:
    await hub.call_entity(Account.at("bob"), Account.deposit_slowly, 5, request_id="slow")


FIRST: list[Step] = [deposit(number, account, amount) for number, (account, amount) in enumerate(MONEY.items())]
"""What the rest needs: money."""

LANES: list[list[Step]] = [
    [start("holder", holder), Step("end holder", _end_holder)],
    [
        signal(1, "first"),
        signal(2, "first"),
        Step("pass", lambda hub: hub.signal_entity(Ledger.at("first"), Ledger.note_and_pass, 3, "second", request_id="pass")),
        Step("fail", lambda hub: hub.signal_entity(Ledger.at("first"), Ledger.note_and_fail, 4, "second", request_id="fail")),
        signal(5, "first"),
    ],
    [
        start("waiting-for-clerk", receive),
        Step("errand", lambda hub: hub.signal_entity(Clerk.at(""), Clerk.run_errand, 77, request_id="errand")),
        event("errand-77", 78),
    ],
    [start("family", family, "family"), event("family", 1001)],
    [start("one", transfer, "alice", "bob", 10)],
    [start("two", transfer, "bob", "alice", 20)],
    [Step("slow", _slow_deposit)],
    [start("too much", transfer, "alice", "bob", 10_000)],
]
"""What may happen in any order among each other; each lane in its own order."""

INSTANCES = ("holder", "waiting-for-clerk", "family", "family-there", "family-back", "one", "two", "errand-77", "too much")
NOTED = {1: "signal-1", 2: "signal-2", 3: "pass", 5: "signal-5"}
"""What the first ledger notes, in order, and the steps that send it."""

TOTAL = sum(MONEY.values()) + 5


@define
class Client:
    """Sends the steps in order, and knows what it was told.

    Attributes:
      acknowledged: the steps that have happened, for all that it knows.
    """

    acknowledged: set[str] = field(factory=set[str])

    async def send_all(self, hub: TaskHub, crowd: bool) -> None:
        """Send what was not acknowledged yet, lane after lane, or all lanes at a time."""
        await self._send(hub, FIRST)
        if not crowd:
            for lane in LANES:
                await self._send(hub, lane)
            return
        async with trio.open_nursery() as nursery:
            for lane in LANES:
                nursery.start_soon(self._send, hub, lane)

    async def _send(self, hub: TaskHub, lane: list[Step]) -> None:
        """One after another; a refusal by storage is repeated."""
        for step in lane:
            while step.name not in self.acknowledged:
                if step.name == "event-errand-77":
                    await self._errand_started(hub)
                try:
                    await step.send(hub)
                except StorageInDoubt:
                    raise
                except StorageError:
                    await trio.lowlevel.checkpoint()
                else:
                    self.acknowledged.add(step.name)

    @staticmethod
    async def _errand_started(hub: TaskHub) -> None:
        """The clerk's errand begins some time after its signal was acknowledged."""
        while True:
            with suppress(InstanceNotFound):
                await hub.instance("errand-77").status()
                return
            await trio.lowlevel.checkpoint()


@frozen
class Manner:
    """How a workload is run.

    Attributes:
      looks: how slow the disk is.
      crowd: the client sends its lanes at a time.
      batch_instances_max: how many instances make a batch full; 1 makes nearly every turn a commit.
      cache_bytes: what may stay in memory; 1 drops whatever is idle, so that everything is replayed.
      payload_bytes_min: from this size on values are stored apart; 1 does so with all of them.
    """

    looks: int = 0
    crowd: bool = False
    batch_instances_max: int = limits.BATCH_INSTANCES_MAX
    cache_bytes: int = limits.CACHE_BYTES
    payload_bytes_min: int = limits.PAYLOAD_BYTES_MIN


PLAIN = Manner()
MANNERS = {
    "plain": PLAIN,
    "slow disk": Manner(looks=3, crowd=True),
    "small batches, nothing cached, values apart": Manner(
        looks=1, crowd=True, batch_instances_max=1, cache_bytes=1, payload_bytes_min=1
    ),
}


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the n-th step that any Trio task takes.

    Attributes:
      steps: how many steps there were.
    """

    def __init__(self, at: int) -> None:
        self.scope = trio.CancelScope()
        self.steps = 0
        self._at = at

    def before_task_step(self, task: object) -> None:
        """Count."""
        self.steps += 1
        if self.steps == self._at:
            self.scope.cancel()


def run_once(client: Client, store: ScriptedStore, manner: Manner = PLAIN, cancelling: CancelAtStep | None = None) -> Any:
    """One process: open, send, work everything off, look. ``None`` if it was cut off."""

    async def cancellable() -> Any:
        if cancelling is None:
            return await process()
        with cancelling.scope:
            return await process()

    async def process() -> Any:
        options = {"cache_bytes": manner.cache_bytes, "payload_bytes_min": manner.payload_bytes_min}
        async with bank(store, Clerk, family, holder, **options) as hub:
            if client.acknowledged:
                await hub.wait_idle()
                await check_promises(hub, client)
            await client.send_all(hub, manner.crowd)
            await hub.wait_idle()
            return await picture(hub)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "STORAGE_RETRY_SECONDS", (0.0, 0.0))
        patch.setattr(limits, "BATCH_INSTANCES_MAX", manner.batch_instances_max)
        try:
            return trio.run(cancellable, instruments=[] if cancelling is None else [cancelling])
        except BaseException as error:
            if all(map(_is_the_end, leaves(error))):
                return None
            raise


def _is_the_end(error: BaseException) -> bool:
    """What a client may see of the end of its hub; HubClosed if its next call came before its own cancellation."""
    return isinstance(error, StorageInDoubt | ProcessDied | trio.Cancelled) or (
        isinstance(error, HubClosed) and isinstance(error.__cause__, StorageInDoubt)
    )


async def picture(hub: TaskHub) -> dict[str, Any]:
    """Everything that a client can see, without times and generated ids."""
    seen: dict[str, Any] = {}
    for name in MONEY:
        account = await hub.read_entity(Account.at(name))
        seen[name] = None if account is None else account.balance
        seen[f"{name} locked"] = (await hub.describe(Account.at(name))).locked_by
        seen[f"{name} queue"] = (await hub.describe(Account.at(name))).queued
    for name in LEDGERS:
        ledger = await hub.read_entity(Ledger.at(name))
        seen[name] = None if ledger is None else sorted(ledger.numbers) if name == "second" else ledger.numbers
    clerk = await hub.read_entity(Clerk.at(""))
    seen["errands"] = None if clerk is None else clerk.errands
    seen["letters"] = [letter.operation for letter in (await hub.dead_letters(Ledger.at("first"))).items]
    for instance_id in INSTANCES:
        seen[instance_id] = await _ending(hub.instance(instance_id))
    seen["never"] = await _ending(hub.instance("never-4"))
    seen["requests"] = hub.statistics().request_ids
    return seen


async def _ending(instance: Instance[Any]) -> object:
    try:
        status = await instance.status()
    except InstanceNotFound:
        return None
    return (status.runtime_status, status.output, None if status.failure is None else status.failure.type_name)


EXPECTED = run_once(Client(), ScriptedStore())


def check_ending(seen: dict[str, Any], store: ScriptedStore) -> None:
    """Nothing is lost, doubled, locked or left over."""
    assert seen == EXPECTED
    left = {table: len(store.table(table)) for table in (tables.INBOX, tables.ACTIVITIES, tables.TIMERS)}
    assert left == {tables.INBOX: 0, tables.ACTIVITIES: 0, tables.TIMERS: 0}


async def check_promises(hub: TaskHub, client: Client) -> None:
    """What was acknowledged before the crash is there once, and what was not is there once at most; all in order."""
    first = await hub.read_entity(Ledger.at("first"))
    noted = [] if first is None else first.numbers
    told = [number for number, name in NOTED.items() if name in client.acknowledged]
    assert noted[: len(told)] == told
    assert noted in (told, list(NOTED)[: len(told) + 1])
    for instance_id in client.acknowledged.intersection(INSTANCES):
        await hub.instance(instance_id).status()
