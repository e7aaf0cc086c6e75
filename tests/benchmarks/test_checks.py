"""The comparison with and without checks compares what it says (benchmarks/checks.py)."""

from __future__ import annotations

import re

import pytest
from perdure.storage import DamagedRecord
from perdure.storage.records import RecordSeal

from benchmarks import checks


def test_checks_are_taken_out_in_the_block_only() -> None:
    """What is stored without checks has the size of what is stored with them, is read without them, and is damaged for the product."""
    seal = RecordSeal("meta")
    with checks.taken_out():
        stored = seal.seal(b"key", b"value")
        assert seal.unseal(b"key", stored) == b"value"
        assert seal.seal_all([(b"key", b"value")]) == [(b"key", stored)]
    assert len(stored) == len(seal.seal(b"key", b"value"))
    with pytest.raises(DamagedRecord):
        seal.unseal(b"key", stored)


def test_the_program_compares(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints both ratios for each timed stretch, and fails if the worst one is more than is allowed."""
    failed = checks.main(["signals-batch", "--pairs", "1", "--scale", "0.01"])
    said = capsys.readouterr().out
    assert re.search(r"^signals-batch, 1 client +\d+\.\d+ +\d+\.\d+$", said, re.MULTILINE)
    worst = re.search(r"at most (\d+\.\d+) times", said)
    assert worst is not None
    assert failed == (float(worst[1]) > checks.ALLOWED)
