"""Flights for tests: the first rows of January, as files and in memory, and the program as a child process."""

from __future__ import annotations

import gzip
import subprocess
import sys
from itertools import islice
from pathlib import Path

from examples.flights.program import JANUARY
from examples.flights.reading import FlightFile, read_flights

ROOT = Path(__file__).parent.parent.parent


def january(folder: Path, rows: int) -> Path:
    """A file with the first rows of January."""
    path = folder / f"first-{rows}.csv"
    with gzip.open(JANUARY, "rt", encoding="utf-8") as file:
        path.write_text("".join(islice(file, rows + 1)))
    return path


def first_flights(folder: Path, rows: int) -> FlightFile:
    """The same, read."""
    return read_flights(january(folder, rows))


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the program."""
    command = [sys.executable, "-m", "examples.flights", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the program to its end; its exit status, and what it printed and complained."""
    child = start(*arguments)
    out, err = child.communicate(timeout=100)
    return child.returncode, out, err
