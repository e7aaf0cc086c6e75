"""A disk as the recorder saw it: what was forced to it, what was only written, and what had been promised, at each moment.

Assumptions, which are LMDB's own and those of journaling file systems:

- a sector of 512 bytes is written whole or not at all, and the disk does not lie about a sync;
- what was written and not yet synced may be on the disk or not, sector by sector, in any combination;
- a file's size may have reached the disk without what was written there, which then reads as zeros;
- what was under way when a sync failed may or may not have reached the disk, and no later sync brings it there, since the
  kernel may have given it up; only writing it again does;
- names (creating, renaming) reach the disk in their order; forcing a folder forces what happened in it; forcing a file
  forces what is in it and its size, not its name.

Only the moments before something becomes durable matter (:class:`Moment`): what a cut earlier since the last one could leave
is among what a cut then can leave, and less had been promised earlier. So the strictest question is asked each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import define, evolve, field, frozen
from perdure.storage.store import Writes

from .disk_shim import Note, Noted

SECTOR_BYTES: Final = 512

Names = dict[tuple[int, str], int]
"""What a folder (by its inode) calls a file or folder: its inode."""


@frozen
class Piece:
    """What may be on the disk or not: a sector's part of a write, or, without data, a file's size.

    Attributes:
      inode: the file.
      offset: where; for a size, how many bytes the file has at least.
      data: what.
      cut: the file has no more bytes than that.
      write: which write of the moment it belongs to.
      given_up: a sync of it has failed.
    """

    inode: int
    offset: int
    data: bytes
    write: int
    given_up: bool = False
    cut: bool = False


@frozen
class Naming:
    """A name that was given, or taken away (no inode); with ``gone``, the name that was had before."""

    folder: int
    name: str
    inode: int | None
    gone: tuple[int, str] | None = None


@frozen
class Promises:
    """What had been promised at a moment.

    Attributes:
      opened: the last owner epoch that was handed out.
      submitted: the number of the last batch that was given to the store.
      settled: the number of the last batch that was said to be durable.
      told: the steps that the client was told of.
    """

    opened: int = 0
    submitted: int = 0
    settled: int = 0
    told: tuple[str, ...] = ()


@frozen
class Moment:
    """The disk and the promises just before something becomes durable.

    Attributes:
      files: what is durable of each file.
      names: the durable names.
      folders: which inodes are folders.
      pieces: what was written to files since, in order.
      namings: the names given since, in order.
      promises: what had been promised.
    """

    files: dict[int, bytes]
    names: Names
    folders: frozenset[int]
    pieces: tuple[Piece, ...]
    namings: tuple[Naming, ...]
    promises: Promises


@define
class _Disk:
    root: str
    files: dict[int, bytearray] = field(factory=dict[int, bytearray])
    names: Names = field(factory=Names)
    pieces: list[Piece] = field(factory=list[Piece])
    namings: list[Naming] = field(factory=list[Naming])
    paths: dict[str, int] = field(factory=dict[str, int])
    lengths: dict[int, int] = field(factory=dict[int, int])
    folders: set[int] = field(factory=set[int])
    writes: int = 0

    def place(self, path: str) -> tuple[int, str]:
        """The folder of a path, as an inode, and the name in it."""
        above, _, name = path.rpartition("/")
        return self.paths[above], name

    def create(self, inode: int, path: str) -> None:
        """A file or a folder is created."""
        self.paths[path] = inode
        self.namings.append(Naming(*self.place(path), inode))
        self.files.pop(inode, None)
        self.lengths[inode] = 0

    def rename(self, old: str, new: str) -> None:
        """A file, or a folder with what is in it."""
        self.namings.append(Naming(*self.place(new), self.paths[old], gone=self.place(old)))
        moved = {path: inode for path, inode in self.paths.items() if path == old or path.startswith(old + "/")}
        for path, inode in moved.items():
            del self.paths[path]
            self.paths[new + path[len(old) :]] = inode

    def remove(self, path: str) -> None:
        """A file is deleted."""
        self.namings.append(Naming(*self.place(path), None))
        del self.paths[path]

    def write(self, inode: int, offset: int, data: bytes) -> None:
        """Bytes are written, to the page cache."""
        self.writes += 1
        end = offset + len(data)
        if end > self.lengths[inode]:
            self._grow(inode, end)
        at = offset
        while at < end:
            upto = min(end, at - at % SECTOR_BYTES + SECTOR_BYTES)
            self.pieces.append(Piece(inode, at, data[at - offset : upto - offset], self.writes))
            at = upto

    def resize(self, inode: int, size: int) -> None:
        """A file becomes longer or shorter."""
        self.writes += 1
        if size >= self.lengths[inode]:
            self._grow(inode, size)
        else:
            self.lengths[inode] = size
            self.pieces.append(Piece(inode, size, b"", self.writes, cut=True))

    def _grow(self, inode: int, size: int) -> None:
        self.lengths[inode] = size
        self.pieces.append(Piece(inode, size, b"", self.writes))

    def force(self, wanted: Iterable[Piece]) -> None:
        """Pieces become durable, if no sync of them has failed; what was given up is gone where it was written again."""
        forced = {id(piece): piece for piece in wanted if not piece.given_up}
        _put(self.files, forced.values())
        again = {(piece.inode, piece.offset // SECTOR_BYTES) for piece in forced.values() if piece.data}
        self.pieces = [
            piece
            for piece in self.pieces
            if id(piece) not in forced and (not piece.data or (piece.inode, piece.offset // SECTOR_BYTES) not in again)
        ]

    def give_up(self, inode: int) -> None:
        """A sync fails."""
        self.pieces = [evolve(piece, given_up=True) if piece.inode == inode else piece for piece in self.pieces]

    def force_names(self, folder: int) -> None:
        """What happened in a folder becomes durable."""
        here = [naming for naming in self.namings if folder in (naming.folder, naming.gone and naming.gone[0])]
        _name(self.names, here)
        self.namings = [naming for naming in self.namings if naming not in here]

    def moment(self, promises: Promises) -> Moment:
        """As it is."""
        files = {inode: bytes(content) for inode, content in self.files.items()}
        return Moment(files, dict(self.names), frozenset(self.folders), tuple(self.pieces), tuple(self.namings), promises)


@frozen
class Recording:
    """What was recorded.

    Attributes:
      moments: the moments, in order.
      batches: what was given to the store, by number.
    """

    moments: list[Moment]
    batches: dict[int, Writes]


def understand(notes: Iterable[Noted], root: Path) -> Recording:
    """Make moments of notes.

    Args:
      notes: what was noted.
      root: the folder that was watched; it was empty, and what is in it now must be what the notes amount to.
    """
    disk = _Disk(str(root))
    disk.paths[str(root)] = 0
    root_inode = root.stat().st_ino
    promises = Promises()
    moments: list[Moment] = []
    batches: dict[int, Writes] = {}
    for noted in notes:
        inode = 0 if noted.inode == root_inode else noted.inode
        if noted.what is Note.MARK:
            promises = _promise(promises, batches, msgspec.msgpack.decode(noted.data))
        elif noted.what in (Note.CREATE, Note.FOLDER):
            disk.create(inode, noted.data.decode())
            if noted.what is Note.FOLDER:
                disk.folders.add(inode)
        elif noted.what is Note.RENAME:
            disk.rename(*noted.data.decode().split("\n"))
        elif noted.what is Note.REMOVE:
            disk.remove(noted.data.decode())
        elif noted.what is Note.WRITE:
            disk.write(inode, noted.offset, noted.data)
        elif noted.what is Note.RESIZE:
            disk.resize(inode, noted.offset)
        elif noted.what is Note.DURABLE_WRITE:
            disk.write(inode, noted.offset, noted.data)
            moments.append(disk.moment(promises))
            disk.force([piece for piece in disk.pieces if piece.write == disk.writes])
        elif noted.what is Note.FAILED_SYNC:
            disk.give_up(inode)
        else:
            assert noted.what is Note.SYNC
            moments.append(disk.moment(promises))
            disk.force([piece for piece in disk.pieces if piece.inode == inode])
            disk.force_names(inode)
    moments.append(disk.moment(promises))
    _compare(moments[-1], root)
    return Recording(moments, batches)


def _promise(promises: Promises, batches: dict[int, Writes], mark: list[Any]) -> Promises:
    kind, value, *rest = mark
    match kind:
        case "opened":
            return evolve(promises, opened=value)
        case "submitted":
            assert batches.setdefault(value, rest[0]) == rest[0], f"batch {value} was submitted twice, differently"
            return evolve(promises, submitted=max(value, promises.submitted))
        case "settled":
            return evolve(promises, settled=value)
        case _:
            return evolve(promises, told=(*promises.told, value))


def _compare(last: Moment, root: Path) -> None:
    """Nothing may have escaped the recorder."""
    rebuilt = rebuild(last, last.pieces, len(last.namings))
    there = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file() and not unseen(path.name)
    }
    rebuilt = {path: content for path, content in rebuilt.items() if not path.endswith("/")}
    assert rebuilt.keys() == there.keys(), f"files were made unseen: {rebuilt.keys() ^ there.keys()}"
    different = [path for path, content in there.items() if content != rebuilt[path]]
    assert not different, f"{different} were written unseen: the recording is not whole"


def unseen(name: str) -> bool:
    """Whether the recorder leaves a file out: LMDB writes its locks through memory, and an owner lock means nothing after a cut."""
    return name == "lock.mdb" or name.endswith(".owner.lock")


def rebuild(moment: Moment, pieces: Iterable[Piece], names: int) -> dict[str, bytes]:
    """The files that a cut leaves, by their paths, if these pieces and so many of the names have reached the disk.

    A path that ends with a slash is a folder.
    """
    files = {inode: bytearray(content) for inode, content in moment.files.items()}
    _put(files, pieces)
    given = dict(moment.names)
    _name(given, moment.namings[:names])
    paths = [(path, inode) for path, inode in _walk(given, moment.folders) if not unseen(path.rpartition("/")[2])]
    return {path: bytes(files.get(inode, b"")) for path, inode in paths}


def _put(files: dict[int, bytearray], pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        content = files.setdefault(piece.inode, bytearray())
        end = piece.offset + len(piece.data)
        if piece.cut:
            del content[end:]
        elif end > len(content):
            content.extend(bytes(end - len(content)))
        content[piece.offset : end] = piece.data


def _name(names: Names, namings: Iterable[Naming]) -> None:
    for naming in namings:
        if naming.gone is not None:
            names.pop(naming.gone, None)
        if naming.inode is None:
            names.pop((naming.folder, naming.name), None)
        else:
            names[naming.folder, naming.name] = naming.inode


def _walk(names: Names, folders: frozenset[int], folder: int = 0, above: str = "") -> Iterator[tuple[str, int]]:
    """The paths that can be reached, each with its inode; that of a folder ends with a slash."""
    for (where, name), inode in names.items():
        if where != folder:
            continue
        if inode in folders:
            yield f"{above}{name}/", inode
            yield from _walk(names, folders, inode, f"{above}{name}/")
        else:
            yield f"{above}{name}", inode
