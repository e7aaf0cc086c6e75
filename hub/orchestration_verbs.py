"""A hub's verbs for orchestrations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

from ..entities.ids import check_instance_id, check_no_surrogates
from ..entities.times import due_time
from ..orchestration.definition import Orchestrator
from ..orchestration.errors import (
    CannotRewind,
    InstanceNotFound,
)
from ..orchestration.messages import Cancel, EventRaised, OrchestrationMessage, Resume, Rewind, StartExecution, Suspend, Terminate
from ..orchestration.registry import check_event_name
from ..orchestration.status import RuntimeStatus
from .handler_verbs import HandlerVerbs
from .instance import Instance
from .intents import IfExists, InstanceIntent, StartIntent, check_flag, check_if_exists, submit
from .lookups import stored_record
from .purge_verbs import PurgeVerbs
from .random_ids import new_instance_id
from .requests import check_request_id
from .status_verbs import StatusVerbs

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

TAGS_MAX = 50
REASON_LENGTH_MAX = 10_000
TAG_LENGTH_MAX = 500


class OrchestrationVerbs(StatusVerbs, HandlerVerbs, PurgeVerbs):
    """Start orchestrations, raise events to them, and direct their lives."""

    async def start(
        self,
        orchestrator: Orchestrator[R, *Ts],
        *arguments: *Ts,
        instance_id: str | None = None,
        if_exists: IfExists = "fail",
        start_at: datetime | timedelta | float | None = None,
        tags: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Instance[R]:
        """Start an orchestration. The start is durable when this returns (O4, D3).

        Cancelling this may or may not have started it; an ``instance_id`` or a ``request_id`` tells.

        Args:
          orchestrator: the orchestrator, or its name.
          *arguments: its arguments after the context.
          instance_id: its id; a random one if left out.
          if_exists: with an id that exists: ``"fail"``; ``"return"`` the existing instance; ``"replace_finished"``, which
            fails only if it is still running; or ``"replace"``, which terminates it then, and drops its unread events.
          start_at: not before this time: an aware datetime, or how long from now (a timedelta or seconds). Until then it is
            Pending, keeps what it is sent, and may be terminated.
          tags: short texts to find it by; see :meth:`query_instances`.
          request_id: makes repeating this call safe (D8).

        Raises:
          InstanceExists: an instance of that id exists, and ``if_exists`` does not allow that.
          UnknownOrchestrator: it is not defined to this hub.
          ValueError: the id or a tag is not allowed (I3), ``if_exists`` is none of the above, or ``start_at`` is naive.
          TypeError: the number of arguments is wrong.
          NotStorable: an argument cannot be kept exactly.
          RequestMismatch, LimitReached: see D8.
          StorageError: storage fails; the start may still take effect (D4).
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        check_if_exists(if_exists)
        name, version, encoded = self._registry.orchestration(orchestrator, arguments)
        chosen = new_instance_id() if instance_id is None else check_instance_id(instance_id)
        kept = None if request_id is None else check_request_id(request_id)
        due = None if start_at is None else due_time(start_at, runtime.clock.now())
        start = StartExecution("", name, version, encoded, None, _checked_tags(tags), due)
        intent = StartIntent(chosen, start, if_exists, kept, instance_id is None)
        earlier = await submit(runtime, [intent])
        return Instance(self, earlier[0] or chosen)

    async def start_and_raise(
        self, orchestrator: Orchestrator[R, *Ts], *arguments: *Ts, instance_id: str, event: str, value: object = None
    ) -> Instance[R]:
        """Start an instance unless it exists, and raise an event to it, both or neither (O9).

        Args:
          orchestrator: the orchestrator, or its name.
          *arguments: its arguments after the context.
          instance_id: its id.
          event: the event's name, compared without regard to case.
          value: any value that describes itself (no class instances).

        Raises:
          InstanceFinished: the instance exists and has finished.
          UnknownOrchestrator, ValueError, TypeError, NotStorable, StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        name, version, encoded = self._registry.orchestration(orchestrator, arguments)
        message = EventRaised(check_event_name(event), self._registry.event_value(event, value))
        start = StartIntent(check_instance_id(instance_id), StartExecution("", name, version, encoded), "return")
        await submit(runtime, [start, InstanceIntent(instance_id, message)])
        return Instance(self, instance_id)

    def instance(self, instance_id: str) -> Instance[Any]:
        """A handle for an instance, which need not exist.

        Raises:
          ValueError: the id is not allowed (I3).
        """
        return Instance(self, check_instance_id(instance_id))

    async def raise_event(self, instance_id: str, name: str, value: object = None, *, request_id: str | None = None) -> None:
        """Raise an external event to an orchestration. It is durable when this returns (O9, D3).

        Args:
          instance_id: the orchestration.
          name: the event's name, compared without regard to case.
          value: any value that describes itself (no class instances).
          request_id: makes repeating this call safe (D8).

        Raises:
          InstanceNotFound, InstanceFinished: there is nobody to receive it.
          ValueError: the id or the name is not allowed.
          NotStorable: the value cannot be kept exactly.
          RequestMismatch, LimitReached, StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        encoded = self._registry.event_value(name, value)
        kept = None if request_id is None else check_request_id(request_id)
        message = EventRaised(check_event_name(name), encoded)
        await submit(runtime, [InstanceIntent(check_instance_id(instance_id), message, kept)])

    async def terminate(self, instance_id: str, reason: str | None = None, *, recursive: bool = True) -> None:
        """End an instance at once, with the reason as output; its locks are released in the same commit (O13, L5).

        Args:
          instance_id: the instance.
          reason: what its output becomes.
          recursive: end the children that it waits for too, and theirs.

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to end.
          StorageError, HubClosed: as for :meth:`start`.
        """
        await self._tell(instance_id, Terminate(checked_reason(reason), check_flag(recursive, "recursive")), "terminate")

    async def cancel(self, instance_id: str, reason: str | None = None) -> None:
        """End an instance gracefully (O13): its current awaits raise Cancelled once, and it may clean up.

        It ends Canceled if that passes through, Completed if the code swallows it. A suspended instance is resumed.

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to end.
          StorageError, HubClosed: as for :meth:`start`.
        """
        await self._tell(instance_id, Cancel(checked_reason(reason)), "cancel")

    async def suspend(self, instance_id: str, reason: str | None = None) -> None:
        """Let an instance do nothing until it is resumed; messages wait in order (O12). Doing so twice changes nothing.

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to suspend.
          StorageError, HubClosed: as for :meth:`start`.
        """
        await self._tell(instance_id, Suspend(checked_reason(reason)), "suspend")

    async def resume(self, instance_id: str, reason: str | None = None) -> None:
        """Let a suspended instance go on, with the code as it is now (O3, O12); others are not changed by it.

        Raises:
          InstanceNotFound, InstanceFinished: there is nothing to resume.
          StorageError, HubClosed: as for :meth:`start`.
        """
        await self._tell(instance_id, Resume(checked_reason(reason)), "resume")

    async def _tell(self, instance_id: str, message: OrchestrationMessage, verb: str) -> None:
        runtime = self._open_runtime()
        await submit(runtime, [InstanceIntent(check_instance_id(instance_id), message, None, verb)])

    # --- again

    async def restart(self, instance_id: str, *, new_id: bool = True, if_exists: IfExists = "replace_finished") -> Instance[Any]:
        """Start an instance again with the same input (O16).

        Args:
          instance_id: the instance.
          new_id: under a random id; else under the same one, in place of the old execution.
          if_exists: what is allowed with the same id; by default it must have finished.

        Raises:
          InstanceNotFound: there is no such instance.
          InstanceExists: it is still running, and ``if_exists`` does not allow that.
          UnknownOrchestrator: its orchestrator is no longer defined to this hub.
          StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        check_if_exists(if_exists)
        record = stored_record(runtime.store, check_instance_id(instance_id))
        self._registry.orchestrator_version(record.name, record.version)
        chosen = new_instance_id() if check_flag(new_id, "new_id") else instance_id
        start = StartExecution("", record.name, record.version, record.arguments, None, record.tags)
        await submit(runtime, [StartIntent(chosen, start, if_exists)])
        return Instance(self, chosen)

    async def rewind(self, instance_id: str, reason: str | None = None) -> None:
        """Let an instance that has failed go on without what it failed of (O16).

        Its code is run again over its journal, without the failures that it ended of; what succeeded is kept. The work that had
        failed is asked for again, in children that failed too. Locks, timers and waits are taken up again.

        Args:
          instance_id: the instance.
          reason: shown in its journal.

        Raises:
          InstanceNotFound: there is no such instance.
          CannotRewind: it has not failed, or it failed inside a critical section, whose locks were given back.
          UnknownOrchestrator: its orchestrator is no longer defined to this hub.
          StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        checked_reason(reason)
        await runtime.admit()
        cell = runtime.residence.orchestration(check_instance_id(instance_id))
        record = None if cell is None else cell.machine.record
        if cell is None or record is None:
            raise InstanceNotFound(f"there is no instance {instance_id!r}")
        if record.status is not RuntimeStatus.FAILED:
            raise CannotRewind(instance_id, f"it is {record.status.value}, and only what has Failed can be")
        self._registry.orchestrator_version(record.name, record.version)
        refusal = runtime.engine.rewind(cell, Rewind(reason))
        if refusal is not None:
            raise CannotRewind(instance_id, refusal)
        await runtime.durable()


def checked_reason(reason: object) -> str | None:
    """Return a reason as it is.

    Raises:
      TypeError: it is no text.
      ValueError: it is longer than 10,000 characters, or holds a lone surrogate.
    """
    if reason is None:
        return None
    if not isinstance(reason, str):
        raise TypeError(f"a reason is a str, not {type(reason).__name__}: {reason!r}")
    if len(reason) > REASON_LENGTH_MAX:
        raise ValueError(f"a reason has at most {REASON_LENGTH_MAX} characters, not {len(reason)}")
    check_no_surrogates(reason, "reason")
    return reason


def _checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
        raise TypeError(f"tags are a mapping of str to str, not {type(tags).__name__}")
    checked = dict(tags)
    for key, value in checked.items():
        if not isinstance(key, str) or not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"a tag is a str with a str, not {key!r}: {value!r}")
        if len(key) + len(value) > TAG_LENGTH_MAX or not (key + value).isprintable():
            raise ValueError(f"a tag has at most {TAG_LENGTH_MAX} printable characters in all: {ascii(key)[:60]}")
    if len(checked) > TAGS_MAX:
        raise ValueError(f"an instance has at most {TAGS_MAX} tags, not {len(checked)}")
    return checked
