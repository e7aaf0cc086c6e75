"""The program that the workload cold starts: a new hub, an orchestration of one activity, its result.

``python -m benchmarks.workloads.cold_hub FOLDER`` prints a JSON list: the monotonic time in seconds when the result was
there, and the memory then, in megabytes.
"""

from __future__ import annotations

import json
import sys
from time import monotonic

import trio
from perdure.hub import TaskHub

from ..definitions import greetings, hello
from ..measuring import check
from ..memory import anonymous_megabytes


async def first_result(folder: str) -> tuple[float, float]:
    """Open a new hub and run the orchestration: when its result was there, and the memory then."""
    async with TaskHub("Cold", [hello, greetings], storage=folder) as hub:
        result = await (await hub.start(greetings, 1)).result()
        reached = monotonic()
        memory = anonymous_megabytes()
    check("the result", result, ["Hello city 0"])
    return reached, memory


if __name__ == "__main__":
    print(json.dumps(trio.run(first_result, sys.argv[1])))
