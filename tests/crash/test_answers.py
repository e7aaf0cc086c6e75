"""Answers belong to the call that asked, also when the one who asked is gone and another process asks something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASKS_AND_DIES = """
import os, sys, trio
from tests.hub.helpers import Account, bank

async def main():
    async with bank(sys.argv[1], paused=True) as hub, trio.open_nursery() as nursery:
        nursery.start_soon(hub.call_entity, Account.at("old"), Account.deposit, 1111)
        while not hub.statistics().commits:
            await trio.lowlevel.checkpoint()
        os._exit(0)

trio.run(main)
"""

ASKS_ANOTHER = """
import sys, trio
from tests.hub.helpers import Account, bank, callers

async def main():
    async with bank(sys.argv[1], paused=True) as hub, callers() as beside:
        while not hub.statistics().ready:
            await trio.lowlevel.checkpoint()
        call = beside.call(lambda: hub.call_entity(Account.at("new"), Account.deposit, 7))
        while not hub.statistics().commits:
            await trio.lowlevel.checkpoint()
        hub.unpause()
        await hub.wait_idle()
        old = await hub.read_entity(Account.at("old"))
    print(call.outcome, old.balance)

trio.run(main)
"""


def test_D8_an_answer_to_a_call_of_a_dead_process_reaches_nobody_else(tmp_path: Path) -> None:
    """A call that was accepted before its process died is run by the next one; its answer is not given to another call."""
    root = Path(__file__).parents[2]
    said = ""
    for program in (ASKS_AND_DIES, ASKS_ANOTHER):
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, cwd=root, timeout=60
        )
        assert run.returncode == 0, run.stderr
        said += run.stdout
    assert said == "7 1111\n"
