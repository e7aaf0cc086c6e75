"""What must hold of a hub's store after every commit, whatever is under way (D1, D8, E4, E11, L1, L5, O5, O8, O10, O15).

Each rule looks at a :class:`~perdure.testing.stored.Stored` and yields what is wrong: as if the process had died just now, the
next one would find this. The numbers are those of the list in ``docs/reliability.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from attrs import define, field

from ..entities.messages import CallingTask, LockRequest, SectionId
from ..hub.records import IdleRecord, SignalRecord, TimerRecord, activity_key
from ..hub.retention import PURGE_TIMER
from ..orchestration.addresses import step_of_address
from ..orchestration.errors import NondeterminismError
from ..orchestration.history import START_TIMER, CallChild, CallEntity, ScheduleActivity, StartTimer, Work
from ..orchestration.messages import Rewind, SectionGranted, StartExecution, TaskResult, TimerDue
from ..orchestration.status import OrchestrationRecord, RuntimeStatus
from ..storage import keys, tables
from .journal import Journal
from .stored import AnyStored, Stored, StoredEntity, StoredOrchestration

Fault = tuple[int, str]
Rule = Callable[[Stored], Iterator[Fault]]


# --- tables


def tables_fit(stored: Stored) -> Iterator[Fault]:
    """Every row has its instance and every instance its record; what is counted is there (21, 23)."""
    for table, key in stored.strays:
        yield 23, f"{table} has the row {key.hex()} of an instance that is not there"
    for number, instance in stored.instances.items():
        if instance.record is None:
            yield 21, f"the directory has instance {number.hex()}, which has no record"
    if int.from_bytes(stored.meta.get(b"requests", b""), "big") != len(stored.requests):
        yield 21, f"{len(stored.requests)} request ids are kept, and another number is noted down"
    ends = {request_id for request_id, record in stored.requests.items() if record.expires_at}
    for request_id in ends ^ stored.expiry:
        yield 21, f"request id {request_id!r} and the index of those that end do not fit"


def requests_live_with_their_instances(stored: Stored) -> Iterator[Fault]:
    """The request id of a start is kept as long as what it started, and no longer (D8)."""
    for request_id, record in stored.requests.items():
        if record.target and not record.expires_at:  # a start; others have a target too, and an end
            found = stored.orchestration(record.target)
            if found is None or found.record is None or found.record.request_id != request_id:
                yield 5, f"request id {request_id!r} is kept without the instance {record.target!r} that it started"
    for found in stored.orchestrations:
        request_id = None if found.record is None else found.record.request_id
        if request_id is not None and request_id not in stored.requests:
            yield 5, f"request id {request_id!r} is forgotten before the instance that it started"


def payloads_fit(stored: Stored) -> Iterator[Fault]:
    """Every value that a record refers to is stored for it, once, and no other one (21)."""
    for number, instance in stored.instances.items():
        if sorted(instance.referred) != sorted(instance.payloads):
            yield 21, f"instance {number.hex()} has a payload that is left over, shared or missing"


def entities_have_something(stored: Stored) -> Iterator[Fault]:
    """An entity with nothing to keep is not kept (E11), and its letters are those that its record counts (E4)."""
    for entity in stored.entities:
        record = entity.record
        if record is None:
            continue
        if record.state is None and record.lock is None and not (entity.inbox or entity.letters or entity.delayed):
            yield 23, f"entity {record.name}@{record.key!r} is kept, with nothing to keep"
        if tuple(sorted(entity.letters)) != record.letters:
            yield 21, f"the letters of {record.name}@{record.key!r} are not those that its record counts"


def what_is_due_later_fits(stored: Stored) -> Iterator[Fault]:
    """Delayed signals are where their entities' index and record have them (E10), and so are expiries (idle_ttl)."""
    signals: set[bytes] = set()
    expiries: set[bytes] = set()
    for entity in stored.entities:
        record = entity.record
        if record is None:
            continue
        signals |= entity.delayed
        if len(entity.delayed) != record.delayed:
            yield 21, f"{record.name}@{record.key!r} counts {record.delayed} delayed signals, and has {len(entity.delayed)}"
        if record.expires_at:
            expiries.add(keys.u64(record.expires_at) + entity.number)
    for key, due in stored.timers.items():
        if isinstance(due, SignalRecord):
            target = stored.entity(due.name, due.key)
            if target is None or key not in target.delayed:
                yield 21, f"a delayed signal is kept for {due.name}@{due.key!r}, whose index does not have it"
            signals.discard(key)
        elif isinstance(due, IdleRecord):
            if key not in expiries:
                yield 21, f"an expiry is kept for {due.name}@{due.key!r}, whose record does not know of it"
            expiries.discard(key)
    for key in signals | expiries:
        yield 21, f"{key.hex()} is noted down as due, and is not among the timers"


