"""What the workload cold compares with, each for a fresh process.

``python -m benchmarks.workloads.cold_limits NAME FOLDER`` prints a JSON list: the monotonic time in seconds when the
program has done what it is about, and how long its imports took, in seconds.

Modules are imported by name, inside of the functions: importing is what is measured, and nothing must be there before.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import monotonic, perf_counter


def lmdb_alone(folder: str) -> tuple[float, float]:
    """Make an LMDB environment and put one record into it, durably."""
    seconds = _import("lmdb")
    with sys.modules["lmdb"].open(folder) as environment:
        with environment.begin(write=True) as transaction:
            transaction.put(b"key", b"value")
        return monotonic(), seconds


def nothing(_: str) -> tuple[float, float]:
    """Start the interpreter, and no more."""
    return monotonic(), 0.0


def framework(_: str) -> tuple[float, float]:
    """Import the hub."""
    seconds = _import("perdure.hub")
    return monotonic(), seconds


def dependencies(_: str) -> tuple[float, float]:
    """Import the packages that the hub is built on, and not the hub."""
    seconds = _import("attrs", "cattrs", "lmdb", "msgspec", "trio")
    return monotonic(), seconds


def _import(*names: str) -> float:
    started = perf_counter()
    for name in names:
        import_module(name)
    return perf_counter() - started


PROGRAMS = {program.__name__: program for program in (lmdb_alone, nothing, framework, dependencies)}

if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]](sys.argv[2])))
