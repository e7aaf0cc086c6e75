"""What is known of a run: what was asked for and sent, and what the store holds. The rules compare the two."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TypedDict, cast

from attrs import define, field

from ...orchestration.status import OrchestrationRecord
from ..stored import Stored, StoredEntity
from .ops import Ops, decode

Fault = tuple[int, str]
"""What is wrong: the number of the invariant (see ``docs/reliability.md``; 0: something stopped), and what."""


class LedgerState(TypedDict):
    """The state of a ledger as plain data."""

    log: list[str]
    balance: int
    sent: list[str]
    later: list[str]
    called_off: int


def state_of(entity: StoredEntity | None) -> LedgerState:
    """The state of a ledger; one that does not exist has done nothing."""
    if entity is None or entity.state is None:
        return LedgerState(log=[], balance=0, sent=[], later=[], called_off=0)
    return cast("LedgerState", entity.state)


@define(eq=False)
class Known:
    """What is known.

    Attributes:
      stored: the store.
      clock_max: the latest time that the hub's clock has given, microseconds since 1970.
      time: the hub's time at the commit before, microseconds since 1970.
      ops: what was sent.
      may_begin: how often an instance of an id may have begun at most.
      starts: how often an instance of an id was to be started, whatever came of it.
      may_begin_anonymously: how many may yet begin under an id that the hub makes up.
      begun: how often an instance of an id was seen to have begun.
      purged: instances that somebody wanted to be purged, and the last commit before that.
      purges: which of those that have finished somebody wants to be purged.
      retention: after how long finished instances go by themselves, microseconds; ``None`` if they do not.
      cancelling: delayed signals that orchestrations were seen to cancel; their journals may be gone with the commit that holds that.
      discarding: by ledger, how many want its dead letters to be discarded.
      woken: instances that somebody may have woken since the last commit.
      touched_at: the commit that touched an instance last, by its id.
      scheduled: the activities that were stored: execution, step without its attempt, and how often it was started.
      beats: how far each of them was known to be, durably, and how far it said that it was.
      received: the events that instances have durably received.
      renewed_at: the commit in which an instance continued as new last, by its id.
      called_at: when each guest was called last, or earlier, microseconds since 1970.
      tags: the instances of the executions that user code was seen in, by what their ops begin with.
      rewound: instances that were rewound; their code may have asked for other things under the same names since.
      performed: the number of the last op of a sender in a ledger, by ledger and sender.
      sections: the critical sections of what a ledger performed, in order, ``None`` for what was in none.
    """

    stored: Stored = field(factory=Stored)
    clock_max: int = 0
    time: int = 0
    ops: Ops = field(factory=Ops)
    may_begin: Counter[str] = field(factory=Counter)
    starts: Counter[str] = field(factory=Counter)
    may_begin_anonymously: int = 0
    begun: Counter[str] = field(factory=Counter)
    purged: dict[str, int] = field(factory=dict)
    purges: list[Callable[[OrchestrationRecord], bool]] = field(factory=list)
    retention: int | None = None
    cancelling: set[str] = field(factory=set)
    discarding: Counter[str] = field(factory=Counter)
    woken: Counter[str] = field(factory=Counter)
    touched_at: dict[str, int] = field(factory=dict)
    scheduled: set[tuple[str, str, int]] = field(factory=set)
    beats: dict[tuple[str, str], tuple[int, int]] = field(factory=dict)
    received: set[str] = field(factory=set)
    renewed_at: dict[str, int] = field(factory=dict)
    called_at: dict[str, int] = field(factory=dict)
    tags: dict[str, str] = field(factory=dict)
    rewound: set[str] = field(factory=set)
    performed: dict[tuple[str, object], int] = field(factory=dict)
    sections: dict[str, list[object]] = field(factory=lambda: defaultdict(list))

    def starting(self, instance_id: str) -> None:
        """Somebody wants to start an instance."""
        self.may_begin[instance_id] += 1
        self.starts[instance_id] += 1

    def is_live(self, instance_id: str) -> bool:
        """Whether an instance is there and has not ended."""
        found = self.stored.orchestration(instance_id)
        return found is not None and found.live

    def unsure(self, name: str) -> bool:
        """Whether nothing is known of an op: it is in the input of an instance that was restarted, or was sent by one that was rewound."""
        return name in self.ops.copied or self.tags.get(name.partition(":")[0]) in self.rewound

    @property
    def purging(self) -> bool:
        """Whether instances that have finished may go at any time."""
        return bool(self.purges) or self.retention is not None

    def may_go(self, record: OrchestrationRecord) -> bool:
        """Whether somebody wants an instance to be purged, or its time is over."""
        ended, kept = record.completed_at, self.retention
        expired = kept is not None and ended is not None and record.status.final and ended + kept <= self.time
        return expired or record.instance_id in self.purged or any(matches(record) for matches in self.purges)

    def exists(self, instance_id: str) -> bool:
        """Whether an instance is there."""
        return self.stored.orchestration(instance_id) is not None

    def let_go(self, instance_id: str) -> None:
        """The events and updates for an instance need not be kept any more."""
        for op in self.ops.of_instances[instance_id]:
            op.due = False

    def copied(self, instance_id: str) -> None:
        """An instance is to be started again with its input: the events in that may be in two places from now on."""
        found = self.stored.orchestration(instance_id)
        if found is not None and found.record is not None:
            self.ops.copied.update(decode(found.record.arguments)[1])
