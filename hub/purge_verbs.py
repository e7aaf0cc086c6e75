"""A hub's verbs that remove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from ..entities.ids import check_instance_id
from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys
from .intents import check_flag
from .lots import in_lots
from .opening import OpenableHub
from .queries import InstanceFilter


class PurgeVerbs(OpenableHub):
    """Purge."""

    async def purge_instance(self, instance_id: str, *, force: bool = False) -> None:
        """Remove an instance with everything that belongs to it (O16). Purging is not erasure: freed pages are reused.

        Args:
          instance_id: the instance.
          force: terminate it first if it is still running; else that is refused.

        Raises:
          InstanceNotFound: there is no such instance.
          ValueError: it is still running.
          StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        forced = check_flag(force, "force")
        await runtime.admit()
        cell = runtime.residence.orchestration(check_instance_id(instance_id))
        if cell is None:
            raise InstanceNotFound(f"there is no instance {instance_id!r}")
        if not forced and not cell.machine.finished:
            raise ValueError(f"the instance {instance_id!r} is still running; terminate it first, or purge it with force=True")
        runtime.engine.purge(cell)
        await runtime.durable()

    async def purge(
        self,
        *,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        id_prefix: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Remove all finished instances for which all conditions hold (O16), and return how many.

        It goes through them a few at a time, each lot durable before the next, so running work goes on beside it.
        Cancelling it leaves the rest.

        Raises:
          ValueError: a condition is not allowed.
          StorageError, HubClosed: as for :meth:`start`.
        """
        runtime = self._open_runtime()
        wanted = InstanceFilter(status, created_from, created_to, id_prefix, name, tags)
        purged = 0

        def purge(record: OrchestrationRecord) -> None:
            nonlocal purged
            cell = runtime.residence.orchestration(record.instance_id)
            now = None if cell is None else cell.machine.record  # it may have gone on since the last commit
            if cell is not None and now is not None and now.status.final and wanted.matches(now):
                runtime.engine.purge(cell)
                purged += 1

        await in_lots(
            runtime,
            OrchestrationRecord,
            keys.orchestration_key(id_prefix),
            lambda record: record.status.final and wanted.matches(record),
            purge,
        )
        return purged
