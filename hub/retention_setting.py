"""Adopting a new retention setting; see ``retention``."""

from __future__ import annotations

from typing import Final, cast

import trio

from ..orchestration.status import OrchestrationRecord
from ..storage import keys, tables
from .queries import find_instances
from .records import InstanceRecord
from .runtime import Runtime

_LAST_SETTING: Final = b"retention"
_AT_A_TIME: Final = 200


def retention_differs(runtime: Runtime) -> bool:
    """Whether the setting is another one than when the hub was last open."""
    return _setting(runtime) != (runtime.store.get(tables.META, _LAST_SETTING) or b"")


def _setting(runtime: Runtime) -> bytes:
    microseconds = runtime.engine.retention.microseconds
    return b"" if microseconds is None else keys.u64(microseconds)


async def adopt_retention(runtime: Runtime) -> None:
    """Give every instance that has finished the timer that it should have.

    Raises:
      StorageError, HubClosed: it could not; the next opening begins anew.
    """
    engine, store = runtime.engine, runtime.store
    retention = engine.retention

    def wrong(record: InstanceRecord | None) -> bool:
        return isinstance(record, OrchestrationRecord) and record.status.final and record.purge_at != retention.purge_at(record)

    token: str | None = None
    while retention.microseconds is not None:
        page = await find_instances(
            store,
            tables.ORCHESTRATION_KIND,
            wrong,
            lambda record: cast("OrchestrationRecord", record).instance_id,
            _AT_A_TIME,
            token,
        )
        await runtime.admit()
        for instance_id in page.items:
            cell = runtime.residence.orchestration(instance_id)
            if cell is not None and wrong(cell.machine.record):
                engine.retain(cell)
        await runtime.durable()
        token = page.token
        if token is None:
            break
        await trio.lowlevel.checkpoint()
    engine.batch.writes[tables.META][_LAST_SETTING] = _setting(runtime)
    await runtime.durable()
