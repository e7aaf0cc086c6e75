"""``when_all`` and ``when_any`` (O6): tasks made of tasks.

They cancel nothing, may share tasks, hold one twice, and hold finished ones. While somebody awaits a combinator, its
unfinished tasks have attention too, and lose it when the combinator finishes; so a wait for an event that lost the
race takes no event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from .tasks import DurableTask, TaskHost

T_co = TypeVar("T_co", covariant=True)


class Combinator(DurableTask[T_co]):
    """A task that finishes when some of its tasks have."""

    __slots__ = ("tasks",)

    def __init__(self, kernel: TaskHost, tasks: Iterable[DurableTask[Any]], verb: str) -> None:
        super().__init__(kernel)
        if not isinstance(tasks, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
            raise TypeError(f"{verb} takes a list, or another iterable, of tasks, not {type(tasks).__name__}: {tasks!r}")
        self.tasks = tuple(tasks)
        for task in self.tasks:
            if not isinstance(task, DurableTask):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are not always checked
                raise TypeError(
                    f"{verb} takes tasks, such as ctx.call_activity(...) returns, not {type(task).__name__}: {task!r}"
                )
            if task._kernel is not kernel:
                raise ValueError(f"{verb} was given a task of another orchestration")

    def _attention_began(self) -> None:
        self._settle_if_enough()
        for task in self.tasks:
            if self._finished:
                break
            if not task._finished:
                if task._parents is None:
                    task._parents = []
                task._parents.append(self)
                task._attend()
        self._look()

    def _attention_ended(self) -> None:
        for task in self.tasks:
            if task._parents is not None and self in task._parents:
                task._parents.remove(self)
                task._unattend()

    def _settle_if_enough(self) -> None:
        """Finish if the finished tasks suffice, without asking the others: asking takes events."""

    def settle(self, value: Any = None, failure: Any = None) -> None:
        """Finish it; its tasks are no longer wanted for its sake."""
        if self._attention:
            self._attention_ended()
        super().settle(value, failure)


class WhenAll(Combinator[T_co]):
    """Finishes when all have; its value is their results in order, or the first failure in order."""

    __slots__ = ("_known",)

    def __init__(self, kernel: TaskHost, tasks: Iterable[DurableTask[Any]], verb: str) -> None:
        super().__init__(kernel, tasks, verb)
        self._known = 0  # that many of the first tasks have finished

    def _look(self) -> None:
        if self._attention:
            # Its tasks have attention, so they need not be asked: going on from the first unfinished one keeps a fan-in
            # of n tasks from taking n * n steps.
            while self._known < len(self.tasks) and not self.tasks[self._known].pending:
                self._known += 1
            if self._known == len(self.tasks) and not self._finished:
                self.settle()
            return
        # Every task is asked, not only until the first that is not done: asking is how an awaited event is taken.
        if not self._finished and all([task.look() for task in self.tasks]):  # noqa: C419
            self.settle()

    def _take(self) -> Any:
        if self._failure is not None:  # the combinator itself was cancelled
            return super()._take()
        self._retrieved = True
        for task in self.tasks:
            task._retrieved = True
        return [task._take() for task in self.tasks]


class WhenAny(Combinator[T_co]):
    """Finishes with the first; its value is that task."""

    __slots__ = ()

    def _settle_if_enough(self) -> None:
        finished = [task for task in self.tasks if task._finished]
        if finished:
            self.settle(min(finished, key=lambda task: task._ordinal))

    def _look(self) -> None:
        if not self._finished:
            self._settle_if_enough()
        if not self._finished:
            # One after another: the first that is done is the winner, and the rest is not even asked.
            for task in self.tasks:
                if task.look():
                    self.settle(task)
                    return