# --- journals


def journals_are_sound(stored: Stored) -> Iterator[Fault]:
    """No journal holds what may not be, and its end is its record's (17 to 20)."""
    for found in stored.orchestrations:
        record, journal = found.record, found.journal
        if record is None:
            continue
        for number, what in journal.faults:
            yield number, f"{record.instance_id}: {what}"
        ended = journal.ended
        if record.status.final != (ended is not None):
            yield 18, f"{record.instance_id} is {record.status}, and its journal ends with {ended!r}"
        elif ended is not None and (ended.status, ended.output) != (record.status, record.output):
            yield 18, f"{record.instance_id} is {record.status}, and its journal says {ended!r}"
        if record.failure is not None and record.failure.type_name.endswith(NondeterminismError.__name__):
            yield 17, f"{record.instance_id}: {record.failure.message}"


# --- work


@define
class Carriers:
    """What will answer: each piece of open work has one carrier."""

    stored: Stored
    calls: set[object] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = self.stored.calls()

    def count(self, found: StoredOrchestration, record: OrchestrationRecord, work: Work) -> int:
        """How many there are of a piece of work of an orchestration; there is to be one."""
        address = found.journal.addresses[work.id]
        caller = CallingTask(record.instance_id, record.execution, address)
        answers = sum(
            isinstance(message, TaskResult | TimerDue) and message.execution == record.execution and message.task == address
            for message in found.inbox.values()
        )
        if answers and isinstance(work, CallChild):
            # A client may let a child go on that had failed, and whose answer waits already; what it answers then comes too late (O16).
            child = self.stored.orchestration(work.instance_id)
            again = child is None or child.journal.addresses.generation > 0
            return 1 if again else 1 + self._under_way(found, caller, work)
        return answers + self._under_way(found, caller, work)

    def _under_way(self, found: StoredOrchestration, caller: CallingTask, work: Work) -> int:
        match work:
            case StartTimer():
                return timer_key(found.number, caller, work) in self.stored.timers
            case ScheduleActivity():
                return activity_key(found.number, caller) in self.stored.activities
            case CallEntity():
                return caller in self.calls
            case CallChild():
                child = self.stored.orchestration(work.instance_id)
                if child is None or child.record is None:
                    return 0
                rewinds = sum(isinstance(message, Rewind) and message.parent == caller for message in child.inbox.values())
                return rewinds + (child.live and child.record.parent == caller)


def timer_key(number: bytes, caller: CallingTask, timer: StartTimer) -> bytes:
    """The key of a timer."""
    return keys.u64(timer.fire_at) + number + bytes.fromhex(caller.execution) + caller.task.encode()


