"""``python -m perdure.service`` is the ``perdure`` command."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main()
