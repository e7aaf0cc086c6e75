"""The life of an instance: its statuses (O17), and the record that is stored of it."""

from __future__ import annotations

import enum
import hashlib

import msgspec

from ..entities.failures import FailureDetails
from ..entities.messages import CallingTask


class RuntimeStatus(enum.StrEnum):
    """Durable Functions' statuses (O17)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    CONTINUED_AS_NEW = "ContinuedAsNew"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    TERMINATED = "Terminated"

    @property
    def final(self) -> bool:
        """Whether it never changes again (O10)."""
        return self in _FINAL

    @property
    def before_its_turn(self) -> bool:
        """Whether an execution was started, and has not had its first turn."""
        return self in (RuntimeStatus.PENDING, RuntimeStatus.CONTINUED_AS_NEW)


_FINAL = frozenset({RuntimeStatus.COMPLETED, RuntimeStatus.FAILED, RuntimeStatus.CANCELED, RuntimeStatus.TERMINATED})


def execution_after(execution: str) -> str:
    """The id of the execution that continues one as new: as good as random, and the same whenever it is computed."""
    return hashlib.blake2b(f"{execution}:next".encode(), digest_size=16).hexdigest()


class OrchestrationRecord(msgspec.Struct, gc=False, array_like=True, tag="orchestration"):
    """What is stored of an instance beside its journal; rewritten when one of these changes.

    Times are microseconds since 1970 (UTC).

    Attributes:
      instance_id: the instance.
      execution: the id of its execution.
      name: the orchestrator.
      version: the version that it was started with.
      status: its runtime status.
      arguments: the encoded arguments.
      parent: the task that waits for its result.
      created_at: when the start was accepted.
      updated_at: when this record last changed.
      completed_at: when it reached a final status.
      output: the encoded result, or the reason of a termination (encoded text or none).
      failure: why it failed, or why it was suspended by a mismatch (O3).
      unread_events: how many events were left when it ended.
      unawaited_failures: failures of work that nobody awaited (O10).
      request_id: the request id that it was started with (D8).
      custom_status: the encoded custom status.
      suspended_from: the status that a resume goes back to.
      tags: what it was tagged with when it was started.
      reason: the reason of the last suspension, cancellation or rewind.
      start_at: when it is to start; ``None`` as soon as it may.
      purge_at: when it is to be removed by itself.
    """

    instance_id: str
    execution: str
    name: str
    version: str | None
    status: RuntimeStatus
    arguments: bytes
    parent: CallingTask | None
    created_at: int
    updated_at: int
    completed_at: int | None = None
    output: bytes | None = None
    failure: FailureDetails | None = None
    unread_events: int = 0
    unawaited_failures: tuple[FailureDetails, ...] = ()
    request_id: str | None = None
    custom_status: bytes | None = None
    suspended_from: RuntimeStatus | None = None
    reason: str | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    start_at: int | None = None
    purge_at: int | None = None

    def suspend(self, reason: str | None, failure: FailureDetails | None, now: int) -> bool:
        """Suspend it, deliberately or for a failure; false if it was suspended just so before."""
        if self.status is RuntimeStatus.SUSPENDED and failure in (None, self.failure):
            return False
        self.suspended_from = self.suspended_from or self.status
        self.status, self.failure, self.reason, self.updated_at = RuntimeStatus.SUSPENDED, failure, reason, now
        return True

    def resume(self, reason: str | None, now: int) -> None:
        """Go back to what it was before it was suspended."""
        self.status = self.suspended_from or RuntimeStatus.RUNNING
        self.suspended_from = self.failure = None
        self.reason, self.updated_at = reason, now

    def rewound(self, reason: str | None, now: int) -> None:
        """Go back from a failure to where it was before (O16)."""
        self.status = RuntimeStatus.RUNNING
        self.failure = self.completed_at = None
        self.unread_events, self.unawaited_failures = 0, ()
        self.reason, self.updated_at = reason, now
