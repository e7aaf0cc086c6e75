"""Noticing that this process is a fork of the one that opened something, without asking the system each time."""

from __future__ import annotations

import os

_forks = 0


def _count() -> None:
    global _forks  # noqa: PLW0603 - one process, one count
    _forks += 1


os.register_at_fork(after_in_child=_count)


def generation() -> int:
    """How many forks lie between the process that imported this and the present one; another number means another process."""
    return _forks
