"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Two profiles: quick runs on each change, and a thorough one for a night (HYPOTHESIS_PROFILE=thorough). No deadline and no
# complaint about slow data: how fast this machine is just now says nothing about the code. A failure prints what replays it.
for name, max_examples in (("quick", 60), ("thorough", 2_000)):
    settings.register_profile(
        name, max_examples=max_examples, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
