"""Many seeds of whole hubs, and whether the simulator keeps its own promises (invariants 29 and 30)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from perdure.hub.records import IdleRecord
from perdure.orchestration.history import (
    ACTIONS,
    EVENTS,
    ExecutionEnded,
    Rewound,
    TurnStarted,
    UsePatch,
)
from perdure.orchestration.http_verbs import HTTP_ACTIVITY
from perdure.testing.determinism import replaced
from perdure.testing.simulate import __main__ as program
from perdure.testing.simulate import campaign, simulate, simulation
from perdure.testing.simulate.effects import after
from perdure.testing.simulate.known import Known
from perdure.testing.simulate.shrinking import shrink
from perdure.testing.stored import Change

from .mutations import Found, hunt
from .past_seeds import PAST
from .planting import PLANTED, planted

ROOT = Path(__file__).parents[2]
SEEDS, STEPS, CRASHES = 500, 120, 3
FAULT, FINDS_IT = "does not undo the state of a failed operation", 2
"""A planted fault that every other seed finds, and one that does."""


def test_many_seeds() -> None:
    """In each of many runs, each with several crashes, every commit and every answer is as it must be, and all work ends."""
    figures = campaign.run(range(SEEDS), STEPS)
    print(figures)
    assert [(each.replayed_by, each.faults) for each in figures.failed] == []
    assert (figures.seeds, figures.steps) == (SEEDS, SEEDS * STEPS)
    assert figures.crashes_least >= CRASHES
    assert figures.commits > 10 * SEEDS


@pytest.mark.parametrize(("seed", "steps", "keep"), [(each.seed, each.steps, each.keep) for each in PAST])
def test_seeds_that_once_failed(seed: int, steps: int, keep: tuple[int, ...] | None) -> None:
    """A run that has found a defect finds nothing any more."""
    assert simulate(seed, steps, keep).faults == ()


def test_a_run_uses_everything() -> None:
    """In a few runs journals hold every kind of entry, instances reach every status, and what else there is, is stored."""
    seen: set[str] = set()

    def watched(known: Known, change: Change, number: int) -> Iterator[tuple[int, str]]:
        for found in known.stored.orchestrations:
            seen.update(type(entry).__name__ for entry in found.journal.entries)
            seen.update([] if found.record is None else [found.record.status.value])
            seen.update(["payload"] if found.payloads else [])
            seen.update(["later"] if found.record is not None and found.record.start_at is not None else [])
            seen.update(["retention"] if found.record is not None and found.record.purge_at is not None else [])
        for entity in known.stored.entities:
            seen.update(["letter"] if entity.letters else [])
            seen.update(["delayed signal"] if entity.delayed else [])
            seen.update(["lock"] if entity.record is not None and entity.record.lock is not None else [])
        for activity in known.stored.activities.values():
            seen.update([activity.name, "heartbeat"] if activity.heartbeat is not None else [activity.name])
        seen.update(["expiry"] if any(isinstance(due, IdleRecord) for due in known.stored.timers.values()) else [])
        seen.update(["request"] if known.stored.requests else [])
        yield from after(known, change, number)

    unused = (UsePatch,)
    wanted = {kind.__name__ for kind in (*ACTIONS, *EVENTS, ExecutionEnded, Rewound, TurnStarted) if kind not in unused}
    wanted |= {"Pending", "Running", "Suspended", "ContinuedAsNew", "Completed", "Failed", "Canceled", "Terminated"}
    wanted |= {
        "letter",
        "lock",
        "request",
        "payload",
        "later",
        "retention",
        "delayed signal",
        "expiry",
        "heartbeat",
        HTTP_ACTIVITY,
    }
    with replaced(simulation, "after", watched):
        for seed in range(60):
            simulate(seed)
            if wanted <= seen:
                break
    assert wanted - seen == set()


# --- the same seed


def test_the_same_seed_is_the_same_run() -> None:
    """A seed has the same trace in processes with different hash seeds; another one has another (29)."""
    code = "from perdure.testing.simulate import simulate; print(*[simulate(seed, 60).digest for seed in range(6)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for hash_seed in ("0", "1")
    }
    traces.add(" ".join(simulate(seed, 60).digest for seed in range(6)) + "\n")
    assert len(traces) == 1
    assert len(set(traces.pop().split())) == 6


def test_a_seed_that_fails_fails_again_and_shorter() -> None:
    """A failing run says how it is replayed, the replay has the same trace, and a shorter one breaks the same invariant."""
    with planted(FAULT):
        failed = simulate(FINDS_IT)
        again = simulate(FINDS_IT)
        shorter = shrink(failed)
        replayed = simulate(shorter.seed, shorter.steps, shorter.kept)
    assert failed.faults
    assert (again.digest, again.faults, again.failed_at) == (failed.digest, failed.faults, failed.failed_at)
    assert failed.replayed_by == f"python -m perdure.testing.simulate --seed {FINDS_IT} --seeds 1 --steps 120"
    assert shorter.kept is not None
    assert len(shorter.kept) < failed.failed_at
    assert shorter.faults[0][0] == failed.faults[0][0]
    assert (replayed.digest, replayed.faults) == (shorter.digest, shorter.faults)
    assert shorter.replayed_by.endswith(f"--keep {','.join(map(str, shorter.kept))}")


# --- the program


def test_the_program_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Without failures the program ends well, with one line of figures, or one object for programs."""
    assert program.main(["--seed", "5", "--seeds", "2", "--steps", "20", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"2 seeds from 5, 40 steps, \d+ crashes .*, [\d,]+ commits checked, 0 failed, in \d+ s, digest \w+\n", said
    )

    assert program.main(["--seed", "5", "--seeds", "2", "--steps", "20", "--jobs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["steps"], told["failed"]) == (2, 40, [])
    assert said.endswith(f"digest {told['digest']}\n")


def test_the_program_says_how_to_run_a_failure_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A failing seed is named with its invariant and the command that replays it, which fails in the same way."""
    with planted(FAULT):
        assert program.main(["--seed", str(FINDS_IT), "--seeds", "1"]) == 1
        said = capsys.readouterr().out
        command = re.search(r"again: python -m perdure.testing.simulate (.*)", said)
        assert command is not None
        assert program.main([*command[1].split(), "--trace"]) == 1
        again = capsys.readouterr().out
    invariant = re.search(r"invariant .*", said)
    assert invariant is not None
    assert invariant[0] in again
    assert "commit 1: " in again


def test_a_campaign_ends_in_time() -> None:
    """With no time left no run is begun."""
    assert campaign.run(range(1000), STEPS, jobs=1, seconds=-1.0).seeds == 0


# --- planted faults

HUNTS_MAX = 60
"""So many seeds may be needed to find a planted fault."""
BEGIN_AT = {each.planted: each.seed for each in PAST} | {
    "lets others into a locked entity": 29,
    "brings back an old state after every ninth operation": 3,
    "keeps locks after the owner has ended": 7,
    "lets a late release free a later section": 14,
    "loses unread events in continue as new": 13,
    "lets a finished instance be ended again": 7,
    "does not rewind failed children": 9,
    "takes results of an earlier execution": 14,
    "says that a signal is cancelled that was delivered": 8,
    "cancels signals for an operation that failed": 9,
    "forgets that a signal is gone until that is durable": 7,
    "redrives letters that are gone": 166,
    "lets entities go that are to get signals": 7,
    "forgets how far an attempt was when it fails": 9,
}
"""Where hunts begin that take eight seeds or more from 0; and one that breaks, from there, an invariant that no other fault breaks."""


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    """What became of each planted fault, hunted for on all processors."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        hunts = {fault: pool.submit(hunt, fault, HUNTS_MAX, BEGIN_AT.get(fault, 0)) for fault in PLANTED}
        return {fault: each.result() for fault, each in hunts.items()}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, found: dict[str, Found]) -> None:
    """With a fault in the product, one of the first seeds fails (30); a seed that found it in the past does at once."""
    print(found[fault])
    assert found[fault].outcome is not None, f"{HUNTS_MAX} seeds have not noticed that the product {fault}"
    assert found[fault].seeds == 1 or fault not in {each.planted for each in PAST}


def test_each_kind_of_invariant_has_found_something(found: dict[str, Found]) -> None:
    """The planted faults break invariants of every kind: no part of the checker is idle."""
    broken = {number for each in found.values() if each.outcome is not None for number, _ in each.outcome.faults}
    assert {1, 2, 3, 4, 5, 7, 8, 9, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 25} <= broken
