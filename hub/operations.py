"""Driving ``async`` operations of entities: each as a Trio task, begun when its message is durable (D2, E1, E5)."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable
from typing import Any, Final

import trio

from ..entities.ids import EntityId
from ..entities.machine import RunningOperation
from .cells import EntityCell
from .clock import HubClock, as_datetime

inside_operation: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar("perdure_operation", default=None)
"""The entity whose async operation the current task runs: hub verbs that would wait for an entity are refused there (E8)."""


def refuse_inside_operation(target: str) -> None:
    """Refuse to wait for somebody's answer inside an operation (E8).

    Raises:
      RuntimeError: the current task runs one.
    """
    inside = inside_operation.get()
    if inside is not None:
        raise RuntimeError(
            f"an operation of {inside} waits for {target}, which could deadlock (E8): signal it, or use an orchestration"
        )


async def ending_of(run: RunningOperation, entity_id: EntityId) -> tuple[Any, Any] | BaseException:
    """Drive an async operation to its end: what its machine is to be told, unless the task is cancelled."""
    token = inside_operation.set(str(entity_id))
    try:
        return await run.coroutine
    except (trio.Cancelled, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever an operation raises is its failure (E4)
        return error
    finally:
        inside_operation.reset(token)


class OperationRunner:
    """Runs async operations.

    Attributes:
      running: how many run.
    """

    def __init__(self, nursery: trio.Nursery, clock: HubClock, after: Callable[[EntityCell], None]) -> None:
        self._nursery = nursery
        self._clock = clock
        self._after = after
        self.running = 0

    def begin(self, durable: list[tuple[EntityCell, int]]) -> None:
        """Begin operations whose messages are durable, if their entities still stand in front of just those."""
        for cell, number in durable:
            if cell.machine.waiting_operation == number:
                run = cell.machine.begin(as_datetime(self._clock.now()))
                self.running += 1
                self._nursery.start_soon(self._drive, cell, run, name=f"{cell.machine.entity_id} {run.definition.name}")

    async def _drive(self, cell: EntityCell, run: RunningOperation) -> None:
        ended = await ending_of(run, cell.machine.entity_id)
        self.running -= 1
        if trio.current_effective_deadline() == -math.inf:
            return  # the hub is closing; however the operation took that, it runs again (E5)
        cell.machine.finish(run, ended)
        cell.note_success(self._clock.now())
        self._after(cell)
