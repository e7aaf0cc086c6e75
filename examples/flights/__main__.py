"""``python -m examples.flights``."""

from __future__ import annotations

import sys

try:
    from .program import main

    status = main()
except KeyboardInterrupt:
    status = 130  # before or after the part that ends in good order
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "rich":
        raise
    status = 2
    print("error: this example shows its progress with rich: pip install 'perdure[examples]'", file=sys.stderr)
sys.exit(status)
