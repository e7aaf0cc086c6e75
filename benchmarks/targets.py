"""What is to be reached, and what the best durable peer reaches: the only place that knows either.

A target belongs to a figure of a workload, by their names. It is for two cores and full size: a smaller run has no targets.
Peers' figures were measured on two cores as well, by programs that do the same and count in the same way
(``benchmarks/peers.md``); Netherite's was published by its authors.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from .figures import MEGABYTES, MILLISECONDS, RATE, SECONDS, TIMES


@frozen
class Peer:
    """What the best durable peer reaches.

    Attributes:
      value: its figure.
      unit: of the figure.
      note: what else is to be known about it.
      figure: the figure of the workload that it is to be compared with, if that is not the one that has the target.
    """

    value: float
    unit: str
    note: str = ""
    figure: str = ""


@frozen
class Target:
    """A target.

    Attributes:
      workload, figure: what it is a target of.
      value: at least that much of a rate, at most that much of anything else.
      unit: of the figure.
      what: the figure in words, for those who do not know the workloads.
      peer: ``None`` if none was measured.
    """

    workload: str
    figure: str
    value: float
    unit: str
    what: str
    peer: Peer | None = None


_ONE_AT_A_TIME = "one at a time, p50"

TARGETS: tuple[Target, ...] = (
    Target("signals-single", "256 clients", 25_000, RATE, "W1 signals over 1,000 entities, 256 clients", Peer(1111, RATE)),
    Target("signals-batch", "1 client", 150_000, RATE, "W1 the same in batches of 1,000", Peer(1111, RATE, "one by one")),
    Target("call", _ONE_AT_A_TIME, 1, MILLISECONDS, "W2 call, one at a time, p50", Peer(3.4, MILLISECONDS)),
    Target("call", "256 clients", 20_000, RATE, "W2 call, 256 clients", Peer(1160, RATE)),
    Target(
        "sequence3", f"{_ONE_AT_A_TIME}, in one-put commits", 6, TIMES,
        "W3 three activities in sequence, one at a time, p50, to LMDB's one-put commit",
        Peer(7.4, MILLISECONDS, figure=_ONE_AT_A_TIME),
    ),
    Target("sequence3", "256 clients", 8000, RATE, "W3 three activities in sequence, 256 clients", Peer(602, RATE)),
    Target(
        "hello5", "256 clients", 5000, RATE, "HelloSequence5, 256 clients", Peer(1490, RATE, "Netherite on 48 cores, published")
    ),
    Target("fanout", "start to result", 0.06, SECONDS, "W4 1,000 parallel activities", Peer(0.99, SECONDS)),
    Target("transfer", "64 clients", 6000, RATE, "W5 locked transfer, 64 clients", Peer(302, RATE, "without locks; 116 /s with")),
    Target(
        "steps", "10,000 activities, in one-put commits", 2.2, TIMES,
        "W6 10,000 activities in sequence, to as many one-put commits of LMDB",
        Peer(12.6, SECONDS, figure="10,000 activities"),
    ),
    Target("steps", "10,000 entity calls", 0.6, SECONDS, "W6 10,000 entity calls in sequence"),
    Target("steps-long", "activities, ratio", 12, TIMES, "W6 100,000 activities to 10,000 (10 is linear)"),
    Target("steps-long", "entity calls, ratio", 12, TIMES, "W6 100,000 entity calls to 10,000 (10 is linear)"),
    Target(
        "cold", "process start to first result", 300, MILLISECONDS, "W7 cold start to the first result", Peer(400, MILLISECONDS)
    ),
    Target("cold", "import perdure.hub", 150, MILLISECONDS, "W7 import", Peer(320, MILLISECONDS)),
    Target("cold", "memory after the first result", 50, MEGABYTES, "W7 memory", Peer(70, MEGABYTES)),
    Target("parked", "ready", 0.3, SECONDS, "W8 10,000 parked, kill -9, ready", Peer(7.2, SECONDS)),
    Target("parked", "events to all results", 1.5, SECONDS, "W8 all done", Peer(21.7, SECONDS)),
    Target("parked", "most memory", 150, MEGABYTES, "W8 most memory", Peer(998, MEGABYTES)),
    Target("million", "ready", 1, SECONDS, "1,000,000 parked orchestrations and 1,000,000 entities, ready"),
    Target("million", "memory when ready", 300, MEGABYTES, "memory with these"),
    *(
        Target("million", f"{name}, times slower", 1.25, TIMES, f"{name} beside these, times slower than on an empty hub")
        for name in ("W1", "W1 in batches", "W2", "W3", "W4", "W5")
    ),
    *(
        Target("latency-under-load", f"{what} beside {load}, p99", 10, MILLISECONDS, f"a {what} beside W1's load, {load}, p99")
        for load in ("256 clients", "batches")
        for what in ("call", "timer")
    ),
    Target("steps", "ratio of the two", 12, TIMES, "10,000 activities in sequence to 1,000 (10 is linear)"),
    Target("fanout", "ratio of the two", 15, TIMES, "10,000 parallel activities to 1,000 (10 is linear)"),
    Target("fanout", "most memory", 100, MEGABYTES, "most memory of 10,000 parallel activities"),
    Target("fanout", "memory kept, third to first", 1.2, TIMES, "memory kept after the third time, to the first"),
)  # fmt: skip


def target_of(workload: str, figure: str) -> float | None:
    """The target of a figure, ``None`` if it has none."""
    return next((target.value for target in TARGETS if (target.workload, target.figure) == (workload, figure)), None)


def with_targets() -> Iterable[str]:
    """The workloads that have a target, in the order of the table."""
    return dict.fromkeys(target.workload for target in TARGETS)
