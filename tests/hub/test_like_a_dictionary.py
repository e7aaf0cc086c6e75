"""Any sequence of operations on entities is like the same sequence on a plain dictionary, whatever happens to the process.

A client sends operations, good and bad ones, to entities that are classes and functions, plain and ``async``. The hub is
closed, or its process dies at some commit, and the next one goes on. The model is a dictionary that is updated in order
(E1, E2); a failed operation changes nothing (E4), deleted entities start afresh (E3) and leave nothing (E11). An operation that
was under way when the process died has happened or not, but not half and not twice (E5).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import trio
from attrs import define, frozen
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import Entity, EntityContext, EntityId, EntityOperationFailed, entity, read_only
from perdure.hub import TaskHub
from perdure.storage import tables
from perdure.testing.scripted_store import Harm, ProcessDied, ScriptedStore

Name = Literal["add", "fail", "unstorable", "look", "delete"]
Model = dict[EntityId, int]


@define
class Register(Entity):
    """A number."""

    value: Any = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def fail(self, amount: int) -> int:
        self.add(amount)
        self.context.signal_entity(Register.at("a"), Register.add, amount)
        self.context.delete()
        raise ValueError("after all of that")

    def unstorable(self, amount: int) -> int:
        self.value = object()
        return amount

    @read_only
    def look(self, amount: int) -> int:
        return self.value


@define
class SlowRegister(Entity):
    """The same, but everything may wait."""

    value: Any = 0

    async def add(self, amount: int) -> int:
        self.value += amount
        await trio.lowlevel.checkpoint()
        return self.value

    async def fail(self, amount: int) -> int:
        await self.add(amount)
        self.context.delete()
        raise ValueError("after all of that")

    async def unstorable(self, amount: int) -> int:
        self.value = object()
        await trio.lowlevel.checkpoint()
        return amount

    @read_only
    async def look(self, amount: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.value


def operate(ctx: EntityContext) -> int:
    """What both functions do."""
    value = ctx.get_state(int, 0)
    amount = ctx.get_input(int, 0)
    match ctx.operation:
        case "add":
            ctx.set_state(value + amount)
            return value + amount
        case "fail":
            ctx.set_state(value + amount)
            ctx.delete()
            raise ValueError("after all of that")
        case "unstorable":
            ctx.set_state(object())
        case "delete":
            ctx.delete()
    return value


@entity(name="function", read_only=["look"])
def function(ctx: EntityContext) -> int:
    """The same, as a function."""
    return operate(ctx)


@entity(name="slow.function", read_only=["look"])
async def slow_function(ctx: EntityContext) -> int:
    """The same, as a function that may wait."""
    value = operate(ctx)
    await trio.lowlevel.checkpoint()
    return value


DEFINITIONS = (Register, SlowRegister, function, slow_function)
NAMES = ("register", "slowregister", "function", "slow.function")


@frozen
class Step:
    """One thing that the client does.

    Attributes:
      target: the entity.
      name: the operation.
      amount: its argument.
      call: it is called, not signalled.
    """

    target: EntityId
    name: Name
    amount: int
    call: bool


@frozen
class Life:
    """What is done in one process, and how that ends.

    Attributes:
      steps: what the client does.
      dies_at: the commit at which the process dies; 0 for none: the hub is closed.
      harm: whether that commit took effect.
      cache_bytes: with 1, nothing stays in memory.
    """

    steps: list[Step]
    dies_at: int
    harm: Harm
    cache_bytes: int


targets = st.builds(EntityId, st.sampled_from(NAMES), st.sampled_from(["a", "b"]))
names: st.SearchStrategy[Name] = st.sampled_from(["add", "add", "add", "fail", "unstorable", "look", "delete"])
steps = st.builds(Step, targets, names, st.integers(-3, 3), st.booleans())
lives = st.lists(
    st.builds(
        Life,
        st.lists(steps, max_size=8),
        st.just(0) | st.integers(1, 12),
        st.sampled_from([Harm.DIED_BEFORE, Harm.DIED_AFTER]),
        st.sampled_from([64 << 20, 1]),
    ),
    min_size=1,
    max_size=4,
)


def after(model: Model, step: Step) -> Model:
    """The dictionary once the operation has run."""
    changed = dict(model)
    if step.name == "add":
        changed[step.target] = changed.get(step.target, 0) + step.amount
    elif step.name == "delete":
        changed.pop(step.target, None)
    return changed


@define
class Client:
    """The client, and the dictionary.

    Attributes:
      model: what must be, once everything acknowledged has run.
      under_way: the operation that is not acknowledged yet.
    """

    model: Model
    under_way: Step | None = None

    async def take(self, hub: TaskHub, step: Step) -> None:
        """Do one step; what a call returns is what the dictionary says."""
        self.under_way = step
        arguments = () if step.name == "delete" else (step.amount,)
        if not step.call:
            await hub.signal_entity(step.target, step.name, *arguments)
        elif step.name in ("fail", "unstorable"):
            try:
                await hub.call_entity(step.target, step.name, *arguments)
            except EntityOperationFailed:
                pass
            else:
                raise AssertionError(f"{step} went well")
        else:
            if step.name == "look":  # it need not show a signal that was just acknowledged
                await hub.wait_idle()
            result = await hub.call_entity(step.target, step.name, *arguments)
            if step.name != "delete":
                assert result == after(self.model, step).get(step.target, 0)
        self.model, self.under_way = after(self.model, step), None


async def found(hub: TaskHub) -> Model:
    """What there is, as a dictionary; queries and single reads agree."""
    await hub.wait_idle()
    page = await hub.query_entities()
    there = {info.entity_id: info.state for info in page.items if info.state is not None}
    for name in NAMES:
        for key in ("a", "b"):
            assert await hub.read_entity(EntityId(name, key)) == there.get(EntityId(name, key))
    return {entity_id: getattr(state, "value", state) for entity_id, state in there.items()}


async def live(client: Client, life: Life, store: ScriptedStore) -> None:
    """One process."""
    async with TaskHub("Model", DEFINITIONS, store, cache_bytes=life.cache_bytes) as hub:
        seen = await found(hub)
        if client.under_way is not None:
            after_it = after(client.model, client.under_way)
            assert seen in (client.model, after_it)
            client.model, client.under_way = seen, None
        assert seen == client.model
        for step in life.steps:
            await client.take(hub, step)
        if not life.dies_at:
            assert await found(hub) == client.model


@given(lives)
def test_E4_any_operations_are_like_a_dictionary(history: list[Life]) -> None:
    """In each process everything that was acknowledged is there once, failed operations left nothing, and so it is at the end."""
    client, store = Client({}), ScriptedStore()
    for life in history:
        if life.dies_at:
            store.harm(life.dies_at, life.harm)
        with suppress(ProcessDied):
            trio.run(live, client, life, store)
        store = store.reborn()
    trio.run(live, client, Life([], 0, Harm.DIED_BEFORE, 1), store)
    letters = {key[:8] for key in store.table(tables.LETTERS)}
    assert len(store.table(tables.INSTANCES)) <= len(client.model) + len(letters)
    assert store.table(tables.INBOX) == {}
