"""``python -m tests.simulation.mutations``: plant each fault, and see how many seeds it takes to find it (invariant 30).

Prints a table: the fault, the seeds that were needed, and the invariant that was seen broken first. A fault that so few seeds
find that a seed is kept for it (:mod:`.past_seeds`) may also be found by that one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from attrs import frozen
from perdure.testing.simulate import Outcome, simulate

from . import planted_core, planted_services
from .past_seeds import PAST
from .planting import PLANTED, planted

PLANTED_BY: Final = (planted_core, planted_services)
"""The modules that have planted their faults."""

SEEDS_MAX = 1000
"""So many seeds may be needed; most faults need one."""

_KEPT: Final = {each.planted: each.seed for each in PAST}


@frozen
class Found:
    """What became of a planted fault.

    Attributes:
      fault: what was planted.
      seeds: how many seeds were needed; ``None`` if all did not find it, but perhaps the one that is kept.
      outcome: the run that found it.
    """

    fault: str
    seeds: int | None
    outcome: Outcome | None

    def __str__(self) -> str:
        if self.outcome is None:
            return f"{self.fault:72} not found"
        number, what = self.outcome.faults[0]
        seeds = "kept" if self.seeds is None else self.seeds
        return f"{self.fault:72} {seeds:>5}  {number:2}  {what[:90]}"


def hunt(fault: str, seeds_max: int = SEEDS_MAX, first: int = 0) -> Found:
    """Plant a fault, and run seeds until one fails."""
    with planted(fault):
        for seed in range(first, first + seeds_max):
            outcome = simulate(seed)
            if outcome.faults:
                return Found(fault, seed - first + 1, outcome)
        if fault in _KEPT:
            outcome = simulate(_KEPT[fault])
            return Found(fault, None, outcome if outcome.faults else None)
    return Found(fault, None, None)


def main(given: list[str] | None = None) -> int:
    """Run the program; 1 if a fault was not found."""
    parser = argparse.ArgumentParser("python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="how many seeds may be needed (%(default)s)")
    parser.add_argument("faults", nargs="*", help="faults with one of these texts in their name; all if left out")
    chosen = parser.parse_args(given)
    faults = [fault for fault in PLANTED if not chosen.faults or any(text in fault for text in chosen.faults)]
    print(f"{'planted fault':72} seeds  invariant")
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        hunts = [pool.submit(hunt, fault, chosen.seeds) for fault in faults]
        found = [each.result() for each in hunts]
        for each in found:
            print(each)
    missed = sum(each.outcome is None for each in found)
    print(f"{len(found)} faults planted, {len(found) - missed} found, {max(each.seeds or 0 for each in found)} seeds at most")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
