"""W1 with a state of 10 KB: signals to 1,000 entities that hold a text of 10,000 characters, or a list of 2,000 numbers.

Of each kind, 10,000 single signals by 256 clients, and 20,000 in groups of 1,000; counted until all are applied. What is
to be seen: a state is encoded after each operation (that is what undoes a failed one), and written once a batch. A text is
copied; a list is gone through, number by number. LMDB alone writes the same 10 KB for each entity and batch. Bare Python:
the same ``add`` calls on objects in a dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from attrs import define, field
from perdure.entities import Entity, EntityRef

from ..definitions import account_keys
from ..figures import Figure
from ..measuring import Run, check, closed_loop
from ..workload import Workload

if TYPE_CHECKING:
    from perdure.hub import TaskHub

_CLIENTS = 256


@define
class Tally(Entity):
    """A count, with something large beside it."""

    count: int = 0

    def add(self, amount: int) -> None:
        """Count."""
        self.count += amount


@define
class Letter(Tally):
    """A text of 10,000 characters."""

    text: str = "x" * 10_000


@define
class Ledger(Tally):
    """A list of 2,000 numbers, five bytes each when it is stored."""

    entries: list[int] = field(factory=lambda: [1_000_000] * 2000)

    def add(self, amount: int) -> None:
        """Count, and change one of the numbers."""
        self.count += amount
        self.entries[self.count % len(self.entries)] += amount


async def _run(run: Run) -> list[Figure]:
    return [*await _figures(run, "text", Letter), *await _figures(run, "list", Ledger)]


async def _figures(run: Run, name: str, kind: type[Tally]) -> list[Figure]:
    refs = [kind.at(f"{name}-{key}") for key in account_keys(run.count(1000))]
    single, groups = run.count(10_000), run.count(20, 2)
    grouped = groups * len(refs)
    async with run.hub([kind]) as (hub, watch):
        await _send_groups(hub, refs, 1)  # each has its state before anything is measured

        async def signal(number: int) -> None:
            await hub.signal_entity(refs[number % len(refs)], Tally.add, 1)

        with watch.stretch() as alone:
            await closed_loop(_CLIENTS, single, signal)
            await hub.wait_idle()
        with watch.stretch() as together:
            await _send_groups(hub, refs, groups)
        states = [await hub.read_entity(ref) for ref in refs]
    check("the sum of all counts", sum(state.count for state in states if state is not None), len(refs) + single + grouped)
    bare = _bare_seconds(kind)
    return [
        alone.rate(f"{name}, 256 clients", single, bare_seconds=bare * single),
        together.rate(f"{name}, groups of 1,000", grouped, bare_seconds=bare * grouped),
    ]


async def _send_groups(hub: TaskHub, refs: Sequence[EntityRef[Tally]], groups: int) -> None:
    for _ in range(groups):
        async with hub.batch() as batch:
            for ref in refs:
                batch.signal_entity(ref, Tally.add, 1)
    await hub.wait_idle()


def _bare_seconds(kind: type[Tally]) -> float:
    """Seconds for one call on an object; the mean of many."""
    rounds = 10_000
    tally = kind()
    started = perf_counter()
    for _ in range(rounds):
        tally.add(1)
    return (perf_counter() - started) / rounds


WORKLOAD = Workload("signals-10kb", "W1 with a state of 10 KB, a text or a list: single signals and groups of 1,000", _run)
