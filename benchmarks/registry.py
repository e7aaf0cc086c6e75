"""Every workload, by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable

from .workload import Workload
from .workloads import (
    call,
    cold,
    fanout,
    hello5,
    latency_under_load,
    parked,
    process_activities,
    query_entities,
    sequence3,
    signals_batch,
    signals_single,
    steps,
    transfer,
)

_MODULES = (
    signals_batch,
    signals_single,
    call,
    transfer,
    sequence3,
    hello5,
    fanout,
    steps,
    process_activities,
    parked,
    query_entities,
    cold,
    latency_under_load,
)

WORKLOADS: dict[str, Workload] = {module.WORKLOAD.name: module.WORKLOAD for module in _MODULES}


def chosen(names: Iterable[str]) -> list[Workload]:
    """The workloads of these names, or all if there is none.

    Raises:
      ValueError: there is no workload of a name.
    """
    wanted = list(names) or list(WORKLOADS)
    unknown = [name for name in wanted if name not in WORKLOADS]
    if unknown:
        raise ValueError(f"there is no workload {', '.join(map(repr, unknown))}; there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[name] for name in wanted]
