"""Any key and any value, over every boundary and a restart (E6, E12, I1, I2).

A value goes in as an argument and comes out as a result, of operations, activities and orchestrations; it is a state that is
read, queried and called for; and where no type is declared it is an event, a custom status, a function entity's input and
state. Then the process ends, and the next one finds it again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import Entity, EntityContext, EntityId, entity, read_only
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, activity, orchestrator
from perdure.storage.memory_store import MemoryStore

from ..storage.value_strategies import fingerprint, plain_values, typed_values

Program = Callable[[TaskHub], Awaitable[None]]

characters = st.characters(exclude_categories=["Cs"])
awkward = [
    "",
    "@",
    "a@b",
    "@a@b",
    "/",
    "a/b",
    "\0",
    "a\0",
    "\0a",
    " ",
    "#?%",
    "é",
    "e\u0301",
    "ﬁ",
    "İ",
    "ß",
    "\U0010ffff",
    "\uffff",
]
longest = ["k" * 400, "é" * 200, "e\u0301" * 133, "あ" * 133 + "k", "😀" * 100, "@" * 400, "\0" * 400]
fitting = st.text(characters, max_size=400).filter(lambda key: len(key.encode()) <= 400)
composed = fitting.map(lambda key: unicodedata.normalize("NFC", key))
decomposed = fitting.map(lambda key: unicodedata.normalize("NFD", key)).filter(lambda key: len(key.encode()) <= 400)
keys = st.sampled_from(awkward) | st.sampled_from(longest) | fitting | composed | decomposed


def box_of(tp: Any) -> Any:
    """An entity class that keeps a value of a type; it is what a user would write with that annotation."""

    def put(self: Any, value: Any) -> Any:
        self.value = value
        return value

    def get(self: Any) -> Any:
        return self.value

    put.__annotations__ = {"value": tp, "return": tp}
    get.__annotations__ = {"return": tp}
    body = {"put": put, "get": read_only(get)}
    return attrs.make_class("Box", {"value": attrs.field(default=None, type=tp)}, bases=(Entity,), class_body=body)


def pipeline_of(tp: Any, box: Any) -> tuple[Any, Any]:
    """An activity and an orchestrator through which a value of a type goes."""

    async def echo(value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    async def carry(ctx: OrchestrationContext, key: str, value: Any) -> Any:
        echoed = await ctx.call_activity(echoing, value)
        return await ctx.call_entity(box.at(key), box.put, echoed)

    echo.__annotations__ = {"value": tp, "return": tp}
    carry.__annotations__ |= {"value": tp, "return": tp}
    echoing = activity(echo)
    return echoing, orchestrator(carry)


@entity(read_only=["get"])
def slot(ctx: EntityContext) -> Any:
    """A function that keeps what it is given."""
    if ctx.operation == "put":
        ctx.set_state(ctx.get_input())
    return ctx.get_state()


@orchestrator
async def note(ctx: OrchestrationContext) -> None:
    """Wait for an event, show its value, and pass it on."""
    value = await ctx.wait_for_external_event("value")
    ctx.set_custom_status(value)
    ctx.raise_event("listener", "value", value)


@orchestrator
async def listen(ctx: OrchestrationContext) -> Any:
    """Wait for an event; its value."""
    return await ctx.wait_for_external_event("value")


def in_two_lives(definitions: list[object], first: Program, second: Program) -> None:
    """Run two programs, one process after the other, on one storage."""
    store = MemoryStore()

    async def life(program: Program) -> None:
        async with TaskHub("Boundaries", definitions, store) as hub:
            await program(hub)

    trio.run(life, first)
    trio.run(life, second)


@given(pair=typed_values(), key=keys)
def test_E6_any_value_of_a_declared_type(pair: tuple[Any, Any], key: str) -> None:
    """A value of any type comes back identical: as argument, result, state and query, in this process and in the next."""
    tp, value = pair
    box = box_of(tp)
    activities, carry = pipeline_of(tp, box)
    expected = fingerprint(value)

    async def check(hub: TaskHub) -> None:
        state = await hub.read_entity(box.at(key))
        (info,) = (await hub.query_entities(name="box")).items
        status = await hub.instance("carried").status()
        got = [state.value, await hub.call_entity(box.at(key), box.get), info.state.value, status.input[1], status.output]
        assert [fingerprint(each) for each in got] == [expected] * len(got)
        assert (info.entity_id, status.input[0]) == (box.at(key), key)

    async def first(hub: TaskHub) -> None:
        assert fingerprint(await hub.call_entity(box.at(key), box.put, value)) == expected
        instance = await hub.start(carry, key, value, instance_id="carried")
        assert fingerprint(await instance.result()) == expected
        await check(hub)

    in_two_lives([box, activities, carry], first, check)


@given(value=plain_values(), key=keys)
def test_E6_any_value_without_a_declared_type(value: Any, key: str) -> None:
    """A plain value comes back identical: as event, custom status and as input and state of a function, in this process and the next."""
    expected = fingerprint(value)

    async def check(hub: TaskHub) -> None:
        status = await hub.instance("note").status()
        got = [
            status.custom_status,
            await hub.instance("listener").result(),
            await hub.call_entity(slot.at(key), "get"),
            await hub.read_entity(slot.at(key)),
            (await hub.query_entities(name="slot")).items[0].state,
        ]
        assert [fingerprint(each) for each in got] == [expected] * len(got)

    async def first(hub: TaskHub) -> None:
        await hub.start(listen, instance_id="listener")
        await (await hub.start(note, instance_id="note")).raise_event("value", value)
        assert fingerprint(await hub.call_entity(slot.at(key), "put", value)) == expected
        await hub.wait_idle()
        await check(hub)

    in_two_lives([slot, note, listen], first, check)


@given(several=st.lists(keys, min_size=1, max_size=8, unique=True))
def test_I1_any_keys_are_entities_of_their_own(several: list[str]) -> None:
    """Each key has its own state, whatever its characters; in queries they come in the order of their bytes (I2)."""
    box = box_of(int)
    numbers = {EntityId("box", key): number for number, key in enumerate(several)}

    async def check(hub: TaskHub) -> None:
        for entity_id, number in numbers.items():
            assert (await hub.read_entity(entity_id)).value == number
            assert await hub.call_entity(EntityId.parse(str(entity_id)), "get") == number
            assert (await hub.describe(entity_id)).entity_id == entity_id
        found = [(info.entity_id, info.state.value) async for info in hub.iter_entities()]
        assert found == sorted(numbers.items(), key=lambda pair: pair[0].key.encode())
        for key in several:
            page = await hub.query_entities(name="BOX", key_prefix=key, include_state=False)
            assert {info.entity_id.key for info in page.items} == {each for each in several if each.startswith(key)}

    async def first(hub: TaskHub) -> None:
        for entity_id, number in numbers.items():
            await hub.signal_entity(entity_id, "put", number)
        await hub.wait_idle()
        await check(hub)

    in_two_lives([box], first, check)


async def test_I1_composed_and_decomposed_keys_are_different() -> None:
    """A letter with an accent is another key than the letter and the accent, and both are kept as they are."""
    box = box_of(int)
    async with TaskHub("Boundaries", [box], MemoryStore()) as hub:
        await hub.call_entity(box.at("é"), "put", 1)
        await hub.call_entity(box.at("e\u0301"), "put", 2)
        assert [info.entity_id.key async for info in hub.iter_entities()] == ["e\u0301", "é"]
        assert (await hub.read_entity(box.at("é"))).value == 1
