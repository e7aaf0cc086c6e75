"""What users get wrong, and what a strict type checker must refuse: exactly the lines that end in ``# error``.

Nothing here is run.
"""

from __future__ import annotations

import perdure.hub
from good import (
    Account,
    Line,
    Shop,
    child,
    compute,
    everything,
    nothing,
    plain_with_options,
    send_receipt,
    transfer,
    with_options,
)
from perdure.entities import Entity, EntityContext, EntityId, entity, read_only
from perdure.hub import ClientBatch, TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator

account = Account.at("a")
shop = Shop.at("s")


def names_of_the_hub() -> None:
    print(perdure.hub.HubReadr)  # error


async def calls_of_the_hub(hub: TaskHub) -> None:
    await hub.call_entity(account, Account.deposit, "1")  # error
    await hub.call_entity(account, Account.deposit, 1.5)  # error
    await hub.call_entity(account, Account.deposit)  # error
    await hub.call_entity(account, Account.deposit, 1, 2)  # error
    await hub.call_entity(account, Account.deposit, amount=1)  # error
    await hub.call_entity(account, Shop.clear)  # error
    await hub.call_entity(account, Account.deposti, 1)  # error
    await hub.call_entity("@account@a", "deposit", 1)  # error
    await hub.call_entity(account, Account.deposit, 1, request_id=7)  # error
    await hub.call_entity(shop, Shop.fetch, 1)  # error
    await hub.call_entity(shop, Shop.fetch)  # error
    await hub.call_entity(shop, Shop.close, 1)  # error
    await hub.call_entity(shop, Shop.five, 1, "b", 2.5, b"d", ["1"])  # error
    await hub.call_entity(shop, Shop.five, "b", 1, 2.5, b"d", [1])  # error


async def results_of_calls(hub: TaskHub) -> None:
    text: str = await hub.call_entity(account, Account.deposit, 1)  # error
    number: int = await hub.call_entity(shop, Shop.fetch, "url")  # error
    raw: bytes = hub.call_entity(shop, Shop.fetch, "url")  # error
    state: Shop | None = await hub.read_entity(account)  # error
    print(text, number, raw, state)
    print((await hub.read_entity(account)).balance)  # error
    print((await hub.call_entity(account, Account.deposit, 1)).upper())  # error


async def signals_of_the_hub(hub: TaskHub, batch: ClientBatch) -> None:
    await hub.signal_entity(account, Account.deposit, "1")  # error
    await hub.signal_entity(account, Account.deposit)  # error
    await hub.signal_entity(account, Account.deposit, 1, 2)  # error
    await hub.signal_entity(account, Account.deposit, 1, deliver_at="tomorrow")  # error
    await hub.signal_entity(account, Shop.clear)  # error
    await hub.signal_entity(shop, Shop.fetch, 1)  # error
    await hub.signal_entity(account, 7)  # error
    batch.signal_entity(account, Account.deposit, "1")  # error
    batch.signal_entity(account, Account.deposit)  # error
    batch.signal_entity(account, Account.deposit, 1, 2)  # error
    batch.signal_entity(account, Shop.clear)  # error
    batch.signal_entity(shop, Shop.fetch, 1)  # error


async def starts_of_the_hub(hub: TaskHub, batch: ClientBatch) -> None:
    await hub.start(transfer, "a", "b", "1")  # error
    await hub.start(transfer, "a", "b")  # error
    await hub.start(transfer, "a", "b", 1, 2)  # error
    await hub.start(transfer, "a", "b", 1, instance_id=7)  # error
    await hub.start(transfer, "a", "b", 1, if_exists="perhaps")  # error
    await hub.start(everything, [1])  # error
    await hub.start(send_receipt, "a", "b", 1)  # error
    await hub.start(len)  # error
    number: int = await (await hub.start(transfer, "a", "b", 1)).result()  # error
    print(number)
    batch.start(transfer, "a", "b", "1")  # error
    batch.start(transfer, "a", "b")  # error
    batch.start(child, "x")  # error
    await hub.raise_event("i")  # error
    await hub.raise_event(7, "name")  # error
    await hub.terminate("i", 7)  # error


