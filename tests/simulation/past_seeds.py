"""Seeds that have found a defect of the product, each with what it found; they are run in every test run.

Where the simulator itself has changed since, the seed is one that finds the same defect today: it is planted again to see that.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen
class Past:
    """A seed of the past.

    Attributes:
      found: what it has found.
      planted: the name of the same defect among the faults that can be planted.
      seed, steps, keep: the run; see :func:`perdure.testing.simulate.simulate`.
    """

    found: str
    planted: str
    seed: int
    steps: int = 120
    keep: tuple[int, ...] | None = None


PAST: Final = (
    Past(
        "the last turn of a purged instance deleted the new instance of its id",
        "deletes the directory row of a purged instance again and again",
        4,
    ),
    Past("purging left messages of the batch under way", "leaves messages behind when purging", 0),
    Past("purging left activities of the batch under way", "leaves activities behind when purging", 752),
    Past("recovery took up activities that a client had purged", "takes up activities that were purged", 35),
    Past("what was journaled before the first event was overwritten", "journals what comes before the first event", 63),
    Past("code that had not begun was asked, and offered nothing", "asks code that has not begun", 0),
    Past(
        "an activity that was purged while a careful hub was about to begin it ran, and its heartbeat brought its row back",
        "begins with care what was cancelled",
        14093,
    ),
    Past("an update was answered again when its instance had been rewound", "answers an update again after a rewind", 135),
)
