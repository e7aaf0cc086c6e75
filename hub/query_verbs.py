"""A hub's verbs that find and remove."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

from ..entities.errors import StateUnreadable, UnknownEntity
from ..entities.ids import check_instance_id
from ..entities.record import EntityRecord
from ..orchestration.errors import InstanceNotFound
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys
from .clock import as_datetime
from .opening import OpenableHub
from .queries import EntityFilter, EntityInfo, InstanceFilter, Page, Pages, find_instances
from .records import InstanceRecord
from .status import InstanceStatus, status_of

_PURGED_AT_A_TIME = 200


class QueryVerbs(OpenableHub):
    """Query and purge."""

    async def query_instances(
        self,
        *,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        id_prefix: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[InstanceStatus]:
        """Instances for which all conditions hold, in the order of their ids, as of the last commit.

        Args:
          status: one or several runtime statuses.
          created_from, created_to: created at or after the one, before the other; aware datetimes.
          id_prefix: the instance id begins with this.
          name: the orchestrator's name.
          tags: each of these tags, with that value.
          limit: at most that many in this page, 1 to 10,000.
          token: the token of the page before.

        Raises:
          ValueError: a condition, the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        wanted = InstanceFilter(status, created_from, created_to, id_prefix, name, tags)

        def pick(record: InstanceRecord) -> InstanceStatus | None:
            if isinstance(record, OrchestrationRecord) and wanted.matches(record):
                return status_of(record, self._registry)
            return None

        return await find_instances(runtime.store, keys.orchestration_key(id_prefix), pick, limit, token)

    def iter_instances(
        self,
        *,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        id_prefix: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> AsyncIterator[InstanceStatus]:
        """All pages of :meth:`query_instances`, one instance after another."""
        return Pages(
            lambda token: self.query_instances(
                status=status,
                created_from=created_from,
                created_to=created_to,
                id_prefix=id_prefix,
                name=name,
                tags=tags,
                token=token,
            )
        )

    async def query_entities(
        self,
        *,
        name: str | None = None,
        key_prefix: str = "",
        operated_from: datetime | None = None,
        operated_to: datetime | None = None,
        include_state: bool = True,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[EntityInfo]:
        """Entities that exist and for which all conditions hold, in the order of their ids, as of the last commit.

        Args:
          name: the entity's name.
          key_prefix: the key begins with this; needs ``name``.
          operated_from, operated_to: the last operation that went well ended at or after the one, before the other; aware
            datetimes.
          include_state: decode the states; without, they are ``None``. One that cannot be read does not stop the others:
            it is ``None``, and ``error`` says why.
          limit: at most that many in this page, 1 to 10,000.
          token: the token of the page before.

        Raises:
          ValueError: a condition, the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        runtime = self._open_runtime()
        wanted = EntityFilter(name, key_prefix, operated_from, operated_to)

        def pick(record: InstanceRecord) -> EntityInfo | None:
            if isinstance(record, EntityRecord) and wanted.matches(record):
                return self._entity_info(record, include_state)
            return None

        return await find_instances(runtime.store, wanted.prefix, pick, limit, token)

    def iter_entities(
        self,
        *,
        name: str | None = None,
        key_prefix: str = "",
        operated_from: datetime | None = None,
        operated_to: datetime | None = None,
        include_state: bool = True,
    ) -> AsyncIterator[EntityInfo]:
        """All pages of :meth:`query_entities`, one entity after another."""
        return Pages(
            lambda token: self.query_entities(
                name=name,
                key_prefix=key_prefix,
                operated_from=operated_from,
                operated_to=operated_to,
                include_state=include_state,
                token=token,
            )
        )

    def _entity_info(self, record: EntityRecord, include_state: bool) -> EntityInfo:
        entity_id = record.entity_id
        operated_at = as_datetime(record.operated_at)
        if not include_state or record.state is None:
            return EntityInfo(entity_id, operated_at, None)
        try:
            state = self._registry.entity(record.name).read(entity_id, record.state, record.version)
        except (StateUnreadable, UnknownEntity) as error:
            return EntityInfo(entity_id, operated_at, None, error)
        return EntityInfo(entity_id, operated_at, state)

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
        await runtime.admit()
        cell = runtime.residence.orchestration(check_instance_id(instance_id))
        if cell is None:
            raise InstanceNotFound(f"there is no instance {instance_id!r}")
        if not force and not cell.machine.finished:
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

        def pick(record: InstanceRecord) -> str | None:
            if isinstance(record, OrchestrationRecord) and record.status.final and wanted.matches(record):
                return record.instance_id
            return None

        purged = 0
        token: str | None = None
        while True:
            page = await find_instances(runtime.store, keys.orchestration_key(id_prefix), pick, _PURGED_AT_A_TIME, token)
            await runtime.admit()
            for instance_id in page.items:
                cell = runtime.residence.orchestration(instance_id)
                if cell is not None and cell.machine.finished:
                    runtime.engine.purge(cell)
                    purged += 1
            await runtime.durable()
            token = page.token
            if token is None:
                return purged
