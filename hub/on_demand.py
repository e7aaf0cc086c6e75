"""The public names of this package that only some programs use; they are loaded when one of them is first asked for."""

from __future__ import annotations

from .describing import EntityDescription, InstanceDescription
from .folders import copy_hub, delete_hub, list_hubs
from .reader import HubReader
from .waiting import Waiting

__all__ = ["EntityDescription", "HubReader", "InstanceDescription", "Waiting", "copy_hub", "delete_hub", "list_hubs"]
