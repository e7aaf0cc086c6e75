"""The library's program as it is: it opens the store that an older version of it has left, and goes on.

What changed in a member since yesterday's version 0, and what it took:

- version 1: loans are objects with a date instead of texts in a dictionary; fines are exact. ``upgrade`` converts them.
- version 2: the name is two attributes. ``upgrade`` splits it.
- ``reminders`` is new. It has a default, which is all that a new attribute needs.

Three things did not change, because what the old program left under way refers to them: the names of the operations, the
types of their parameters, and the steps of the orchestrator. (An orchestrator that is to take other steps gets a
``version=`` of its own, and the old one stays until its instances have ended.)
"""

from __future__ import annotations

import shutil
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from attrs import define, field, frozen
from perdure.entities import Entity, entity, read_only
from perdure.hub import TaskHub
from perdure.orchestration import OrchestrationContext, orchestrator

DATA = Path(__file__).parent / "data"
"""The store that yesterday's program wrote."""


@frozen
class Loan:
    """A book that somebody has at home."""

    title: str
    due: date


@entity(version=2)
@define
class Member(Entity):
    """Somebody who borrows books."""

    given_name: str = ""
    family_name: str = ""
    loans: list[Loan] = field(factory=list[Loan])
    fines: Decimal = Decimal(0)
    reminders: bool = True

    @classmethod
    def upgrade(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        """Take the steps from the version that saved a state to this one; it is plain data, before and after."""
        if version < 1:
            loans: dict[str, str] = state["loans"]
            state["loans"] = [{"title": title, "due": date.fromisoformat(due)} for title, due in loans.items()]
            state["fines"] = Decimal(str(state["fines"]))
        if version < 2:
            state["given_name"], _, state["family_name"] = state.pop("name").rpartition(" ")
        return state

    def join(self, name: str) -> None:
        """Become a member."""
        self.given_name, _, self.family_name = name.rpartition(" ")

    def borrow(self, title: str, due: str) -> None:
        """Take a book home."""
        self.loans.append(Loan(title, date.fromisoformat(due)))

    def bring_back(self, title: str, fine: float) -> None:
        """Bring a book back, perhaps too late."""
        self.loans = [loan for loan in self.loans if loan.title != title]
        self.fines += Decimal(str(fine))

    @read_only
    def overdue(self, day: date) -> list[str]:
        """The books that should have come back before a day."""
        return [loan.title for loan in self.loans if loan.due < day]


@orchestrator
async def loan(ctx: OrchestrationContext, member: str, title: str, due: str) -> float:
    """Lend a book until it comes back; the fine."""
    await ctx.call_entity(Member.at(member), Member.borrow, title, due)
    fine = await ctx.wait_for_external_event("returned", float)
    await ctx.call_entity(Member.at(member), Member.bring_back, title, fine)
    return fine


async def go_on(folder: Path) -> None:
    """Open the library's store in a folder, whichever version wrote it, and go on."""
    async with TaskHub("Library", [Member, loan], folder) as hub:
        ada, grace = Member.at("ada"), Member.at("grace")
        # A read upgrades its copy. What yesterday's program had accepted last may or may not have been worked off yet.
        print("today:", await hub.read_entity(grace))
        print("overdue on March 2:", await hub.call_entity(grace, Member.overdue, date(2025, 3, 2)))
        await hub.wait_idle()
        print("the signal of yesterday has run:", await hub.read_entity(ada))
        instance = hub.instance("loan-1")
        await instance.raise_event("returned", 0.5)
        print("the loan of yesterday has ended with a fine of", await instance.result())
        await hub.call_entity(grace, Member.borrow, "Nanoseconds", "2025-04-01")
        print("and so on:", await hub.read_entity(grace))


def main(data: Path = DATA) -> None:
    """Go on with a copy of yesterday's store, so that it can be done again."""
    with TemporaryDirectory() as scratch:
        shutil.copytree(data, scratch, dirs_exist_ok=True)
        trio.run(go_on, Path(scratch))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
