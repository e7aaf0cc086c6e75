"""The page on operations is true: its program and its commands run in order and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import fields
from click.testing import CliRunner
from perdure.hub import HubStatistics, limits
from perdure.service.command import perdure
from perdure.storage.store import StoreStatistics

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Each command of the page, and what the page says that it prints."""
    shown = "".join(blocks("console"))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)


def test_the_commands_print_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one after another on the hub that the program leaves, each ends well and prints just the lines of the page."""
    (tmp_path / "program.py").write_text(blocks("python")[0])
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True, timeout=60)
    monkeypatch.chdir(tmp_path)
    for command, expected in commands():
        program, *words = command.split()
        assert program == "perdure"
        done = CliRunner().invoke(perdure, words)
        assert (done.exit_code, done.stderr) == (0, ""), command
        pattern = re.escape(expected).replace(re.escape("..."), ".*?")
        assert re.fullmatch(pattern, done.stdout), (command, done.stdout)


def test_every_verb_is_on_the_page() -> None:
    """Each verb of the command is shown at work."""
    assert {command.split()[1] for command, _ in commands()} == set(perdure.commands)


def test_the_figures_are_there() -> None:
    """What the page says to watch is what statistics have, and the default that it names is the hub's."""
    names = {field.name for field in fields(HubStatistics)} | {f"store.{field.name}" for field in fields(StoreStatistics)}
    table = PAGE[PAGE.index("## What to watch") : PAGE.index("In the log")]
    watched = re.findall(
        r"`([a-z_.]+)`(?=[,|` ])", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    )
    assert watched
    assert set(watched) <= names
    assert limits.FREE_SPACE_FLOOR_BYTES == 64 << 20
