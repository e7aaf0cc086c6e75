"""When all faults have ended, everything that was begun comes to its end (D4, L5, O10): nothing hangs, nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import trio

from ...hub import TaskHub
from ...orchestration import InstanceFinished, InstanceNotFound, RuntimeStatus
from .. import invariants
from ..stored import StoredOrchestration
from .guests import is_guest
from .known import Fault, Known
from .ledgers import Scratch

LONG: Final = 2000.0
"""Virtual seconds in which whatever can go on has gone on: longer than any timer or activity, and than the clock was set back."""
ROUNDS_MAX: Final = 200


async def heal(hub: TaskHub, known: Known, failed: Callable[[], bool]) -> list[Fault]:
    """Let everything end, and see what is left.

    Args:
      hub: the hub; nothing goes wrong around it any more.
      known: the model.
      failed: whether something was found wrong meanwhile.
    """
    await _rest(hub)
    found: list[Fault] = list(_stuck(known))
    for _ in range(ROUNDS_MAX):
        live = [each for each in known.stored.orchestrations if each.live]
        if not live or found or failed():
            break
        await _end_one(hub, known, live)
        await _rest(hub)
    else:
        found.append((16, f"after {ROUNDS_MAX} terminations instances are still running"))
    if not found and not failed():
        found += [(16, f"{what} are left when everything has ended") for what in invariants.left_over(known.stored)]
        found += await _clean_up(hub, known)
    return found


async def _rest(hub: TaskHub) -> None:
    """Let time pass until nothing moves."""
    await hub.wait_idle()
    await trio.sleep(LONG)
    await hub.wait_idle()


def _stuck(known: Known) -> Iterator[Fault]:
    """What should have gone on by itself: everything but what waits for events, for a resume, or for somebody who does."""
    stored = known.stored
    if stored.timers or stored.activities:
        yield 16, f"after {LONG} s without faults {len(stored.timers)} timers and {len(stored.activities)} activities are left"
    for found in stored.orchestrations:
        if found.live and found.inbox and found.record is not None and found.record.status is not RuntimeStatus.SUSPENDED:
            yield 16, f"{found.record.instance_id} is {found.record.status}, and does not take up {found.inbox!r}"
        if not found.live and known.retention is not None and found.record is not None:
            yield 16, f"{found.record.instance_id} has ended, and does not go by itself"
    for entity in stored.entities:
        if is_guest(entity) and entity.record is not None:
            yield 16, f"guest {entity.record.key!r} was not called for {LONG} s, and does not go"
        if entity.inbox and entity.record is not None and entity.record.lock is None:
            yield 16, f"entity {entity.record.key!r} is free, and does not take up {entity.inbox!r}"


async def _end_one(hub: TaskHub, known: Known, live: list[StoredOrchestration]) -> None:
    """Resume or terminate the first one; others may go on by that."""
    record = live[0].record
    assert record is not None
    known.woken[record.instance_id] += 1
    try:
        if record.status is RuntimeStatus.SUSPENDED:
            await hub.resume(record.instance_id)
            await _rest(hub)
        if live[0].live:
            await hub.terminate(record.instance_id)
    except (InstanceFinished, InstanceNotFound):
        pass


async def _clean_up(hub: TaskHub, known: Known) -> list[Fault]:
    """Purge and delete whatever can be: nothing of it may remain (O16, E11)."""
    known.purges.append(lambda _: True)
    await hub.purge()
    for key in ("s", "t"):
        await hub.call_entity(Scratch.at(key), "delete")
    await hub.wait_idle()
    left = [found.record for found in known.stored.orchestrations]
    found: list[Fault] = [(23, f"{record} is left after everything was purged") for record in left]
    found += [
        (23, f"{entity.record} is left after it was deleted")
        for entity in known.stored.entities
        if entity.record is not None and entity.record.name == Scratch.at("").name
    ]
    return found
