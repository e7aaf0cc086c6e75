"""The same as flights with another file, which is not part of the examples: ``--flights FILE``.

Meant for all 328,521 flights of 2013, whose totals the example knows; the examples' ``data/README.md`` says where such files
come from, and what is in them.
"""

from __future__ import annotations

from ..figures import Figure
from ..measuring import Run
from ..workload import Workload
from .flights import fly_file


async def _run(run: Run) -> list[Figure]:
    if run.flights is None:
        raise ValueError("flights-year flies the flights of a file that you have: give it with --flights FILE")
    return [await fly_file(run, run.flights)]


WORKLOAD = Workload("flights-year", "all flights of the file that --flights names, such as those of 2013", _run, asked_only=True)
