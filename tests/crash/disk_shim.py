"""A process whose writes are noted, or made to fail: ``recorder.c`` built, loaded into a child, and talked to.

Two sides. A test builds the shim and starts a child under it (:func:`shim`, :func:`run_under`). The child marks what it knows
(:func:`mark`) or asks for failures (:func:`fail`). :func:`read_notes` reads what was noted.

Why a shim and not a file system of our own or a device: it needs no rights and nothing installed but a C compiler, it sees
each call with its bytes, and it costs nothing, so that thousands of states of the disk can be rebuilt from one run. What it
cannot see is memory that is mapped; :mod:`tests.crash.power_model` therefore checks that what was noted amounts to the files.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

_SOURCE = Path(__file__).with_name("recorder.c")
_ROOT = Path(__file__).parents[2]
_HEADER = struct.Struct("=IIQQQ")
_MAGIC = 0x50455244
CHILD_SECONDS = 300


class Note(enum.IntEnum):
    """What was done; the numbers are those of ``recorder.c``."""

    WRITE = 1
    DURABLE_WRITE = 2
    SYNC = 3
    RESIZE = 4
    CREATE = 5
    FOLDER = 6
    RENAME = 7
    REMOVE = 8
    MARK = 9
    FAILED_SYNC = 10


@frozen
class Noted:
    """One thing that was done.

    Attributes:
      what: the kind.
      inode: of which file or folder.
      offset: where it was written, or the new size; in bytes.
      data: the bytes that were written, a path, two paths with a line feed between them, or a mark.
    """

    what: Note
    inode: int
    offset: int
    data: bytes


class Fault(enum.IntEnum):
    """Which calls fail."""

    DATA = 0
    META = 1
    SYNC = 2


class Manner(enum.IntEnum):
    """How they fail: not done at all; half done; done, yet said to have failed; that, and every call after it fails too."""

    UNDONE = 0
    HALF = 1
    DONE = 2
    LAST = 3


# --- for tests


@functools.cache
def shim() -> Path:
    """The built shim; the test is skipped where it cannot be built."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler (cc, gcc or clang; apt-get install gcc libc6-dev)")
    folder = tempfile.mkdtemp(prefix="perdure-shim-")
    library = Path(folder) / "recorder.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0 and "dlfcn.h" in built.stderr:
        pytest.skip("the C compiler has no headers of the C library (apt-get install libc6-dev)")
    assert built.returncode == 0, built.stderr
    return library


def run_under(*arguments: str, root: Path, log: Path | None = None) -> str:
    """Run Python with these arguments in a child whose doings below ``root`` are noted in ``log``; what it printed."""
    environment = {**os.environ, "LD_PRELOAD": str(shim()), "RECORDER_ROOT": os.path.realpath(root)}
    if log is not None:
        environment["RECORDER_LOG"] = str(log)
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


@contextmanager
def quick_folder() -> Generator[Path]:
    """An empty folder in memory, where there is one: syncs cost nothing there, and what a sync is worth is not asked of it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def read_notes(log: Path) -> Iterator[Noted]:
    """What was noted, in order."""
    content = memoryview(log.read_bytes())
    at = 0
    while at < len(content):
        magic, what, inode, offset, size = _HEADER.unpack_from(content, at)
        assert magic == _MAGIC, f"{log} is no recording"
        at += _HEADER.size
        yield Noted(Note(what), inode, offset, bytes(content[at : at + size]))
        at += size


# --- for children


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.recorder_mark.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
    return library


def mark(data: bytes) -> None:
    """Note something that this process knows at this moment."""
    _library().recorder_mark(data, len(data))


def fail(kind: Fault, manner: Manner, *, after: int, times: int, error: int = errno.EIO) -> None:
    """Make calls of a kind fail, once so many of them went well; ``times`` below zero is for good, zero is never again."""
    _library().recorder_fail(kind.value, after, times, error, manner.value)


def heal() -> None:
    """Nothing fails any more."""
    for kind in Fault:
        fail(kind, Manner.UNDONE, after=0, times=0)


def failures_come() -> int:
    """How many calls were made to fail so far."""
    return int(_library().recorder_failed())
