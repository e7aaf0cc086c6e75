"""Every live instance can be replayed from its stored journal, and then waits for what the journal says (O1, O2; 17)."""

from __future__ import annotations

from collections.abc import Iterator

from ..hub.guard import no_trio, withdraw
from ..orchestration.machine import OrchestrationMachine
from ..orchestration.registry import Registry
from .stored import Stored, StoredOrchestration


def faults(stored: Stored, registry: Registry) -> Iterator[tuple[int, str]]:
    """Replay all live instances, each on a machine of its own.

    Args:
      stored: the store.
      registry: the definitions.
    """
    for found in stored.orchestrations:
        if found.live and found.record is not None and found.journal.started:
            yield from _replayed(found, registry)


def _replayed(found: StoredOrchestration, registry: Registry) -> Iterator[tuple[int, str]]:
    record, journal = found.record, found.journal
    assert record is not None
    machine = OrchestrationMachine(record.instance_id, registry, withdraw)
    machine.record = record
    with no_trio():
        machine.revive(list(journal.entries), journal.at)
        kernel = machine.kernel
        if kernel is None:
            yield 17, f"{record.instance_id} does not fit its journal: {record.failure}"
            return
        opened, sections, ended = dict(kernel.open), dict(kernel.unreleased), kernel.ending
        machine.evict()
    if ended is not None:
        yield 17, f"{record.instance_id} is {record.status}, and its replay ended with {ended}"
    elif (opened, sections) != (journal.open_work, journal.open_sections):
        yield 17, f"{record.instance_id} waits for {opened} and {sections} in its replay, and for others in its journal"
