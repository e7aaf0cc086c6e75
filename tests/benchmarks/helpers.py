"""Results that no run has given."""

from __future__ import annotations

from benchmarks.figures import Figure
from benchmarks.results import FORMAT, Results, WorkloadResult, summarize


def results(
    *, rate: float, duration: float, workload: str = "shared", command: str = "python -m benchmarks", scale: float = 1.0
) -> Results:
    """The same two figures of two workloads, one of which is always there.

    ``signals-single`` as the name of the other has a target for the rate.
    """
    figures = [Figure("256 clients", "/s", rate, 1.0, 2.0, operations=10, commits=5), Figure("a duration", "s", duration)]
    machine = {
        "date": "2000-01-01", "cpu_count": 2, "processor": "p", "system": "s", "python": "3", "versions": {"lmdb": "1"},
        "file_system": "ext4",
    }  # fmt: skip
    found: dict[str, WorkloadResult] = {}
    for name in (workload, "only-now"):
        summaries = summarize(name, [figures], targets=scale >= 1)
        found[name] = WorkloadResult("one line", command, "2000-01-01", scale, 0.0, summaries)
    return Results(FORMAT, machine, found)
