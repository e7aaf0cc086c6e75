"""``python -m benchmarks.checks``: what checksums and checks cost, on the workloads that write most.

Each workload is run with the product as it is, and with its checks taken out: checksums are neither made nor compared, the
witness of the last commit is not written, and batches are not compared with the rules of the store. The product has no switch
for this: its functions are replaced here. Both are run in turn, in one process, so that what else the machine does falls on
both; of each the best run counts, since whatever disturbs a run only adds to it. Process time is the better one of the two
figures on a machine that is shared.

What is done at opening only (preflight, page verifier) is no part of this.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import trio
from perdure.storage import lmdb_store
from perdure.storage.lmdb_witness import Witness
from perdure.storage.records import CHECKSUM_BYTES, RecordSeal
from perdure.testing.determinism import Replacement, replaced

from .figures import Figure, more_is_better
from .measuring import Run
from .registry import chosen

NAMES: Final = ("signals-batch", "signals-single", "transfer")
ALLOWED: Final = 1.1
"""With the checks a workload may take so much of what it takes without them."""
FOLDER: Final = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
"""Where the hubs are made: on the disk that is to be measured."""
_PADDING: Final = bytes(CHECKSUM_BYTES)

Runner = Callable[[Run], Awaitable[list[Figure]]]
Took = dict[str, tuple[float, float]]
"""For each timed stretch of a workload: its best time (in any unit) and its best process time."""


def _seal(_: RecordSeal, __: bytes, value: bytes) -> bytes:
    return value + _PADDING


def _seal_all(_: RecordSeal, records: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(key, value + _PADDING) for key, value in records]


def _unseal(_: RecordSeal, __: bytes, stored: bytes) -> bytes:
    return stored[:-CHECKSUM_BYTES]


def _nothing(*_: object) -> None:
    pass


TAKEN_OUT: Final[tuple[Replacement, ...]] = (
    (RecordSeal, "seal", _seal),
    (RecordSeal, "seal_all", _seal_all),
    (RecordSeal, "unseal", _unseal),
    (Witness, "saw", _nothing),
    (lmdb_store, "check_batch", _nothing),
)
"""What becomes of the product's checks; records keep their size."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 1 if the checks cost more than they may."""
    parser = argparse.ArgumentParser("python -m benchmarks.checks", description="Measure what checksums and checks cost.")
    parser.add_argument("names", nargs="*", default=NAMES, help=f"workloads ({', '.join(NAMES)})")
    parser.add_argument("--pairs", type=int, default=5, help="how often each is run with and without (%(default)s)")
    parser.add_argument("--scale", type=float, default=0.25, help="size of each run; 1 is full (%(default)s)")
    options = parser.parse_args(arguments)
    print(f"{'with checks, times what it is without':44} {'time':>8} {'process time':>14}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    worst = 0.0
    for workload in chosen(options.names):
        checked, bare = Took(), Took()
        for number in range(options.pairs):
            for checks in (True, False) if number % 2 == 0 else (False, True):
                _keep_best(checked if checks else bare, _once(workload.run, options.scale, checks=checks))
        for name, (seconds, cpu_seconds) in checked.items():
            ratio, cpu_ratio = seconds / bare[name][0], cpu_seconds / bare[name][1]
            worst = max(worst, cpu_ratio)
            print(f"{workload.name + ', ' + name:44} {ratio:8.3f} {cpu_ratio:14.3f}", flush=True)
    print(f"at most {worst:.3f} times the process time; {ALLOWED} is allowed")
    return 1 if worst > ALLOWED else 0


def _keep_best(best: Took, figures: Sequence[Figure]) -> None:
    """Keep the best of what a run took and of what was known."""
    for figure in figures:
        seconds = 1 / figure.value if more_is_better(figure.unit) else figure.value
        before = best.get(figure.name, (seconds, figure.cpu_us or 0.0))
        best[figure.name] = min(before[0], seconds), min(before[1], figure.cpu_us or 0.0)


def _once(run: Runner, scale: float, *, checks: bool) -> list[Figure]:
    """The figures of one run, one for each timed stretch."""
    with (
        taken_out() if not checks else contextlib.nullcontext(),
        tempfile.TemporaryDirectory(prefix="checks-", dir=FOLDER) as folder,
    ):
        figures: list[Figure] = trio.run(run, Run(Path(folder), scale))
    return list({figure.cpu_us: figure for figure in reversed(figures) if figure.cpu_us is not None}.values())[::-1]


@contextlib.contextmanager
def taken_out() -> Generator[None]:
    """The product has no checks in the block."""
    with ExitStack() as stack:
        for replacement in TAKEN_OUT:
            stack.enter_context(replaced(*replacement))
        yield


if __name__ == "__main__":
    sys.exit(main())
