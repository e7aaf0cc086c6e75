"""What clients ask for: checked and encoded, but not accepted yet.

Single verbs and :class:`ClientBatch` take the same way: make intents (which refuses bad names and arguments), then
:func:`submit` them. All of them are checked against the hub before the first is accepted, and nothing is awaited in
between, so either all are accepted, in order, or none is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, get_args

import msgspec
from attrs import field, frozen

from ..entities.delayed import delivery_time, signal_id
from ..entities.ids import EntityId
from ..entities.messages import Operation, SendLater
from ..entities.times import due_time
from ..orchestration.errors import InstanceExists, InstanceFinished, InstanceNotFound
from ..orchestration.messages import EventRaised, OrchestrationMessage, StartExecution
from ..storage import tables
from ..storage.errors import DamagedRecord
from . import limits
from .cells import AnyCell, EntityCell, OrchestrationCell
from .errors import LimitReached
from .random_ids import new_instance_id
from .requests import fingerprint
from .runtime import Runtime

IfExists = Literal["fail", "return", "replace_finished", "replace"]
_IF_EXISTS: Final = get_args(IfExists)


def check_room(cell: AnyCell | None, target: object) -> None:
    """Refuse a client's message for an instance whose mailbox is full; one that is not in memory has room.

    Raises:
      LimitReached: it is full.
    """
    if cell is not None and cell.machine.mailbox.waiting >= limits.MAILBOX_MESSAGES_MAX:
        raise LimitReached(
            f"{limits.MAILBOX_MESSAGES_MAX} messages wait for {target}, which is the limit: it is locked, suspended or busy "
            "(hub.describe tells); send again when it goes on"
        )


def check_sound(cell: AnyCell, *, waits: bool = False) -> None:
    """Refuse a client's message that would be lost, or never be answered, because something is damaged on disk (D9).

    A message for an instance whose record is damaged is kept with it, until the record is mended. If the entry in the directory is
    damaged, nothing leads to the instance's number.

    Args:
      cell: the instance.
      waits: the client waits for an answer.

    Raises:
      DamagedRecord: it is, and the message is not taken.
    """
    if cell.damaged and not cell.stored:
        raise DamagedRecord(tables.DIRECTORY, cell.directory_key)
    if cell.damaged and waits:
        raise DamagedRecord(
            tables.INSTANCES, cell.prefix, "cannot be used, so nothing would answer (the log says what of it is damaged)"
        )


def check_flag(value: object, name: str) -> bool:
    """Return what was given for an option that is on or off.

    Raises:
      TypeError: it is no bool. What is merely true, such as "no", is not taken for one: it may end or remove something.
    """
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name} is True or False, not {type(value).__name__}: {value!r}")


def check_if_exists(if_exists: object) -> None:
    """Refuse what is none of the choices.

    Raises:
      ValueError: it is none.
    """
    if if_exists not in _IF_EXISTS:
        raise ValueError(f"if_exists is one of {', '.join(map(repr, _IF_EXISTS))}, not {if_exists!r}")


class Intent(Protocol):
    """One thing that a client asks for."""

    @property
    def request_id(self) -> str | None:
        """The request id, if the client gave one (D8)."""
        ...

    def asked(self) -> bytes:
        """The fingerprint of what is asked for."""
        ...

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """Refuse what the hub's state does not allow; true if it is to be accepted, false if there is nothing to do.

        Args:
          runtime: the hub.
          starting: the instances that earlier intents of the same batch start.
        """
        ...

    def accept(self, runtime: Runtime) -> None:
        """Put it into the engine."""
        ...


class SignalIntent(msgspec.Struct, eq=False):
    """An operation for an entity, without an answer.

    Attributes:
      cell: the entity, once it was checked.
    """

    target: EntityId
    message: Operation
    request_id: str | None = None
    cell: EntityCell | None = None

    def asked(self) -> bytes:
        """The fingerprint of what is asked for."""
        return fingerprint("signal", str(self.target), self.message.name, self.message.arguments)

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """An entity accepts everything that it has room for. The caller has looked whether the hub has."""
        del starting
        if runtime.space.refusal is not None:
            runtime.space.check(self.message.name)
        cell = self.cell = runtime.residence.entity(self.target)
        if cell.damaged or cell.machine.mailbox.waiting >= limits.MAILBOX_MESSAGES_MAX:
            check_room(cell, self.target)
            check_sound(cell)
        return True

    def accept(self, runtime: Runtime) -> None:
        """Put it into the entity's mailbox; nothing has run since it was checked."""
        assert self.cell is not None
        runtime.engine.to_cell(self.cell, self.message)
        if self.request_id is not None:
            runtime.requests.keep(self.request_id, self.asked(), runtime.engine.batch)