def work_is_carried(stored: Stored) -> Iterator[Fault]:
    """Whatever a live execution waits for will be answered, and once: nothing it asked for is lost or doubled (2)."""
    carriers = Carriers(stored)
    waiting = stored.requests_for_locks()
    for found in stored.orchestrations:
        record = found.record
        if record is None or record.status.final:
            continue
        if record.status.before_its_turn or (record.suspended_from is not None and record.suspended_from.before_its_turn):
            starts = [message for message in found.inbox.values() if isinstance(message, StartExecution)]
            if [start.execution for start in starts] != ([] if record.start_at is not None else [record.execution]):
                yield 2, f"{record.instance_id} is {record.status}, and {len(starts)} starts wait for it"
            continue
        for work in found.journal.open_work.values():
            count = carriers.count(found, record, work)
            if count != 1:
                yield 2, f"{record.instance_id}: {work!r} is to be answered once, and will be {count} times"
        granted = {message.section for message in found.inbox.values() if isinstance(message, SectionGranted)}
        for step in found.journal.open_sections.keys() - found.journal.locked:
            section = SectionId(record.instance_id, record.execution, found.journal.addresses[step])
            if (section in waiting) + (section in granted) != 1:
                yield 16, f"{record.instance_id}: the locks of step {step} are asked for, and will not be granted"


def timers_are_wanted(stored: Stored) -> Iterator[Fault]:
    """Every timer belongs to an execution that waits for it (O8), or is to start or to be purged then (O4, O16)."""
    for key, timer in stored.timers.items():
        if isinstance(timer, TimerRecord) and keys.read_u64(key) != _wanted_at(stored, timer):
            yield 23, f"a timer of {timer.instance_id} is kept for step {timer.task}, which does not wait for it"
    for found in stored.orchestrations:
        record = found.record
        for task, due in () if record is None else ((START_TIMER, record.start_at), (PURGE_TIMER, record.purge_at)):
            if record is not None and due is not None:
                timer = TimerRecord(record.instance_id, record.execution, task)
                if stored.timers.get(timer.row(found.number, due)) != timer:
                    yield 2, f"{record.instance_id} has no timer, and is to {task} at {due}"


def _wanted_at(stored: Stored, timer: TimerRecord) -> int | None:
    """When a timer is wanted, microseconds since 1970."""
    found = stored.orchestration(timer.instance_id)
    record = None if found is None else found.record
    if found is None or record is None or record.execution != timer.execution:
        return None
    if timer.task == PURGE_TIMER:
        return record.purge_at if record.status.final else None
    if not found.live:
        return None
    if timer.task == START_TIMER:
        return record.start_at
    step = found.journal.open_at(timer.task)
    return step.fire_at if isinstance(step, StartTimer) else None


def activities_are_wanted(stored: Stored) -> Iterator[Fault]:
    """Every activity belongs to a step that has no answer yet (O5); one that a rewind no longer asks for may still run (O16)."""
    for key, activity in stored.activities.items():
        found, reply_to = stored.instances.get(key[:8]), activity.reply_to
        if not isinstance(found, StoredOrchestration) or found.record is None:
            yield 23, f"activity {activity.name} is kept for {reply_to.instance_id}, which is not there"
        elif found.live and found.record.execution == reply_to.execution and not _may_run(found.journal, reply_to.task):
            yield 19, f"activity {activity.name} is kept for step {reply_to.task}, which has its answer"


def _may_run(journal: Journal, address: str) -> bool:
    step = step_of_address(address)
    rewound = journal.addresses.generation and (step not in journal.actions or journal.addresses[step] != address)
    return bool(rewound) or journal.open_at(address) is not None


# --- locks


@define
class Chain:
    """A critical section, as entities know it.

    Attributes:
      entities: its set, in order.
      held: which of them it has locked, by place in the set; those that are only to finish a last call are left out.
      request: where its request waits.
      release: where its release is; the one that has the longest way to go, if there are several.
    """

    entities: tuple[tuple[str, str], ...] = ()
    held: set[int] = field(factory=set)
    request: int | None = None
    release: int | None = None


