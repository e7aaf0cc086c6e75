"""Bad input at the hub's doors: each is told clearly, nothing is lost or half-done, and the hub goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from attrs import define
from perdure.entities import Entity, EntityId, EntityOperationFailed, UnknownEntity, UnknownOperation
from perdure.hub import TaskHub
from perdure.orchestration import InstanceNotFound, OrchestrationContext, OrchestrationFailed, activity, orchestrator
from perdure.storage import NotStorable
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, InsufficientFunds, Ledger, bank, receive

hubs: list[TaskHub] = []


@define
class Awkward(Entity):
    """Does everything wrong."""

    number: int = 0
    anything: object = None

    @property
    def doubled(self) -> int:
        """No operation."""
        return 2 * self.number

    @staticmethod
    def helper() -> int:
        """No operation either."""
        return 1

    def _hidden(self) -> int:
        return self.number

    def count(self) -> int:
        """The one good operation."""
        self.number += 1
        return self.number

    def keep_object(self) -> None:
        """A state that cannot be kept."""
        self.number = 99
        self.anything = object()

    def keep_wrong_type(self) -> None:
        """A state that its annotation does not allow."""
        self.number = "99"  # type: ignore[assignment]

    def return_object(self) -> object:
        """A result that cannot be kept."""
        self.number = 99
        return object()

    def return_wrong_type(self) -> int:
        """A result that its annotation does not allow."""
        self.number = 99
        return "99"  # type: ignore[return-value]

    def set_no_field(self) -> None:
        """An attribute that is no field."""
        self.number = 99
        self.numbr = 1  # type: ignore[attr-defined]

    def call_another(self) -> int:
        """What no operation may do."""
        self.number = 99
        return self.context.call_entity(Account.at("a"), Account.deposit, 1)  # type: ignore[attr-defined,no-any-return]

    def signal_badly(self) -> None:
        """A signal that cannot be sent."""
        self.number = 99
        self.context.signal_entity(Ledger.at("l"), Ledger.note, 7)
        self.context.signal_entity(Ledger.at("l"), "no_such_operation", 8)

    def start_badly(self) -> None:
        """A start that cannot be kept."""
        self.context.signal_entity(Ledger.at("l"), Ledger.note, 7)
        self.context.start(receive, instance_id="")

    async def call_through_the_hub(self) -> int:
        """The same by a detour."""
        self.number = 99
        return await hubs[0].call_entity(Account.at("a"), Account.deposit, 1)


@dataclass
class Loose(Entity):
    """A dataclass: Python lets it have any attribute."""

    number: int = 0

    def count(self) -> int:
        """The one good operation."""
        self.number += 1
        return self.number

    def set_no_field(self) -> None:
        """An attribute that is no field."""
        self.number = 99
        self.numbr = 1


@activity
async def bad_result(kind: str) -> int:
    """A result that its annotation does not allow, or that cannot be kept."""
    return {"type": "99", "object": object()}[kind]  # type: ignore[return-value]


@orchestrator
async def calls_bad_result(ctx: OrchestrationContext, kind: str) -> int:
    """Call it."""
    return await ctx.call_activity(bad_result, kind)


@orchestrator
async def returns_object(ctx: OrchestrationContext) -> object:
    """A result that cannot be kept."""
    await ctx.call_entity(Account.at("a"), Account.deposit, 1)
    return object()


def hub_on(store: Any) -> TaskHub:
    """A hub of everything in this file."""
    hub = bank(store, Awkward, Loose, bad_result, calls_bad_result, returns_object)
    hubs[:] = [hub]
    return hub


Verb = Callable[[TaskHub], Awaitable[Any]]


async def refused(verb: Verb, error: type[BaseException], says: str) -> None:
    """A verb is refused, commits nothing, and the hub goes on."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        await hub.start(receive, instance_id="there")
        await hub.call_entity(Account.at("a"), Account.deposit, 1)
        await hub.wait_idle()
        before, commits = store.disk.snapshot(), store.submitted
        with pytest.raises(error, match=says):
            await verb(hub)
        await hub.wait_idle()
        assert store.submitted == commits
        assert store.disk.snapshot() == before
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 2


