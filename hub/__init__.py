"""The task hub: the scheduler, the committer, activities, and the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..storage.later import names_loaded_later
from .activity_context import ActivityContext, activity_context
from .cleaning import CleanedEntities
from .client_batch import ClientBatch
from .clock import trio_clock
from .delayed_verbs import DelayedSignal
from .errors import HubClosed, LimitReached, RequestMismatch, WorkerProcessDied
from .instance import Instance
from .letter_verbs import DeadLetter
from .queries import EntityInfo, Page
from .statistics import HubStatistics
from .status import InstanceStatus
from .task_hub import TaskHub

if TYPE_CHECKING:
    from .on_demand import (
        EntityDescription,
        HubReader,
        InstanceDescription,
        Waiting,
        copy_hub,
        delete_hub,
        list_hubs,
    )
else:

    def _on_demand():
        from . import on_demand  # noqa: PLC0415 - this is what it is for

        return on_demand

    __getattr__, __dir__ = names_loaded_later(
        __name__,
        ("EntityDescription", "HubReader", "InstanceDescription", "Waiting", "copy_hub", "delete_hub", "list_hubs"),
        _on_demand,
    )

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