def locks_form_chains(stored: Stored) -> Iterator[Fault]:
    """Every section holds a prefix of its sorted set, or what a release has yet to reach, and its owner lives (11 to 15)."""
    chains: dict[SectionId, Chain] = defaultdict(Chain)
    for entity in stored.entities:
        record = entity.record
        lock = None if record is None else record.lock
        if record is None or lock is None:
            continue
        if lock.entities[lock.index] != (record.name, record.key):
            yield 12, f"{record.name}@{record.key!r} is locked as another one of {lock.entities}"
        if not lock.releasing:
            chains[lock.section].held.add(lock.index)
            chains[lock.section].entities = lock.entities
    for section, (at, request) in stored.requests_for_locks().items():
        chains[section].entities, chains[section].request = request.entities, request.index
        yield from _misplaced(at, request)
    for at, release in stored.releases():
        chain = chains.get(release.section)
        names = None if at.record is None else (at.record.name, at.record.key)
        if chain is not None and names in chain.entities:
            at_index = chain.entities.index(names)
            chain.release = at_index if chain.release is None else min(chain.release, at_index)
    for section, chain in chains.items():
        yield from _chain_is_sound(stored, section, chain)
    yield from _nobody_waits_in_a_circle(stored)


def _misplaced(at: StoredEntity, request: LockRequest) -> Iterator[Fault]:
    if at.record is not None and request.entities[request.index] != (at.record.name, at.record.key):
        yield 12, f"{at.record.name}@{at.record.key!r} was asked for the lock of {request.entities[request.index]}"


def _chain_is_sound(stored: Stored, section: SectionId, chain: Chain) -> Iterator[Fault]:
    in_order = sorted((name, key.encode()) for name, key in chain.entities)
    if in_order != [(name, key.encode()) for name, key in chain.entities]:
        yield 12, f"{section} locks in another order than that of the ids: {chain.entities}"
    first = 0 if chain.release is None else chain.release
    last = len(chain.entities) if chain.request is None else chain.request
    expected = set(range(first, last))  # with a release under way at most: cleaning sends one to each entity (L8)
    if not chain.held <= expected or (chain.release is None and chain.held != expected):
        yield 12, f"{section} holds {sorted(chain.held)} of its set, and should hold {first} to {last}, that excluded"
    owner = stored.orchestration(section.owner)
    lives = (
        owner is not None
        and owner.live
        and owner.record is not None
        and owner.record.execution == section.execution
        and section.position in owner.journal.sections_at
    )
    if not lives and chain.release is None:
        yield 15, f"{section} has ended, and holds or waits for {chain.entities} with no release under way"


def _nobody_waits_in_a_circle(stored: Stored) -> Iterator[Fault]:
    waits: dict[SectionId, SectionId] = {}
    for section, (at, _) in stored.requests_for_locks().items():
        if at.record is not None and at.record.lock is not None:
            waits[section] = at.record.lock.section
    for section in waits:
        seen, at = {section}, section
        while (following := waits.get(at)) is not None:
            if following in seen:
                yield 13, f"{section} waits for itself"
                return
            seen.add(following)
            at = following


RULES: tuple[Rule, ...] = (
    tables_fit,
    payloads_fit,
    requests_live_with_their_instances,
    entities_have_something,
    what_is_due_later_fits,
    journals_are_sound,
    work_is_carried,
    timers_are_wanted,
    activities_are_wanted,
    locks_form_chains,
)


def faults(stored: Stored) -> list[Fault]:
    """Everything that is wrong with a store, as (number of the invariant, what)."""
    return [fault for rule in RULES for fault in rule(stored)]


def left_over(stored: Stored) -> list[str]:
    """The tables that hold work under way: messages, activities, timers, locks."""
    waiting = any(instance.inbox for instance in stored.instances.values() if not _keeps_its_mail(instance))
    locked = any(entity.record is not None and entity.record.lock is not None for entity in stored.entities)
    found = {tables.INBOX: waiting, "locks": locked, tables.ACTIVITIES: stored.activities, tables.TIMERS: stored.timers}
    return [what for what, there in found.items() if there]


def _keeps_its_mail(instance: AnyStored) -> bool:
    """What an instance that has failed was sent stays there: a rewind may need it (O16)."""
    return (
        isinstance(instance, StoredOrchestration)
        and instance.record is not None
        and instance.record.status is RuntimeStatus.FAILED
    )
