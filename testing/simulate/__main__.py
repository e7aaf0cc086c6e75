"""``python -m perdure.testing.simulate``: run seeds, say what failed and how to run it again, and sum up."""

from __future__ import annotations

import argparse
import json
import random
import sys
from typing import Any

from .campaign import Figures, run
from .shrinking import shrink
from .simulation import Outcome, simulate


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m perdure.testing.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="the first seed; a random one if left out")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (%(default)s)")
    parser.add_argument("--steps", type=int, default=120, help="how many steps each has (%(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no more seeds after that time")
    parser.add_argument("--jobs", type=int, help="how many processes; one for each processor if left out")
    parser.add_argument("--keep", help="of one seed, take these steps only: numbers from 0, with commas")
    parser.add_argument("--trace", action="store_true", help="print what happened in the runs that fail")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for shorter runs that fail as well")
    parser.add_argument("--json", action="store_true", help="print one object, for programs")
    return parser.parse_args(given)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _told(outcome: Outcome, *, trace: bool) -> list[str]:
    """A run that failed, as people read it."""
    said = [f"seed {outcome.seed} failed at step {outcome.failed_at}, trace {outcome.digest}"]
    said += [f"  invariant {number}: {what}" for number, what in outcome.faults[:5]]
    said.append(f"  again: {outcome.replayed_by}")
    return said + ([f"    {line}" for line in outcome.lines] if trace else [])


def _as_object(figures: Figures, shorter: list[Outcome]) -> dict[str, Any]:
    return {
        "seeds": figures.seeds,
        "steps": figures.steps,
        "crashes": figures.crashes,
        "commits": figures.commits,
        "seconds": round(figures.seconds, 3),
        "digest": figures.digest,
        "failed": [
            {"seed": each.seed, "step": each.failed_at, "faults": each.faults, "trace": each.digest, "again": each.replayed_by}
            for each in shorter
        ],
    }


def main(given: list[str] | None = None) -> int:
    """Run the program.

    Args:
      given: the command line, that of the process if left out.

    Returns:
      The exit code: 1 if a run failed.
    """
    chosen = _arguments(given)
    if chosen.seed is None:
        chosen.seed = random.SystemRandom().randrange(1_000_000_000)
    if chosen.keep is not None:
        figures = Figures()
        figures.add(simulate(chosen.seed, chosen.steps, [int(step) for step in chosen.keep.split(",") if step]))
        shorter = figures.failed
    else:
        seconds = None if chosen.minutes is None else 60 * chosen.minutes
        seeds = range(chosen.seed, chosen.seed + chosen.seeds)
        figures = run(seeds, chosen.steps, jobs=chosen.jobs, seconds=seconds, each=_reporter(quiet=chosen.json))
        shorter = figures.failed if chosen.no_shrink else [shrink(each) for each in figures.failed[:5]]
    if chosen.json:
        _say(json.dumps(_as_object(figures, shorter)))
    else:
        for outcome in shorter:
            for line in _told(outcome, trace=chosen.trace):
                _say(line)
        _say(str(figures))
    return 1 if figures.failed else 0


def _reporter(*, quiet: bool) -> Any:
    def each(outcome: Outcome) -> None:
        if outcome.faults and not quiet:
            _say(f"seed {outcome.seed} fails: {outcome.faults[0][1]}")

    return each


if __name__ == "__main__":
    sys.exit(main())
