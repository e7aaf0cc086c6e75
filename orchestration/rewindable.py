"""The part of a machine that rewinds its instance (O16); ``rewinding`` says what that does."""

from __future__ import annotations

from attrs import define, field

from ..entities.failures import FailureDetails
from ..entities.messages import Answer, CallingTask, DropSignal, Failure
from .addresses import ADDRESSED
from .errors import CannotRewind
from .history import HistoryEntry, Rewound, TaskFailed, TurnStarted
from .instance_state import InstanceState
from .messages import OrchestrationMessage, Renewed, Rewind, RewindChild, StartChild, TaskResult
from .outgoing import outcome_of
from .rewinding import Rewinding, rewind
from .status import RuntimeStatus


@define(eq=False)
class Rewindable(InstanceState):
    """Rewinds."""

    _failed_history: list[HistoryEntry] | None = field(default=None, init=False)

    def _settle(self) -> None:
        """Journal what the code asked for, turn it into effects, and see whether the code has ended."""
        raise NotImplementedError

    def rewind(self, message: Rewind, now: int) -> str | None:
        """Let an instance that has failed go on without what it failed of (O16); :meth:`revive` was called.

        Returns:
          Why it cannot be rewound; nothing has changed then.
        """
        record, history, self._failed_history = self._running, self._failed_history or [], None
        known = [self.addresses.incoming(message) for _, message in self.mailbox.inbox]
        late = [
            TaskFailed(each.task, failure)
            for each in known
            if isinstance(each, TaskResult) and (failure := _failure(each, record.execution))
        ]
        rewinding = rewind(history, late, lambda: (self._load(record), self._context))
        if rewinding.section is not None:
            self.evict()
            return (
                f"its code is inside the critical section of step {rewinding.section}, whose locks were given back when it failed: "
                "what it read under them may hold no longer"
            )
        self.mailbox.take(lambda each: _failure(each, record.execution) is not None)
        self.now = max(self.now, now, rewinding.kernel.now)
        record.rewound(message.reason, self.now)
        self.changed = True
        self._ask_again(rewinding, message.reason)
        self._settle()
        return None

    def _ask_again(self, rewinding: Rewinding, reason: str | None) -> None:
        record, addresses = self._running, self.addresses
        again = rewinding.again
        former = {action.id: CallingTask(self.instance_id, record.execution, addresses[action.id]) for action in again}
        asked = [action.id for action in rewinding.fresh.values() if isinstance(action, ADDRESSED)]
        entry = Rewound(reason, (*former, *asked))
        rewinding.kernel.now = self.now
        self.journal[:] = [*rewinding.journal, TurnStarted(self.now), entry]
        self._turn_noted = True
        self.addresses = addresses.rewound(entry)
        self.effects.append(Renewed())
        self.effects.extend(DropSignal(signal) for signal in rewinding.replaced)
        for action in (*again, *rewinding.fresh.values()):
            effect = self._effect_of(action, record.execution)
            if isinstance(effect, StartChild) and action.id in former:
                effect = RewindChild(effect.instance_id, former[action.id], reason, effect.message)
            if effect is not None:
                self.effects.append(effect)
        rewinding.kernel.cancelled.clear()

    def _rewind_for_parent(self, message: Rewind, now: int) -> None:
        """The parent was rewound, and waits for the result anew."""
        record, parent = self._running, message.parent
        assert parent is not None
        record.parent, self.changed = parent, True
        if record.status is RuntimeStatus.FAILED:
            refusal = self.rewind(message, now)
            if refusal is not None:
                error = CannotRewind(self.instance_id, refusal)
                self.effects.append(Answer(parent, Failure(FailureDetails.from_exception(error))))
        elif record.status.final:
            self.effects.append(Answer(parent, outcome_of(record)))


def _failure(message: OrchestrationMessage | None, execution: str) -> FailureDetails | None:
    """The failure that a message tells an execution of."""
    outcome = message.outcome if isinstance(message, TaskResult) and message.execution == execution else None
    return outcome.failure if isinstance(outcome, Failure) else None
