"""The users' side of the types: good code checks under a strict checker, and each mistake is an error at its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MARK = "# error"


@pytest.fixture(scope="module")
def diagnostics(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a strict checker says of both files, with the interpreter that runs the tests."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("good.py", "bad.py"):
        (folder / name).write_text((HERE / name).read_text())
    config = {"include": [str(folder)], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    checked = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(checked.stdout)["generalDiagnostics"]
    return found


def said_of(diagnostics: list[dict[str, Any]], name: str) -> dict[int, str]:
    """The errors in a file, by line."""
    return {
        found["range"]["start"]["line"] + 1: f"{found['message']} [{found.get('rule')}]"
        for found in diagnostics
        if Path(found["file"]).name == name and found["severity"] == "error"
    }


def test_good_code_checks(diagnostics: list[dict[str, Any]]) -> None:
    """What the manual shows, and everything else that users may write, has no error under a strict checker."""
    assert said_of(diagnostics, "good.py") == {}


def test_each_mistake_is_an_error_at_its_line(diagnostics: list[dict[str, Any]]) -> None:
    """Wrong types, too few or too many arguments, and a wrong use of a result are errors, and nothing else is."""
    lines = (HERE / "bad.py").read_text().splitlines()
    expected = {number: line for number, line in enumerate(lines, 1) if line.endswith(MARK)}
    said = said_of(diagnostics, "bad.py")
    accepted = {number: line.strip() for number, line in expected.items() if number not in said}
    refused = {number: text for number, text in said.items() if number not in expected}
    assert (accepted, refused) == ({}, {})
    assert len(expected) > 90


def test_the_good_file_is_the_manual_s(diagnostics: list[dict[str, Any]]) -> None:
    """The snippet that users copy first is in the file that is checked."""
    good = (HERE / "good.py").read_text()
    for line in (
        "async with ctx.lock_entities(source, target):",
        "await ctx.call_entity(source, Account.withdraw, amount)",
        "return await ctx.call_activity(send_receipt, payer, payee, amount)",
        'async with TaskHub("Bank", [Account, transfer, send_receipt], storage="bank.db") as hub:',
        'await hub.signal_entity(Account.at("alice"), Account.deposit, 100)',
    ):
        assert line in good
    assert diagnostics, "the checker said nothing at all, not even of the bad file"