# --- names and ids


@pytest.mark.parametrize("name", ["", "ab", "x" * 46, "1abc", "my hub", "my-hub", "häb", "abc\n", "a/b/c", "..."])
def test_I4_a_bad_hub_name_is_refused(name: str) -> None:
    """The message shows the name and says which are allowed."""
    with pytest.raises(ValueError, match=r"is no task hub name: 3 to 45 letters and digits \(ASCII\), the first a letter"):
        TaskHub(name, [], MemoryStore())


@pytest.mark.parametrize("name", [None, 7, b"bank"])
def test_I4_a_hub_name_is_text(name: Any) -> None:
    """Anything else is a TypeError that names its type."""
    with pytest.raises(TypeError, match=f"a task hub name is a str, not {type(name).__name__}"):
        TaskHub(name, [], MemoryStore())


BAD_INSTANCE_IDS = [
    ("", ValueError, "cannot be empty"),
    ("x" * 257, ValueError, "at most 256 characters"),
    ("é" * 201, ValueError, "400 UTF-8 bytes"),
    ("@x", ValueError, "begins with '@'"),
    ("a\nb", ValueError, "control character"),
    ("a\x85b", ValueError, "control character"),
    ("\ud800", ValueError, "lone surrogate"),
    (7, TypeError, "an instance id( is a str)?, not int"),
    (b"x", TypeError, "an instance id( is a str)?, not bytes"),
]
INSTANCE_DOORS: dict[str, Callable[[Any], Verb]] = {
    "start": lambda bad: lambda hub: hub.start(receive, instance_id=bad),
    "raise_event": lambda bad: lambda hub: hub.raise_event(bad, "go", 1),
    "terminate": lambda bad: lambda hub: hub.terminate(bad),
    "resume": lambda bad: lambda hub: hub.resume(bad),
    "get_status": lambda bad: lambda hub: hub.get_status(bad),
    "get_history": lambda bad: lambda hub: hub.get_history(bad),
    "describe": lambda bad: lambda hub: hub.describe(bad),
    "wait_for_result": lambda bad: lambda hub: hub.wait_for_result(bad),
    "instance": lambda bad: lambda hub: hub.instance(bad).result(),
}


@pytest.mark.parametrize("door", INSTANCE_DOORS)
@pytest.mark.parametrize(("bad", "error", "says"), BAD_INSTANCE_IDS)
async def test_I3_a_bad_instance_id_is_refused_at_every_door(door: str, bad: Any, error: type[Exception], says: str) -> None:
    """The same rule, the same words, and nothing is created."""
    await refused(INSTANCE_DOORS[door](bad), error, says)


@pytest.mark.parametrize(
    ("key", "error", "says"),
    [
        ("k" * 401, ValueError, "longer than 400 UTF-8 bytes"),
        ("\udfff", ValueError, "lone surrogate"),
        (7, TypeError, "str, not int"),
    ],
)
def test_I1_a_bad_entity_key_is_refused(key: Any, error: type[Exception], says: str) -> None:
    """With the class's own ``at`` and with a plain id."""
    with pytest.raises(error, match=says):
        Account.at(key)
    with pytest.raises(error, match=says):
        EntityId("account", key)


ENTITY_DOORS: dict[str, Callable[[Any], Verb]] = {
    "signal_entity": lambda ref: lambda hub: hub.signal_entity(ref, "deposit", 1),
    "call_entity": lambda ref: lambda hub: hub.call_entity(ref, "deposit", 1),
    "read_entity": lambda ref: lambda hub: hub.read_entity(ref),
    "dead_letters": lambda ref: lambda hub: hub.dead_letters(ref or ()),  # None means everybody's
}