@frozen
class DelayedIntent:
    """An operation that is to be delivered to an entity at a time (E10).

    Attributes:
      effect: the signal.
      deliver_at: the time or the delay as the client gave it; the time that a delay amounts to differs in each repetition.
    """

    effect: SendLater
    deliver_at: datetime | timedelta | float
    request_id: str | None = None

    def asked(self) -> bytes:
        """The fingerprint of what is asked for."""
        message, time = self.effect.message, self.deliver_at
        moment = ("at", due_time(time, 0)) if isinstance(time, datetime) else ("after", due_time(time, 0))
        return fingerprint("signal later", str(self.effect.target), message.name, message.arguments, *map(str, moment))

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """What is for later needs no room in a mailbox now, but is stored."""
        del starting
        runtime.space.check(self.effect.message.name)
        return True

    def accept(self, runtime: Runtime) -> None:
        """Store it."""
        runtime.engine.delayed.send(self.effect, "", runtime.engine.batch)
        if self.request_id is not None:
            runtime.requests.keep(self.request_id, self.asked(), runtime.engine.batch, self.effect.signal_id)


@frozen
class CancelSignalIntent:
    """The end of a delayed signal, if it was not delivered yet (E10)."""

    signal_id: str
    request_id: None = None

    def asked(self) -> bytes:
        """The fingerprint of what is asked for."""
        return fingerprint("cancel signal", self.signal_id)

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """One that is gone is left alone; one that is damaged cannot be cancelled (D9)."""
        del starting
        runtime.engine.delayed.find(self.signal_id)
        return True

    def accept(self, runtime: Runtime) -> None:
        """Forget it."""
        runtime.engine.delayed.cancel(self.signal_id, runtime.engine.batch)


def delayed_intent(
    runtime: Runtime,
    target: EntityId,
    message: Operation,
    deliver_at: datetime | timedelta | float,
    request_id: str | None = None,
) -> tuple[DelayedIntent, str]:
    """What a client asks for that signals an entity later, and the id of that signal.

    Raises:
      TypeError, ValueError: ``deliver_at`` is no time, or not allowed.
    """
    chosen = signal_id(delivery_time(deliver_at, runtime.clock.now()), new_instance_id())
    return DelayedIntent(SendLater(target, message, chosen), deliver_at, request_id), chosen


@frozen
class StartIntent:
    """The start of an orchestration; ``generated`` if its id is not the client's choice."""

    instance_id: str
    start: StartExecution
    if_exists: IfExists = "fail"
    request_id: str | None = None
    generated: bool = False

    def asked(self) -> bytes:
        """The fingerprint of what is asked for; a generated instance id is no part of it."""
        target = "" if self.generated else self.instance_id
        return fingerprint("start", target, self.start.name, self.start.arguments, self.if_exists)

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """Apply ``if_exists`` (O4); a generated id is known not to exist."""
        runtime.space.check()
        if self.generated:
            starting.add(self.instance_id)
            return True
        if self.instance_id in starting:
            if self.if_exists == "return":
                return False
            raise InstanceExists(f"the instance {self.instance_id!r} is started twice in one batch")
        cell = runtime.residence.orchestration(self.instance_id)
        replaceable = self.if_exists == "replace" or (
            self.if_exists == "replace_finished" and cell is not None and cell.machine.finished
        )
        if cell is None or replaceable:
            starting.add(self.instance_id)
            return True
        if self.if_exists == "return":
            return False
        raise InstanceExists(
            f"an instance {self.instance_id!r} exists already"
            + (" and is still running" if not cell.machine.finished else "")
            + "; choose another id, or say what is to happen with if_exists='return', 'replace_finished' or 'replace'"
        )

    def accept(self, runtime: Runtime) -> None:
        """Create the instance; a running one of that id is terminated in the same batch."""
        existing = None if self.generated else runtime.residence.orchestration(self.instance_id)
        if existing is not None and not existing.machine.finished:
            runtime.engine.terminate_now(existing, "replaced by a new start")
        runtime.engine.create(self.instance_id, self.start, self.request_id, generated=self.generated)
        if self.request_id is not None:
            runtime.requests.keep(self.request_id, self.asked(), runtime.engine.batch, self.instance_id, expires=False)


