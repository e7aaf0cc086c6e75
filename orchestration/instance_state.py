"""What a machine has of its instance: record, mailbox, and its code, in memory as a kernel or dropped.

Ending an execution must release its locks and drop its timers whether its code is in memory or not (L5, O8); so what is
open is asked here, and nobody else looks at where it is known from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from attrs import define, field

from ..entities.failures import FailureDetails
from ..entities.messages import Answer, Failure, Outcome, ReplyTo
from .addresses import ADDRESSED, FIRST_GENERATION, Addresses
from .context import OrchestrationContext
from .errors import InstanceFinished
from .history import Action, CancelWork, HistoryEntry, TurnStarted, UpdateAnswered, Work, open_sections, open_updates, open_work
from .inbox import Inbox
from .kernel import Kernel
from .messages import OrchestrationEffect, StartActivity, Terminate
from .outgoing import cancelling, effect_of, leaving
from .registry import Registry
from .retry import step_and_attempt
from .status import OrchestrationRecord, RuntimeStatus

_log = logging.getLogger(__name__)
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


@define(eq=False)
class InstanceState:
    """What a machine has of its instance's code.

    Attributes:
      instance_id: which one.
      registry: the hub's definitions.
      on_foreign: withdraws what another library noted down when its await was refused (O2).
      kernel: drives the code while the instance is in memory.
      addresses: where the answers to its steps are sent.
      record: what is stored of the instance; ``None`` until its first start.
      changed: the record differs from the stored one.
      now: the time of the last turn, microseconds since 1970.
      journal: entries since the hub last stored some.
      effects: what the turns since the hub last looked have decided, in order.
      mailbox: the messages that wait.
    """

    instance_id: str
    registry: Registry
    on_foreign: Callable[[object], None]
    kernel: Kernel | None = field(default=None, init=False)
    addresses: Addresses = field(default=FIRST_GENERATION, init=False)
    record: OrchestrationRecord | None = field(default=None, init=False)
    changed: bool = field(default=False, init=False)
    now: int = field(default=0, init=False)
    journal: list[HistoryEntry] = field(factory=list, init=False)
    effects: list[OrchestrationEffect] = field(factory=list, init=False)
    mailbox: Inbox = field(factory=Inbox, init=False)
    _context: OrchestrationContext | None = field(default=None, init=False)
    _open_sections: Mapping[str, tuple[tuple[str, str], ...]] = field(default=_NOTHING, init=False)
    _open_work: Mapping[str, Work] = field(default=_NOTHING, init=False)
    _open_updates: Mapping[int, ReplyTo | None] = field(default=_NOTHING, init=False)
    _turn_noted: bool = field(default=False, init=False)

    @property
    def _running(self) -> OrchestrationRecord:
        """The record, where there must be one."""
        assert self.record is not None
        return self.record

    @property
    def _status(self) -> RuntimeStatus | None:
        return None if self.record is None else self.record.status

    def evict(self) -> None:
        """Drop the code from memory; it is replayed when it is needed again."""
        kernel, self.kernel, self._context = self.kernel, None, None
        if kernel is not None:
            refused = kernel.close()
            if refused is not None:
                _log.error("the code of orchestration %r refused to be closed and is abandoned: %s", self.instance_id, refused)

    def _load(self, record: OrchestrationRecord) -> Kernel:
        """Make a kernel for the code, which has not begun in it."""
        self.evict()
        definition = self.registry.orchestrator_version(record.name, record.version)
        kernel = self.kernel = Kernel(definition, self.instance_id, record.execution, self.on_foreign)
        parent_id = None if record.parent is None else record.parent.instance_id
        self._context = OrchestrationContext(kernel, self.registry, record.version, parent_id)
        return kernel

    def _remember(self, history: list[HistoryEntry]) -> None:
        """Know what a journal left open, and where its steps are answered."""
        self._open_sections, self._open_work = open_sections(history), open_work(history)
        self._open_updates = open_updates(history)
        self.addresses = Addresses.of(history)

    def _note(self, entry: HistoryEntry) -> None:
        """Put an entry into the journal, the first one of a turn after its time; no execution has anything before its first."""
        if not self._turn_noted:
            self._turn_noted = True
            self.journal.append(TurnStarted(self.now))
        self.journal.append(entry)

    def _forget_open(self) -> None:
        """Nothing is open any more."""
        self._open_sections = self._open_work = self._open_updates = _NOTHING

    def _leaving(self, execution: str, recursive: Terminate | None) -> list[OrchestrationEffect]:
        """What an execution sends when it ends (L5, O8, O13); see :func:`leaving`."""
        kernel, addresses = self.kernel, self.addresses
        sections, work = (self._open_sections, self._open_work) if kernel is None else (kernel.unreleased, kernel.open)
        if addresses.generation:
            sections = {addresses[step]: entities for step, entities in sections.items()}
            work = {step: addresses.outgoing(action) for step, action in work.items()}
        return leaving(self.instance_id, execution, sections, work, recursive)

    def _answer_updates(self, ended: str | None = None) -> None:
        """Answer the updates that have ended, in the journal too; with ``ended``, say so to those that have not."""
        kernel = self.kernel
        if not (self._open_updates if kernel is None else kernel.updates_open):
            return
        answers: list[tuple[int, ReplyTo | None, Outcome]] = []
        if kernel is not None:
            answers, kernel.handlers.answers = kernel.handlers.answers, []
        if ended is not None:
            failure = Failure(FailureDetails.from_exception(InstanceFinished(ended)))
            left = self._open_updates if kernel is None else kernel.handlers.unanswered
            answers += [(number, reply_to, failure) for number, reply_to in left.items()]
        for number, reply_to, outcome in answers:
            self._note(UpdateAnswered(number))
            if reply_to is not None:
                self.effects.append(Answer(reply_to, outcome))

    def _effect_of(self, action: Action, execution: str) -> OrchestrationEffect | None:
        """What carries out an action that the code has just asked for."""
        addresses = self.addresses
        if isinstance(action, CancelWork):
            assert self.kernel is not None
            work = self.kernel.cancelled.pop(action.task)
            return cancelling(work and addresses.outgoing(work), self.instance_id, execution)
        if addresses.generation and isinstance(action, ADDRESSED):
            addresses.asked(action.id)
        effect = effect_of(addresses.outgoing(action), self.instance_id, execution)
        if isinstance(effect, StartActivity) and self.kernel is not None and self.kernel.heartbeats:
            heartbeat = self.kernel.heartbeats.get(step_and_attempt(action.id)[0])
            effect = msgspec.structs.replace(effect, heartbeat=heartbeat)
        return effect
