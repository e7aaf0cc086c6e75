"""Progress bars of the perdure command: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from .test_command import hub

__all__ = ["hub"]


def run_on_a_terminal(*words: object) -> tuple[str, str]:
    """What the command says on standard output, and on a terminal as standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "perdure.service", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}, check=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # the other end is closed, and everything was read
            break
        shown += read
    os.close(ours)
    return done.stdout.decode(), shown.decode()


@pytest.mark.parametrize("verb", ["check", "backup"])
def test_a_bar_is_shown_on_a_terminal_and_goes(hub: Path, tmp_path: Path, verb: str) -> None:
    """While it works the terminal shows a bar, which is erased in the end; the result is on standard output, without it."""
    said, shown = run_on_a_terminal(verb, hub, *([tmp_path / "saved"] if verb == "backup" else []))
    assert "\u2501" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))
    assert "\x1b" not in said
    assert ("sound" if verb == "check" else "backed up to") in said


def test_a_program_gets_no_bar(hub: Path) -> None:
    """With --json nothing but the result is said, on a terminal as well."""
    said, shown = run_on_a_terminal("check", hub, "--json")
    assert said.startswith("{")
    assert shown == ""
