"""The entry point of the ``perdure`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the ``perdure`` command; without its libraries, say what to install."""
    try:
        from .command import perdure  # noqa: PLC0415 - what is missing is told in words
    except ImportError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"the perdure command needs click and rich: pip install 'perdure[cli]' ({error})")
    perdure(prog_name="perdure")
