"""The same history gives the same actions in every process (O2): nothing depends on the order of sets or on hashes of text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.orchestration.corpus import DEFINITIONS, SHAPES
from tests.orchestration.world import World

print(hash("a text"))
for shape in SHAPES:
    world = World(DEFINITIONS, evicting=True)
    world.play(shape)
    for instance_id, journal in world.journals.items():
        print(shape, instance_id)
        for entry in journal:
            print("   ", entry)
"""


def journals(seed: str) -> tuple[str, list[str]]:
    """What a process with that hash seed prints: the hash of a text, and every journal of the corpus."""
    program = [sys.executable, "-c", PROGRAM, str(ROOT)]
    run = subprocess.run(program, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
    told, *lines = run.stdout.splitlines()
    return told, lines


def test_O2_the_order_of_hashes_decides_nothing() -> None:
    """Processes with different hash seeds write the same journals for the whole corpus, to the last byte."""
    runs = [journals(seed) for seed in ("0", "1", "4242")]
    assert len({told for told, _ in runs}) == 3, "the seeds had no effect"
    assert len(runs[0][1]) > 500
    for _, lines in runs[1:]:
        assert lines == runs[0][1]


REPLAYS = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.histories import test_histories as histories

print(hash("a text"))
for golden in histories.HISTORIES:
    histories.test_O3_a_golden_history_replays_up_to_each_turn(golden)
    histories.test_O3_a_golden_history_ends_as_it_did(golden)
print(len(histories.HISTORIES))
"""


def test_O2_a_journal_of_another_seed_replays() -> None:
    """Journals that a process with one hash seed has stored fit the code in processes with others, to the last byte."""
    told: set[str] = set()
    for seed in ("0", "4242"):
        program = [sys.executable, "-c", REPLAYS, str(ROOT)]
        run = subprocess.run(program, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        hashed, count = run.stdout.split()
        told.add(hashed)
        assert int(count) > 50
    assert len(told) == 2, "the seeds had no effect"
