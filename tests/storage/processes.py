"""Child processes for tests of what only another process, a kill or a fork can show.

A child runs a piece of Python and speaks in lines: it prints what happened and waits for a line when the test shall
do something first. So nothing depends on timing.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PRELUDE = """
import os, sys
from pathlib import Path
from perdure.storage.errors import *
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.store import Batch

folder = Path(sys.argv[1])

def say(*words):
    print(*words, flush=True)

def commit(store, epoch, writes):
    pending = store.submit(Batch(0, epoch, store.commit_number + 1, writes))
    assert pending.wait(60)
    pending.result()
"""


class Child:
    """A running child."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def go_on(self) -> None:
        """Give it the line that it waits for."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill it as ``kill -9`` does, and wait until it is gone."""
        self.process.kill()
        self.process.wait(60)

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(60)


@contextmanager
def child(script: str, folder: Path) -> Generator[Child]:
    """Run a script with ``folder`` and the names of :data:`PRELUDE`; it is killed when the block is left."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def run(script: str, folder: Path) -> list[str]:
    """Run a script to its end, demand that it ends well and complains of nothing, and return the lines it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
