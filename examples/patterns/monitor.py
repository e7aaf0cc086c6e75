"""A monitor: asking again and again until something has happened, with growing waits and a time limit.

The waits are durable timers, so the monitor costs nothing while it waits, and a restart neither loses it nor makes it
start over. What it has seen so far is its custom status, which anybody may look at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, OrchestrationFailed, TooSlowError, activity, orchestrator


@activity
def has_arrived(file: str) -> bool:
    """Whether a file is there."""
    return Path(file).exists()


@orchestrator
async def wait_for_file(ctx: OrchestrationContext, file: str, first_wait: float, longest_wait: float, patience: float) -> int:
    """Wait until a file has arrived, and return how often it was looked for.

    Args:
      ctx: the context.
      file: its path.
      first_wait: seconds until it is looked for again; then twice as long, and so on.
      longest_wait: at most that many seconds.
      patience: give up after that many seconds, with a TooSlowError.
    """
    looked, wait = 1, first_wait
    with ctx.fail_after(patience):
        while not await ctx.call_activity(has_arrived, file):
            ctx.set_custom_status({"looked": looked, "next wait": wait})
            await ctx.sleep(wait)
            looked, wait = looked + 1, min(2 * wait, longest_wait)
    return looked


async def main() -> None:
    """Wait for one file that arrives after a second, and for one that does not."""
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Monitor", [wait_for_file, has_arrived], Path(folder, "hub")) as hub:
            report, lost = Path(folder, "report.csv"), Path(folder, "lost.csv")
            arriving = await hub.start(wait_for_file, str(report), 0.1, 0.4, 60.0)
            missing = await hub.start(wait_for_file, str(lost), 0.1, 0.4, 1.5)
            await trio.sleep(1)
            print("after a second:", (await arriving.status()).custom_status)
            await trio.Path(report).write_text("done\n")
            print(f"{report.name} has arrived, found at look {await arriving.result()}")
            try:
                await missing.result()
            except OrchestrationFailed as error:
                if not error.failure.is_caused_by(TooSlowError):
                    raise
                print(f"{lost.name} has not arrived: {error.failure.message}")


if __name__ == "__main__":
    trio.run(main)
