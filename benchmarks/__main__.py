"""``python -m benchmarks [names] [--quick] [--runs N] [--json FILE] [--against FILE] [--folder DIR] [--list]``.

Exit status: 0 when all ran (targets that were missed are shown, and are no failure), 1 when a run failed or gave a wrong
result, 2 when the command was wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .registry import WORKLOADS, chosen
from .report import show
from .results import Results
from .runner import RunFailed, run_all

_RUNS = 5
_QUICK_SCALE = 0.05
_FOLDER = Path(__file__).resolve().parent.parent / "build" / "benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<20} {workload.measures}")
        return 0
    try:
        workloads = chosen(options.names)
        before = None if options.against is None else Results.load(options.against)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    runs = options.runs or (1 if options.quick else _RUNS)
    scale = options.scale or (_QUICK_SCALE if options.quick else 1.0)
    try:
        results = run_all(workloads, options.folder, runs=runs, scale=scale, progress=_progress)
    except RunFailed as error:
        print(error, file=sys.stderr)
        return 1
    show(results, before, sys.stdout)
    if options.json is not None:
        results.save(options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure durable hubs with default settings.")
    parser.add_argument("names", nargs="*", metavar="name", help="workloads; all if left out")
    parser.add_argument("--quick", action="store_true", help=f"one run at {_QUICK_SCALE:g} of the full size")
    parser.add_argument("--runs", type=_positive(int), help=f"runs of each workload ({_RUNS}; with --quick 1)")
    parser.add_argument("--scale", type=_positive(float), help="size of each run; 1 is full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with figures that --json wrote")
    parser.add_argument("--folder", type=Path, default=_FOLDER, metavar="DIR", help=f"where the hubs are made ({_FOLDER})")
    parser.add_argument("--list", action="store_true", help="name all workloads, and run none")
    return parser


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"a number above 0, not {text}")
        return value

    return parse


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
