"""Many seeds, on all processors, and their figures."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from time import monotonic

from attrs import define, field

from .simulation import Outcome, simulate

AT_A_TIME = 25
"""Seeds that a process is given at a time."""


@define
class Figures:
    """What a campaign has done.

    Attributes:
      seeds: how many runs there were.
      steps: how many steps they had.
      crashes: how often a process died in them.
      crashes_least: in the run in which that happened least.
      commits: how many batches became durable; after each the store was checked.
      seconds: how long it took.
      failed: the runs that failed.
    """

    seeds: int = 0
    steps: int = 0
    crashes: int = 0
    crashes_least: int = 0
    commits: int = 0
    seconds: float = 0.0
    failed: list[Outcome] = field(factory=list)
    _digests: dict[int, str] = field(factory=dict)

    def add(self, outcome: Outcome) -> None:
        """A run has ended."""
        self.crashes_least = outcome.crashes if not self.seeds else min(self.crashes_least, outcome.crashes)
        self.seeds += 1
        self.steps += outcome.steps
        self.crashes += outcome.crashes
        self.commits += outcome.commits
        self._digests[outcome.seed] = outcome.digest
        if outcome.faults:
            self.failed.append(outcome)

    @property
    def digest(self) -> str:
        """Of the digests of all runs: the same seeds give the same."""
        whole = "".join(self._digests[seed] for seed in sorted(self._digests))
        return hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()

    def __str__(self) -> str:
        return (
            f"{self.seeds:,} seeds from {min(self._digests, default=0)}, {self.steps:,} steps, {self.crashes:,} crashes ({self.crashes_least} or more in each), "
            f"{self.commits:,} commits checked, {len(self.failed)} failed, in {self.seconds:.0f} s, digest {self.digest}"
        )


def run(
    seeds: range,
    steps: int,
    *,
    jobs: int | None = None,
    seconds: float | None = None,
    each: Callable[[Outcome], None] = lambda _: None,
) -> Figures:
    """Run seeds.

    Args:
      seeds: which.
      steps: how many steps each has.
      jobs: how many processes; one for each processor if left out.
      seconds: begin no more runs after that time.
      each: is told of each run when it has ended, in no particular order.
    """
    begun, figures = monotonic(), Figures()
    for outcome in _outcomes(seeds, steps, jobs or os.cpu_count() or 1, None if seconds is None else begun + seconds):
        figures.add(outcome)
        figures.seconds = monotonic() - begun
        each(outcome)
    return figures


def _outcomes(seeds: range, steps: int, jobs: int, until: float | None) -> Iterator[Outcome]:
    chunks = [seeds[at : at + AT_A_TIME] for at in range(0, len(seeds), AT_A_TIME)]
    if jobs == 1 or len(chunks) < 2:
        for chunk in chunks:
            yield from _several(chunk, steps, until)
        return
    # Processes of their own, not forks: what this one has open is none of their business.
    with ProcessPoolExecutor(min(jobs, len(chunks)), multiprocessing.get_context("spawn")) as pool:
        futures: list[Future[list[Outcome]]] = [pool.submit(_several, chunk, steps, until) for chunk in chunks]
        for future in as_completed(futures):
            yield from future.result()


def _several(seeds: range, steps: int, until: float | None) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for seed in seeds:
        if until is not None and monotonic() > until:
            break
        outcomes.append(simulate(seed, steps))
    return outcomes
