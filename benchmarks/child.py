"""The process of one run: ``python -m benchmarks.child WORKLOAD FOLDER SCALE [FLIGHTS]`` prints its figures as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio
from attrs import asdict

from .measuring import Run
from .registry import WORKLOADS


def main(name: str, folder: str, scale: str, flights: str | None = None) -> None:
    """Run a workload once."""
    run = Run(Path(folder), float(scale), None if flights is None else Path(flights))
    figures = trio.run(WORKLOADS[name].run, run)
    print(json.dumps({"figures": [asdict(figure) for figure in figures], "foreign_cpu": run.foreign_cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
