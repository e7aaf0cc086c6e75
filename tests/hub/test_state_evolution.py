"""One store and several versions of a program, one after another (E12)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, field
from perdure.entities import Entity, EntityContext, EntityOperationFailed, StateUnreadable, entity
from perdure.storage import tables

from ..entities.on_hub import WatchedStore, opened


@entity(name="account")
@define
class First(Entity):
    """Euros as a number."""

    balance: float = 0.0

    def deposit(self, amount: float) -> float:
        self.balance += amount
        return self.balance


@entity(name="account", version=1)
@define
class Second(Entity):
    """Cents, and a currency with a default."""

    cents: int = 0
    currency: str = "EUR"

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {"cents": round(state["balance"] * 100)}

    def deposit(self, cents: int) -> int:
        self.cents += cents
        return self.cents

    async def deposit_slowly(self, cents: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.deposit(cents)


@entity(name="account", version=2)
@define
class Third(Entity):
    """A list of movements."""

    movements: list[tuple[str, int]] = field(factory=list[tuple[str, int]])

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        if version < 1:
            state = Second.upgrade(state, version)
        return {"movements": [("before", state["cents"])]}

    def deposit(self, cents: int) -> int:
        self.movements.append(("deposit", cents))
        return sum(moved for _, moved in self.movements)


@entity(name="account", version=3)
@define
class Faulty(Third):
    """With a fault in its upgrade: one account has a state that it does not expect."""

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        if state["movements"][0][1] == 0:
            raise ZeroDivisionError("an empty account")
        return state


async def first_life(store: WatchedStore) -> None:
    """Two accounts of the first version."""
    async with opened(First, store=store) as hub:
        for key in ("a", "b"):
            await hub.call_entity(First.at(key), First.deposit, 12.34)


async def test_E12_a_state_is_upgraded_where_it_is_used() -> None:
    """Operations, plain and async ones, reads and queries see the upgraded state; what no operation changed stays as it was stored."""
    store = WatchedStore()
    await first_life(store)
    stored = store.snapshot()[tables.INSTANCES]
    async with opened(Second, store=store) as hub:
        assert await hub.read_entity(Second.at("a")) == Second(1234)
        assert [info.state async for info in hub.iter_entities()] == [Second(1234), Second(1234)]
        assert store.snapshot()[tables.INSTANCES] == stored
        assert await hub.call_entity(Second.at("a"), Second.deposit, 6) == 1240
        assert await hub.call_entity(Second.at("b"), Second.deposit_slowly, 6) == 1240


async def test_E12_versions_may_be_left_out() -> None:
    """A program that is two versions newer takes all the steps for a state of the first, and one for a state of the second."""
    store = WatchedStore()
    await first_life(store)
    async with opened(Second, store=store) as hub:
        await hub.call_entity(Second.at("a"), Second.deposit, 6)
    async with opened(Third, store=store) as hub:
        assert await hub.read_entity(Third.at("a")) == Third([("before", 1240)])
        assert await hub.read_entity(Third.at("b")) == Third([("before", 1234)])
        assert await hub.call_entity(Third.at("b"), Third.deposit, 1) == 1235


async def test_E12_an_unreadable_state_is_kept_with_its_signal() -> None:
    """Its stored bytes stay, a signal becomes a dead letter, a call and a read say why, others go on, and a mended program finds all."""
    store = WatchedStore()
    async with opened(Third, store=store) as hub:
        await hub.call_entity(Third.at("empty"), Third.deposit, 0)
        await hub.call_entity(Third.at("full"), Third.deposit, 5)
    async with opened(Faulty, store=store) as hub:
        await hub.signal_entity(Faulty.at("empty"), Faulty.deposit, 7)
        await hub.wait_idle()
        with pytest.raises(EntityOperationFailed) as caught:
            await hub.call_entity(Faulty.at("empty"), Faulty.deposit, 8)
        assert caught.value.failure.is_caused_by(StateUnreadable)
        assert caught.value.failure.is_caused_by(ZeroDivisionError)
        with pytest.raises(StateUnreadable, match=r"@account@empty .*upgrade from version 2 to 3 raised ZeroDivisionError"):
            await hub.read_entity(Faulty.at("empty"))
        assert await hub.call_entity(Faulty.at("full"), Faulty.deposit, 1) == 6
        (letter,) = (await hub.dead_letters(Faulty.at("empty"))).items
        assert letter.failure.is_caused_by(StateUnreadable)
    async with opened(Third, store=store) as hub:
        assert await hub.read_entity(Third.at("empty")) == Third([("deposit", 0)])
        assert (await hub.dead_letters(Third.at("empty"))).items == [letter]


async def test_E12_an_older_program_leaves_a_newer_state_alone() -> None:
    """After a roll-back states of the newer version fail with StateUnreadable, and the newer program finds them again."""
    store = WatchedStore()
    async with opened(Third, store=store) as hub:
        await hub.call_entity(Third.at("a"), Third.deposit, 5)
    async with opened(Second, store=store) as hub:
        with pytest.raises(StateUnreadable, match=r"saved by version 2 .* has version 1; run the newer program"):
            await hub.read_entity(Second.at("a"))
        await hub.signal_entity(Second.at("a"), Second.deposit, 1)
        await hub.wait_idle()
        assert len((await hub.dead_letters(Second.at("a"))).items) == 1
    async with opened(Third, store=store) as hub:
        assert await hub.call_entity(Third.at("a"), Third.deposit, 1) == 6


@entity(name="account", version=2, upgrade=lambda state, version: {"total": state["cents"] / 100})
def as_function(ctx: EntityContext) -> object:
    """A function in the place of the class."""
    state = ctx.get_state(dict[str, float], {})
    if ctx.operation == "save":
        ctx.set_state(state)
    return state


async def test_E12_a_function_may_take_the_place_of_a_class() -> None:
    """What is stored is plain data by attribute, so a function of the same name reads and upgrades what a class has saved."""
    store = WatchedStore()
    async with opened(Second, store=store) as hub:
        await hub.call_entity(Second.at("a"), Second.deposit, 250)
    async with opened(as_function, store=store) as hub:
        assert await hub.read_entity(as_function.at("a")) == {"total": 2.5}
        assert await hub.call_entity(as_function.at("a"), "save") == {"total": 2.5}
    async with opened(as_function, store=store) as hub:
        assert await hub.call_entity(as_function.at("a"), "look") == {"total": 2.5}
