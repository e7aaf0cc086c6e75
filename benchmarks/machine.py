"""Facts about the machine that figures depend on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import lmdb

_PACKAGES = ("perdure", "trio", "lmdb", "msgspec", "attrs", "cattrs")

WITHOUT_DISK = frozenset({"tmpfs", "ramfs"})
"""File systems in memory: forcing to disk does nothing there, so nothing is durable."""


def facts(folder: Path) -> dict[str, object]:
    """The machine, the versions, and the file system of a folder."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_count": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {package: _version(package) for package in _PACKAGES} | {"liblmdb": ".".join(map(str, lmdb.version()))},
        "file_system": file_system(folder),
    }


def file_system(folder: Path) -> str:
    """The type of the file system that holds a folder, ``unknown`` where the system does not tell."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    place = folder.resolve()
    found = ("", "unknown")
    for mount in mounts:
        _, point, kind = mount.split(" ")[:3]
        path = Path(point.replace("\\040", " "))
        if (place == path or path in place.parents) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
