"""The perdure command: each verb on real folders, what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from perdure.service.command import perdure
from perdure.storage.lmdb_store import LmdbStore
from perdure.storage.store import Batch

from ..hub.helpers import Account, FakeClock, bank
from ..storage.processes import child

SOUND, WRONG, MISUSED, IN_USE, UNUSABLE = 0, 1, 2, 3, 4


async def _leave(place: Path) -> None:
    async with bank(place, clock=FakeClock()) as hub:
        await hub.call_entity(Account.at("alice"), Account.deposit, 10)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A hub that was left in order."""
    trio.run(_leave, tmp_path / "bank.db")
    return tmp_path / "bank.db" / "bank"


def run(*words: object) -> Result:
    """Run the command; a traceback fails the test."""
    result = CliRunner().invoke(perdure, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def told(*words: object) -> dict[str, Any]:
    """What the command says to a program: one object, and nothing else."""
    result = run(*words, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def balance(place: Path) -> object:
    async def read() -> object:
        async with bank(place, clock=FakeClock()) as opened:
            return await opened.read_entity(Account.at("alice"))

    return trio.run(read)


def harm(hub: Path) -> None:
    data = hub / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"balance", b"balancf"))


def test_check_of_a_sound_hub(hub: Path) -> None:
    """It says that the hub is sound, how large it is, and ends with 0; the folder above is as good while it is the only one."""
    for path in (hub, hub.parent):
        result = run("check", path)
        assert result.exit_code == SOUND
        assert result.stdout.splitlines()[0].startswith(f"{hub}: ")
        assert result.stdout.splitlines()[-1] == "sound"
    assert told("check", hub)["sound"] is True


def test_check_of_a_damaged_hub(hub: Path) -> None:
    """It names the record, says what a repair would do, and ends with 1; a program gets the same as fields."""
    harm(hub)
    result = run("check", hub)
    assert result.exit_code == WRONG
    assert "checksum: the record" in result.stdout
    assert "repair: none: it stays" in result.stdout
    fields = told("check", hub)
    assert (fields["sound"], fields["remaining"], fields["findings"][0]["kind"]) == (False, 1, "checksum")


def test_check_repairs(hub: Path) -> None:
    """What can be mended is, and the exit code is that of a sound hub then."""
    store = LmdbStore(hub)
    epoch = store.open()

    commit = store.submit(Batch(0, epoch, store.commit_number + 1, {"directory": {b"eaccount\0alice": None}}))
    assert commit.wait(60)
    store.close()
    found = run("check", hub)
    assert found.exit_code == WRONG
    assert "'perdure check --repair' mends" in found.stdout
    result = run("check", hub, "--repair")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (SOUND, "mended")
    assert balance(hub.parent) == Account(10)


def test_backup_and_restore(hub: Path, tmp_path: Path) -> None:
    """A backup is restored to another place, and over the hub itself with --replace, which keeps the former one."""
    assert "backed up to" in run("backup", hub, tmp_path / "saved").stdout
    assert told("restore", tmp_path / "saved", tmp_path / "new.db" / "bank")["replaced"] is None
    assert balance(tmp_path / "new.db") == Account(10)
    refused = run("restore", tmp_path / "saved", hub)
    assert (refused.exit_code, refused.stdout) == (UNUSABLE, "")
    assert refused.stderr.startswith(f"perdure: {hub} exists already")
    kept = told("restore", tmp_path / "saved", hub, "--replace")["replaced"]
    assert Path(kept).is_dir()
    assert balance(hub.parent) == Account(10)


def test_compact(hub: Path) -> None:
    """It says from what size to what, and the hub goes on."""
    assert "compacted" in run("compact", hub).stdout
    fields = told("compact", hub)
    assert fields["file_bytes"] <= fields["source_bytes"]
    assert balance(hub.parent) == Account(10)


