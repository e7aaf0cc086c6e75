"""How a simulated hub is run: what it costs, how much it may keep, and what goes wrong around it. A seed decides."""

from __future__ import annotations

import random
from collections.abc import Mapping

from attrs import frozen

from ...hub import limits


@frozen
class Manner:
    """How a hub is run.

    Attributes:
      bounds: other values for names of :mod:`perdure.hub.limits`.
      turn_seconds: how long the hub takes a turn to be.
      cache_bytes: what it may keep in memory; 1 drops whatever is idle, so that everything is replayed.
      request_limit: how many request ids it may keep.
      looks_max: how slow the disk is at most.
      beside: how often a client does not wait for the answer to its call, 0 to 1.
      refusals: how often storage refuses commits for a while, 0 to 1 for each step.
      clock_steps: how often the wall clock is set, 0 to 1 for each step.
      failures: how often an activity fails, 0 to 1.
      slowness: how long activities take at most, seconds.
    """

    bounds: Mapping[str, object]
    turn_seconds: float
    cache_bytes: int
    request_limit: int
    looks_max: int
    beside: float
    refusals: float
    clock_steps: float
    failures: float
    slowness: float


def manner_of(seed: int) -> Manner:
    """The manner that a seed decides: many are ordinary, some are extreme."""
    chance = random.Random(f"{seed}/manner")  # noqa: S311 - a seed is the purpose
    choose = chance.choice
    return Manner(
        bounds={
            "BATCH_INSTANCES_MAX": choose((1, 2, 4, limits.BATCH_INSTANCES_MAX)),
            "TURN_MESSAGES_MAX": choose((1, 2, limits.TURN_MESSAGES_MAX)),
            "BACKLOG_MAX": choose((2, 5, limits.BACKLOG_MAX, limits.BACKLOG_MAX)),
            "MAILBOX_MESSAGES_MAX": choose((6, limits.MAILBOX_MESSAGES_MAX, limits.MAILBOX_MESSAGES_MAX)),
            "LETTERS_MAX": choose((2, limits.LETTERS_MAX)),
            "RECOVERY_PAGE": choose((1, 3, limits.RECOVERY_PAGE)),
        },
        turn_seconds=choose((0.0, 0.0, 0.00006, 0.0004)),
        cache_bytes=choose((1, 20_000, limits.CACHE_BYTES, limits.CACHE_BYTES)),
        request_limit=choose((12, limits.REQUESTS_MAX, limits.REQUESTS_MAX)),
        looks_max=choose((0, 0, 2, 6)),
        beside=choose((0.0, 0.3, 0.6, 0.9)),
        refusals=choose((0.0, 0.0, 0.03, 0.1)),
        clock_steps=choose((0.0, 0.05, 0.2)),
        failures=choose((0.0, 0.2, 0.6)),
        slowness=choose((0.0, 2.0, 60.0)),
    )
