"""A shorter run that fails as well: steps are left out, many at a time first, as long as the same invariant is broken."""

from __future__ import annotations

from typing import Final

from .simulation import Outcome, simulate

TRIES_MAX: Final = 150


def shrink(failed: Outcome, tries_max: int = TRIES_MAX) -> Outcome:
    """The shortest run that was found.

    Args:
      failed: a run that failed.
      tries_max: how many shorter ones are tried at most.
    """
    broken = failed.faults[0][0]
    best, kept = failed, list(failed.kept if failed.kept is not None else range(failed.failed_at))
    tries, size = 0, max(1, len(kept) // 2)
    while tries < tries_max:
        at = len(kept)
        shorter = False
        while at > 0 and tries < tries_max:
            at = max(0, at - size)
            candidate = kept[:at] + kept[at + size :]
            if len(candidate) == len(kept):
                continue
            tries += 1
            outcome = simulate(failed.seed, failed.steps, candidate)
            if any(number == broken for number, _ in outcome.faults):
                best, kept, shorter = outcome, candidate, True
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return best