@frozen
class InstanceIntent:
    """A message for an orchestration that must exist and not have finished: an event, terminate, resume."""

    instance_id: str
    message: OrchestrationMessage
    request_id: str | None = None
    verb: str = field(default="raise_event")

    def asked(self) -> bytes:
        """The fingerprint of what is asked for."""
        value = self.message.value if isinstance(self.message, EventRaised) else b""
        name = self.message.name if isinstance(self.message, EventRaised) else ""
        return fingerprint(self.verb, self.instance_id, name, value)

    def check(self, runtime: Runtime, starting: set[str]) -> bool:
        """The instance must be there and not finished (O9, O13)."""
        if self.instance_id not in starting:
            cell = running_cell(runtime, self.instance_id, self.verb)
            if isinstance(self.message, EventRaised):  # terminate, resume and the like must always get through
                runtime.space.check()
                check_room(cell, self.instance_id)
        return True

    def accept(self, runtime: Runtime) -> None:
        """Put it into the instance's mailbox."""
        cell = runtime.residence.orchestration(self.instance_id)
        assert cell is not None
        runtime.engine.to_orchestration(cell, self.message)
        if self.request_id is not None:
            runtime.requests.keep(self.request_id, self.asked(), runtime.engine.batch)


def running_cell(runtime: Runtime, instance_id: str, verb: str) -> OrchestrationCell:
    """The cell of an instance that exists and has not finished.

    Raises:
      InstanceNotFound, InstanceFinished: it does not, or it has.
      DamagedRecord: it cannot be reached (D9).
    """
    cell = runtime.residence.orchestration(instance_id)
    if cell is None:
        raise InstanceNotFound(f"{verb}: there is no instance {instance_id!r}")
    check_sound(cell)
    if cell.machine.finished:
        record = cell.machine.record
        assert record is not None
        raise InstanceFinished(f"{verb}: the instance {instance_id!r} has finished ({record.status.value})")
    return cell


async def submit(runtime: Runtime, intents: Sequence[Intent]) -> list[str | None]:
    """Accept all intents, or none, and wait until they are durable.

    Returns:
      For each intent the target that an earlier request with its id recorded (a start's instance id, a delayed signal's
      id), else ``None``.

    Raises:
      Whatever one of the checks raises; then nothing is accepted.
    """
    await runtime.admit()
    looked = False
    starting: set[str] = set()
    accepted: list[Intent] = []
    earlier: list[str | None] = [None] * len(intents)
    request_ids: set[str] = set()
    for place, intent in enumerate(intents):
        if intent.request_id is not None:
            repeated = runtime.requests.find(intent.request_id, intent.asked())
            if repeated is not None or intent.request_id in request_ids:
                earlier[place] = None if repeated is None else repeated.target
                continue
            request_ids.add(intent.request_id)
        if not looked and type(intent) is SignalIntent:
            runtime.space.look()  # once for however many
            looked = True
        if intent.check(runtime, starting):
            accepted.append(intent)
    runtime.requests.reserve(len(request_ids), runtime.engine.batch)
    for intent in accepted:
        intent.accept(runtime)
    await runtime.durable()
    return earlier
