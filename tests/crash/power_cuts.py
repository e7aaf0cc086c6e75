"""Power cuts, rebuilt: what the hub's workload writes to a real folder is recorded, and every state that a cut may leave is opened.

    python -m tests.crash.power_cuts [--states 200000] [--minutes 10] [--seed 1] [--keep FOLDER]

:func:`record` runs the workload under the recorder, :func:`cut_power` has several processes look at states of a recording, and
the summary says how many there were of which kind. A finding names its cut; with ``--keep`` the recordings stay, and the same
command looks at the same cuts of them again.

The long form also has each single write and sync of a run fail (:mod:`tests.crash.fault_child`), which takes half a minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import pytest
from attrs import define, field, frozen

from ..hub.workload import MANNERS
from .disk_shim import quick_folder, run_under, shim
from .power_check import HUB, Answer, Task
from .power_faults import FAILING_SYNC

_ROOT = Path(__file__).parents[2]
_DECODE = msgspec.msgpack.Decoder(Answer).decode
STATES_EACH: Final = 500
"""For fewer no further process is started."""


@frozen
class Recorded:
    """A recording.

    Attributes:
      notes: the file with what was noted.
      root: the folder that was watched.
      manner: how the workload was run.
    """

    notes: Path
    root: Path
    manner: str


@define
class Tally:
    """What was found so far."""

    states: set[bytes] = field(factory=set[bytes])
    outcomes: Counter[str] = field(factory=Counter[str])
    hubs: int = 0
    findings: list[str] = field(factory=list[str])

    def __str__(self) -> str:
        """The summary."""
        kinds = ", ".join(f"{count} with {kind}" for kind, count in self.outcomes.most_common())
        return f"{len(self.states)} distinct states ({kinds}), {self.hubs} hubs lived on, {len(self.findings)} findings"


def record(folder: Path, manner: str, fault: str = "none") -> Recorded:
    """Record the workload.

    Args:
      folder: where the recording goes; one that is there already is taken as it is.
      manner: one of the workload's manners.
      fault: a mistake that is planted, see :mod:`tests.crash.power_faults`.
    """
    root = Path(os.path.realpath(folder)) / "disk"
    notes = root.parent / "notes"
    if not notes.exists():
        root.mkdir(parents=True)
        run_under("-m", "tests.crash.power_child", str(root / HUB), manner, fault, root=root, log=notes)
    return Recorded(notes, root, manner)


def cut_power(recorded: Recorded, tally: Tally, *, states: int, seconds: float, seed: int, findings: int = 10) -> None:
    """Look at so many distinct states of a recording, at as many as the time allows, or until some were found wrong."""
    shares = min(os.cpu_count() or 1, states // STATES_EACH + 1)
    workers: list[tuple[Path, subprocess.Popen[bytes]]] = []
    for share in range(shares):
        path = recorded.notes.with_name(f"task-{share}")
        task = Task(
            notes=str(recorded.notes),
            root=str(recorded.root),
            manner=recorded.manner,
            seed=seed,
            share=share,
            shares=shares,
            states=-(-states // shares),
            seconds=seconds,
            findings=findings,
        )
        path.write_bytes(msgspec.msgpack.encode(task))
        command = [sys.executable, "-m", "tests.crash.power_check", str(path)]
        workers.append((path, subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE)))
    for path, worker in workers:
        _, errors = worker.communicate()
        if worker.returncode < 0:
            last = path.with_suffix(".progress").read_text().splitlines()[-1]
            tally.findings.append(f"{last} kills the process that opens it by {signal.Signals(-worker.returncode).name}")
            continue
        assert worker.returncode == 0, errors.decode()
        answer = _DECODE(path.with_suffix(".answer").read_bytes())
        tally.states.update(answer.digests)
        tally.outcomes.update(answer.outcomes)
        tally.hubs += answer.hubs
        tally.findings += answer.findings


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.power_cuts", description="Rebuild power cuts and open what they leave."
    )
    parser.add_argument("--states", type=int, default=200_000, help="stop after so many distinct states")
    parser.add_argument("--minutes", type=float, default=10, help="stop after that time")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFFFF, help="which states are looked at")
    parser.add_argument("--keep", type=Path, help="a folder in which the recordings stay, or are from the last time")
    options = parser.parse_args()
    try:
        shim()
    except pytest.skip.Exception as error:
        parser.error(str(error))
    print(f"power cuts: seed {options.seed}", flush=True)
    tally = Tally()
    with tempfile.TemporaryDirectory() as passing:
        folder = options.keep or Path(passing)
        kinds = [*((manner, "none") for manner in MANNERS), ("plain", FAILING_SYNC)]
        share = 1 / len(kinds)
        for manner, fault in kinds:
            recorded = record(folder / f"{manner}, {fault}", manner, fault)
            cut_power(
                recorded, tally, states=int(options.states * share), seconds=options.minutes * 60 * share, seed=options.seed
            )
        with quick_folder() as folder:
            failed = run_under("-m", "tests.crash.fault_child", str(folder), "1", "0", root=folder)
    print(f"power cuts: {tally}")
    for finding in tally.findings[:20]:
        print("  ", finding)
    print(f"failing calls, and how many runs ended how; all came to the same end:\n{failed}", end="")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
