"""Signals to one entity: 50,000 by 256 clients, each waiting for its acknowledgement, and 200,000 in groups of 1,000.

One entity handles one message after another, so nothing of this runs side by side; but what it handles within one batch
costs one record. Counted from the first call until all are applied. Bare Python: the same ``deposit`` calls on one object.
"""

from __future__ import annotations

from ..definitions import Account
from ..figures import Figure
from ..measuring import Run, check
from ..workload import Workload
from .signals_batch import bare_deposits, send_groups, total_balance
from .signals_single import send_singly

_GROUP = 1000
_KEY = ["busy"]


async def _run(run: Run) -> list[Figure]:
    single, groups = run.count(50_000), run.count(200, 2)
    async with run.hub([Account]) as (hub, watch):
        with watch.stretch() as alone:
            await send_singly(hub, _KEY, single, 256)
        with watch.stretch() as grouped:
            await send_groups(hub, _KEY * _GROUP, groups)
        check("the balance", await total_balance(hub, _KEY), single + _GROUP * groups)
    bare = bare_deposits(_KEY, 10_000) / 10_000
    return [
        alone.rate("256 clients", single, bare_seconds=bare * single),
        grouped.rate("groups of 1,000", _GROUP * groups, bare_seconds=bare * _GROUP * groups),
    ]


WORKLOAD = Workload("signals-one", "signals to one entity: single ones by 256 clients, and in groups of 1,000", _run)
