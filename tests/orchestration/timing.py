"""Orchestrations by hand whose timers a test lets fire: on top of :class:`Subject`, with a law that holds after every turn.

A :class:`Timed` keeps the timers that the machine set and did not drop, as a hub does. After whatever happens to it, its
stored journal is given to a fresh machine as well: the replay must fit, and must ask for nothing new (O1).
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.messages import (
    Cancel,
    DropTimer,
    OrchestrationEffect,
    OrchestrationMessage,
    Renewed,
    SetTimer,
    Suspend,
    TimerDue,
)
from perdure.orchestration.status import RuntimeStatus

from .helpers import SECOND, Bench, Subject


@define(eq=False)
class Timed(Subject):
    """A subject with the timers that a hub would keep for it.

    Attributes:
      timers: what is set, by execution and step: when it is due.
      sent: every effect since the last :meth:`sent_since`.
    """

    timers: dict[tuple[str, str], int] = field(factory=dict[tuple[str, str], int], init=False)
    sent: list[OrchestrationEffect] = field(factory=list[OrchestrationEffect], init=False)

    def run(self, budget: int = 3, *messages: OrchestrationMessage) -> list[OrchestrationEffect]:
        """Give turns, keep the timers, and check the law."""
        effects = super().run(budget, *messages)
        for effect in effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.execution, effect.task] = effect.fire_at
            elif isinstance(effect, DropTimer):
                del self.timers[effect.execution, effect.task]
        self.sent.extend(effects)
        self._replays_alike()
        return effects

    def take(self) -> list[OrchestrationEffect]:
        """As a hub does: when a new execution has begun in place of the old one, the old journal goes."""
        if any(isinstance(effect, Renewed) for effect in self.machine.effects):
            self.journal.clear()
        return super().take()

    def _replays_alike(self) -> None:
        if self.record.status is not RuntimeStatus.RUNNING:
            return
        twin = OrchestrationMachine(self.instance_id, self.bench.registry, self.foreign.append)
        twin.record = self.stored_record
        twin.revive(list(self.journal), self.now)
        assert twin.record.status is RuntimeStatus.RUNNING, f"the replay does not fit: {twin.record.failure}"
        assert twin.kernel is not None
        assert not twin.kernel.actions, "the replay asks for something new"
        assert not twin.effects
        mine = self.machine.kernel
        if mine is not None:
            assert sorted(twin.kernel.tasks) == sorted(mine.tasks), "the replay waits for something else"
            assert sorted(twin.kernel.events.wanted) == sorted(mine.events.wanted)
            assert twin.kernel.events.unread == mine.events.unread
        twin.evict()

    # --- what happens to it

    @property
    def due(self) -> list[str]:
        """The steps whose timers are set, the earliest first."""
        return [step for (_, step), _ in sorted(self.timers.items(), key=lambda item: (item[1], item[0]))]

    def fire(self) -> str:
        """The earliest timer fires, at its time; its step."""
        (execution, step), fire_at = min(self.timers.items(), key=lambda item: (item[1], item[0]))
        del self.timers[execution, step]
        self.now = max(self.now, fire_at - SECOND)
        self.run(3, TimerDue(execution, step))
        return step

    def cancel(self) -> list[OrchestrationEffect]:
        """It is asked to end gracefully; run."""
        return self.run(3, Cancel("enough"))

    def suspend(self) -> list[OrchestrationEffect]:
        """It is suspended; run."""
        return self.run(3, Suspend("wait"))

    def sent_since(self) -> list[OrchestrationEffect]:
        """The effects since the last time, and forget them."""
        sent, self.sent = self.sent, []
        return sent


def timed(bench: Bench, orchestrator: Any, *arguments: Any, **options: Any) -> Timed:
    """A started instance that has run up to its first wait."""
    subject = Timed(bench)
    subject.create(orchestrator, *arguments, **options)
    subject.run()
    return subject
