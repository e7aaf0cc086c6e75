"""What stands around a hub: the ``perdure`` command.

The command needs click and rich, which come with ``pip install 'perdure[cli]'``; importing this package does not.
"""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
