"""What can go wrong with orchestrations, sorted by whose move is next.

- The orchestrator broke a rule at the line that is shown: :class:`ForbiddenAwait`, :class:`LockRuleError`.
- The code no longer fits the journal of the instance: :class:`NondeterminismError`; mend the code, then resume.
- Work that the orchestrator asked for failed elsewhere: :class:`ActivityFailed`, :class:`SubOrchestrationFailed` (and
  ``EntityOperationFailed`` of the entities).
- The instance itself ended without a result, told to whoever waits for it: :class:`OrchestrationFailed`,
  :class:`OrchestrationTerminated`, :class:`OrchestrationCanceled`.
- The instance that was named is not there, or not in the state that the verb needs: :class:`InstanceNotFound`,
  :class:`InstanceFinished`, :class:`InstanceExists`, :class:`CannotRewind`, :class:`UnknownOrchestrator`.
"""

from __future__ import annotations

from ..entities.failures import FailureDetails
from ..storage.errors import PerdureError


class ForbiddenAwait(PerdureError, RuntimeError):
    """An orchestrator awaited, or entered, something that is not its context's (O2).

    What an orchestrator waits for must be journaled, or it could not be replayed. Files, sockets and other
    libraries belong into an activity.
    """


class LockRuleError(PerdureError, RuntimeError):
    """A critical section forbids this (L3); the message names the rule."""


class NondeterminismError(PerdureError):
    """Replayed code asked for something else than the journal says (O3).

    Attributes:
      position: the number of the step.
      journaled: what the journal says, ``None`` if it has nothing there.
      asked: what the code asked for, ``None`` if it ended without asking.
    """

    def __init__(self, position: str, journaled: str | None, asked: str | None) -> None:
        super().__init__(position, journaled, asked)
        self.position = position
        self.journaled = journaled
        self.asked = asked

    def __str__(self) -> str:
        return (
            f"the code no longer fits the journal at step {self.position}: "
            f"the journal says {self.journaled or 'nothing'}, the code asked for {self.asked or 'nothing and ended'}. "
            "Orchestrator code must do the same on every run; mend it, then resume the instance"
        )


class WorkFailed(PerdureError):
    """Work that an orchestrator asked for has failed.

    Attributes:
      name: the name of the activity or orchestrator.
      failure: what is known of the failure.
    """

    _kind = "work"

    def __init__(self, name: str, failure: FailureDetails) -> None:
        super().__init__(name, failure)
        self.name = name
        self.failure = failure

    def __str__(self) -> str:
        return f"{self._kind} {self.name!r} failed with {self.failure}"


class ActivityFailed(WorkFailed):
    """An activity raised, or its result cannot be kept."""

    _kind = "activity"


class SubOrchestrationFailed(WorkFailed):
    """A child orchestration failed, was terminated, or could not be started under its id (O15)."""

    _kind = "sub-orchestration"


class HttpError(PerdureError):
    """An HTTP exchange cannot be used: its answer is too long, goes round in circles, or says an impossible place to poll.

    It comes as what an ActivityFailed is caused by. Neither a status (an answer has any) nor a failure of the network.
    """


class OrchestrationFailed(PerdureError):
    """The orchestration raised; told to whoever waits for its result.

    Attributes:
      instance_id: the instance.
      failure: what is known of the failure.
    """

    def __init__(self, instance_id: str, failure: FailureDetails) -> None:
        super().__init__(instance_id, failure)
        self.instance_id = instance_id
        self.failure = failure

    def __str__(self) -> str:
        return f"orchestration {self.instance_id!r} failed with {self.failure}"


class OrchestrationTerminated(PerdureError):
    """The orchestration was terminated (O13).

    Attributes:
      instance_id: the instance.
      reason: the reason that was given.
    """

    def __init__(self, instance_id: str, reason: str | None) -> None:
        super().__init__(instance_id, reason)
        self.instance_id = instance_id
        self.reason = reason

    def __str__(self) -> str:
        return f"orchestration {self.instance_id!r} was terminated" + (f": {self.reason}" if self.reason else "")


class OrchestrationCanceled(PerdureError):
    """The orchestration was cancelled and ended by that (O13).

    Attributes:
      instance_id: the instance.
    """

    def __init__(self, instance_id: str) -> None:
        super().__init__(instance_id)
        self.instance_id = instance_id

    def __str__(self) -> str:
        return f"orchestration {self.instance_id!r} was cancelled"


class UnknownOrchestrator(PerdureError, LookupError):
    """No orchestrator of that name is defined to this hub."""


class UnknownActivity(PerdureError, LookupError):
    """No activity of that name is defined to this hub."""


class UnknownHandler(PerdureError, LookupError):
    """The code of the instance offers no query or update of that name (O21)."""


class CannotQuery(PerdureError):
    """The instance has no code in memory that could answer (O21)."""


class QueryFailed(PerdureError):
    """A query of a running orchestration failed (O21).

    Attributes:
      instance_id: the instance.
      name: the query.
      failure: what is known of the failure.
    """

    _kind = "query"

    def __init__(self, instance_id: str, name: str, failure: FailureDetails) -> None:
        super().__init__(instance_id, name, failure)
        self.instance_id = instance_id
        self.name = name
        self.failure = failure

    def __str__(self) -> str:
        return f"{self._kind} {self.name!r} of orchestration {self.instance_id!r} failed with {self.failure}"


class UpdateFailed(QueryFailed):
    """An update of a running orchestration was refused by its validator, or failed, or the orchestration ended before it did (O21)."""

    _kind = "update"


class InstanceNotFound(PerdureError, LookupError):
    """There is no instance of that id."""


class InstanceFinished(PerdureError):
    """The instance is in a final state, which never changes (O10)."""


class InstanceExists(PerdureError):
    """An instance of that id exists already, and ``if_exists`` did not allow that (O4)."""


class CannotRewind(PerdureError):
    """The instance cannot be rewound (O16): it has not failed, or its code is inside a critical section.

    Attributes:
      instance_id: the instance.
      reason: why not.
    """

    def __init__(self, instance_id: str, reason: str) -> None:
        super().__init__(instance_id, reason)
        self.instance_id = instance_id
        self.reason = reason

    def __str__(self) -> str:
        return f"orchestration {self.instance_id!r} cannot be rewound: {self.reason}. Restart it instead"


class TaskCancelled(PerdureError):
    """A task was awaited after it was cancelled, by its ``cancel()`` or with the scope that it was called in (O7)."""


class Cancelled(BaseException):
    """Raised at the awaits inside a cancelled scope (O7); the scope absorbs it.

    No ``Exception``, so that ``except Exception`` cannot swallow it. Let it pass, or raise it again after cleaning up.

    Attributes:
      interruption: the instance itself is being cancelled (O13); no scope absorbs that.
    """

    def __init__(self, *, interruption: bool = False) -> None:
        super().__init__("the orchestration is cancelled" if interruption else "a cancel scope is cancelled")
        self.interruption = interruption


class ContinueAsNew(BaseException):
    """Ends the body of an orchestrator whose context was asked to continue as new (O11); never to be caught.

    No ``Exception``, so that ``except Exception`` cannot swallow it.

    Attributes:
      arguments: the encoded arguments of the new execution.
      keep_events: whether unread events are carried over.
    """

    def __init__(self, arguments: bytes, keep_events: bool) -> None:
        super().__init__("the orchestration continues as new")
        self.arguments = arguments
        self.keep_events = keep_events


class TooSlowError(PerdureError, TimeoutError):
    """A time limit inside an orchestration has passed (O7, L7)."""
