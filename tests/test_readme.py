"""The README and the pages beside it are true: their programs run, word for word, and print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, *(ROOT / "docs" / f"{name}.md" for name in ("entities", "orchestrations", "storage")))


def snippets(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def said(snippet: str) -> list[str]:
    """What the comments behind the print calls of a snippet say that it prints."""
    return [
        line.partition("# ")[2].strip() for line in snippet.splitlines() if line.strip().startswith("print(") and "# " in line
    ]


def test_the_readme_has_a_complete_program() -> None:
    """There is at least one snippet, and the first is a whole program with a hub."""
    assert "trio.run(main)" in snippets("python")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_program_prints_what_its_comments_say(page: Path, tmp_path: Path) -> None:
    """Each Python snippet that is a whole program runs in an empty folder and prints what its comments say."""
    for number, snippet in enumerate(snippets("python", page)):
        if "trio.run(" not in snippet:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "program.py").write_text(snippet)

        done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=60)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == said(snippet)


def test_a_program_can_be_run_again_on_its_storage(tmp_path: Path) -> None:
    """Run a second time in the same folder, the bank goes on with the balances of the first run."""
    (tmp_path / "program.py").write_text(snippets("python")[0])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    assert done.stdout.splitlines()[-1] == "Account(balance=80)"
