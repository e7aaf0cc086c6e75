"""The library of today goes on with the store that the library of yesterday has left (E12)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from examples.evolution import today, yesterday

ROOT = Path(__file__).parents[2]
SAID = """\
today: Member(given_name='Grace', family_name='Hopper', loans=[Loan(title='Compilers', due=datetime.date(2025, 3, 1))], \
fines=Decimal('0.0'), reminders=True)
overdue on March 2: ['Compilers']
the signal of yesterday has run: Member(given_name='Ada', family_name='Lovelace', loans=[], fines=Decimal('3.3'), reminders=True)
the loan of yesterday has ended with a fine of 0.5
and so on: Member(given_name='Grace', family_name='Hopper', loans=[Loan(title='Nanoseconds', due=datetime.date(2025, 4, 1))], \
fines=Decimal('0.5'), reminders=True)
"""


def test_E12_the_store_that_is_checked_in_goes_on() -> None:
    """The program reads the old states, runs the waiting signal, ends the running orchestration, and leaves the fixture as it is."""
    files = [today.DATA / "library" / name for name in yesterday.KEPT]
    before = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    done = subprocess.run(
        [sys.executable, "-m", "examples.evolution.today"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == (SAID, "", 0)
    assert [hashlib.sha256(file.read_bytes()).digest() for file in files] == before
    assert sorted(path.name for path in today.DATA.rglob("*")) == ["data.mdb", "hub.json", "library"]


def test_E12_the_store_can_be_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What yesterday's program writes now is what the program of today goes on with in the same way."""
    yesterday.main(tmp_path)
    today.main(tmp_path)
    assert capsys.readouterr().out == SAID
