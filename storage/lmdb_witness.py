"""The witness: a small second file that knows how far the data file must have come, and how the hub was left (D9).

A damaged meta page of an LMDB file makes the one before it count: the last commit is gone, the file is sound, and
nobody can tell by looking at it. So the number of the last durable batch and the owner epoch are also written here,
after each commit. Finding less than that in the data file at opening shows the loss.

Rules:

1. The witness never runs ahead: it is written after the commit is durable. It may lag behind: it is not forced to disk
   with each commit, so a power cut can take it back some seconds. What it says is a lower bound.
2. It says ``open`` while an owner is at work, and ``closed`` when the hub was left in order, forced to disk both times.
   Found ``open``, the hub was left by a crash; if the boot id differs the machine was restarted too, and what the
   kernel had not written then is lost. ``suspect`` is what a failed check leaves behind.
3. It only warns. A witness that is missing, damaged or cannot be written stops nobody: its absence makes the next opening
   check every page.

It is one line of text of fixed width, with a checksum, written in place: smaller than a sector, so never torn by a disk
that writes sectors whole; where it was torn all the same rule 3 applies.
"""

from __future__ import annotations

import enum
import logging
import os
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from .plain_data import PlainData

_log = logging.getLogger(__name__)

WITNESS_FILE: Final = "witness"

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Left(enum.Enum):
    """How a hub was left."""

    OPEN = "open"
    CLOSED = "closed"
    SUSPECT = "suspect"


class WitnessRecord(PlainData, frozen=True):
    """What a witness says.

    Attributes:
      epoch: the owner epoch of the last commit that it saw.
      number: the number of that commit.
      left: how the hub was left.
      boot_id: which start of the machine that was; empty where the system does not tell.
    """

    epoch: int
    number: int
    left: Left
    boot_id: str

    def to_line(self) -> bytes:
        """The line, with its checksum."""
        text = b"perdure witness %020d %020d %-8b %-36b " % (
            self.epoch,
            self.number,
            self.left.value.encode(),
            self.boot_id.encode(),
        )
        return text + b"%08x\n" % crc32(text)

    @classmethod
    def from_line(cls, line: bytes) -> WitnessRecord | None:
        """Read a line; ``None`` if it is damaged."""
        text, checksum = line[:-9], line[-9:]
        if checksum != b"%08x\n" % crc32(text):
            return None
        fields = text.decode("ascii", "replace").split()
        if len(fields) not in (5, 6) or fields[:2] != ["perdure", "witness"]:
            return None
        return cls(int(fields[2]), int(fields[3]), Left(fields[4]), fields[5] if len(fields) == 6 else "")


def this_boot() -> str:
    """A number that is another one after each start of the machine; empty where the system has none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:36]
    except OSError:
        return ""


def read_witness(folder: Path) -> WitnessRecord | None:
    """What the witness of a hub says; ``None`` if there is none, or it is damaged."""
    try:
        line = (folder / WITNESS_FILE).read_bytes()
    except OSError:
        return None
    return WitnessRecord.from_line(line)


def write_witness(folder: Path, said: WitnessRecord) -> None:
    """Write the witness of a hub that nobody runs. The caller forces it to disk.

    Raises:
      OSError: it cannot be written.
    """
    path = folder / WITNESS_FILE
    path.touch(0o600)
    path.write_bytes(said.to_line())


class Witness:
    """The witness of a hub that is open.

    Args:
      folder: the hub's folder.
      epoch: the owner epoch.
      number: the number of the last durable batch.
    """

    def __init__(self, folder: Path, epoch: int, number: int) -> None:
        self._path = folder / WITNESS_FILE
        self._said = WitnessRecord(epoch, number, Left.OPEN, this_boot())
        self._descriptor: int | None = None
        self._suspects = False
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._give_up(error)
        self._write(self._said, force=True)

    def saw(self, number: int) -> None:
        """A batch has become durable. Called by the writer's thread after each commit."""
        said = self._said
        left = Left.SUSPECT if self._suspects else said.left  # another thread may suspect at this very moment
        self._said = said = WitnessRecord(said.epoch, number, left, said.boot_id)
        self._write(said)

    def suspect(self) -> None:
        """A check has failed: the next opening checks every page, however this one ends."""
        self._suspects = True
        self._said = msgspec.structs.replace(self._said, left=Left.SUSPECT)
        self._write(self._said, force=True)

    def close(self, *, in_order: bool = True) -> None:
        """The hub is left, in order or with a verification that had not ended. Nothing is written to the data file after that."""
        if in_order and not self._suspects:
            self._write(msgspec.structs.replace(self._said, left=Left.CLOSED), force=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, said: WitnessRecord, *, force: bool = False) -> None:
        if self._descriptor is None:
            return
        try:
            os.pwrite(self._descriptor, said.to_line(), 0)
            if force:
                os.fsync(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            self._descriptor = None
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        _log.warning("the witness %s cannot be written (%s): a lost commit would not be noticed", self._path, error)
