"""What must come of what was sent: the model that knows the right answer.

After each commit :func:`after` looks at what changed, and finds out where each op is now. What was sent is known from the
clients, from the journals of committed steps, and from the states of ledgers.

* An op is in one place, and only if somebody sent it (1, 2, 5). One that was acknowledged, or that a committed step sent, is
  somewhere, for ever (2, 4). One that was refused is nowhere (4), and so is whatever a failed operation did (9).
* A delayed signal leaves its place when it is due, and not before (20), or when somebody cancels it; then it is nowhere (23).
* A log only grows (8); the balance is the sum of the amounts of its ops (3); in it, the ops of one sender are in the order in
  which they were sent (7), and those of a critical section have no other between them (14).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from ...entities.delayed import parts_of
from ...hub import limits
from ...hub.delayed import signal_key
from ...orchestration.history import (
    ACTIONS,
    Action,
    CallEntity,
    CancelSignal,
    HistoryEntry,
    SendEvent,
    SignalEntity,
    UpdateReceived,
)
from ...orchestration.status import OrchestrationRecord
from ...storage import keys
from ..stored import Change, StoredEntity, StoredOrchestration
from .guests import guest_left, guest_stays, is_guest
from .known import Fault, Known, state_of
from .lives import activities_go_on, gone, life, requests_stay, rewound, time_goes_on
from .ops import LEDGER, Op, decode, in_entity, of_operation, received, sent_to
from .world import NEVER

S = TypeVar("S", StoredEntity, StoredOrchestration)


def after(known: Known, change: Change, number: int) -> Iterator[Fault]:
    """What is wrong after a commit.

    Args:
      known: what is known; its store has the commit already.
      change: what the commit changed.
      number: the number that it should have.
    """
    yield from change.faults
    earlier = known.time
    yield from time_goes_on(known, number)
    orchestrations = _touched(known, change, StoredOrchestration)
    entities = _touched(known, change, StoredEntity)
    ledgers = [(now, before) for now, before in entities if _is_ledger(now)]
    for found, old in orchestrations:
        rewound(known, found, old)
    yield from activities_go_on(known, change)
    for found, old in orchestrations:
        yield from life(known, found, old)
        yield from _sent_by_orchestration(known, found, old)
    for ledger, before in ledgers:
        yield from _grown(known, ledger, before)
    yield from _placed(known, change, orchestrations, ledgers)
    for ledger, before in ledgers:
        yield from _performed(known, ledger, before)
    for now, before in entities:
        if is_guest(now):
            yield from guest_stays(known, now, before, earlier)
    for gone_number in change.gone:
        yield from guest_left(known, change.before.get(gone_number))
    yield from requests_stay(known, change)


def _touched(known: Known, change: Change, kind: type[S]) -> list[tuple[S, S | None]]:
    found: list[tuple[S, S | None]] = []
    for number, before in change.before.items():
        now = known.stored.instances.get(number)
        if isinstance(now, kind):
            found.append((now, before if isinstance(before, kind) else None))
    return found


def _is_ledger(found: StoredEntity) -> bool:
    return found.record is None or found.record.name == LEDGER


def _key(found: StoredEntity) -> str:
    return "" if found.record is None else found.record.key


# --- what was sent


def _sent_by_orchestration(known: Known, found: StoredOrchestration, before: StoredOrchestration | None) -> Iterator[Fault]:
    record, journal = found.record, found.journal
    if record is not None:
        read = before.read if before is not None and before.journal is journal else 0
        for sequence, entry in enumerate(journal.entries[read:], read):
            yield from _sent_by_entry(known, record, sequence, entry)
        known.received.update(received(journal.entries[read:]))
        if not read:
            known.received.update(decode(record.arguments)[1])


def _sent_by_entry(known: Known, record: OrchestrationRecord, sequence: int, entry: HistoryEntry) -> Iterator[Fault]:
    if isinstance(entry, ACTIONS):
        known.ops.asked(record.execution, entry.id, _sent_later(entry))
    if isinstance(entry, CallEntity | SignalEntity) and entry.entity[0] == LEDGER:
        name, amount, *_ = decode(entry.arguments)
        call = isinstance(entry, CallEntity)
        section = None if not isinstance(entry, CallEntity) or entry.section is None else (record.execution, entry.section)
        # Calls of a section overtake what its owner has sent before and the lock keeps waiting (L2).
        due_at = 0 if call else entry.due or 0
        sender = None if due_at else (record.execution, section)
        known.ops.by_name[name] = Op(
            name, entry.operation, entry.entity[1], amount, sender, sequence, section, due=True, answered=call, due_at=due_at
        )
    elif isinstance(entry, SendEvent):
        known.ops.add(Op(decode(entry.value), "event", entry.instance_id))
    elif isinstance(entry, CancelSignal):
        yield from _cancelled(known, entry.signal, record.instance_id)
    elif isinstance(entry, UpdateReceived) and decode(entry.arguments)[2] < 0:
        yield 9, f"an update of {record.instance_id} was refused, and is journaled: {entry}"


def _sent_later(action: Action) -> str | None:
    """The op that an action sends as a delayed signal, if it does."""
    if isinstance(action, SignalEntity) and action.due is not None and action.entity[0] == LEDGER:
        name: str = decode(action.arguments)[0]
        return name
    return None


def _cancelled(known: Known, signal_id: str, by: str) -> Iterator[Fault]:
    """A committed step has cancelled a delayed signal, if it was there still: it is there no more (E10)."""
    key = signal_key(signal_id)
    name = known.ops.later.get(key)
    if name is not None and name in known.ops.by_name:
        known.ops.by_name[name].withdrawn = True
    if key in known.stored.timers:
        yield 23, f"the delayed signal {signal_id} was cancelled by {by}, and is kept"


def _grown(known: Known, found: StoredEntity, before: StoredEntity | None) -> Iterator[Fault]:
    """The log of a ledger only grows; what it sent on is known from now on."""
    old, new, key = state_of(before), state_of(found), _key(found)
    for was, now in ((old["log"], new["log"]), (old["sent"], new["sent"]), (old["later"], new["later"])):
        if now[: len(was)] != was:
            yield 8, f"ledger {key!r} had {was}, and has {now}"
    for sequence, line in enumerate(new["sent"][len(old["sent"]) :], len(old["sent"])):
        name, _, target = line.partition(" ")
        if name != NEVER:
            known.ops.add(Op(name, "note", target, 0, f"@{key}", sequence, due=True))
    for line in new["later"][len(old["later"]) :]:
        name, target, signal_id = line.split(" ")
        known.ops.add(Op(name, "note", target, due=True, due_at=parts_of(signal_id)[0]))
    for line in new["later"][old["called_off"] : new["called_off"]]:
        yield from _cancelled(known, line.split(" ")[2], f"ledger {key!r}")
    for name in new["log"][len(old["log"]) :]:
        op = known.ops.by_name.get(name)
        if op is not None and op.launches:
            known.ops.add(Op(f"{name}!{op.launches}", "event", op.launches))


# --- where it is


def _placed(
    known: Known,
    change: Change,
    orchestrations: list[tuple[StoredOrchestration, StoredOrchestration | None]],
    ledgers: list[tuple[StoredEntity, StoredEntity | None]],
) -> Iterator[Fault]:
    touched: set[str] = set()
    for number in change.gone:
        yield from gone(known, change.before.get(number))
        touched |= known.ops.update(number, Counter())
    for found, _ in orchestrations:
        touched |= known.ops.update(found.number, Counter(sent_to(found)))
    for ledger, _ in ledgers:
        touched |= known.ops.update(ledger.number, Counter(in_entity(ledger)))
    for before in change.before.values():
        if isinstance(before, StoredEntity) and before.letters:
            _letters_may_go(known, before)
    for due in change.due:
        touched |= known.ops.update_later(due, known.stored.timers.get(due))
    for name in sorted(touched):
        if not known.unsure(name):
            yield from _one_placed(known, name)


def _one_placed(known: Known, name: str) -> Iterator[Fault]:
    places, op = known.ops.places[name], known.ops.by_name.get(name)
    if places > 1:
        yield 1, f"op {name!r} is in {places} places"
    if name.startswith(NEVER):
        yield 9, f"op {name!r} was sent by an operation that failed"
    elif op is None:
        if places and name.partition(":")[0] not in known.tags:
            yield 2, f"op {name!r} is there, and nobody sent it"
    elif places:
        op.seen = True
        op.due = not op.of_instance or known.is_live(op.target)
        if op.refused:
            yield 4, f"op {name!r} was refused, and is there"
        if op.due_at:
            yield from _in_time(known, op)
    elif op.withdrawn or name in known.cancelling:
        op.refused = True  # it is gone for good
    elif op.due and not op.leaves_nothing and not _may_be_nowhere(known, op):
        yield 4, f"op {name!r} was sent to {op.target!r}, and is lost"


def _may_be_nowhere(known: Known, op: Op) -> bool:
    """Whether an op was to be refused, came and went with an execution that has continued as new, or its letter was crowded out."""
    if op.operation == "update":
        return op.amount < 0 or known.renewed_at.get(op.target) == known.stored.commit_number
    return op.fails and _letters_were_dropped(known, op)


def _in_time(known: Known, op: Op) -> Iterator[Fault]:
    """What was sent for later is among the delayed signals until it is due (E10)."""
    key = next((key for key, name in known.ops.later.items() if name == op.name), None)
    if key is None:
        if known.time < op.due_at:
            yield 20, f"op {op.name!r} was delivered {op.due_at - known.time} µs early"
    elif keys.read_u64(key) < op.due_at:
        yield 20, f"op {op.name!r} is to be delivered {op.due_at - keys.read_u64(key)} µs early"


def _letters_may_go(known: Known, ledger: StoredEntity) -> None:
    """Dead letters may be delivered again, in no order, or be discarded by somebody who wants that (E4)."""
    for letter in ledger.letters.values():
        op = of_operation(letter.message)
        sent = None if op is None else known.ops.by_name.get(op[0])
        if sent is not None:
            sent.sender = None
            sent.withdrawn = sent.withdrawn or known.discarding[_key(ledger)] > 0


def _letters_were_dropped(known: Known, op: Op) -> bool:
    """Whether an op may have been dropped as the oldest of too many dead letters (E4)."""
    entity = known.stored.entity(LEDGER, op.target)
    return entity is not None and entity.record is not None and entity.record.letter_next > limits.LETTERS_MAX


def must_be_there(known: Known, op: Op, *, only_execution: bool) -> Iterator[Fault]:
    """A client was told that an op is sent: it is durable, or was when the client was told.

    An event is dropped if its instance ends in the same commit; ``only_execution`` if it can be told that it did not.
    """
    if op.operation == "update" and op.target in known.renewed_at:
        return  # perhaps it was done by an execution that has continued as new within one commit
    if not op.seen and (not op.of_instance or (only_execution and known.is_live(op.target))):
        yield 4, f"op {op.name!r} was acknowledged before it was durable"


def _performed(known: Known, found: StoredEntity, before: StoredEntity | None) -> Iterator[Fault]:
    """What a ledger has done since the last commit is in order, isolated, and counted."""
    old, new, key = state_of(before), state_of(found), _key(found)
    balance: int | None = old["balance"]
    sections = known.sections[key]
    for name in new["log"][len(old["log"]) :]:
        op = None if known.unsure(name) else known.ops.by_name.get(name)
        if op is None:  # perhaps sent by an execution that has continued as new within one commit: its amount is not known
            balance = None
            sections.append(None)
            continue
        balance = None if balance is None else balance + op.amount
        if op.sender is not None:
            last = known.performed.get((key, op.sender), -1)
            if op.sequence <= last:
                yield 7, f"{key!r} performed {name!r}, number {op.sequence} of {op.sender}, after number {last}"
            known.performed[key, op.sender] = op.sequence
        if op.section is not None and op.section in sections and sections[-1] != op.section:
            yield 14, f"{key!r} performed another op between those of {op.section}"
        sections.append(op.section)
    if balance is not None and balance != new["balance"]:
        yield 3, f"the balance of {key!r} is {new['balance']}, and its ops make {balance}"
