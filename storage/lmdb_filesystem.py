"""Which file system a hub lies on, and whether it keeps what LMDB needs of it.

LMDB needs three things: a map that shows what was written, locks that exclude other processes, and a sync that means
it. A network file system breaks the first two, silently. A container's own layer (overlay) keeps all three and is thrown
away with the container. Memory (tmpfs) is gone when the machine restarts. And btrfs copies pages as it writes them: it
needs free space even to overwrite, so that on a full disk LMDB's own lock file can kill the process (SIGBUS); with
copying switched off for the folder it behaves like the others.

So, before anything is created: network file systems are refused unless asked for, what may lose data or is unknown gets
a warning that says what may be lost, and on btrfs the new folder is marked first, since the mark only counts for
files that are made after it.

The type is the one that the kernel lists for the mount that the folder lies below (``/proc/self/mountinfo``). Where
there is no such list, on other systems than Linux, it is unknown, and nothing is said: there is nothing to go by.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import struct
from pathlib import Path
from typing import Final

from .errors import StorageUnusable

_log = logging.getLogger(__name__)

MOUNTS: Final = Path("/proc/self/mountinfo")

_SOUND: Final = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "reiserfs", "xfs", "zfs"))
_MEMORY: Final = frozenset(("ramfs", "tmpfs"))
_NETWORK: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs"),
        *("smb3", "smbfs", "fuse.ceph", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.nfs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.smbnetfs"),
    )
)
_GET_FLAGS: Final = 0x80086601 if struct.calcsize("l") == 8 else 0x80046601
_SET_FLAGS: Final = 0x40086602 if struct.calcsize("l") == 8 else 0x40046602
_NO_COPY_ON_WRITE: Final = 0x00800000


def filesystem_of(path: Path, mounts: Path | None = None) -> str | None:
    """The type of the file system that a path lies on, such as ``ext4``; ``None`` where the kernel does not say.

    Args:
      path: an existing path without symbolic links.
      mounts: a list of mounts; the kernel's by default.
    """
    try:
        lines = (mounts or MOUNTS).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if separator and len(fields) > 4 and after:
            place = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
            # The longest one counts, and of two mounts on one place the later one, which hides the other.
            if path.is_relative_to(place) and (best is None or len(place.parts) >= best[0]):
                best = (len(place.parts), after.split()[0])
    return None if best is None else best[1]


def check_filesystem(folder: Path, allow_network: bool, mounts: Path | None = None) -> None:
    """Refuse a hub on a network file system, and warn of one whose data may be lost or that is unknown.

    Args:
      folder: where the hub is or is going to be; those above it exist.
      allow_network: let a network file system pass, with a warning.
      mounts: a list of mounts; the kernel's by default.

    Raises:
      StorageUnusable: it is a network file system.
    """
    kind = filesystem_of(folder if folder.exists() else folder.parent, mounts)
    if kind is None or kind in _SOUND:
        return
    if kind in _NETWORK:
        what = (
            f"the hub {folder} lies on a network file system ({kind}), where LMDB's map and locks do not work: "
            "two machines could run it at once, and what was acknowledged could be lost"
        )
        if not allow_network:
            raise StorageUnusable(f"{what}. Use a local disk, or pass allow_network_filesystem=True and bear the risk")
        _log.warning("%s; it is used all the same, as asked for", what)
    elif kind == "overlay":
        _log.warning(
            "the hub %s lies in a container's own layer (overlay): it is lost with the container. Mount a volume", folder
        )
    elif kind in _MEMORY:
        _log.warning("the hub %s lies in memory (%s): it is lost when the machine restarts", folder, kind)
    else:
        _log.warning(
            "the hub %s lies on a file system that Perdure does not know (%s): if its sync does not reach the disk, "
            "acknowledged work may be lost at a power cut; if its locks do not exclude, two processes may run the hub",
            folder,
            kind,
        )


def forbid_copy_on_write(folder: Path) -> None:
    """Mark a new, empty folder on btrfs so that its files are overwritten in place; elsewhere do nothing.

    A mark that cannot be set is logged: the hub works, but a full disk may stop its process.
    """
    if filesystem_of(folder) != "btrfs":
        return
    try:
        add_flag(folder, _NO_COPY_ON_WRITE)
    except OSError as error:
        _log.warning(
            "copy-on-write cannot be switched off for %s (%s): a full disk may kill the process (SIGBUS). Use 'chattr +C' "
            "on the folder above, or another file system",
            folder,
            error,
        )


def add_flag(folder: Path, flag: int) -> None:
    """Set one of the attribute flags of a folder that ``chattr`` sets.

    Raises:
      OSError: the file system refuses it, or has none.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | flag))
    finally:
        os.close(descriptor)
