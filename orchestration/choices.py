"""What the code may take for chance, and is the same in each replay: random numbers, and which way a patched place goes (O2)."""

from __future__ import annotations

import random

from .execution_state import ExecutionState
from .history import Action, UsePatch


class Choices(ExecutionState):
    """The part of the kernel that chooses."""

    __slots__ = ()

    def ask(self, action: Action) -> None:
        """Take an action from the code."""
        raise NotImplementedError

    def check_running(self, what: str) -> None:
        """Refuse what does not come from the code that is being stepped."""
        raise NotImplementedError

    def patched(self, name: str) -> bool:
        """Whether the code has a change: it has in every execution that first comes by here when it is there."""
        if self._patches is None:
            self._patches = {}
        known = self._patches.get(name)
        if known is None:
            action = UsePatch(f"patch:{name}", name)
            known = self._patches[name] = not self.replaying or action.id in self._expected
            if known:
                self.ask(action)
        return known

    @property
    def random(self) -> random.Random:
        """The execution's random numbers: the same in each replay, others in each execution (O2)."""
        self.check_running("random numbers are asked for")
        if self._random is None:
            self._random = random.Random(self.execution)  # noqa: S311 - determinism is the purpose
        return self._random
