"""What users write, and what a strict type checker must accept as it stands.

The first half is the bank of the manual, unchanged. Nothing here is run; each ``assert_type`` says which type the checker
must see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import attrs
import trio
from attrs import define, field
from perdure.entities import Entity, EntityContext, EntityId, EntityRef, FunctionEntity, entity, read_only
from perdure.hub import (
    EntityDescription,
    HubReader,
    Instance,
    InstanceDescription,
    InstanceStatus,
    TaskHub,
    activity_context,
    copy_hub,
    delete_hub,
    list_hubs,
)
from perdure.orchestration import DurableTask, HttpResponse, OrchestrationContext, RetryPolicy, activity, orchestrator
from perdure.storage import ZlibCodec, chain
from perdure.storage.aes_gcm_codec import AesGcmCodec
from perdure.storage.memory_store import MemoryStore


class InsufficientFunds(Exception): ...


@define
class Account(Entity):
    """A bank account. Its attributes are its durable state; its public methods are its operations."""

    balance: int = 0

    def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def withdraw(self, amount: int) -> int:
        if amount > self.balance:
            raise InsufficientFunds(f"{amount} > {self.balance}")
        self.balance -= amount
        return self.balance


@activity
async def send_receipt(payer: str, payee: str, amount: int) -> str:
    return f"{payer} -> {payee}: {amount}"


@orchestrator
async def transfer(ctx: OrchestrationContext, payer: str, payee: str, amount: int) -> str:
    source, target = Account.at(payer), Account.at(payee)
    async with ctx.lock_entities(source, target):
        await ctx.call_entity(source, Account.withdraw, amount)
        await ctx.call_entity(target, Account.deposit, amount)
    return await ctx.call_activity(send_receipt, payer, payee, amount)


async def main() -> None:
    async with TaskHub("Bank", [Account, transfer, send_receipt], storage="bank.db") as hub:
        await hub.signal_entity(Account.at("alice"), Account.deposit, 100)
        instance = await hub.start(transfer, "alice", "bob", 40)
        print(await instance.result())  # alice -> bob: 40
        print(await hub.read_entity(Account.at("bob")))  # Account(balance=40)


if __name__ == "__main__":
    trio.run(main)


# --- the rest of the face


@attrs.define
class Line:
    """A value of the user's own."""

    text: str
    amount: int = 0


@entity(name="Shop.v2", version=3)
@define
class Shop(Entity):
    """Async operations, operations without a result, without arguments, with many, and with a default."""

    lines: list[Line] = field(factory=list[Line])
    opened: datetime | None = None

    async def fetch(self, url: str) -> bytes:
        await trio.lowlevel.checkpoint()
        return url.encode()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    def clear(self) -> None:
        self.lines.clear()

    def add(self, line: Line, times: int = 1) -> Sequence[Line]:
        self.lines.extend([line] * times)
        return self.lines

    def five(self, a: int, b: str, c: float, d: bytes, e: list[int]) -> dict[str, int]:
        return {b: a + int(c) + len(d) + len(e)}

    def look_around(self) -> None:
        context = self.context
        assert_type(context, EntityContext)
        context.signal_entity(Account.at("a"), Account.deposit, 5)
        context.signal_entity(Shop.at("b"), Shop.fetch, "url")
        context.signal_entity(EntityId("other", "x"), "any", 1, "two")
        assert_type(context.signal_entity(Account.at("a"), Account.deposit, 5, deliver_at=3600), str)
        context.cancel_signal(context.signal_entity(EntityId("other", "x"), "any", 1, deliver_at=timedelta(days=1)))
        assert_type(context.start(transfer, "a", "b", 1), str)
        context.raise_event("instance", "name", {"any": [1, 2]})
        context.delete()
        assert_type(context.now, datetime)
        assert_type(context.entity_id, EntityId)


@dataclass
class Plain(Entity):
    """A dataclass does as well."""

    words: tuple[str, ...] = ()

    def say(self, word: str) -> int:
        self.words += (word,)
        return len(self.words)


@entity
class Bare(Entity):
    """Without options the decorator changes nothing."""


@entity(version=2)
@define
class Upgraded(Entity):
    """An older state is made one of today; some operations only read."""

    cents: int = 0

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {"cents": state["euros"] * 100} if version < 2 else state

    @read_only
    def euros(self, digits: int) -> float:
        return round(self.cents / 100, digits)

    @read_only
    async def rate(self) -> float:
        await trio.lowlevel.checkpoint()
        return 1.5


@entity
def counter(ctx: EntityContext) -> int:
    value = ctx.get_state(int, 0)
    assert_type(value, int)
    assert_type(ctx.operation, str)
    assert_type(ctx.get_input(int), int)
    assert_type(ctx.get_input(list[Line], []), list[Line])
    optional: int | None = ctx.get_input(int | None)
    ctx.set_state(value + (optional or 0))
    ctx.set_state([Line("x")], list[Line])
    ctx.signal_entity(counter.at("other"), "add", 1)
    ctx.delete()
    return value