@orchestrator
async def activities(ctx: OrchestrationContext) -> None:
    await ctx.call_activity(send_receipt, "a", "b", "1")  # error
    await ctx.call_activity(send_receipt, "a", "b")  # error
    await ctx.call_activity(send_receipt, "a", "b", 1, 2)  # error
    await ctx.call_http("GET")  # error
    await ctx.call_http("GET", "https://api.example", {"a": 1})  # error
    await ctx.call_http("GET", "https://api.example", headers={"a": 1})  # error
    await ctx.call_http("GET", "https://api.example", timeout="5")  # error
    await ctx.call_activity(send_receipt, "a", "b", amount=1)  # error
    await ctx.call_activity(compute, ["1"])  # error
    await ctx.call_activity(compute, 1)  # error
    await ctx.call_activity(compute)  # error
    await ctx.call_activity(nothing, 1)  # error
    await ctx.call_activity(with_options, Line("x"), "3")  # error
    await ctx.call_activity(with_options, Line("x"))  # error
    await ctx.call_activity(plain_with_options, 3)  # error
    await ctx.call_activity(compute.options(timeout=3), ["1"])  # error
    await ctx.call_activity(transfer, "a", "b", 1)  # error
    await ctx.call_activity(len, [])  # error
    number: int = await ctx.call_activity(send_receipt, "a", "b", 1)  # error
    text: str = ctx.call_activity(send_receipt, "a", "b", 1)  # error
    whole: int = await ctx.call_activity(compute, [1])  # error
    print(number, text, whole)
    print((await ctx.call_activity(plain_with_options, "x")).upper())  # error


@orchestrator
async def entities(ctx: OrchestrationContext) -> None:
    await ctx.call_entity(account, Account.deposit, "1")  # error
    await ctx.call_entity(account, Account.deposit)  # error
    await ctx.call_entity(account, Account.deposit, 1, 2)  # error
    await ctx.call_entity(account, Shop.clear)  # error
    await ctx.call_entity(shop, Shop.fetch, 1)  # error
    await ctx.call_entity(shop, Shop.close, 1)  # error
    ctx.signal_entity(account, Account.deposit, "1")  # error
    ctx.signal_entity(account, Account.deposit)  # error
    ctx.signal_entity(account, Account.deposit, "1", deliver_at=60)  # error
    ctx.signal_entity(shop, Shop.fetch, 1)  # error
    ctx.signal_entity(account, Shop.clear)  # error
    text: str = await ctx.call_entity(account, Account.deposit, 1)  # error
    number: int = await ctx.call_entity(shop, Shop.fetch, "url")  # error
    raw: bytes = ctx.call_entity(shop, Shop.fetch, "url")  # error
    print(text, number, raw)
    ctx.lock_entities("a", "b")  # error


@orchestrator
async def children(ctx: OrchestrationContext) -> None:
    await ctx.call_sub_orchestrator(transfer, "a", "b", "1")  # error
    await ctx.call_sub_orchestrator(transfer, "a", "b")  # error
    await ctx.call_sub_orchestrator(transfer, "a", "b", 1, 2)  # error
    await ctx.call_sub_orchestrator(compute, [1])  # error
    number: int = await ctx.call_sub_orchestrator(transfer, "a", "b", 1)  # error
    print(number)
    ctx.start(transfer, "a", "b", "1")  # error
    ctx.start(transfer, "a", "b")  # error
    flag: str = await ctx.wait_for_external_event("approved", bool)  # error
    print(flag)
    results: list[str] = await ctx.when_all([ctx.call_entity(account, Account.deposit, 1)])  # error
    print(results)


class Signaller(Entity):
    def run(self) -> None:
        self.context.signal_entity(account, Account.deposit, "1")  # error
        self.context.signal_entity(account, Account.deposit)  # error
        self.context.signal_entity(shop, Shop.fetch, 1)  # error
        self.context.signal_entity(account, Shop.clear)  # error
        self.context.raise_event("instance")  # error


def definitions() -> None:
    @orchestrator  # error
    async def no_context(number: int) -> None:
        print(number)

    @orchestrator  # error
    def not_async(ctx: OrchestrationContext) -> None:
        print(ctx)

    @activity(max_concurrent="3")  # error
    async def odd_option() -> None: ...

    @entity  # error
    def takes_number(ctx: EntityContext, number: int) -> None:
        print(ctx.get_input(int).upper(), number)  # error

    class OddUpgrade(Entity):
        def upgrade(self, plan: str) -> None: ...  # error

        @read_only
        def look(self, number: int) -> int:
            return number

        def use(self) -> None:
            self.context.get_state(int, 0).upper()  # error

    entity(read_only=3)  # error
    entity(version="1")  # error
    text: str = OddUpgrade().look(3)  # error
    OddUpgrade().look("3")  # error
    print(text)
    del no_context, not_async, odd_option, takes_number
    Account.at(7)  # error
    EntityId("account")  # error
    TaskHub("Bank", [Account], storage=7)  # error
    TaskHub("Bank", Account, storage="bank.db")  # error
    TaskHub("Bank", [Account], storage="bank.db", on_storage_error="ignore")  # error
