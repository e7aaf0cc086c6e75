"""Single flipped bits: none changes a value without a word. The long form: ``python -m tests.crash.bit_flips 400``."""

from __future__ import annotations

from pathlib import Path

from .bit_flips import experiment, populated


def test_D9_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Of random flips in a populated hub each is harmless, or told by the read that meets it, or by check; check survives all."""
    counts = experiment(populated(tmp_path, 60), 40, seed=3)
    assert counts.total() == 40
    assert not [verdict for verdict in counts if "VIOLATION" in verdict], counts
    assert counts["harmless"] < 35, "the flips hit nothing"
