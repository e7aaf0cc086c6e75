"""What the kernel knows of one execution.

There may be hundreds of thousands of executions in memory, and most of them wait for one thing. So whatever most of them do not need is
made when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .events import EventBuffers
from .handlers import Handlers
from .section_turns import SectionTurns

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ..entities.failures import FailureDetails
    from .errors import NondeterminismError
    from .history import Action, Work
    from .strand import Body, Ending, Rewriter, Strand
    from .tasks import DurableTask, WorkTask


class ExecutionState:
    """One execution in memory.

    Attributes:
      body: its code.
      instance_id: the instance.
      execution: the id of the execution.
      now: the time of the turn, microseconds since 1970; set before events are applied.
      actions: what the code asked for since the caller last took them.
      tasks: unfinished work by its number.
      cancelled: work that was cancelled since the caller last took the actions.
      unreleased: sections that were asked for and not left, by number, with their sets.
      open: the work that was asked for and is neither answered nor cancelled, by number.
      heartbeats: how far failed activities said they were, by step; for their next attempts.
      ending: how the code ended, ``None`` while it goes on.
      mismatch: why the replay was stopped, if it was.
      replaying: the journal is being replayed.
      rewinding: makes a new journal while the code is run again (O16).
      cancel_requested: the instance was asked to end gracefully.
      custom_status: the encoded custom status that the code has set.
      finished_count: how many tasks have finished; gives their order.
      failed: tasks that have failed.
      runnable: the strands that can be stepped, in order.
      current: the strand that is being stepped.
      waits: how many waits for external events have begun; gives their order.
      sealed: nothing comes out any more.
      closed: the code was dropped.
    """

    __slots__ = (
        "_awaits_left", "_events", "_expected", "_handlers", "_on_foreign", "_patches", "_random", "_sections", "_strands",
        "actions", "body", "cancel_requested", "cancelled", "closed", "current", "custom_status", "ending", "execution", "failed",
        "finished_count", "heartbeats", "instance_id", "mismatch", "now", "open", "replaying", "rewinding", "runnable", "sealed",
        "tasks", "unreleased", "waits",
    )  # fmt: skip

    def __init__(self, body: Body, instance_id: str, execution: str, on_foreign: Callable[[object], None]) -> None:
        self.body = body
        self.instance_id = instance_id
        self.execution = execution
        self.now = 0
        self.actions: list[Action] = []
        self.tasks: dict[str, WorkTask[Any]] = {}
        self.unreleased: dict[str, tuple[tuple[str, str], ...]] = {}
        self.open: dict[str, Work] = {}
        self.cancelled: dict[str, Work | None] = {}
        self.ending: Ending | None = None
        self.mismatch: NondeterminismError | None = None
        self.replaying = False
        self.cancel_requested = False
        self.custom_status: bytes | None = None
        self.finished_count = 0
        self.failed: list[DurableTask[Any]] | None = None
        self.runnable: list[Strand] = []
        self.waits = 0
        self.heartbeats: dict[str, bytes] = {}
        self.rewinding: Rewriter | None = None
        self.sealed = False
        self.closed = False
        self.current: Strand | None = None
        self._awaits_left: int | None = None
        self._on_foreign = on_foreign
        self._expected: dict[str, Action] = {}
        self._strands: dict[Strand, None] = {}
        # Most executions need none of these: they are made when they are first asked for.
        self._events: EventBuffers | None = None
        self._sections: SectionTurns | None = None
        self._handlers: Handlers | None = None
        self._patches: dict[str, bool] | None = None
        self._random: random.Random | None = None

    @property
    def events(self) -> EventBuffers:
        """Buffered external events, and who waits for one."""
        if self._events is None:
            self._events = EventBuffers()
        return self._events

    @property
    def sections(self) -> SectionTurns:
        """Whose turn it is to have a critical section."""
        if self._sections is None:
            self._sections = SectionTurns()
        return self._sections

    @property
    def handlers(self) -> Handlers:
        """The queries and updates that the code offers."""
        if self._handlers is None:
            self._handlers = Handlers()
        return self._handlers

    @property
    def updates_ended(self) -> bool:
        """Whether updates have ended that are to be answered."""
        return self._handlers is not None and bool(self._handlers.answers)

    @property
    def updates_open(self) -> bool:
        """Whether an update was taken that has not been answered."""
        return self._handlers is not None and bool(self._handlers.answers or self._handlers.unanswered)

    @property
    def events_unread(self) -> int:
        """How many external events the code has not taken."""
        return 0 if self._events is None else self._events.unread

    def note_failed(self, task: DurableTask[Any]) -> None:
        """Remember a task that has failed: whether the code met that is asked at the end (O10)."""
        if self.failed is None:
            self.failed = []
        self.failed.append(task)

    def unawaited_failures(self) -> list[FailureDetails]:
        """Failures of work that nobody awaited (O10)."""
        return [failure for task in self.failed or () if (failure := task.unretrieved_failure) is not None]
