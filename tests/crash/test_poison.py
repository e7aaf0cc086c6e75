"""What takes the process down again and again is found and set aside, and the rest goes on (O20)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from perdure.hub import TaskHub, limits
from perdure.storage.memory_store import MemoryStore

from ..hub.workload import Ledger
from .poison import ATTEMPTS

ROOT = Path(__file__).parent.parent.parent
CULPRITS = 4


def life(folder: Path, verb: str) -> tuple[int, list[str]]:
    """Run the program once."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.poison", str(folder), verb],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in (0, 9), done.stderr
    return done.returncode, done.stdout.splitlines()


def test_O20_the_culprits_are_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    """After so many lives as the culprits have attempts, every innocent has run once, and each culprit is where it can be redriven."""
    life(tmp_path, "prepare")
    lives = 0
    while (ended := life(tmp_path, "run"))[0]:
        lives += 1
        assert lives <= limits.CAREFUL_AFTER_LIVES + CULPRITS * ATTEMPTS

    assert ended[1] == [
        "dying Failed None Poisoned",
        "calling Completed Poisoned ",
        *(f"healthy-{number} Completed done " for number in range(5)),
        "plain 2 ['kill Poisoned'] None",
        "async 2 ['kill_later Poisoned'] None",
        "healthy 5 [] None",
        "locked 1 [] None",
    ]


@pytest.mark.parametrize("unclean", [0, 1, 2, 3])
async def test_O20_lives_that_ended_well_do_not_count(unclean: int) -> None:
    """A hub is careful only after several lives in a row that neither came to rest nor were closed, and not for longer than needed."""
    store = MemoryStore()
    async with TaskHub("Careful", [Ledger], store) as hub:
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 1)
    for _ in range(unclean):
        store.open()
        store.crash()
    async with TaskHub("Careful", [Ledger], store, paused=True) as hub:
        careful = hub._open_runtime().careful
        assert careful.active == (unclean >= limits.CAREFUL_AFTER_LIVES)
        hub.unpause()
        await hub.signal_entity(Ledger.at("l"), Ledger.note, 2)
        await hub.wait_idle()
        assert not careful.active
        assert await hub.read_entity(Ledger.at("l")) == Ledger([1, 2])
    for _ in range(5):
        async with TaskHub("Careful", [Ledger], store) as hub:
            assert not hub._open_runtime().careful.active
