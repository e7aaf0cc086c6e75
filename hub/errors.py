"""Errors of the hub itself."""

from __future__ import annotations

from ..storage.errors import PerdureError


class HubClosed(PerdureError, RuntimeError):
    """The hub has been closed, or has not been entered yet (D7)."""


class LimitReached(PerdureError):
    """A limit of the hub is reached; the message names it, its value, and how to set it."""


class WorkerProcessDied(PerdureError):
    """A worker process ended before the attempt of an activity that it ran; the attempt has failed, and may be tried again (O14)."""


class RequestMismatch(PerdureError, ValueError):
    """A request id was used before with another verb, target or arguments (D8)."""
