"""The recorder and the model of a disk: what a power cut may leave of a few calls, counted by hand."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from .disk_shim import read_notes, run_under
from .power_model import Moment, Piece, Promises, rebuild, understand
from .power_states import ALL_BELOW, Cut, cuts

PRELUDE = """
import os, sys
from tests.crash.disk_shim import Fault, Manner, fail, heal
os.chdir(sys.argv[1])
def new(name, *flags):
    return os.open(os.path.abspath(name), os.O_RDWR | os.O_CREAT | sum(flags), 0o600)
"""


def states(tmp_path: Path, script: str, moment: int = -1) -> set[tuple[tuple[str, bytes], ...]]:
    """All that a cut may leave at a moment of a script that has few writes, which is run under the recorder."""
    root = Path(os.path.realpath(tmp_path)) / "disk"
    root.mkdir()
    run_under("-c", PRELUDE + script, str(root), root=root, log=tmp_path / "notes")
    found = understand(read_notes(tmp_path / "notes"), root).moments[moment]
    assert len(found.pieces) <= ALL_BELOW
    every = itertools.product(range(1 << len(found.pieces)), range(len(found.namings) + 1))
    return {tuple(sorted(Cut(0, pieces, names).files(found).items())) for pieces, names in every}


def contents(found: set[tuple[tuple[str, bytes], ...]]) -> set[bytes]:
    """What the file ``f`` may hold, in states that have it."""
    return {content for state in found for name, content in state if name == "f"}


def test_what_was_synced_is_there(tmp_path: Path) -> None:
    """A write before the sync is in every state, one after it may be missing, and none is there in another form."""
    script = "f = new('f'); os.pwrite(f, b'old', 0); os.fsync(f); os.pwrite(f, b'new', 0)"
    assert contents(states(tmp_path, script)) == {b"old", b"new"}


def test_a_write_may_be_torn_at_sectors(tmp_path: Path) -> None:
    """Of a write over three sectors any may be missing; each is there whole or not at all."""
    script = "f = new('f'); os.pwrite(f, b'-' * 1536, 0); os.fsync(f); os.pwrite(f, b'n' * 1536, 0)"
    parts = [bytes([sector]) * 512 for sector in b"-n"]
    assert contents(states(tmp_path, script)) == set(map(b"".join, itertools.product(parts, repeat=3)))


def test_a_file_may_be_longer_than_what_was_written(tmp_path: Path) -> None:
    """The new size may have reached the disk without the data, which then are zeros."""
    script = "f = new('f'); os.fsync(f); os.writev(f, [b'n', b'ew'])"
    assert contents(states(tmp_path, script)) == {b"", b"\0\0\0", b"new"}


def test_a_write_through_makes_nothing_else_durable(tmp_path: Path) -> None:
    """A write on a descriptor that writes through is durable itself; another one before it is not."""
    script = """
f = new('f'); os.pwrite(f, b'-' * 1024, 0); os.fsync(f)
os.pwrite(f, b'a', 0); os.pwrite(new('f', os.O_DSYNC), b'b', 512)
"""
    found = contents(states(tmp_path, script))
    assert {(content[0:1], content[512:513]) for content in found} == {(b"-", b"b"), (b"a", b"b")}


def test_what_a_failed_sync_gave_up_is_not_brought_back_by_the_next(tmp_path: Path) -> None:
    """After a sync that failed, the write may be missing although the next sync succeeds; written again, it is there."""
    begin = """
f = new('f'); os.pwrite(f, b'old', 0); os.fsync(f); os.pwrite(f, b'new', 0)
fail(Fault.SYNC, Manner.UNDONE, after=0, times=1)
try: os.fsync(f)
except OSError: pass
"""
    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()
    assert contents(states(tmp_path / "once", begin + "os.fsync(f)")) == {b"old", b"new"}
    assert contents(states(tmp_path / "again", begin + "os.pwrite(f, b'new', 0); os.fsync(f)")) == {b"new"}


def test_names_reach_the_disk_in_their_order_and_by_forcing_their_folder(tmp_path: Path) -> None:
    """A folder that was made and renamed is missing, or has its old or its new name; forcing the folder above settles it."""
    script = """
os.mkdir(os.path.abspath('old')); os.close(new('old/f')); os.rename(os.path.abspath('old'), os.path.abspath('new'))
os.fsync(os.open(os.path.abspath('.'), os.O_RDONLY))
"""
    names = {tuple(name for name, _ in state) for state in states(tmp_path, script, moment=0)}
    assert names == {(), ("old/",), ("old/", "old/f"), ("new/", "new/f")}
    (tmp_path / "later").mkdir()
    names = {tuple(name for name, _ in state) for state in states(tmp_path / "later", script)}
    assert names == {("new/",), ("new/", "new/f")}, "forcing a folder forces its names, not those in the folders inside it"


def test_a_file_that_is_shortened_or_deleted_may_still_be_as_it_was(tmp_path: Path) -> None:
    """Until it is synced a file that was cut off may have its old length; one that was deleted may still be there."""
    script = "f = new('f'); os.pwrite(f, b'old', 0); os.fsync(f); os.ftruncate(f, 1)"
    assert contents(states(tmp_path, script)) == {b"old", b"o"}
    (tmp_path / "gone").mkdir()
    script = "os.close(new('f')); os.fsync(os.open(os.path.abspath('.'), os.O_RDONLY)); os.unlink(os.path.abspath('f'))"
    assert states(tmp_path / "gone", script) == {(("f", b""),), ()}


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), min_size=1, max_size=5), st.integers(0, 1000))
def test_cuts_are_of_the_moment_and_begin_with_nothing_and_everything(writes: list[list[int]], seed: int) -> None:
    """Whatever was written, all subsets are looked at where they are few, and none twice; every state is a mixture of old and new."""
    pieces = tuple(Piece(1, 512 * place, b"%d" % number, number) for number, places in enumerate(writes) for place in places)
    moment = Moment({1: b"."}, {(0, "f"): 1}, frozenset(), pieces, (), Promises())
    few = len(pieces) <= ALL_BELOW
    count = (1 << len(pieces)) if few else 3 * len(pieces)
    looked = list(itertools.islice(cuts([moment], seed), count))
    assert {0, (1 << len(pieces)) - 1} == {cut.pieces for cut in looked[:2]}
    if few:
        assert sorted(cut.pieces for cut in looked) == list(range(count))
    for cut in looked:
        content = cut.files(moment)["f"]
        for place in range(6):
            allowed = {b"", b"\0", b"."[place:], *(piece.data for piece in pieces if piece.offset == 512 * place)}
            assert content[512 * place : 512 * place + 1] in allowed
    assert rebuild(moment, (), 0) == {"f": b"."}
