"""Nothing acknowledged is lost by a power cut, and no commit is there in parts (D1, D2, D3, D4).

The real store's writes are recorded while the hub's workload runs, and the states that a cut may leave are rebuilt and
opened; how many is printed. ``python -m tests.crash.power_cuts`` is the long form.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ..hub.workload import MANNERS
from .disk_shim import Note, read_notes
from .power_cuts import Tally, cut_power, record
from .power_faults import FAILING_SYNC, FAULTS, UNSEEN
from .power_model import understand

STATES = 5_000
SECONDS = 120.0


def test_D3_nothing_acknowledged_is_lost_by_a_power_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of states that a cut may leave open, hold a whole number of commits with all that was acknowledged, and go on."""
    seed = random.SystemRandom().randrange(1 << 32)
    tally = Tally()
    for manner in MANNERS:
        recorded = record(tmp_path / manner, manner)
        cut_power(recorded, tally, states=STATES // len(MANNERS) + 200, seconds=SECONDS, seed=seed)
    with capsys.disabled():
        print(f"\npower cuts, seed {seed}: {tally}")
    assert tally.findings == []
    assert len(tally.states) >= STATES
    assert tally.hubs >= 60
    assert set(tally.outcomes) == {"what was acknowledged", "a commit that nobody was told of", "a new hub"}


def test_D4_nothing_acknowledged_is_lost_by_a_power_cut_after_failed_syncs(tmp_path: Path) -> None:
    """What a failed sync gave up was acknowledged to nobody, and is written again before anything is."""
    tally = Tally()
    recorded = record(tmp_path / "recording", "plain", FAILING_SYNC)
    assert sum(noted.what is Note.FAILED_SYNC for noted in read_notes(recorded.notes)) == 3
    cut_power(recorded, tally, states=600, seconds=SECONDS, seed=1)
    assert tally.findings == []
    assert len(tally.states) >= 500


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_breaks_its_promise_is_found(tmp_path: Path, fault: str) -> None:
    """Each way in which a store may be careless leaves a state that is found wrong."""
    tally = Tally()
    cut_power(record(tmp_path / "recording", "plain", fault), tally, states=400, seconds=SECONDS, seed=1, findings=1)
    assert tally.findings, f"no power cut has shown that {fault}"


def test_a_recording_that_is_not_whole_is_noticed(tmp_path: Path) -> None:
    """What was written past the recorder is noticed, so that no state is judged by half of what happened."""
    recorded = record(tmp_path / "recording", "plain", UNSEEN)
    with pytest.raises(AssertionError, match="written unseen"):
        understand(read_notes(recorded.notes), recorded.root)
