"""All shapes on a whole hub (O1, O3, O7, D1, D7): live, evicted after every turn, restarted after every commit, killed at any commit.

However often the code is dropped and replayed, and wherever the process dies, what is on disk in the end is the same: results,
journals, states of entities. What a client does is repeated after each restart, as a client that does not know what got
through would do. How each manner is run, and what is compared, says ``harness``.
"""

from __future__ import annotations

import msgspec
import pytest
from perdure.hub import HubClosed
from perdure.hub.records import decode_history
from perdure.orchestration.history import ScheduleActivity
from perdure.storage import tables
from perdure.storage.errors import StorageInDoubt
from perdure.storage.memory_store import MemoryStore

from .harness import SCENARIOS, UNTIMED, canonical, drive, evicted, hub_of, live, on_disk, restarted, run, whole_run
from .scenarios import Scenario

MANNERS = {"evicted": evicted, "restarted": restarted}


def test_the_corpus_is_large() -> None:
    """There are at least 40 shapes, no two of one name."""
    assert len({str(scenario) for scenario in SCENARIOS}) == len(SCENARIOS) >= 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_O1_live_evicted_and_restarted_alike(scenario: Scenario) -> None:
    """Each shape ends as it says; with evictions and with restarts the results, journals and states on disk are those of a live run."""
    for manner, play in MANNERS.items():
        assert tuple(on_disk(play(scenario), scenario)) == live(str(scenario)), manner


@pytest.mark.parametrize("scenario", UNTIMED, ids=str)
def test_D1_killed_at_any_commit(scenario: Scenario) -> None:
    """The process dies at the n-th commit, before or after that took effect, for one n after another; the next one ends the work."""

    async def dies(store: MemoryStore) -> bool:
        try:
            async with hub_of(scenario, store) as hub:
                await drive(hub, scenario)
        except (StorageInDoubt, HubClosed):
            return True
        return False

    commit = deaths = 0
    while True:
        died = False
        for after_effect in (False, True):
            store = MemoryStore()
            store.fail_next(StorageInDoubt, skip=commit, after_effect=after_effect)
            if run(scenario, lambda store=store: dies(store)):
                died = True
                deaths += 1
                whole_run(store, scenario)
            assert tuple(on_disk(store, scenario)) == live(str(scenario)), f"commit {commit}, {after_effect=}"
        if not died:
            break
        commit += 1 + commit // 3
    assert deaths >= 2, "the fault was never met"


def test_the_harness_notices() -> None:
    """What is compared holds every step, argument and state: with one thing of the journal changed, it does not compare equal."""
    scenario = next(scenario for scenario in SCENARIOS if str(scenario) == "sequence")
    store = MemoryStore()
    whole_run(store, scenario)
    (chunks,) = [list(store.snapshot()[tables.HISTORY].values())]
    journal = [entry for chunk in chunks for entry in decode_history(chunk)]
    for place, entry in enumerate(journal):
        if isinstance(entry, ScheduleActivity):
            other = msgspec.structs.replace(entry, arguments=entry.arguments + b"\0")
            assert canonical([*journal[:place], other, *journal[place + 1 :]]) != canonical(journal)
            assert canonical(journal[:place] + journal[place + 1 :]) != canonical(journal)
    assert repr(canonical(journal)[2]) in on_disk(store, scenario)[0]
    assert on_disk(store, scenario) != list(live("shared_tasks"))
