"""An eternal orchestration: work that is done again and again, for years.

Each round is an execution of its own: ``continue_as_new`` ends one and begins the next with fresh arguments, so the journal
never grows longer than one round. Events that nobody has read yet go along. A round that fails is reported and does
not end the rest; only a ``stop`` event does.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import trio
from perdure.hub import TaskHub
from perdure.orchestration import ActivityFailed, OrchestrationContext, activity, orchestrator


@activity
def remove_older_than(folder: str, seconds: float) -> int:
    """Remove the files of a folder that were not changed for some seconds; doing so twice does no harm."""
    limit = time.time() - seconds
    old = [path for path in Path(folder).iterdir() if path.stat().st_mtime <= limit]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


@orchestrator
async def keep_tidy(ctx: OrchestrationContext, folder: str, keep: float, every: float, removed: int) -> int:
    """Remove old files again and again until told to stop; returns how many were removed in all.

    Args:
      ctx: the context.
      folder: the folder.
      keep: how old files may get, seconds.
      every: seconds between two rounds.
      removed: how many the rounds before have removed, 0 at first.
    """
    try:
        removed += await ctx.call_activity(remove_older_than, folder, keep)
        ctx.set_custom_status(f"{removed} removed")
    except ActivityFailed as error:
        ctx.set_custom_status(f"{removed} removed; the last round failed: {error.failure.message}")
    stop = ctx.wait_for_external_event("stop")
    if await ctx.when_any([stop, ctx.create_timer(every)]) is not stop:
        ctx.continue_as_new(folder, keep, every, removed)  # it does not return
    return removed


async def main() -> None:
    """Keep a folder tidy for a second and a half."""
    with tempfile.TemporaryDirectory() as folder:
        async with TaskHub("Tidy", [keep_tidy, remove_older_than], Path(folder, "hub")) as hub:
            scratch = trio.Path(folder, "scratch")
            await scratch.mkdir()
            # There is one for the folder, however often this program is started.
            tidy = await hub.start(keep_tidy, str(scratch), 0.1, 0.3, 0, instance_id="tidy scratch", if_exists="return")
            for number in range(3):
                await (scratch / f"{number}.tmp").write_text("")
                await trio.sleep(0.5)
                print((await tidy.status()).custom_status)
            await tidy.raise_event("stop")
            print(f"stopped: {await tidy.result()} removed, {len(await tidy.history())} entries in the journal")


if __name__ == "__main__":
    trio.run(main)
