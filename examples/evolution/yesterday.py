"""The library's program as it was: version 0 of its state, the first that ran.

It is kept to write the store that today's program opens. It opens the hub, lets members borrow books, starts waiting for one
to come back, accepts a signal that it does not come to work off, and is stopped.
"""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from attrs import define, field
from perdure.entities import Entity
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

THAT_DAY = datetime(2025, 1, 6, 9, 30, tzinfo=UTC)
"""When the store was written, by its own clock."""

KEPT = ("hub.json", "data.mdb")
"""What a hub's folder holds when nobody runs it; locks are made anew."""


@define
class Member(Entity):
    """Somebody who borrows books."""

    name: str = ""
    loans: dict[str, str] = field(factory=dict[str, str])  # title: due, as '2025-02-03'
    fines: float = 0.0

    def join(self, name: str) -> None:
        """Become a member."""
        self.name = name

    def borrow(self, title: str, due: str) -> None:
        """Take a book home."""
        self.loans[title] = due

    def bring_back(self, title: str, fine: float) -> None:
        """Bring a book back, perhaps too late."""
        del self.loans[title]
        self.fines += fine


@orchestrator
async def loan(ctx: OrchestrationContext, member: str, title: str, due: str) -> float:
    """Lend a book until it comes back; the fine."""
    await ctx.call_entity(Member.at(member), Member.borrow, title, due)
    fine = await ctx.wait_for_external_event("returned", float)
    await ctx.call_entity(Member.at(member), Member.bring_back, title, fine)
    return fine


async def write(folder: Path) -> None:
    """Write a library's store into a folder of its own below this one."""
    async with TaskHub("Library", [Member, loan], folder, clock=lambda: int(THAT_DAY.timestamp()) * 1_000_000) as hub:
        ada, grace = Member.at("ada"), Member.at("grace")
        await hub.call_entity(ada, Member.join, "Ada Lovelace")
        await hub.call_entity(grace, Member.join, "Grace Hopper")
        await hub.call_entity(ada, Member.borrow, "Sketches", "2025-02-03")
        await hub.call_entity(ada, Member.borrow, "Engines", "2025-01-20")
        await hub.call_entity(ada, Member.bring_back, "Engines", 1.1)
        await hub.start(loan, "grace", "Compilers", "2025-03-01", instance_id="loan-1")
        await hub.wait_idle()
        hub.pause()
        await hub.signal_entity(ada, Member.bring_back, "Sketches", 2.2)  # accepted, and left for the next to run


def main(target: Path) -> None:
    """Write the store into a folder; what is there is replaced."""
    with TemporaryDirectory() as scratch:
        trio.run(write, Path(scratch))
        written, kept = Path(scratch, "library"), target / "library"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for name in KEPT:
            shutil.copyfile(written / name, kept / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
