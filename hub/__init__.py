"""The task hub: the scheduler, the committer, activities, and the client."""

from __future__ import annotations

from .activity_context import ActivityContext, activity_context
from .cleaning import CleanedEntities
from .client_batch import ClientBatch
from .clock import trio_clock
from .delayed_verbs import DelayedSignal
from .describing import EntityDescription, InstanceDescription
from .errors import HubClosed, LimitReached, RequestMismatch, WorkerProcessDied
from .folders import copy_hub, delete_hub, list_hubs
from .instance import Instance
from .letter_verbs import DeadLetter
from .queries import EntityInfo, Page
from .reader import HubReader
from .statistics import HubStatistics
from .status import InstanceStatus
from .task_hub import TaskHub
from .waiting import Waiting

__all__ = [
    "ActivityContext",
    "CleanedEntities",
    "ClientBatch",
    "DeadLetter",
    "DelayedSignal",
    "EntityDescription",
    "EntityInfo",
    "HubClosed",
    "HubReader",
    "HubStatistics",
    "Instance",
    "InstanceDescription",
    "InstanceStatus",
    "LimitReached",
    "Page",
    "RequestMismatch",
    "TaskHub",
    "Waiting",
    "WorkerProcessDied",
    "activity_context",
    "copy_hub",
    "delete_hub",
    "list_hubs",
    "trio_clock",
]
