"""A hub's verbs that wait for an orchestration; all show what is durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ..entities.ids import check_instance_id
from ..orchestration.errors import InstanceNotFound, OrchestrationCanceled, OrchestrationFailed, OrchestrationTerminated
from ..orchestration.status import RuntimeStatus
from .ack import Ack
from .lookups import find_stored
from .opening import OpenableHub, checked_seconds
from .query_verbs import QueryVerbs
from .status import InstanceStatus, output_of, status_of

if TYPE_CHECKING:
    from ..orchestration.status import OrchestrationRecord
    from .runtime import Runtime


class StatusVerbs(OpenableHub, QueryVerbs):
    """Waiting for a start, a change, the end."""

    async def wait_for_start(self, instance_id: str, timeout: float | None = None) -> InstanceStatus:  # noqa: ASYNC109 - for callers without scopes
        """Wait until an instance has begun, durably (D2), and return its status then.

        Raises:
          InstanceNotFound: there is no such instance.
          TimeoutError: the time is over.
          HubClosed: the hub is not open, or was closed meanwhile.
        """
        return await self._wait_until(
            instance_id, lambda status: status.runtime_status is not RuntimeStatus.PENDING, timeout, "begun"
        )

    async def wait_for_status_change(
        self,
        instance_id: str,
        known: InstanceStatus | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - for callers without scopes
    ) -> InstanceStatus:
        """Wait until an instance shows another runtime status or custom status, durably (D2, O17), and return its status then.

        What changes twice between two commits is seen once. A finished instance does not change: its status is returned at once.

        Args:
          instance_id: the instance.
          known: the status that it is compared with; the present one if left out. To miss nothing in a loop, give the one that the
            last call returned.
          timeout: wait at most that many seconds.

        Raises:
          InstanceNotFound, TimeoutError, HubClosed: as for :meth:`wait_for_start`.
        """
        if not isinstance(known, InstanceStatus | None):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"known is what instance.status() returns, not {type(known).__name__}: {known!r}")
        old = await self.get_status(instance_id) if known is None else known

        def changed(status: InstanceStatus) -> bool:
            return (
                status.runtime_status.final
                or (status.runtime_status, status.execution) != (old.runtime_status, old.execution)
                or status.custom_status != old.custom_status
            )

        return await self._wait_until(instance_id, changed, timeout, "changed")

    async def _wait_until(
        self, instance_id: str, condition: Callable[[InstanceStatus], bool], limit: object, what: str
    ) -> InstanceStatus:
        runtime = self._open_runtime()
        seconds = checked_seconds(limit, "timeout")
        await trio.lowlevel.checkpoint()
        record = await runtime.watchers.wait(
            check_instance_id(instance_id), lambda record: condition(status_of(record, self._registry)), seconds
        )
        if record is None:
            raise TimeoutError(f"orchestration {instance_id!r} has not {what} within {limit} s; it goes on")
        return status_of(record, self._registry)

    async def wait_for_result(self, instance_id: str, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - for callers without scopes
        """Wait until an instance has finished, durably (D2), and return its result; see :meth:`Instance.result`.

        Raises:
          OrchestrationFailed, OrchestrationTerminated, OrchestrationCanceled: how it ended without one.
          InstanceNotFound: there is no such instance.
          TimeoutError: the time is over.
          HubClosed: the hub is not open, or was closed meanwhile.
        """
        runtime = self._open_runtime()
        seconds = checked_seconds(timeout, "timeout")
        record = _durable_record(runtime, check_instance_id(instance_id))
        if record is not None:
            await trio.lowlevel.checkpoint()
        else:
            ack = Ack()
            waiters = runtime.result_waiters.setdefault(instance_id, [])
            waiters.append(ack)
            try:
                if seconds is None:
                    record = await ack.wait()
                else:
                    with trio.move_on_after(seconds):
                        record = await ack.wait()
            finally:
                if ack in waiters:
                    waiters.remove(ack)
            if record is None:
                raise TimeoutError(f"orchestration {instance_id!r} has not finished within {timeout} s; it goes on")
        match record.status:
            case RuntimeStatus.COMPLETED:
                return output_of(record, self._registry)
            case RuntimeStatus.TERMINATED:
                raise OrchestrationTerminated(instance_id, output_of(record, self._registry))
            case RuntimeStatus.CANCELED:
                raise OrchestrationCanceled(instance_id)
            case _:
                assert record.failure is not None
                raise OrchestrationFailed(instance_id, record.failure)


def _durable_record(runtime: Runtime, instance_id: str) -> OrchestrationRecord | None:
    """The record of an instance that has finished durably; ``None`` while it has not.

    Raises:
      InstanceNotFound: there is no such instance.
    """
    cell = runtime.residence.orchestrations.get(instance_id)
    if cell is not None and cell.purged:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    if cell is not None and not cell.machine.finished:
        return None
    # What is not in memory has not changed since the last commit.
    record = runtime.finished_lately.get(instance_id) if cell is None else None
    record = record or find_stored(runtime.store, instance_id)
    if record is None and cell is None:
        raise InstanceNotFound(f"there is no instance {instance_id!r}")
    if record is None or not record.status.final:
        return None
    now = None if cell is None else cell.machine.record
    # After a rewind another ending may be on its way to disk than the one that is there.
    return record if now is None or (now.status, now.completed_at) == (record.status, record.completed_at) else None