@pytest.mark.parametrize("door", ENTITY_DOORS)
@pytest.mark.parametrize("ref", ["@account@a", Account, Account(5), None, ("account", "a")])
async def test_what_is_no_entity_id_is_refused_at_every_door(door: str, ref: Any) -> None:
    """The message names the verb, shows what an id looks like, and what was given."""
    await refused(ENTITY_DOORS[door](ref), TypeError, rf"{door} takes an entity id, such as Account\.at\('alice'\) gives, not ")


# --- operations


@pytest.mark.parametrize("verb", ["signal_entity", "call_entity"])
@pytest.mark.parametrize(
    "name", ["cuont", "", "__init__", "__eq__", "_hidden", "at", "context", "doubled", "number", "helper", "entity_name", "Count"]
)
async def test_E7_only_declared_operations_are_reachable(verb: str, name: str) -> None:
    """Private names, attributes, properties and the framework's own are no operations; the message lists those that are."""
    await refused(
        lambda hub: getattr(hub, verb)(Awkward.at("x"), name), UnknownOperation, rf"has no operation {name!r}; it has: .*count"
    )


@pytest.mark.parametrize("verb", ["signal_entity", "call_entity"])
@pytest.mark.parametrize(
    "function",
    [
        Awkward.__init__,
        Awkward._hidden,
        Awkward.at,
        Awkward.doubled,
        Awkward.number,
        Account.deposit,
        len,
        lambda self: 1,
        None,
        7,
    ],
)
async def test_E7_only_the_class_s_own_functions_are_operations(verb: str, function: Any) -> None:
    """The same when the operation is given as a function: one of another class, or no function at all, is refused."""
    await refused(
        lambda hub: getattr(hub, verb)(Awkward.at("x"), function),
        (UnknownOperation, TypeError),  # type: ignore[arg-type]
        r"is no method of Awkward|has no operation|an operation is a method such as Awkward\.method, or its name, not ",
    )


async def test_an_unknown_entity_is_told_at_the_call() -> None:
    """The message names the classes that are defined."""
    for verb in ("signal_entity", "call_entity"):
        await refused(
            lambda hub, verb=verb: getattr(hub, verb)(EntityId("acount", "a"), "deposit", 1),
            UnknownEntity,
            "'acount' is defined to this hub; defined are: account, awkward, ledger",
        )


@pytest.mark.parametrize("verb", ["signal_entity", "call_entity"])
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((), TypeError, "amount"),
        ((1, 2), TypeError, "1"),
        (("1",), NotStorable, "argument 'amount'"),
        ((1.5,), NotStorable, "argument 'amount'"),
        ((True,), NotStorable, "argument 'amount'"),
        ((object(),), NotStorable, "argument 'amount'"),
        ((None,), NotStorable, "argument 'amount'"),
    ],
)
async def test_E7_bad_arguments_are_refused_at_the_call(verb: str, arguments: Any, error: type[Exception], says: str) -> None:
    """Their number and their types are checked where they are passed; the message names the parameter."""
    await refused(lambda hub: getattr(hub, verb)(Account.at("a"), Account.deposit, *arguments), error, says)


# --- operations that fail


FAILING: dict[str, tuple[type[Entity], str, str]] = {
    "keep_object": (Awkward, "keep_object", r"state\.anything"),
    "keep_wrong_type": (Awkward, "keep_wrong_type", r"state\.number"),
    "return_object": (Awkward, "return_object", "result"),
    "return_wrong_type": (Awkward, "return_wrong_type", "result"),
    "set_no_field": (Awkward, "set_no_field", "numbr"),
    "set_no_field of a dataclass": (Loose, "set_no_field", "numbr"),
    "call_another": (Awkward, "call_another", r"could deadlock \(E8\).*orchestration"),
    "call_through_the_hub": (Awkward, "call_through_the_hub", r"could deadlock \(E8\): signal it, or use an orchestration"),
    "signal_badly": (Awkward, "signal_badly", "has no operation 'no_such_operation'"),
    "start_badly": (Awkward, "start_badly", "an instance id cannot be empty"),
}