@entity(name="Slow.v1", version=1, upgrade=lambda state, version: state, read_only=["get"])
async def slow_counter(ctx: EntityContext) -> object:
    await trio.lowlevel.checkpoint()
    return ctx.get_state()


@activity
def compute(numbers: list[int]) -> float:
    return sum(numbers) / 2


@activity
async def nothing() -> None:
    await trio.lowlevel.checkpoint()


@activity(name="other", max_concurrent=3, retry=RetryPolicy(3, 1.0), timeout=timedelta(seconds=5))
async def with_options(line: Line, times: int) -> list[Line]:
    context = activity_context()
    assert_type(context.idempotency_key, str)
    assert_type(context.attempt, int)
    return [line] * times


@activity(timeout=5)
def plain_with_options(text: str) -> int:
    return len(text)


@activity(process=True)
def in_a_process(text: str) -> int:
    return len(text)


@orchestrator
async def child(ctx: OrchestrationContext, line: Line) -> list[Line]:
    return await ctx.call_activity(with_options, line, 2)


@orchestrator(name="renamed", version="2")
async def everything(ctx: OrchestrationContext, names: list[str]) -> dict[str, float]:
    shop, account = Shop.at("s"), Account.at("a")
    assert_type(shop, EntityRef[Shop])
    # calls of entities: plain, async, without a result, by name
    assert_type(ctx.call_entity(account, Account.deposit, 1), DurableTask[int])
    assert_type(await ctx.call_entity(account, Account.deposit, 1), int)
    assert_type(await ctx.call_entity(shop, Shop.fetch, "url"), bytes)
    assert_type(await ctx.call_entity(shop, Shop.close), None)
    assert_type(await ctx.call_entity(shop, Shop.clear), None)
    assert_type(await ctx.call_entity(shop, Shop.five, 1, "b", 2.5, b"d", [1]), dict[str, int])
    assert_type(await ctx.call_entity(Plain.at("p"), Plain.say, "hello"), int)
    by_name: int = await ctx.call_entity(EntityId("account", "a"), "deposit", 1)
    ctx.signal_entity(shop, Shop.fetch, "url")
    ctx.signal_entity(account, Account.deposit, by_name)
    ctx.signal_entity(EntityId("account", "a"), "deposit", 1)
    assert_type(ctx.signal_entity(account, Account.deposit, 1, deliver_at=ctx.now + timedelta(days=1)), str)
    ctx.cancel_signal(ctx.signal_entity(EntityId("account", "a"), "deposit", 1, deliver_at=60))
    # activities: plain, async, with options
    assert_type(ctx.call_activity(compute, [1, 2]), DurableTask[float])
    half = await ctx.call_activity(compute, [1, 2])
    assert_type(half, float)
    assert_type(await ctx.call_activity(nothing), None)
    assert_type(await ctx.call_activity(with_options, Line("x"), 3), list[Line])
    assert_type(await ctx.call_activity(plain_with_options, "x"), int)
    assert_type(await ctx.call_activity(in_a_process, "x"), int)
    assert_type(await ctx.call_activity(compute.options(timeout=3, retry=None), [1]), float)
    # HTTP
    assert_type(ctx.call_http("GET", "https://api.example"), DurableTask[HttpResponse])
    answer = await ctx.call_http(
        "PUT",
        "https://api.example",
        content=[1, {"a": None}],
        headers={"A": "b"},
        timeout=timedelta(minutes=1),
        total_timeout=3600,
    )
    assert_type(answer.headers.get("Location"), str | None)
    assert_type(answer.headers["Location"], str)
    assert_type((answer.status_code, answer.text, answer.content), tuple[int, str, bytes])
    await ctx.call_http("GET", answer.url, headers=answer.headers, retry=None, secret_headers=["X-Api-Key"])
    # children
    assert_type(ctx.call_sub_orchestrator(child, Line("x")), DurableTask[list[Line]])
    assert_type(await ctx.call_sub_orchestrator(child, Line("x"), instance_id="c"), list[Line])
    assert_type(ctx.start(child, Line("x")), str)
    # events, time, combinators
    assert_type(await ctx.wait_for_external_event("approved", bool), bool)
    ctx.raise_event("other", "name", 1)
    await ctx.sleep(3)
    await ctx.sleep_until(datetime(2031, 1, 1, tzinfo=UTC))
    timer = ctx.create_timer(timedelta(days=3))
    tasks = [ctx.call_entity(Account.at(name), Account.deposit, 1) for name in names]
    assert_type(await ctx.when_all(tasks), list[int])
    first = await ctx.when_any([*tasks, timer])
    if first is timer:
        timer.cancel()
    with ctx.move_on_after(5), ctx.fail_after(timedelta(minutes=1)):
        async with ctx.open_nursery() as nursery:
            nursery.start_soon(_helper, ctx, 3)
    assert_type(ctx.now, datetime)
    ctx.set_custom_status({"any": 1})
    return {ctx.uuid4().hex: half + ctx.random.random()}


