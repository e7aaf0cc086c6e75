"""The hub's workload on a real folder while writes and syncs of its files fail; run under ``recorder.c``.

    python -m tests.crash.fault_child <folder> <every> <first>

For each kind of call and manner of failing, the n-th call from the opening of the store on fails, for every n until a run
survives (of these every so many-th one, beginning with the first): once, and three times in a row. A run that could not go on
is followed by another one on a disk that works. Both together must come to the end of an undisturbed run, with everything
that was acknowledged. A line is printed for each kind and manner, with how many runs ended how:

- ``survived``: the hub went on by itself;
- ``refused``: the store could not be opened;
- ``lost``, ``kept``: the hub stopped in doubt, and the commit in question was found to be missing, or there.
"""

from __future__ import annotations

import errno
import itertools
import logging
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

from attrs import frozen
from perdure.storage.errors import StorageUnusable
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.lmdb_writer import LmdbCommit
from perdure.storage.store import Batch

from ..hub import workload
from .disk_shim import Fault, Manner, fail, failures_come, heal

ERRORS = {Fault.DATA: (errno.EIO, errno.ENOSPC), Fault.META: (errno.EIO, errno.ENOSPC), Fault.SYNC: (errno.EIO,)}
MANNERS = {
    Fault.DATA: (Manner.UNDONE, Manner.HALF, Manner.DONE),
    Fault.META: (Manner.UNDONE, Manner.HALF, Manner.DONE, Manner.LAST),
    Fault.SYNC: (Manner.UNDONE, Manner.DONE),
}


class NumberedStore(LmdbStore):
    """The real store.

    Attributes:
      submitted: the number of the last batch that was given to it.
    """

    submitted = 0

    def submit(self, batch: Batch) -> LmdbCommit:
        """As the store's."""
        self.submitted = batch.number
        return super().submit(batch)


@frozen
class Failing:
    """Which calls fail, how, with which error, after how many that go well, and how often."""

    kind: Fault
    manner: Manner
    error: int
    after: int
    times: int

    def __str__(self) -> str:
        """For the message of an assertion."""
        return f"{self.kind.name} {self.manner.name} {errno.errorcode[self.error]} after {self.after}, {self.times} times"


def run(folder: Path, client: workload.Client) -> tuple[str, Any]:
    """One life: how it ended, and what was seen at its end."""
    store = NumberedStore(folder)
    try:
        seen = workload.run_once(client, cast("Any", store))
    except StorageUnusable:
        return "refused", None
    finally:
        heal()
    if seen is not None:
        return "survived", seen
    asked = LmdbStore(folder)
    asked.open()
    outcome = "kept" if asked.commit_number == store.submitted else "lost"
    asked.close()
    return outcome, None


def disturb(folder: Path, failing: Failing) -> str | None:
    """A life with failures, and one without: how the first one ended; ``None`` if nothing was there to fail any more."""
    shutil.rmtree(folder, ignore_errors=True)
    client = workload.Client()
    fail(failing.kind, failing.manner, after=failing.after, times=failing.times, error=failing.error)
    before = failures_come()
    outcome, seen = run(folder, client)
    if failures_come() == before:
        return None
    if outcome != "survived":
        again, seen = run(folder, client)
        assert again == "survived", f"{failing}: {outcome}, and then {again} on a sound disk"
    assert seen == workload.EXPECTED, f"{failing}: {outcome}, and it ended otherwise: {seen}"
    if failing.kind is not Fault.META:
        assert outcome in ("survived", "refused"), f"{failing}: what is certain was called in doubt"
    return outcome


def main() -> None:
    """All of it."""
    logging.disable()
    folder = Path(sys.argv[1]) / "bank"
    every, first = int(sys.argv[2]), int(sys.argv[3])
    for kind, manners in MANNERS.items():
        for manner in manners:
            outcomes: Counter[str] = Counter()
            for error, times in itertools.product(ERRORS[kind], (1, 3)):
                for after in itertools.count(first, every):
                    outcome = disturb(folder, Failing(kind, manner, error, after, times))
                    if outcome is None:
                        break
                    outcomes[outcome] += 1
            print(kind.name, manner.name, *(f"{outcome}={count}" for outcome, count in sorted(outcomes.items())), flush=True)


if __name__ == "__main__":
    main()