@pytest.mark.parametrize("case", FAILING)
async def test_E4_an_operation_that_fails_leaves_no_trace(case: str) -> None:
    """Its caller is told what was wrong; its state and signals are undone, those before and after it are not touched."""
    cls, operation, says = FAILING[case]
    store = MemoryStore()
    async with hub_on(store) as hub:
        assert await hub.call_entity(cls.at("x"), "count") == 1
        with pytest.raises(EntityOperationFailed, match=says):
            await hub.call_entity(cls.at("x"), operation)
        assert await hub.call_entity(cls.at("x"), "count") == 2
        await hub.wait_idle()
        assert await hub.read_entity(Ledger.at("l")) is None
        assert await hub.read_entity(Account.at("a")) is None
    async with hub_on(store) as hub:
        assert await hub.call_entity(cls.at("x"), "count") == 3


@pytest.mark.parametrize("case", FAILING)
async def test_E4_a_signal_that_fails_is_kept_and_logged(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for a signal, so its failure is in the log and among the dead letters, with what was wrong."""
    cls, operation, says = FAILING[case]
    async with hub_on(MemoryStore()) as hub:
        await hub.signal_entity(cls.at("x"), operation)
        assert await hub.call_entity(cls.at("x"), "count") == 1
        (letter,) = (await hub.dead_letters(cls.at("x"))).items
    assert letter.operation == operation
    (line,) = [record for record in caplog.records if "dead letter" in record.message]
    assert line.levelno == logging.WARNING
    for text in (str(letter.failure), line.message):
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(text)


async def test_E4_an_operation_that_raises_undoes_everything() -> None:
    """State, signals and starts of an operation that raises in the end are gone; its neighbours' are not."""
    async with hub_on(MemoryStore()) as hub:
        async with hub.batch() as batch:
            batch.signal_entity(Ledger.at("l"), Ledger.note_and_pass, 1, "m")
            batch.signal_entity(Ledger.at("l"), Ledger.note_and_fail, 2, "m")
            batch.signal_entity(Ledger.at("l"), Ledger.note_and_pass, 3, "m")
        await hub.wait_idle()
        assert await hub.read_entity(Ledger.at("l")) == Ledger([1, 3])
        assert await hub.read_entity(Ledger.at("m")) == Ledger([1, 3])
        with pytest.raises(InstanceNotFound):
            await hub.instance("never-2").status()


async def test_E4_a_first_operation_that_fails_creates_nothing() -> None:
    """An entity whose only operation failed does not exist."""
    store = ScriptedStore()
    async with hub_on(store) as hub:
        with pytest.raises(EntityOperationFailed) as failed:
            await hub.call_entity(Account.at("new"), Account.withdraw, 5)
        assert failed.value.failure.is_caused_by(InsufficientFunds)
        assert "5 > 0" in str(failed.value)
        assert await hub.read_entity(Account.at("new")) is None
        await hub.wait_idle()
    assert store.table("directory") == {}


@pytest.mark.parametrize("kind", ["type", "object"])
async def test_an_activity_with_a_bad_result_fails(kind: str) -> None:
    """The orchestration that called it is told, and names the activity and the result."""
    async with hub_on(MemoryStore()) as hub:
        instance = await hub.start(calls_bad_result, kind)
        with pytest.raises(OrchestrationFailed, match=r"the result of activity 'bad_result'"):
            await instance.result()
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 1


async def test_an_orchestration_with_a_bad_result_fails() -> None:
    """The instance is Failed, says what was wrong, and what it did before stays done."""
    async with hub_on(MemoryStore()) as hub:
        instance = await hub.start(returns_object)
        with pytest.raises(OrchestrationFailed, match=r"the result of orchestrator 'returns_object'"):
            await instance.result()
        assert await hub.call_entity(Account.at("a"), Account.deposit, 1) == 2
