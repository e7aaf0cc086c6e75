"""Every workload, by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable

from .targets import with_targets
from .workload import Workload
from .workloads import (
    call,
    cold,
    fanout,
    flights,
    flights_year,
    hello5,
    latency_under_load,
    million,
    parked,
    process_activities,
    query_entities,
    sequence3,
    signals_10kb,
    signals_batch,
    signals_one,
    signals_single,
    steps,
    steps_long,
    transfer,
)

_MODULES = (
    signals_single,
    signals_batch,
    signals_one,
    signals_10kb,
    call,
    sequence3,
    hello5,
    fanout,
    transfer,
    steps,
    process_activities,
    steps_long,
    cold,
    parked,
    million,
    query_entities,
    flights,
    flights_year,
    latency_under_load,
)

WORKLOADS: dict[str, Workload] = {module.WORKLOAD.name: module.WORKLOAD for module in _MODULES}

ALL_WITH_TARGETS = "targets"
"""Stands for every workload that has a target, those included that run only when asked for."""


def chosen(names: Iterable[str]) -> list[Workload]:
    """The workloads of these names; if there is none, all but those that run only when asked for.

    Raises:
      ValueError: there is no workload of a name.
    """
    wanted: list[str] = []
    for name in names:
        wanted.extend(with_targets() if name == ALL_WITH_TARGETS else [name])
    if not wanted:
        return [workload for workload in WORKLOADS.values() if not workload.asked_only]
    unknown = [name for name in wanted if name not in WORKLOADS]
    if unknown:
        raise ValueError(f"there is no workload {', '.join(map(repr, unknown))}; there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[name] for name in dict.fromkeys(wanted)]
