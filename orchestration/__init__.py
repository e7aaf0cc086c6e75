"""Orchestrations: plain ``async`` code whose steps are journaled, and which is replayed from its journal.

Everything here is sans-io: a turn takes messages and returns journal entries and effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..entities.failures import FailureDetails
from ..storage.later import names_loaded_later
from .context import OrchestrationContext
from .decorators import activity, orchestrator
from .definition import Activity, Orchestrator
from .errors import (
    ActivityFailed,
    Cancelled,
    CannotQuery,
    CannotRewind,
    ForbiddenAwait,
    HttpError,
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    LockRuleError,
    NondeterminismError,
    OrchestrationCanceled,
    OrchestrationFailed,
    OrchestrationTerminated,
    QueryFailed,
    SubOrchestrationFailed,
    TaskCancelled,
    TooSlowError,
    UnknownActivity,
    UnknownHandler,
    UnknownOrchestrator,
    UpdateFailed,
)
from .nursery import Nursery
from .retry import RetryPolicy
from .scopes import CancelScope
from .status import RuntimeStatus
from .tasks import DurableTask

if TYPE_CHECKING:
    from .http_message import HttpHeaders, HttpResponse
else:

    def _http_message():
        from . import http_message  # noqa: PLC0415 - this is what it is for

        return http_message

    __getattr__, __dir__ = names_loaded_later(__name__, ("HttpHeaders", "HttpResponse"), _http_message)

__all__ = [
    "Activity",
    "ActivityFailed",
    "CancelScope",
    "Cancelled",
    "CannotQuery",
    "CannotRewind",
    "DurableTask",
    "FailureDetails",
    "ForbiddenAwait",
    "HttpError",
    "HttpHeaders",
    "HttpResponse",
    "InstanceExists",
    "InstanceFinished",
    "InstanceNotFound",
    "LockRuleError",
    "NondeterminismError",
    "Nursery",
    "OrchestrationCanceled",
    "OrchestrationContext",
    "OrchestrationFailed",
    "OrchestrationTerminated",
    "Orchestrator",
    "QueryFailed",
    "RetryPolicy",
    "RuntimeStatus",
    "SubOrchestrationFailed",
    "TaskCancelled",
    "TooSlowError",
    "UnknownActivity",
    "UnknownHandler",
    "UnknownOrchestrator",
    "UpdateFailed",
    "activity",
    "orchestrator",
]
