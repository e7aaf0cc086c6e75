"""A hub's verbs that find, as of the last commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

import trio

from ..entities.errors import StateUnreadable, UnknownEntity
from ..entities.ids import check_instance_id
from ..entities.record import EntityRecord
from ..orchestration.errors import InstanceNotFound
from ..orchestration.history import HistoryEntry
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys, tables
from .clock import as_datetime
from .committed import CommittedHub
from .journals import read_journal
from .lookups import stored_record
from .queries import EntityFilter, EntityInfo, InstanceFilter, Page, Pages, find_instances
from .status import InstanceStatus, status_of


class QueryVerbs(CommittedHub):
    """Look at instances and entities."""

    async def get_status(self, instance_id: str, *, include_values: bool = True) -> InstanceStatus:
        """An instance as of the last commit.

        Args:
          instance_id: the instance.
          include_values: read and decode input, output and custom status, which may be large.

        Raises:
          InstanceNotFound: there is no such instance.
          DamagedRecord: its record is damaged on disk (D9).
          HubClosed: the hub is not open.
        """
        store = self._committed()
        await trio.lowlevel.checkpoint()
        record = stored_record(store, check_instance_id(instance_id), include_values=include_values)
        return status_of(record, self._registry, include_values=include_values)

    async def get_history(self, instance_id: str) -> list[HistoryEntry]:
        """The stored journal of an instance's current execution, in order.

        Raises:
          InstanceNotFound: there is no such instance.
          DamagedRecord: it is damaged on disk (D9).
          HubClosed: the hub is not open.
        """
        store = self._committed()
        await trio.lowlevel.checkpoint()
        number = store.get(tables.DIRECTORY, keys.orchestration_key(check_instance_id(instance_id)))
        if number is None:
            raise InstanceNotFound(f"there is no instance {instance_id!r}")
        return read_journal(store, number)

    async def query_instances(
        self,
        *,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        id_prefix: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        include_values: bool = True,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[InstanceStatus]:
        """Instances for which all conditions hold, in the order of their ids, as of the last commit; of which status (O17), and more.

        Args:
          status: one or several runtime statuses.
          created_from, created_to: created at or after the one, before the other; aware datetimes.
          id_prefix: the instance id begins with this.
          name: the orchestrator's name.
          tags: each of these tags, with that value.
          include_values: read and decode inputs, outputs and custom statuses; without, large ones are not even read.
          limit: at most that many in this page, 1 to 10,000.
          token: the token of the page before.

        Raises:
          ValueError: a condition, the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        store = self._committed()
        wanted = InstanceFilter(status, created_from, created_to, id_prefix, name, tags)
        return await find_instances(
            store,
            OrchestrationRecord,
            keys.orchestration_key(id_prefix),
            wanted.matches,
            lambda record: status_of(record, self._registry, include_values=include_values),
            limit,
            token,
            include_values=include_values,
        )

    def iter_instances(
        self,
        *,
        status: Iterable[RuntimeStatus | str] | RuntimeStatus | str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        id_prefix: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        include_values: bool = True,
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
                include_values=include_values,
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
        """Entities that exist and for which all conditions hold, in the order of their ids (I2), as of the last commit (E9).

        Args:
          name: the entity's name.
          key_prefix: the key begins with this; needs ``name``.
          operated_from, operated_to: the last operation that went well ended at or after the one, before the other; aware
            datetimes.
          include_state: read and decode the states; without, they are ``None``, and large ones are not even read. One that
            cannot be read does not stop the others: it is ``None``, and ``error`` says why.
          limit: at most that many in this page, 1 to 10,000.
          token: the token of the page before.

        Raises:
          ValueError: a condition, the limit or the token is not allowed.
          HubClosed: the hub is not open.
        """
        store = self._committed()
        wanted = EntityFilter(name, key_prefix, operated_from, operated_to)
        return await find_instances(
            store,
            EntityRecord,
            wanted.prefix,
            wanted.matches,
            lambda record: self._entity_info(record, include_state),
            limit,
            token,
            include_values=include_state,
        )

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
