"""Adopting a new retention setting; see ``retention``."""

from __future__ import annotations

import logging
from typing import Final

from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from ..storage.errors import DamagedRecord
from .lots import in_lots
from .runtime import Runtime

_log = logging.getLogger(__name__)
_LAST_SETTING: Final = b"retention"


def retention_differs(runtime: Runtime) -> bool:
    """Whether the setting is another one than when the hub was last open, or what that was cannot be read."""
    try:
        return _setting(runtime) != (runtime.store.get(tables.META, _LAST_SETTING) or b"")
    except DamagedRecord as error:
        _log.error("%s. Each finished instance is looked at, as after a change of the retention period", error)
        return True


def _setting(runtime: Runtime) -> bytes:
    microseconds = runtime.engine.retention.microseconds
    return b"" if microseconds is None else keys.u64(microseconds)


async def adopt_retention(runtime: Runtime) -> None:
    """Give every instance that has finished the timer that it should have.

    Raises:
      StorageError, HubClosed: it could not; the next opening begins anew.
    """
    engine = runtime.engine
    retention = engine.retention

    def wrong(record: OrchestrationRecord) -> bool:
        return record.status.final and record.purge_at != retention.purge_at(record)

    def retain(record: OrchestrationRecord) -> None:
        cell = runtime.residence.orchestration(record.instance_id)
        if cell is not None and cell.machine.record is not None and wrong(cell.machine.record):
            engine.retain(cell)

    if retention.microseconds is not None:
        await in_lots(runtime, OrchestrationRecord, tables.ORCHESTRATION_KIND, wrong, retain)
    engine.batch.writes[tables.META][_LAST_SETTING] = _setting(runtime)
    await runtime.durable()
