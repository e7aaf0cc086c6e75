"""The context of an orchestrator: everything that it may use from outside of itself.

Time, ids and randomness come from here, so that they are the same in each replay (O2).
"""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..entities.ids import EntityId, check_no_surrogates
from .context_base import checked_entity_id
from .critical_section import CriticalSection
from .errors import ContinueAsNew
from .handler_verbs import HandlerVerbs
from .http_verbs import HttpVerbs
from .section import LOCK_SET_MAX, Section

if TYPE_CHECKING:
    import random

    from .kernel import Kernel
    from .registry import Registry

CUSTOM_STATUS_BYTES_MAX: Final = 16 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OrchestrationContext(HttpVerbs, HandlerVerbs):
    """What an orchestrator is given as its first argument.

    Attributes:
      instance_id: the id of the instance.
      name: the orchestrator's name.
      version: the version that the instance was started with.
      parent_id: the parent's instance id, ``None`` without a parent.
    """

    __slots__ = ("instance_id", "name", "parent_id", "version")

    def __init__(self, kernel: Kernel, registry: Registry, version: str | None, parent_id: str | None) -> None:
        super().__init__(kernel, registry)
        self.instance_id = kernel.instance_id
        self.name = kernel.body.name
        self.version = version
        self.parent_id = parent_id

    @property
    def log(self) -> OrchestrationLogger:
        """A logger that is silent while the code is run again over what has already happened (O1)."""
        return OrchestrationLogger(logging.getLogger(f"perdure.orchestration.{self.name}"), {"kernel": self._kernel})

    # --- time, ids, randomness

    @property
    def now(self) -> datetime:
        """The time of the turn, aware UTC (O2); it never decreases and is the same in each replay."""
        return _EPOCH + timedelta(microseconds=self._kernel.now)

    @property
    def is_replaying(self) -> bool:
        """Whether the code is being run again over what has already happened (O1)."""
        return self._kernel.replaying

    @property
    def random(self) -> random.Random:
        """A ``random.Random`` of this execution: the same numbers in each replay, others in each execution (O2)."""
        return self._kernel.random

    def uuid4(self) -> uuid.UUID:
        """A random UUID that is the same in each replay, and another one in each execution (O2)."""
        return uuid.UUID(int=self._kernel.random.getrandbits(128), version=4)

    # --- the life of the instance

    def patched(self, name: str) -> bool:
        """Whether this execution runs with a change of the code; for changes while instances are running (O3).

        True in each execution that comes by here for the first time with the new code, false in one that had already
        passed when the change came: ``if ctx.patched("two-receipts"): ... else: ...``. The old branch can go when no such
        execution is left.

        Args:
          name: a name for the change, 1 to 100 characters.

        Raises:
          ValueError: the name is empty or too long, or holds a lone surrogate.
          TypeError: it is no text.
        """
        self._kernel.check_running("patched is asked")
        return self._kernel.patched(_checked_patch(name))

    def continue_as_new(self, *arguments: Any, keep_events: bool = True) -> NoReturn:
        """End this execution and begin a new one with other arguments (O11). It does not return.

        The instance keeps its id, its custom status and, with ``keep_events``, its unread events. The journal, results
        and timers of this execution go. An exception from a ``finally`` on the way out fails the instance.

        Raises:
          LockRuleError: a critical section is open (L3).
          RuntimeError: it is called in a nursery, in a task of one, or in an update.
          TypeError: the number of arguments is wrong.
          NotStorable: an argument cannot be kept exactly.
        """
        kernel = self._kernel
        kernel.check_running("continue_as_new is called")
        if kernel.section is not None:
            raise Section.refuse("continue_as_new is called")
        if kernel.in_nursery:
            raise RuntimeError("continue_as_new is called inside a nursery, or by an update; it is for the body alone")
        raise ContinueAsNew(kernel.body.arguments.encode(arguments), keep_events)

    def set_custom_status(self, status: object) -> None:
        """Set a value that ``instance.status()`` shows; no step of the journal (O3).

        Args:
          status: any value that describes itself, of at most 16 KiB when encoded.

        Raises:
          NotStorable: it cannot be kept exactly.
          ValueError: it is too large.
        """
        encoded = self._registry.values.codec(object, place="custom status").encode(status)
        if len(encoded) > CUSTOM_STATUS_BYTES_MAX:
            raise ValueError(f"a custom status has at most {CUSTOM_STATUS_BYTES_MAX} bytes when encoded, not {len(encoded)}")
        self._kernel.check_running("a custom status is set")
        if not self._kernel.sealed:
            self._kernel.custom_status = encoded

    # --- critical sections

    def lock_entities(self, *refs: EntityId, wait_timeout: timedelta | float | None = None) -> CriticalSection:
        """A critical section over entities (L1): ``async with ctx.lock_entities(a, b): ...``.

        Duplicates are dropped; the locks are taken one after another in the order of the ids, so that sections cannot
        deadlock. Inside, only the locked entities may be called. A section isolates, it does not roll back: operations
        that have run stay.

        Args:
          *refs: the entities.
          wait_timeout: wait at most that long for the locks, then withdraw the request and raise TooSlowError (L7).

        Raises:
          ValueError: no entity, or more than 1,000; or a bad duration.
          TypeError: something is no entity id.
          LockRuleError: a critical section is open already (L3).
        """
        entities = sorted({checked_entity_id(ref, "lock_entities") for ref in refs})
        if not entities:
            raise ValueError("lock_entities needs at least one entity")
        if len(entities) > LOCK_SET_MAX:
            raise ValueError(f"lock_entities takes at most {LOCK_SET_MAX} entities, not {len(entities)}")
        for target in entities:
            self._registry.entity(target.name)
        if self._kernel.section is not None:
            raise Section.refuse("lock_entities is called")
        return CriticalSection(self._kernel, tuple(entities), wait_timeout)


def _checked_patch(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a patch's name is a str, not {type(name).__name__}: {name!r}")
    if not 0 < len(name) <= 100:
        raise ValueError(f"a patch has a name of 1 to 100 characters, not {len(name)}")
    check_no_surrogates(name, "patch's name")
    return name


class OrchestrationLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs with the instance's id; silent while code is replayed or closed."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        """Whether a line of that level is written now."""
        kernel = cast("Kernel", cast("dict[str, object]", self.extra)["kernel"])
        return not kernel.replaying and not kernel.sealed and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Put the instance's id before the message."""
        kernel = cast("Kernel", cast("dict[str, object]", self.extra)["kernel"])
        return f"[{kernel.instance_id}] {msg}", kwargs
