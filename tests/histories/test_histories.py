"""Golden histories: what earlier versions stored is read and replayed by this one (O1, O3)."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from perdure.hub.http_activity import HttpActivity
from perdure.orchestration.history import (
    ACTIONS,
    ExecutionEnded,
    ExecutionStarted,
    HistoryEntry,
    TurnStarted,
    UsePatch,
)
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.registry import Registry
from perdure.orchestration.status import OrchestrationRecord, RuntimeStatus
from perdure.storage.values import Values

from ..hub.harness import SCENARIOS
from .golden import FOLDER, Golden, Recorded, all_of_them, text_of

HISTORIES = all_of_them()
EACH = pytest.mark.parametrize("golden", HISTORIES, ids=str)
BY_NAME = {str(scenario): scenario for scenario in SCENARIOS}
STRICT = tuple(kind for kind in ACTIONS if kind is not UsePatch)
NOW = 2_000_000_000_000_000


def registry_for(golden: Golden) -> Registry:
    """What a hub of the shape's program knows."""
    registry = Registry(Values(), lambda: "not asked for")
    registry.define([*BY_NAME[golden.shape].definitions, HttpActivity(None).activity])
    return registry


def replayed(registry: Registry, instance: Recorded, entries: list[HistoryEntry]) -> OrchestrationMachine:
    """The machine that a hub makes of a stored journal; replayed, with nothing new."""
    (start,) = [entry for entry in entries if isinstance(entry, ExecutionStarted)]
    machine = OrchestrationMachine(instance.id, registry, lambda _: None)
    machine.record = OrchestrationRecord(
        instance.id, start.execution, start.name, start.version, RuntimeStatus.RUNNING, start.arguments, start.parent, 0, 0
    )
    machine.revive(entries, NOW)
    return machine


@EACH
def test_O3_a_golden_history_replays_up_to_each_turn(golden: Golden) -> None:
    """Wherever the journal of a running instance stopped, the code fits it, asks for nothing else, and waits."""
    registry = registry_for(golden)
    for instance in golden.instances:
        turns = [place for place, entry in enumerate(instance.entries) if isinstance(entry, TurnStarted)]
        for place in turns[1:]:
            machine = replayed(registry, instance, instance.entries[:place])
            assert machine.record is not None
            assert machine.record.status is RuntimeStatus.RUNNING, machine.record.failure
            assert (machine.journal, machine.effects) == ([], [])
            machine.evict()


@EACH
def test_O3_a_golden_history_ends_as_it_did(golden: Golden) -> None:
    """Replayed to its end, each instance has the status, the output and the failure that it had; a terminated one waits."""
    registry = registry_for(golden)
    for instance in golden.instances:
        machine = replayed(registry, instance, instance.entries)
        before = instance.entries[-1]
        assert isinstance(before, ExecutionEnded)
        if before.status == RuntimeStatus.TERMINATED:
            assert (machine.journal, machine.effects) == ([], [])
            machine.evict()
            continue
        turn, now = machine.journal
        assert isinstance(turn, TurnStarted)
        assert isinstance(now, ExecutionEnded)
        assert (now.status, now.output, str(now.failure)) == (before.status, before.output, str(before.failure))


@EACH
def test_O3_a_golden_history_is_compared_strictly(golden: Golden) -> None:
    """With any one of its actions left out, the replay does not fit; only a patch may be missing, as in what ran before it."""
    registry = registry_for(golden)
    for instance in golden.instances:
        places = [place for place, entry in enumerate(instance.entries) if isinstance(entry, STRICT)]
        for place in places[:: 1 + len(places) // 5]:
            machine = replayed(registry, instance, instance.entries[:place] + instance.entries[place + 1 :])
            assert machine.record is not None
            assert machine.record.status is RuntimeStatus.SUSPENDED, instance.entries[place]


def test_every_kind_of_entry_is_in_a_golden_history() -> None:
    """Each type of entry, and each of its fields with another value than nothing, was recorded and can be read."""
    found: set[str] = set()
    for golden in HISTORIES:
        for entry in (entry for instance in golden.instances for entry in instance.entries):
            values: dict[str, Any] = msgspec.structs.asdict(entry)
            found |= {f"{type(entry).__name__}.{name}" for name, value in values.items() if value is not None}
    expected = {f"{kind.__name__}.{name}" for kind in get_args(HistoryEntry) for name in kind.__struct_fields__}
    assert len(get_args(HistoryEntry)) >= 24
    assert expected - found == set(), "add a shape with these, and record it (see the folder's README)"


def test_every_shape_has_a_golden_history() -> None:
    """Only shapes that are too long to be read have none."""
    assert {str(scenario) for scenario in SCENARIOS} - {golden.shape for golden in HISTORIES} == {"large_values"}


def test_a_file_is_what_is_read() -> None:
    """What was read from a file is written as the same file, so no field of it was passed over."""
    for golden in HISTORIES:
        path = FOLDER / golden.written_by / f"{golden.shape}.json"
        assert text_of(golden) == path.read_text(encoding="utf-8")
