"""What the verbs that only read need: the definitions, and a store's last commit.

Two kinds of hubs have it: :class:`TaskHub`, which runs, and :class:`HubReader`, which looks at a hub that another process
runs. The verbs are written once, for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..orchestration.registry import Registry
from ..storage.store import CommittedStore


class CommittedHub(ABC):
    """A hub whose last commit can be read."""

    _registry: Registry

    @abstractmethod
    def _committed(self) -> CommittedStore:
        """The last commit.

        Raises:
          HubClosed: the hub is not open.
          ForkedHub: this process is a fork of the one that opened it.
        """
