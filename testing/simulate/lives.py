"""What may become of instances, of the hub's time, and of request ids, from one commit to the next.

* Commit numbers rise by one (6). The hub's time does not go back, and is not ahead of its clock's (20).
* An instance begins as often as it was started (2), and goes only if it was purged (4). It keeps its first final state (4),
  and its journal only grows (18). A suspended one does nothing (4). Whoever is terminated takes its children along (4).
* What is kept under a request id stays, and its answer too (5). So does how far an activity has said that it is (4).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...entities.messages import CallingTask
from ...orchestration.history import CallChild, TurnStarted
from ...orchestration.messages import Cancel, Resume, Terminate
from ...orchestration.retry import step_and_attempt
from ...orchestration.status import OrchestrationRecord, RuntimeStatus, execution_after
from ..stored import AnyStored, Change, StoredOrchestration
from .known import Fault, Known
from .ops import decode
from .world import NEVER

RENEWALS_MAX = 100
"""How often an instance may continue as new within one commit."""


def continues(old: str, new: str) -> bool:
    """Whether an execution is the one that another continued as new, or a later one."""
    for _ in range(RENEWALS_MAX):
        if old == new:
            return True
        old = execution_after(old)
    return False


def time_goes_on(known: Known, number: int) -> Iterator[Fault]:
    """Commits are in order, and so is the hub's time."""
    stored = known.stored
    if stored.commit_number != number:
        yield 6, f"commit {stored.commit_number} follows {number - 1}"
    if stored.time < known.time:
        yield 20, f"the hub's time went back by {known.time - stored.time} µs"
    if stored.time > known.clock_max:
        yield 20, f"the hub's time is {stored.time - known.clock_max} µs ahead of its clock's"
    known.time = max(known.time, stored.time)


def activities_go_on(known: Known, change: Change) -> Iterator[Fault]:
    """Know of the activities that were stored; their heartbeats do not go back, unless a rewind asks for them anew (O5, O16)."""
    for activity in change.scheduled:
        caller, beat = activity.reply_to, 0 if activity.heartbeat is None else decode(activity.heartbeat)
        execution, step = caller.execution, step_and_attempt(caller.task)[0]
        known.scheduled.add((execution, step, activity.attempt))
        durable, said = known.beats.get((execution, step), (0, 0))
        if beat < durable and caller.instance_id not in known.rewound:
            yield 4, f"step {step} of {caller.instance_id} was at {durable} durably, and is at {beat}"
        known.beats[execution, step] = (beat, said)


def rewound(known: Known, found: StoredOrchestration, old: StoredOrchestration | None) -> None:
    """Know of an instance that was rewound (O16): what it asks for is not certain any more."""
    if found.record is not None and found.journal.addresses.generation > (0 if old is None else old.generation):
        known.rewound.add(found.record.instance_id)


def life(known: Known, found: StoredOrchestration, old: StoredOrchestration | None) -> Iterator[Fault]:
    """What became of an instance."""
    now, before = found.record, None if old is None else old.record
    if now is None:
        return
    known.touched_at[now.instance_id] = known.stored.commit_number
    if now.instance_id.startswith(NEVER):
        yield 9, f"{now.instance_id} was started by an operation that failed"
    if found.journal.at > known.time:
        yield 20, f"{now.instance_id} had a turn at {found.journal.at}, and it is {known.time}"
    if before is None or not continues(before.execution, now.execution):
        yield from _began(known, now)
        if before is not None:
            known.let_go(before.instance_id)
    elif before.execution != now.execution:
        known.renewed_at[now.instance_id] = known.stored.commit_number
    elif old is not None:
        yield from _went_on(known, found, old, before, now)
    if now.status.final and (before is None or before.execution != now.execution or not before.status.final):
        known.let_go(now.instance_id)
        if now.status is RuntimeStatus.TERMINATED:
            yield from _children_are_told(known, found, now)


def _began(known: Known, now: OrchestrationRecord) -> Iterator[Fault]:
    instance_id, parent = now.instance_id, now.parent
    known.begun[instance_id] += 1
    begun, generated = known.begun[instance_id], ":" in instance_id  # a colon: the one child that an execution has for a step
    if begun <= known.may_begin[instance_id] + generated:
        return
    if parent is not None and parent.instance_id in known.rewound:
        known.may_begin[instance_id] += 1  # its parent asked for it again
    elif begun == 1 and known.may_begin_anonymously:
        known.may_begin_anonymously -= 1
        known.may_begin[instance_id] += 1
    else:
        yield 2, f"{instance_id} began {begun} times, which is more often than it was started"


def _went_on(
    known: Known, found: StoredOrchestration, old: StoredOrchestration, before: OrchestrationRecord, now: OrchestrationRecord
) -> Iterator[Fault]:
    again = found.journal.addresses.generation > old.generation
    if found.journal is not old.journal and old.chunks and not again:
        yield 18, f"the journal of {now.instance_id} was changed"
    # A parent that was rewound waits for it anew; another setting has it go by itself at another time.
    told = msgspec.structs.replace(before, parent=now.parent, purge_at=now.purge_at)
    if before.status.final and now != told and not (again and before.status is RuntimeStatus.FAILED):
        yield 4, f"{now.instance_id} was {before.status}, and is {now.status}"
    added = found.journal.entries[old.read :]
    if (
        before.status is now.status is RuntimeStatus.SUSPENDED
        and not known.woken[now.instance_id]
        and not any(isinstance(message, Resume | Cancel | Terminate) for message in old.inbox.values())
        and any(not isinstance(entry, TurnStarted) for entry in added)
        and now.parent is None
    ):
        yield 4, f"{now.instance_id} is suspended, and went on: {added!r}"


def _children_are_told(known: Known, found: StoredOrchestration, record: OrchestrationRecord) -> Iterator[Fault]:
    for work in found.journal.open_work.values():
        child = known.stored.orchestration(work.instance_id) if isinstance(work, CallChild) else None
        if child is None or not child.live or child.record is None:
            continue
        caller = CallingTask(record.instance_id, record.execution, work.id)
        if child.record.parent == caller and not any(isinstance(each, Terminate) for each in child.inbox.values()):
            yield 4, f"{record.instance_id} was terminated, and its child {child.record.instance_id} was not told"


def gone(known: Known, before: AnyStored | None) -> Iterator[Fault]:
    """An instance or entity was deleted."""
    if isinstance(before, StoredOrchestration) and before.record is not None:
        instance_id = before.record.instance_id
        known.let_go(instance_id)
        known.touched_at[instance_id] = known.stored.commit_number
        if not known.may_go(before.record):
            yield 4, f"{instance_id} is gone, and nobody has purged it"


def requests_stay(known: Known, change: Change) -> Iterator[Fault]:
    """Request ids are kept as long as they are to be, and their answers do not change."""
    for request_id, before in change.requests.items():
        now = known.stored.requests.get(request_id)
        if before is None:
            continue
        if now is None:
            if before.expires_at > known.time or (before.target and _still_there(known, before.target, request_id)):
                yield 5, f"request id {request_id!r} is forgotten too early"
        elif before.outcome is not None and now.outcome != before.outcome:
            yield 5, f"the answer that is kept under {request_id!r} has changed"


def _still_there(known: Known, instance_id: str, request_id: str) -> bool:
    found = known.stored.orchestration(instance_id)
    return found is not None and found.record is not None and found.record.request_id == request_id
