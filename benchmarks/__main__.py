"""The command ``python -m benchmarks``; ``--help`` says what it takes.

Exit status: 0 when all ran (targets that were missed are shown, and are no failure), 1 when a run failed or gave a wrong
result, 2 when the command was wrong.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

from attrs import evolve

from .markdown import parts_around, target_table, write_into
from .registry import ALL_WITH_TARGETS, WORKLOADS, chosen
from .report import show
from .results import Results
from .runner import OWN_PROGRAM, RunFailed, Settings, run_all
from .workload import Workload

_RUNS = 5
_QUICK_SCALE = 0.05
_FOLDER = Path(__file__).resolve().parent.parent / "build" / "benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<20} {workload.measures}{' (only if named)' if workload.asked_only else ''}")
        return 0
    try:
        workloads = chosen(options.names)
        _refuse_what_cannot_be(options, workloads)
        before = None if options.against is None else Results.load(options.against)
        results = None if options.show is None else _shown(options.show, workloads if options.names else None)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if results is None:
        settings = Settings(
            options.folder,
            options.runs or (1 if options.quick else _RUNS),
            options.scale or (_QUICK_SCALE if options.quick else 1.0),
            options.flights,
            shlex.split(options.program) if options.program else OWN_PROGRAM,
            _command(sys.argv[1:] if arguments is None else arguments),
        )
        try:
            results = run_all(workloads, settings, _progress)
        except RunFailed as error:
            print(error, file=sys.stderr)
            return 1
    if options.json is not None:
        results.save(options.json)
    show(results, before, sys.stdout)
    if ALL_WITH_TARGETS in options.names:
        print(f"\n{target_table(results)}")
    if options.into is not None:
        write_into(options.into, results)
    return 0


def _refuse_what_cannot_be(options: argparse.Namespace, workloads: Sequence[Workload]) -> None:
    """Find what is wrong before anything runs, which may take long.

    Raises:
      ValueError, OSError: something is, and the message says what.
    """
    if options.show is not None:
        running = [f"--{name}" for name in ("quick", "runs", "scale", "flights", "program") if getattr(options, name)]
        if running:
            raise ValueError(f"--show runs nothing, so there is no use for {', '.join(running)} beside it")
    elif options.flights is None and any(workload.name == "flights-year" for workload in workloads):
        raise ValueError("flights-year needs a file: --flights FILE")
    if options.flights is not None and not options.flights.is_file():
        raise ValueError(f"there is no file {options.flights}")
    if options.into is not None:
        parts_around(options.into)


def _shown(files: Sequence[Path], workloads: Sequence[Workload] | None) -> Results:
    """The results in these files, together; of those workloads, or of all.

    Raises:
      ValueError, OSError: a file is not to be read, or they do not belong together, or have none of the workloads.
    """
    results = reduce(Results.merged, map(Results.load, files))
    if workloads is None:
        return results
    found = {workload.name: results.workloads[workload.name] for workload in workloads if workload.name in results.workloads}
    if not found:
        raise ValueError(f"none of these files has results of {', '.join(workload.name for workload in workloads)}")
    return evolve(results, workloads=found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure durable hubs with default settings.",
        epilog="All workloads at full size take a quarter of an hour with five runs each; --quick takes a quarter of a minute.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"workloads, see --list; '{ALL_WITH_TARGETS}' for all that have a target, and the table of targets; "
        "if left out, all but the few that take minutes",
    )
    parser.add_argument("--quick", action="store_true", help=f"one run at {_QUICK_SCALE:g} of the full size")
    parser.add_argument("--runs", type=_positive(int), metavar="N", help=f"runs of each workload ({_RUNS}; with --quick 1)")
    parser.add_argument("--scale", type=_positive(float), metavar="X", help="size of each run; 1 is full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with figures that --json wrote")
    parser.add_argument(
        "--show",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="run nothing; show what --json wrote into these files, of the named workloads or of all",
    )
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the tables into this Markdown file, between its marks")
    parser.add_argument("--flights", type=Path, metavar="FILE", help="for the workload flights-year: its CSV file")
    parser.add_argument("--program", metavar="COMMAND", help="measure this instead, such as a peer's: see benchmarks/peers.md")
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


def _command(arguments: Sequence[str]) -> str:
    """The command as people would type it: without where its results go, and files by their names."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in {"--json", "--against", "--into", "--folder"}:
            next(words, None)
        elif not word.startswith(("--json=", "--against=", "--into=", "--folder=")):
            kept.append(" ".join(Path(part).name if "/" in part else part for part in shlex.split(word)))
    return shlex.join(["python", "-m", "benchmarks", *kept])


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
