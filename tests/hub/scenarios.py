"""A scenario: one orchestration on a whole hub, what is done to it meanwhile, and what must come of it.

The harness runs every scenario again and again, dropping the code or the whole hub in between, and a client repeats what it
does in each life. So a deed is made to be repeated: with a request id (D8), or only while it is still to be done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio
from attrs import field, frozen
from perdure.entities import EntityRef
from perdure.hub import TaskHub
from perdure.orchestration import Orchestrator
from perdure.orchestration.history import CancelRequested
from perdure.orchestration.status import RuntimeStatus

from ..orchestration import corpus

Act: TypeAlias = Callable[[TaskHub, str], Awaitable[object]]
"""Given the hub and a request id that is the deed's own."""

INSTANCE = "shape"


@frozen
class Deed:
    """Something that a client does.

    Attributes:
      act: what.
      at: at that virtual second; ``None`` is as soon as everything before it has been worked off.
    """

    act: Act
    at: float | None = None


@frozen
class Scenario:
    """One scenario.

    Attributes:
      orchestrator: it is started as the instance ``shape``.
      definitions: of everything that it needs.
      arguments: of the start.
      deeds: then these are done, one after another.
      result: it completes with that; ``None`` if it fails.
      failure: a part of the message that it fails with.
      tallies: the values of tallies in the end.
      timed: it needs virtual time; its times differ from run to run, and so do those in its journals.
      draws: it sends random or time values along, so two runs of it have different arguments in their journals.
      options: of the hub.
    """

    orchestrator: Orchestrator[Any, *tuple[Any, ...]]
    definitions: list[object]
    arguments: tuple[Any, ...] = ()
    deeds: tuple[Deed, ...] = ()
    result: Any = None
    failure: str | None = None
    tallies: dict[str, int] = field(factory=dict[str, int])
    timed: bool = True
    draws: bool = False
    options: dict[str, Any] = field(factory=dict[str, Any])

    def __str__(self) -> str:
        return self.orchestrator.name


# --- deeds


def raising(name: str, value: Any = None, instance_id: str = INSTANCE, *, at: float | None = None) -> Deed:
    """Raise an event; with a time, unless the instance has ended by then."""

    async def act(hub: TaskHub, request_id: str) -> None:
        if at is None or not (await hub.get_status(instance_id)).runtime_status.final:
            await hub.raise_event(instance_id, name, value, request_id=request_id)

    return Deed(act, at)


def signalling(ref: EntityRef[Any], operation: Any, *arguments: Any, at: float | None = None) -> Deed:
    """Signal an entity."""
    return Deed(lambda hub, request_id: hub.signal_entity(ref, operation, *arguments, request_id=request_id), at)


def updating(name: str, *arguments: Any, answer: Any, at: float | None = None) -> Deed:
    """Ask for an update, which must answer that."""

    async def act(hub: TaskHub, request_id: str) -> None:
        assert await hub.update(INSTANCE, name, *arguments, request_id=request_id) == answer

    return Deed(act, at)


def cancelling(reason: str, *, at: float | None = None) -> Deed:
    """Cancel it once."""

    async def act(hub: TaskHub, _: str) -> None:
        if not any(isinstance(entry, CancelRequested) for entry in await hub.get_history(INSTANCE)):
            await hub.cancel(INSTANCE, reason)

    return Deed(act, at)


def rewinding(reason: str, *, at: float | None = None) -> Deed:
    """Rewind it, if it has failed."""

    async def act(hub: TaskHub, _: str) -> None:
        if (await hub.get_status(INSTANCE)).runtime_status is RuntimeStatus.FAILED:
            await hub.rewind(INSTANCE, reason)

    return Deed(act, at)


def suspending(*, at: float, until: float) -> tuple[Deed, Deed]:
    """Suspend it, and resume it later; each is done while its time is not over, and it is not so already."""

    async def suspend(hub: TaskHub, _: str) -> None:
        if trio.current_time() < until and (await hub.get_status(INSTANCE)).runtime_status is RuntimeStatus.RUNNING:
            await hub.suspend(INSTANCE, "wait")

    async def resume(hub: TaskHub, _: str) -> None:
        if (await hub.get_status(INSTANCE)).runtime_status is RuntimeStatus.SUSPENDED:
            await hub.resume(INSTANCE, "go on")

    return Deed(suspend, at), Deed(resume, until)


def terminating(reason: str, *, instance_id: str, at: float) -> Deed:
    """Terminate an instance that has not ended."""

    async def act(hub: TaskHub, _: str) -> None:
        if not (await hub.get_status(instance_id)).runtime_status.final:
            await hub.terminate(instance_id, reason)

    return Deed(act, at)


def replacing(orchestrator: Orchestrator[Any, *tuple[Any, ...]], *arguments: Any, instance_id: str, at: float) -> Deed:
    """Start another execution in place of the one that an instance has."""

    async def act(hub: TaskHub, request_id: str) -> None:
        await hub.start(orchestrator, *arguments, instance_id=instance_id, if_exists="replace", request_id=request_id)

    return Deed(act, at)


# --- all of them


PLANS: list[Scenario] = []
DEFINITIONS: list[object] = []


def defined(definition: Any) -> Any:
    """Take what timed scenarios call; a decorator."""
    DEFINITIONS.append(definition)
    return definition


def plan(result: Any, *deeds: Deed, options: dict[str, Any] | None = None, **tallies: int) -> Callable[[Any], Any]:
    """Take an orchestrator as a timed scenario; a decorator."""

    def take(body: Any) -> Any:
        PLANS.append(Scenario(defined(body), DEFINITIONS, (), deeds, result, tallies=tallies, options=options or {}))
        return body

    return take


def of_shape(shape: corpus.Shape) -> Scenario:
    """A shape of the corpus as a scenario."""
    return Scenario(
        shape.orchestrator,
        corpus.DEFINITIONS,
        shape.arguments,
        tuple(raising(each.name, each.value, each.instance_id) for each in shape.happenings),
        shape.result,
        shape.failure,
        timed=False,
        draws=shape.draws,
    )
