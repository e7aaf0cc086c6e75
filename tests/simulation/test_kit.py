"""The parts of ``perdure.testing``: determined runs, a disk that is cut off, and readers of stores and journals."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from perdure.hub import limits, random_ids
from perdure.orchestration.history import (
    CancelWork,
    ExecutionEnded,
    ExecutionStarted,
    HistoryEntry,
    ScheduleActivity,
    StartTimer,
    TaskCompleted,
    TimerFired,
    TurnStarted,
)
from perdure.storage import StorageInDoubt, tables
from perdure.storage.memory_store import MemoryStore
from perdure.storage.store import Batch
from perdure.testing import Harm, ScriptedStore, Stored, faults_of, run_determined
from perdure.testing.determinism import replaced
from perdure.testing.journal import Journal
from perdure.testing.simulate.simulation import Simulation

ROOT = Path(__file__).parents[2]


# --- determined runs


async def race() -> list[str]:
    """The order in which some tasks run, and what time and chance give them."""
    order: list[str] = []

    async def runner(name: str) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(name)

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(runner, name)
    await trio.sleep(1000)
    return [*order, f"{trio.current_time():.0f}", random_ids.new_instance_id()]


def test_a_seed_decides_the_order_of_tasks_ids_and_time() -> None:
    """Runs with one seed are alike, runs with several are not, virtual time passes at once, and afterwards all is as before."""
    before, state = limits.LETTERS_MAX, random.getstate()
    runs = [run_determined(race, seed=str(seed), bounds={"LETTERS_MAX": 1}) for seed in (*range(8), *range(8))]
    assert runs[:8] == runs[8:]
    assert len({tuple(each) for each in runs}) == 8
    assert len({tuple(each[:-2]) for each in runs}) > 1, "the tasks ran in one order, whatever the seed"
    assert before == limits.LETTERS_MAX
    assert random.getstate() == state
    assert trio.run(race, clock=trio.testing.MockClock(autojump_threshold=0.0))[-1] != runs[0][-1]


def test_an_unknown_name_is_not_replaced() -> None:
    """A bound or place that does not exist is an error, and not a run without it."""
    with pytest.raises(AttributeError, match="NO_SUCH_BOUND"):
        run_determined(race, seed="0", bounds={"NO_SUCH_BOUND": 1})
    with pytest.raises(AttributeError, match="nothing"), replaced(limits, "nothing", 1):
        pass


# --- the disk


def batch(number: int, epoch: int = 1) -> Batch:
    """A batch that writes its number."""
    return Batch(0, epoch, number, {tables.REQUESTS: {b"%d" % number: b""}})


@pytest.mark.parametrize("kept", [True, False])
def test_a_disk_that_is_cut_off_in_the_midst_of_a_commit(kept: bool) -> None:
    """The commit under way takes effect or not, as was said; its outcome is in doubt, and nothing is written any more."""
    told: list[int] = []
    store = ScriptedStore(looks=2, on_durable=lambda each: told.append(each.number))
    store.open()
    commit = store.submit(batch(1))
    assert not commit.wait(0)
    store.cut_off(kept=kept)
    assert commit.wait(0)
    with pytest.raises(StorageInDoubt):
        commit.result()
    with pytest.raises(StorageInDoubt):
        store.submit(batch(2))
    assert told == ([1] if kept else [])
    assert list(store.reborn().table(tables.REQUESTS)) == ([b"1"] if kept else [])


def test_a_commit_after_one_in_doubt_is_counted() -> None:
    """Whoever was told that an outcome cannot be known, and tries another commit, is noticed (25)."""
    store = ScriptedStore(MemoryStore()).harm(1, Harm.LOST)
    store.open()
    commit = store.submit(batch(1))
    assert commit.wait(0)
    with pytest.raises(StorageInDoubt):
        commit.result()
    assert store.submitted_in_doubt == 0
    with pytest.raises(StorageInDoubt):
        store.submit(batch(2))
    assert store.submitted_in_doubt == 1


# --- readers


@pytest.mark.parametrize("seed", range(4))
def test_a_store_is_read_alike_at_once_and_batch_by_batch(seed: int) -> None:
    """What is read along with a run's batches is what is found on its disk afterwards."""
    simulation = Simulation(seed, 60)
    manner = simulation.manner
    run_determined(simulation.live, seed=str(seed), turn_seconds=manner.turn_seconds, bounds=manner.bounds)
    along, after = simulation.known.stored, Stored.of(simulation.store.disk.snapshot())
    for part in ("directory", "timers", "activities", "requests", "expiry", "meta", "strays"):
        assert getattr(along, part) == getattr(after, part), part
    assert along.instances.keys() == after.instances.keys()
    for number, instance in along.instances.items():
        assert (instance.record, instance.inbox) == (after.instances[number].record, after.instances[number].inbox)
    assert faults_of(after) == []


START = ExecutionStarted("00", "work", None, b"", None)
ASK = ScheduleActivity("1", "work", b"")
TIMER = StartTimer("2", 100)
BAD: dict[str, tuple[int, list[HistoryEntry]]] = {
    "a turn goes back in time": (20, [TurnStarted(5), START, TurnStarted(4)]),
    "a timer fires early": (20, [TurnStarted(5), START, TIMER, TurnStarted(99), TimerFired("2")]),
    "an answer comes twice": (19, [START, ASK, TaskCompleted("1", b""), TaskCompleted("1", b"")]),
    "an answer was not asked for": (19, [START, TaskCompleted("1", b"")]),
    "an answer comes after the cancellation": (19, [START, ASK, CancelWork("1x", "1"), TaskCompleted("1", b"")]),
    "something follows the end": (18, [START, ExecutionEnded("Completed"), TurnStarted(9)]),
    "it starts twice": (18, [START, START]),
    "a step is asked for twice": (17, [START, ASK, ASK]),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_journal_is_noticed(bad: str) -> None:
    """Each thing that no journal may hold is reported, as the invariant that it breaks, and nothing is without it."""
    number, entries = BAD[bad]
    journal, sound = Journal(), Journal()
    journal.extend(entries)
    sound.extend([TurnStarted(5), START, ASK, TIMER, TaskCompleted("1", b""), TurnStarted(100), TimerFired("2")])
    assert [fault[0] for fault in journal.faults] == [number]
    assert (sound.faults, sound.open_work) == ([], {})


def test_the_program_in_the_documentation_runs(tmp_path: Path) -> None:
    """The program in docs/reliability.md runs, and prints what it says."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "reliability.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    said = [line.partition("# ")[2] for line in program.splitlines() if "print(" in line]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr
