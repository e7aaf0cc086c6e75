"""The context's verbs that ask for work, or send something.

Each asks the kernel for a step and returns a task at once, as in Durable Functions: the work is scheduled by the call,
not by the await.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import msgspec

from ..entities.delayed import check_signal_id, delivery_time
from ..entities.errors import EntityOperationFailed
from ..entities.ids import EntityId, EntityRef, check_instance_id
from .context_base import checked_entity_id
from .definition import Activity, Orchestrator
from .errors import SubOrchestrationFailed
from .history import CallChild, CallEntity, CancelSignal, ScheduleActivity, SendEvent, SignalEntity, StartOrchestration
from .outgoing import signal_id_of
from .plan import PlannedTask
from .registry import check_event_name
from .retry import RetryPolicy, checked_retry
from .retrying import attempts
from .section import Section
from .tasks import DurableTask, WorkTask
from .waits import WaitVerbs

if TYPE_CHECKING:
    from ..entities.entity import Entity
    from ..entities.failures import FailureDetails
    from ..storage.values import Codec
    from .history import Work

E = TypeVar("E", bound="Entity")
R = TypeVar("R")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")


class CallVerbs(WaitVerbs):
    """Activities, children, entities, starts and events."""

    __slots__ = ()

    def call_activity(self, activity: Activity[R, *Ts], *arguments: *Ts) -> DurableTask[R]:
        """Run an activity (O5): at least once, the first result counts.

        Args:
          activity: the activity.
          *arguments: its arguments.

        Returns:
          A task; awaiting it gives the result, or raises ActivityFailed.

        Raises:
          UnknownActivity: it is given by name, and not defined to this hub. (A call of an activity itself waits, with a
            warning, until it is defined.)
          TypeError: the number of arguments is wrong.
          NotStorable: an argument cannot be kept exactly.
        """
        definition = self._registry.callable_activity(activity)
        name = definition.activity.name
        encoded = definition.arguments.encode(arguments)
        options: Any = definition.activity if isinstance(activity, str) else activity
        action = ScheduleActivity(self._kernel.next_number(), name, encoded, options.timeout, options.heartbeat_timeout)
        return self._attempt(action, definition.result, definition.failed, options.retry)

    async def map(self, activity: Activity[R, V], items: Iterable[V], *, limit: int) -> list[R]:
        """Run an activity for each item, at most ``limit`` at a time (O7): ``await ctx.map(resize, images, limit=10)``.

        Args:
          activity: an activity of one argument.
          items: the arguments; they must be the same in each replay.
          limit: how many run at a time, 1 or more.

        Returns:
          The results, in the order of the items.

        Raises:
          ActivityFailed: the first failure in the order of the items, when all have ended.
          ValueError: the limit is below 1, or no whole number.
          UnknownActivity, TypeError, NotStorable: as for :meth:`call_activity`.
        """
        if type(limit) is not int or limit < 1:
            raise ValueError(f"limit is a whole number, 1 or more, not {limit!r}")
        tasks: list[DurableTask[R]] = []
        running: list[DurableTask[R]] = []
        for item in items:
            if len(running) == limit:
                running.remove(await self.when_any(running))
            task = self.call_activity(activity, item)
            tasks.append(task)
            running.append(task)
        return await self.when_all(tasks)

    def call_sub_orchestrator(
        self, orchestrator: Orchestrator[R, *Ts], *arguments: *Ts, instance_id: str | None = None
    ) -> DurableTask[R]:
        """Run a child orchestration and wait for it (O15).

        Args:
          orchestrator: the orchestrator.
          *arguments: its arguments after the context.
          instance_id: the child's id; one made from this execution and step if left out. The call fails if a running
            instance has that id, and replaces a finished one.

        Returns:
          A task; awaiting it gives the child's result, or raises SubOrchestrationFailed.

        Raises:
          LockRuleError: a critical section is open (L3).
          UnknownOrchestrator: it is not defined to this hub.
          ValueError: the id is not allowed (I3).
          NotStorable: an argument cannot be kept exactly.
        """
        kernel = self._kernel
        if kernel.section is not None:
            raise Section.refuse("a sub-orchestration is called")
        definition = self._registry.orchestrator(orchestrator)
        name = definition.name
        encoded = definition.arguments.encode(arguments)
        chosen = None if instance_id is None else check_instance_id(instance_id)
        number = kernel.next_number()
        action = CallChild(number, name, definition.version, chosen or self._child_id(number), encoded)
        retry = None if isinstance(orchestrator, str) else orchestrator.retry
        return self._attempt(action, definition.result, partial(SubOrchestrationFailed, name), retry)

    @overload
    def call_entity(
        self,
        ref: EntityRef[E],
        operation: Callable[[E, *Ts], Coroutine[Any, Any, R]],
        *arguments: *Ts,
        retry: RetryPolicy | None = None,
    ) -> DurableTask[R]: ...
    @overload
    def call_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], R], *arguments: *Ts, retry: RetryPolicy | None = None
    ) -> DurableTask[R]: ...
    @overload
    def call_entity(
        self, ref: EntityId, operation: str, *arguments: Any, retry: RetryPolicy | None = None
    ) -> DurableTask[Any]: ...
    def call_entity(self, ref: EntityId, operation: Any, *arguments: Any, retry: RetryPolicy | None = None) -> DurableTask[Any]:
        """Run an operation of an entity and wait for its result (E1, E4).

        Args:
          ref: the entity.
          operation: the method, such as ``Account.withdraw``, or its name.
          *arguments: its arguments.
          retry: when it is tried again after a failure (O14); without one it is not.

        Returns:
          A task; awaiting it gives the result, or raises EntityOperationFailed.

        Raises:
          LockRuleError: a critical section forbids it (L3).
          UnknownEntity, UnknownOperation: this hub knows no such entity class or operation (E7).
          TypeError: the number of arguments is wrong, ``ref`` is no entity id, or ``retry`` no RetryPolicy.
          NotStorable: an argument cannot be kept exactly.
        """
        target = checked_entity_id(ref, "call_entity")
        checked_retry(retry)
        definition = self._registry.operation_definition(target, operation)
        encoded = definition.arguments.encode(arguments)
        kernel = self._kernel
        section = kernel.section
        if section is not None:
            section.check_call(target)
        opened_by = None if section is None else section.id
        name = definition.name
        action = CallEntity(kernel.next_number(), (target.name, target.key), name, encoded, opened_by)
        task = self._attempt(action, definition.result, partial(EntityOperationFailed, target, name), retry)
        if section is not None:
            section.pending[target] = task
        return task

    @overload
    def signal_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], object], *arguments: *Ts, deliver_at: None = None
    ) -> None: ...
    @overload
    def signal_entity(
        self, ref: EntityRef[E], operation: Callable[[E, *Ts], object], *arguments: *Ts, deliver_at: datetime | timedelta | float
    ) -> str: ...
    @overload
    def signal_entity(self, ref: EntityId, operation: str, *arguments: Any, deliver_at: None = None) -> None: ...
    @overload
    def signal_entity(self, ref: EntityId, operation: str, *arguments: Any, deliver_at: datetime | timedelta | float) -> str: ...
    def signal_entity(
        self, ref: EntityId, operation: Any, *arguments: Any, deliver_at: datetime | timedelta | float | None = None
    ) -> str | None:
        """Send an operation to an entity without waiting for it (E2).

        Args:
          ref: the entity.
          operation: the method, or its name.
          *arguments: its arguments.
          deliver_at: deliver it at or after this time, never before (E10): an aware datetime, or a delay from ``now`` (a
            timedelta or seconds). It has no order against other messages, and outlives the orchestration.

        Returns:
          With ``deliver_at``, the id by which the signal can be cancelled, the same in each replay; else ``None``.

        Raises:
          LockRuleError: the entity is locked by the open critical section (L3).
          ValueError: a naive datetime, a delay below 0 or not finite, or a time beyond the year 9999.
          UnknownEntity, UnknownOperation, TypeError, NotStorable: as for :meth:`call_entity`.
        """
        target = checked_entity_id(ref, "signal_entity")
        name, encoded = self._registry.operation(target, operation, arguments)
        kernel = self._kernel
        if kernel.section is not None:
            kernel.section.check_signal(target)
        due = None if deliver_at is None else delivery_time(deliver_at, kernel.now)
        number = kernel.next_number()
        kernel.ask(SignalEntity(number, (target.name, target.key), name, encoded, due))
        return None if due is None else signal_id_of(kernel.execution, number, due)

    def cancel_signal(self, signal_id: str) -> None:
        """Cancel a delayed signal, whoever sent it; a journaled step without an answer (E10).

        One that was delivered or cancelled before is left alone.

        Args:
          signal_id: what sending it returned.

        Raises:
          TypeError, ValueError: it is no id of a delayed signal.
        """
        checked = check_signal_id(signal_id)
        kernel = self._kernel
        kernel.ask(CancelSignal(kernel.next_number(), checked))

    def start(self, orchestrator: Orchestrator[Any, *Ts], *arguments: *Ts, instance_id: str | None = None) -> str:
        """Start an orchestration that this one does not wait for, and return its instance id (O15).

        A start under an id that exists is dropped with a log line. Allowed inside a critical section.

        Raises:
          UnknownOrchestrator, ValueError, NotStorable: as for :meth:`call_sub_orchestrator`.
        """
        name, version, encoded = self._registry.orchestration(orchestrator, arguments)
        chosen = None if instance_id is None else check_instance_id(instance_id)
        kernel = self._kernel
        number = kernel.next_number()
        started = chosen or self._child_id(number)
        kernel.ask(StartOrchestration(number, name, version, started, encoded))
        return started

    def raise_event(self, instance_id: str, name: str, value: object = None) -> None:
        """Raise an event to an orchestration; to a missing or finished one it is dropped with a log line (O9).

        Args:
          instance_id: the receiver.
          name: the event's name, compared without regard to case.
          value: any value that describes itself (no class instances).

        Raises:
          ValueError: the id or the name is not allowed.
          NotStorable: the value cannot be kept exactly.
        """
        folded, receiver = check_event_name(name), check_instance_id(instance_id)
        encoded = self._registry.event_value(name, value)
        kernel = self._kernel
        kernel.ask(SendEvent(kernel.next_number(), receiver, folded, encoded))

    def _attempt(
        self, action: Work, codec: Codec[Any], error: Callable[[FailureDetails], Exception], retry: RetryPolicy | None
    ) -> WorkTask[Any]:
        """Ask for work, once or with retries."""
        kernel, number = self._kernel, action.id
        if retry is not None and not kernel.sealed:
            plan = attempts(kernel, number, retry, lambda attempt: msgspec.structs.replace(action, id=attempt))
            return PlannedTask(kernel, number, codec, error, plan)
        kernel.ask(action)
        return kernel.work(number, codec, error)

    def _child_id(self, number: str) -> str:
        return f"{self._kernel.execution}:{number}"
