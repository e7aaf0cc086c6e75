"""Bad definitions, starts, events and other requests: each is told clearly, and nothing is half-done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest
from attrs import define
from perdure.entities import DefinitionError, Entity, EntityOperationFailed, entity
from perdure.hub import TaskHub
from perdure.orchestration import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    OrchestrationContext,
    OrchestrationFailed,
    UnknownOrchestrator,
    activity,
    orchestrator,
)
from perdure.storage import NotStorable
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import ScriptedStore

from .helpers import Account, bank, receive

Verb = Callable[[TaskHub], Awaitable[Any]]

# --- definitions


def plain() -> None:
    """No definition."""


@define
class NoEntity:
    """No entity class."""


@pytest.mark.parametrize("thing", [plain, NoEntity, Entity, Account(), Account.at("a"), "Account", 7, None, print])
def test_what_is_no_definition_is_refused(thing: Any) -> None:
    """The message shows the thing and says what a hub takes."""
    with pytest.raises(
        DefinitionError, match=r"is no definition: a hub takes classes that derive from Entity, functions decorated"
    ):
        TaskHub("Bank", [Account, thing], MemoryStore())


def test_a_module_without_definitions_is_refused() -> None:
    """It is most likely the wrong module, so the message names it."""
    with pytest.raises(DefinitionError, match="module 'empty' holds no entity, orchestrator or activity"):
        TaskHub("Bank", [ModuleType("empty")], MemoryStore())


def _second(name: str) -> object:
    @entity(name=name)
    @define
    class Second(Entity):
        """Another one."""

    return Second


def _same_activity() -> object:
    @activity(name="receipt")
    async def other() -> None:
        """Another one."""

    return other


def _same_orchestrator() -> object:
    @orchestrator(name="transfer")
    async def other(ctx: OrchestrationContext) -> None:
        """Another one."""

    return other


@pytest.mark.parametrize(
    ("kind", "name", "second"),
    [
        ("entities", "account", _second("ACCOUNT")),
        ("activities", "receipt", _same_activity()),
        ("orchestrators", "transfer", _same_orchestrator()),
        ("entities", "account", Account),
    ],
)
def test_two_of_one_name_are_refused(kind: str, name: str, second: object) -> None:
    """Names that differ in case only, and the same definition given twice, included; the message says how to tell them apart."""
    with pytest.raises(DefinitionError, match=f"two {kind} are named '{name}'.*; give one of them another name="):
        bank(MemoryStore(), second)


def test_one_name_for_different_kinds_is_fine() -> None:
    """An entity class, an orchestrator and an activity may share a name."""

    @activity(name="account")
    async def as_activity() -> None:
        """One."""

    @orchestrator(name="account")
    async def as_orchestrator(ctx: OrchestrationContext) -> None:
        """Two."""

    assert bank(MemoryStore(), as_activity, as_orchestrator).name == "bank"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"cache_bytes": 0}, ValueError, "cache_bytes is a number above 0, not 0"),
        ({"threads_max": -1}, ValueError, "threads_max is a number above 0, not -1"),
        ({"request_ttl": "1 day"}, ValueError, "request_ttl is a number above 0, not '1 day'"),
        ({"request_limit": True}, ValueError, "request_limit is a number above 0, not True"),
        ({"request_ttl": float("nan")}, ValueError, "request_ttl is a number above 0, not nan"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    """By name and value, before anything is opened."""
    with pytest.raises(error, match=says):
        bank(MemoryStore(), **options)


@pytest.mark.parametrize("storage", [None, 7, b"bank.db", Account])
def test_storage_of_a_wrong_type_is_refused(storage: Any) -> None:
    """Something that is neither a path nor a store is told so when the hub is made."""
    with pytest.raises(TypeError, match="stor"):
        TaskHub("Bank", [Account], storage)


def test_definitions_of_a_wrong_type_are_refused() -> None:
    """A definition that was passed without a list is told so."""
    with pytest.raises(TypeError, match="definitions"):
        TaskHub("Bank", Account, MemoryStore())  # type: ignore[arg-type]


# --- starts and events


REFUSED: dict[str, tuple[type[Exception], str, Verb]] = {
    "start of a plain function": (TypeError, "decorated with @orchestrator, or its name, not", lambda hub: hub.start(plain)),
    "start of an activity": (TypeError, "decorated with @orchestrator", lambda hub: hub.start(activity(plain))),
    "start of nothing": (TypeError, "decorated with @orchestrator", lambda hub: hub.start(None)),
    "start by a wrong name": (
        UnknownOrchestrator,
        "'recieve'.*defined are: '?receive'?, '?transfer",
        lambda hub: hub.start("recieve"),
    ),
    "start with too many arguments": (TypeError, "1", lambda hub: hub.start(receive, 1)),
    "start with too few arguments": (TypeError, "payee", lambda hub: hub.start("transfer", "a")),
    "start with a bad argument": (NotStorable, "argument 'amount'", lambda hub: hub.start("transfer", "a", "b", "1")),
    "start with an unknown if_exists": (
        ValueError,
        "if_exists is one of 'fail', 'return', .*not 'perhaps'",
        lambda hub: hub.start(receive, if_exists="perhaps"),
    ),
    "start of what runs": (
        InstanceExists,
        "'there' exists already and is still running",
        lambda hub: hub.start(receive, instance_id="there"),
    ),
    "start of what has ended": (
        InstanceExists,
        "'over' exists already; choose",
        lambda hub: hub.start(receive, instance_id="over"),
    ),
    "event to nobody": (InstanceNotFound, "there is no instance 'nobody'", lambda hub: hub.raise_event("nobody", "go")),
    "event to what has ended": (
        InstanceFinished,
        r"'over' has finished \(Completed\)",
        lambda hub: hub.raise_event("over", "go"),
    ),
    "event without a name": (ValueError, "1 to 200 characters", lambda hub: hub.raise_event("there", "", 1)),
    "event with a name that is no text": (
        TypeError,
        "an event's name is a str, not int",
        lambda hub: hub.raise_event("there", 7, 1),
    ),
    "event with half a character for a name": (ValueError, "surrogate", lambda hub: hub.raise_event("there", "\ud800", 1)),
    "event with an object": (NotStorable, "value", lambda hub: hub.raise_event("there", "go", object())),
    "terminate nobody": (InstanceNotFound, "terminate: there is no instance 'nobody'", lambda hub: hub.terminate("nobody")),
    "terminate what has ended": (InstanceFinished, "terminate: the instance 'over'", lambda hub: hub.terminate("over", "x")),
    "terminate for an odd reason": (TypeError, "reason.*int", lambda hub: hub.terminate("there", 7)),
    "terminate for half a character": (ValueError, "reason.*surrogate", lambda hub: hub.terminate("there", "\ud800")),
    "cancel for an odd reason": (TypeError, "reason.*int", lambda hub: hub.cancel("there", 7)),
    "cancel for half a character": (ValueError, "reason.*surrogate", lambda hub: hub.cancel("there", "\ud800")),
    "suspend for an odd reason": (TypeError, "reason.*int", lambda hub: hub.suspend("there", 7)),
    "suspend for half a character": (ValueError, "reason.*surrogate", lambda hub: hub.suspend("there", "\ud800")),
    "resume for an odd reason": (TypeError, "reason.*int", lambda hub: hub.resume("there", 7)),
    "start with odd tags": (TypeError, "tag", lambda hub: hub.start(receive, tags=7)),
    "start with an odd tag": (TypeError, "a tag is a str with a str", lambda hub: hub.start(receive, tags={"a": 7})),
    "resume nobody": (InstanceNotFound, "resume: there is no instance", lambda hub: hub.resume("nobody")),
    "status of nobody": (InstanceNotFound, "there is no instance 'nobody'", lambda hub: hub.get_status("nobody")),
    "history of nobody": (InstanceNotFound, "there is no instance 'nobody'", lambda hub: hub.get_history("nobody")),
    "description of nobody": (InstanceNotFound, "there is no instance 'nobody'", lambda hub: hub.describe("nobody")),
    "result of nobody": (InstanceNotFound, "there is no instance 'nobody'", lambda hub: hub.wait_for_result("nobody")),
    "terminate with a word for recursive": (
        TypeError,
        "recursive is True or False, not str: 'no'",
        lambda hub: hub.terminate("there", recursive="no"),
    ),
    "purge with a word for force": (
        TypeError,
        "force is True or False, not str: 'no'",
        lambda hub: hub.purge_instance("there", force="no"),
    ),
    "restart with a word for new_id": (TypeError, "new_id is True or False", lambda hub: hub.restart("over", new_id="no")),
    "restart with an unknown if_exists": (
        ValueError,
        "if_exists is one of 'fail', .*not 'perhaps'",
        lambda hub: hub.restart("over", new_id=False, if_exists="perhaps"),
    ),
    "a query for an unknown status": (
        ValueError,
        "'Runing' is not a valid RuntimeStatus; there are: Pending, Running",
        lambda hub: hub.query_instances(status="Runing"),
    ),
    "a query for a name that is no text": (TypeError, "name is a str, not int: 7", lambda hub: hub.query_instances(name=7)),
    "a query for half a character": (ValueError, "id_prefix.*surrogate", lambda hub: hub.query_instances(id_prefix="\ud800")),
    "a query for a tag that is no text": (
        TypeError,
        "a tag is a str, not int: 7",
        lambda hub: hub.query_instances(tags={"a": 7}),
    ),
    "a query for tags that are none": (TypeError, "tags is a mapping", lambda hub: hub.query_instances(tags="a")),
    "a query for a naive time": (ValueError, "naive", lambda hub: hub.query_instances(created_from=datetime(2040, 1, 1))),
    "a page of so many": (ValueError, "1 to 10000 items, not 'many'", lambda hub: hub.query_instances(limit="many")),
    "a purge for a name that is no text": (TypeError, "name is a str, not int: 7", lambda hub: hub.purge(name=7)),
    "a change of what is no status": (
        TypeError,
        "known is what instance.status",
        lambda hub: hub.wait_for_status_change("there", "Running"),
    ),
    "a start at a naive time": (ValueError, "naive", lambda hub: hub.start(receive, start_at=datetime(2040, 1, 1))),
    "event to an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.raise_event(Account.at("a"), "go")),
    "cancel an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.cancel(Account.at("a"))),
    "suspend an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.suspend(Account.at("a"))),
    "rewind an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.rewind(Account.at("a"))),
    "restart an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.restart(Account.at("a"))),
    "query an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.query(Account.at("a"), "x")),
    "update an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.update(Account.at("a"), "x")),
    "purge an entity": (TypeError, "instance id is a str, not EntityRef", lambda hub: hub.purge_instance(Account.at("a"))),
    "start under an entity's id": (
        TypeError,
        "instance id is a str, not EntityRef",
        lambda hub: hub.start(receive, instance_id=Account.at("a")),
    ),
    "a negative timeout": (ValueError, "timeout is a number of seconds", lambda hub: hub.wait_for_result("there", -1)),
    "a timeout in words": (ValueError, "timeout is a number of seconds", lambda hub: hub.wait_for_result("there", "soon")),
    "a timeout for what has ended": (ValueError, "timeout is a number of seconds", lambda hub: hub.wait_for_result("over", -1)),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bad_request_is_refused_and_nothing_is_done(case: str) -> None:
    """The error says what was wrong with which value; the disk is as it was, and the hub goes on."""
    error, says, verb = REFUSED[case]
    store = ScriptedStore()
    async with bank(store) as hub:
        await hub.start(receive, instance_id="there")
        await hub.start(receive, instance_id="over")
        await hub.raise_event("over", "go", 1)
        await hub.wait_idle()
        before, commits = store.disk.snapshot(), store.submitted
        with pytest.raises(error, match=says):
            await verb(hub)
        await hub.wait_idle()
        assert (store.submitted, store.disk.snapshot()) == (commits, before)
        await hub.raise_event("there", "go", 2)
        assert await hub.instance("there").result() == 2


@define
class Herald(Entity):
    """Raises events with names that cannot be kept."""

    number: int = 0

    def announce(self, name: str) -> None:
        """Raise one, in a context where a name may be anything."""
        self.context.raise_event("there", chr(0xD800) if name == "half a character" else name, 1)

    def count(self) -> int:
        """Go on."""
        self.number += 1
        return self.number


@orchestrator
async def announces(ctx: OrchestrationContext, name: str) -> None:
    """The same in an orchestration."""
    ctx.raise_event("there", chr(0xD800) if name == "half a character" else name, 1)


@pytest.mark.parametrize("name", ["", "half a character", "x" * 201])
async def test_a_bad_event_name_fails_the_code_that_used_it_and_not_the_hub(name: str) -> None:
    """In an operation and in an orchestration it is their failure; the hub goes on, and opens again."""
    store = MemoryStore()
    async with bank(store, Herald, announces) as hub:
        await hub.start(receive, instance_id="there")
        with pytest.raises(EntityOperationFailed, match=r"1 to 200 characters|surrogate"):
            await hub.call_entity(Herald.at("h"), Herald.announce, name)
        instance = await hub.start(announces, name)
        with pytest.raises(OrchestrationFailed, match=r"1 to 200 characters|surrogate"):
            await instance.result()
        assert await hub.call_entity(Herald.at("h"), Herald.count) == 1
    async with bank(store, Herald, announces) as hub:
        assert await hub.call_entity(Herald.at("h"), Herald.count) == 2
