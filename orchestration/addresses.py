"""Where the answers to steps are sent: apart for each generation of an execution (O16).

A rewind asks again for steps that were asked before. The answer to the first asking may still be on its way, and must not
be taken for the answer to the second. So a step that is asked for in a later generation has an address of its own: its
number, ``@`` and the generation. In the first generation, which is all that most executions ever have, the address is
the number itself, and nothing here costs anything.

The journal knows numbers only; messages and effects carry addresses.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from ..storage.plain_data import PlainData
from .history import WORK, Action, CallEntity, HistoryEntry, LockEntities, ReleaseLocks, Rewound
from .messages import OrchestrationMessage, SectionGranted, TaskResult, TimerDue

A = TypeVar("A", bound=Action)

ADDRESSED: Final = (*WORK, LockEntities)
"""Actions that are answered."""


class Addresses(PlainData, frozen=True):
    """The addresses of one execution.

    Attributes:
      generation: 0, and one more with each rewind.
    """

    generation: int = 0
    _changed: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, history: list[HistoryEntry]) -> Addresses:
        """The addresses that a journal tells of."""
        addresses = FIRST_GENERATION
        for entry in history:
            if isinstance(entry, Rewound):
                addresses = addresses.rewound(entry)
            elif addresses.generation and isinstance(entry, ADDRESSED):
                addresses.asked(entry.id)
        return addresses

    def rewound(self, entry: Rewound) -> Addresses:
        """The addresses of a new generation, which begins with the steps that are asked for again."""
        addresses = Addresses(self.generation + 1, dict(self._changed))
        for step in entry.steps:
            addresses.asked(step)
        return addresses

    def asked(self, step: str) -> None:
        """A step is asked for now."""
        if self.generation:
            self._changed[step] = f"{step}@{self.generation}"

    def __getitem__(self, step: str) -> str:
        return self._changed.get(step, step)

    def outgoing(self, action: A) -> A:
        """An action with the addresses in place of the numbers."""
        if not self.generation:
            return action
        changes = {"id": self[action.id]} if isinstance(action, ADDRESSED) else {}
        if isinstance(action, (CallEntity, ReleaseLocks)) and action.section is not None:
            changes["section"] = self[action.section]
        return msgspec.structs.replace(action, **changes)

    def incoming(self, message: OrchestrationMessage) -> OrchestrationMessage | None:
        """A message with numbers in place of the addresses; ``None`` if it answers what was asked in another generation."""
        if not self.generation:
            return message
        if isinstance(message, (TaskResult, TimerDue)):
            step = self._step(message.task)
            return None if step is None else msgspec.structs.replace(message, task=step)
        if isinstance(message, SectionGranted):
            step = self._step(message.section.position)
            section = None if step is None else msgspec.structs.replace(message.section, position=step)
            return None if section is None else msgspec.structs.replace(message, section=section)
        return message

    def _step(self, address: str) -> str | None:
        step = step_of_address(address)
        return step if self[step] == address else None


FIRST_GENERATION: Final = Addresses()
"""The addresses of an execution that was not rewound."""


def step_of_address(address: str) -> str:
    """The number of the step that an address belongs to."""
    return address.partition("@")[0]
