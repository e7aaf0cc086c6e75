"""The page on HTTP calls is true: its program runs, word for word, and prints what the page says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

from perdure.hub import limits
from perdure.orchestration import OrchestrationContext

PAGE = (Path(__file__).parent.parent / "docs" / "http.md").read_text()


def block(language: str) -> str:
    """The one block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return found


def test_the_program_prints_what_the_page_says(tmp_path: Path) -> None:
    """The program runs by itself in an empty folder, and prints just the lines of the page."""
    (tmp_path / "program.py").write_text(block("python"))
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", block("text"))


def test_the_options_are_those_of_the_page() -> None:
    """Each option of the call is on the page; so are the defaults and the hub's own limits."""
    options = [
        parameter
        for parameter in inspect.signature(OrchestrationContext.call_http).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert [option.name for option in options if not re.search(rf"\b{option.name}\b", PAGE)] == []
    defaults = {option.name: option.default for option in options}
    assert (defaults["timeout"], defaults["response_bytes_max"]) == (100, 1 << 20)
    assert (limits.HTTP_REDIRECTS_MAX, limits.HTTP_REQUESTS_MAX) == (20, 100)