async def _helper(ctx: OrchestrationContext, number: int) -> None:
    await ctx.sleep(number)


async def use_hub(hub: TaskHub) -> None:
    """The hub's own verbs."""
    shop, account = Shop.at("s"), Account.at("a")
    assert_type(await hub.call_entity(account, Account.deposit, 1), int)
    assert_type(await hub.call_entity(account, Account.deposit, 1, request_id="r"), int)
    assert_type(await hub.call_entity(shop, Shop.fetch, "url"), bytes)
    assert_type(await hub.call_entity(shop, Shop.close), None)
    assert_type(await hub.call_entity(shop, Shop.five, 1, "b", 2.5, b"d", [1]), dict[str, int])
    by_name: int = await hub.call_entity(EntityId("account", "a"), "deposit", 1)
    assert_type(await hub.signal_entity(shop, Shop.fetch, "url"), None)
    await hub.signal_entity(account, Account.deposit, by_name, request_id="s")
    await hub.signal_entity(EntityId("account", "a"), "deposit", 1)
    assert_type(await hub.signal_entity(account, Account.deposit, 1, deliver_at=60.5), str)
    assert_type(await hub.cancel_signal("0" * 48), bool)
    async for signal in hub.iter_delayed_signals(account):
        assert_type(signal.sent_by, EntityId | str | None)
    for letter in (await hub.dead_letters()).items:
        assert_type(await letter.redrive(), bool)
    assert_type(await hub.read_entity(account), Account | None)
    assert_type(Bare.at("b"), EntityRef[Bare])
    assert_type(await hub.call_entity(Upgraded.at("u"), Upgraded.euros, 2), float)
    assert_type(await hub.call_entity(Upgraded.at("u"), Upgraded.rate), float)
    assert_type(counter, FunctionEntity)
    assert_type(slow_counter, FunctionEntity)
    assert_type(counter.at("c"), EntityId)
    await hub.signal_entity(counter.at("c"), "add", 5)
    count: int = await hub.call_entity(counter.at("c"), "get")
    state: int = await hub.read_entity(counter.at("c"))
    print(count, state)
    assert_type(await hub.read_entity(shop), Shop | None)
    assert_type(await hub.start(transfer, "a", "b", 1), Instance[str])
    started = await hub.start(everything, ["a"], instance_id="e", if_exists="return", request_id="t")
    assert_type(started, Instance[dict[str, float]])
    assert_type(await started.result(), dict[str, float])
    assert_type(await started.result(timeout=3), dict[str, float])
    assert_type(await started.status(), InstanceStatus)
    assert_type(hub.instance("e"), Instance[Any])
    await started.raise_event("approved", True)
    await hub.raise_event("e", "approved", value=True, request_id="u")
    await started.terminate("enough")
    async with hub.batch() as batch:
        batch.signal_entity(account, Account.deposit, 1)
        batch.signal_entity(shop, Shop.fetch, "url")
        batch.signal_entity(EntityId("account", "a"), "deposit", 1)
        batch.cancel_signal(batch.signal_entity(account, Account.deposit, 1, deliver_at=60))
        assert_type(batch.start(transfer, "a", "b", 1), str)
        batch.raise_event("e", "approved", True)
    hub.pause()
    hub.unpause()
    await hub.wait_idle()
    assert_type(hub.statistics().turns, int)


async def open_hubs() -> None:
    """A store, and every option."""
    store = MemoryStore()
    async with TaskHub(
        "Bank", [Account, Shop, Plain, transfer], store, paused=True, request_ttl=3600.0, cache_bytes=1 << 20, processes_max=2
    ) as hub:
        await use_hub(hub)


class Reversed:
    """A codec of one's own."""

    name = "reversed"

    def encode(self, data: bytes, place: bytes) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, place: bytes) -> bytes:
        return data[::-1]


async def look_from_outside() -> None:
    """Codecs, readers, and the hubs in a folder."""
    codec = chain(Reversed(), ZlibCodec(), AesGcmCodec({"2026": AesGcmCodec.generate_key()}))
    async with TaskHub("Bank", [Account], "data", codec=codec, value_bytes_max=1 << 20, payload_bytes_min=4096):
        pass
    async with TaskHub("Plain", [Account], "data", codec=Reversed()):
        pass
    async with HubReader("Bank", [Account], storage="data", codec=codec) as reader:
        assert_type(await reader.read_entity(Account.at("a")), Account | None)
        assert_type(await reader.get_status("i", include_values=False), InstanceStatus)
        async for status in reader.iter_instances(include_values=False):
            assert_type(status, InstanceStatus)
        assert_type((await reader.query_entities()).unreadable, tuple[str, ...])
        assert_type(await reader.describe(Account.at("a")), EntityDescription)
        assert_type(await reader.describe("i"), InstanceDescription)
        assert_type(reader.commit_number, int)
    copy_hub("data", "Bank", "Copy")
    delete_hub("data", "Copy")
    assert_type(list_hubs("data"), list[str])
