"""Programs that show Perdure at work; run one with ``python -m examples.NAME``."""
