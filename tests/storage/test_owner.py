"""Ownership of a hub (D5): one owner, named in the refusal, freed by its death, not inherited by a fork."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from perdure.storage.errors import HubInUse, StorageUnusable
from perdure.storage.owner import OwnerLock

from .processes import child, run

if TYPE_CHECKING:
    from pathlib import Path

TAKE = """
from perdure.storage.owner import OwnerLock
lock = OwnerLock(folder / "x.owner.lock", folder / "x")
try:
    lock.acquire()
    say("took it")
except HubInUse as error:
    say(error)
"""


def lock_in(folder: Path) -> OwnerLock:
    return OwnerLock(folder / "x.owner.lock", folder / "x")


def test_second_object_of_the_process_is_refused(tmp_path: Path) -> None:
    """A second lock of the same process is refused, names the process and the hub, and gets it after the release."""
    first, second = lock_in(tmp_path), lock_in(tmp_path)
    (tmp_path / "x.owner.lock").write_text("1234567890\nof an earlier owner\n")
    first.acquire()
    with pytest.raises(HubInUse, match=rf"{tmp_path / 'x'} is run by this process \({os.getpid()}\)"):
        second.acquire()
    first.release()
    second.acquire()
    first.release()
    with pytest.raises(HubInUse):
        first.acquire()
    second.release()


def test_other_process_is_refused_with_the_pid(tmp_path: Path) -> None:
    """Another process is refused and told the owner's process id; opening the file meanwhile changes nothing."""
    lock = lock_in(tmp_path)
    lock.acquire()
    (tmp_path / "x.owner.lock").read_bytes()
    assert f"process {os.getpid()};" in run(TAKE, tmp_path)[0]
    lock.release()
    assert run(TAKE, tmp_path) == ["took it"]


def test_kill_frees_the_hub(tmp_path: Path) -> None:
    """The lock of a killed process is free at once, while a living one's is refused with its pid."""
    with child(TAKE + "input()", tmp_path) as other:
        assert other.line() == "took it"
        with pytest.raises(HubInUse, match=f"process {other.pid};"):
            lock_in(tmp_path).acquire()
        other.kill()
        lock = lock_in(tmp_path)
        lock.acquire()
        lock.release()


def test_fork_inherits_no_lock(tmp_path: Path) -> None:
    """A forked child does not keep the lock after its parent's death, and releasing there frees nothing."""
    script = (
        TAKE
        + """
if os.fork() == 0:
    lock.release()
    say("child")
    input()
    os._exit(0)
input()
os._exit(0)
"""
    )
    with child(script, tmp_path) as parent:
        assert {parent.line(), parent.line()} == {"took it", "child"}
        with pytest.raises(HubInUse, match=f"process {parent.pid};"):
            lock_in(tmp_path).acquire()
        parent.kill()
        lock = lock_in(tmp_path)
        lock.acquire()
        lock.release()


def test_forks_close_nothing_else(tmp_path: Path) -> None:
    """A descriptor that got the lock's number after a release, or after a fork, stays open in all further forks."""
    script = (
        TAKE
        + """
def fork_with_the_number_reused(place):
    reused = os.open(os.devnull, os.O_RDONLY)
    if os.fork() == 0:
        os.fstat(reused)
        say(place)
        os._exit(0)
    os.wait()
    os.close(reused)

if os.fork() == 0:
    fork_with_the_number_reused("grandchild")
    os._exit(0)
os.wait()
lock.release()
fork_with_the_number_reused("child")
"""
    )
    assert run(script, tmp_path) == ["took it", "grandchild", "child"]


def test_lock_that_cannot_be_written(tmp_path: Path) -> None:
    """A lock file that cannot be created is an unusable hub, with the reason."""
    with pytest.raises(StorageUnusable, match="No such file"):
        OwnerLock(tmp_path / "missing" / "x.owner.lock", tmp_path / "missing" / "x").acquire()