def test_export_and_import(hub: Path, tmp_path: Path) -> None:
    """A hub goes through a file or a pipe and is the same; nothing is overwritten, and nothing unfinished is left."""
    file = tmp_path / "bank.jsonl"
    assert "exported" in run("export", hub, file).stdout
    assert run("export", hub).stdout == file.read_text()
    assert told("import", file, tmp_path / "new.db" / "bank")["records"] > 3
    assert balance(tmp_path / "new.db") == Account(10)
    assert run("export", hub, file).exit_code == UNUSABLE
    piped = CliRunner().invoke(perdure, ["import", "-", str(tmp_path / "piped" / "bank")], input=file.read_text())
    assert piped.exit_code == SOUND
    harm(hub)
    (hub / "data.mdb").write_bytes((hub / "data.mdb").read_bytes()[:20_000])
    assert run("export", hub, tmp_path / "never").exit_code == UNUSABLE
    assert {path.name for path in tmp_path.iterdir()} == {"bank.db", "bank.jsonl", "new.db", "piped"}


def test_a_running_hub(hub: Path, tmp_path: Path) -> None:
    """Reading verbs work beside a running hub; the others are refused with its process and an exit code of their own."""
    with child("store = LmdbStore(folder); store.open(); say('running'); input()", hub) as running:
        assert running.line() == "running"
        assert "on a copy beside the running hub" in run("check", hub).stdout
        assert run("backup", hub, tmp_path / "saved").exit_code == SOUND
        assert run("export", hub, tmp_path / "file").exit_code == SOUND
        for words in (("check", hub, "--repair"), ("compact", hub), ("restore", tmp_path / "saved", hub, "--replace")):
            refused = run(*words)
            assert refused.exit_code == IN_USE
            assert refused.stderr.startswith("perdure: the hub ")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("check", "nowhere"), UNUSABLE, "does not exist"),
        (("backup", "nowhere", "there"), UNUSABLE, "does not exist"),
        (("restore", "nowhere", "there"), UNUSABLE, "does not exist"),
        (("compact", "nowhere"), UNUSABLE, "does not exist"),
        (("export", "nowhere", "there"), UNUSABLE, "does not exist"),
        (("import", "nowhere", "there"), MISUSED, "No such file"),
        (("import", "text", "there"), UNUSABLE, "line 1 is not the beginning of an export"),
        (("import", "picture", "there"), UNUSABLE, "not UTF-8"),
        (("check", "text"), UNUSABLE, "is a file"),
        (("check",), MISUSED, "Missing argument"),
        (("mend", "nowhere"), MISUSED, "No such command"),
        (("export", "nowhere", "--json"), MISUSED, "--json needs a FILE"),
    ],
)
def test_mistakes_are_told_in_words(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake gets an exit code and a sentence on the standard error, never a traceback, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("dear reader\n")
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"text", "picture"}


def test_mistakes_are_told_to_programs(tmp_path: Path) -> None:
    """With --json an error is an object with its name and message."""
    said = told("check", tmp_path / "nowhere")
    assert said["error"] == "StorageUnusable"
    assert "does not exist" in said["message"]


def test_several_hubs_are_named(hub: Path) -> None:
    """A folder that holds several hubs is refused with their names."""
    LmdbStore(hub.with_name("second")).open()
    result = run("check", hub.parent)
    assert result.exit_code == UNUSABLE
    assert f"{hub}, {hub.with_name('second')}" in result.stderr


def test_a_folder_that_may_not_be_written(hub: Path, tmp_path: Path) -> None:
    """Verbs that need to write say which folder could not be written."""
    script = f"""
import os, sys
import perdure.service.command
os.chmod({str(tmp_path)!r}, 0o755)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
from perdure.service import main
sys.argv = ["perdure", "compact", {str(hub)!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == UNUSABLE
    assert "ermission denied" in done.stderr
    assert str(hub) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_command_and_the_module_are_one() -> None:
    """`perdure` and `python -m perdure.service` print the same help."""
    commands = ([str(Path(sys.executable).with_name("perdure")), "--help"], [sys.executable, "-m", "perdure.service", "--help"])
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands)
    assert first == second
    assert "check" in first


def test_without_its_libraries_it_says_what_to_install() -> None:
    """Where click is missing the command names the extra, and importing the package works all the same."""
    script = "import sys; sys.modules['click'] = None; import perdure.service; perdure.service.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'perdure[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
