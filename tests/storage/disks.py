"""Disks for tests that need a bad one."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def small_disk() -> Generator[Path]:
    """A file system of two megabytes; the test is skipped where none can be mounted."""
    with tempfile.TemporaryDirectory() as place:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
        if mounted.returncode != 0:
            pytest.skip("only root may mount a small file system")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)
