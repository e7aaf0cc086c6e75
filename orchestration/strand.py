"""What the kernel drives: the body of an orchestrator, and the tasks (strands) that it runs in."""

from __future__ import annotations

import contextvars
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from ..entities.failures import FailureDetails
from ..storage.values import Codec
from .errors import ContinueAsNew
from .history import Action
from .section import Section


class Scope(Protocol):
    """A cancel scope, as far as the kernel looks at it."""

    @property
    def effective(self) -> bool:
        """Whether an await directly inside raises."""
        ...

    def within(self, other: Scope) -> bool:
        """Whether a cancellation of ``other`` reaches what is directly inside this scope."""
        ...


class Parent(Protocol):
    """A nursery, as far as the kernel looks at it."""

    def child_ended(self, child: Strand, error: BaseException | None) -> None:
        """A task of it has ended."""
        ...


class Rewriter(Protocol):
    """What makes a new journal while the code is run again over an old one.

    Attributes:
      error: the exception that the code ended with.
    """

    error: BaseException | None

    def asked(self, action: Action, journaled: Action | None) -> None:
        """The code asks for something; the old journal has that of the same number."""
        ...


class Body(Protocol):
    """An orchestrator, worked out: what the kernel runs."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def arguments(self) -> Codec[tuple[Any, ...]]:
        """The codec of its arguments after the context."""
        ...

    @property
    def result(self) -> Codec[Any]:
        """The codec of its result."""
        ...

    def coroutine(self, context: Any, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
        """A fresh coroutine of its function."""
        ...


class Ending(msgspec.Struct, frozen=True):
    """How the code ended: with an encoded value, with a failure, cancelled, or to continue as new."""

    value: bytes | None = None
    failure: FailureDetails | None = None
    cancelled: bool = False
    continued: ContinueAsNew | None = None


class Strand(msgspec.Struct, eq=False):
    """One task of the code: the root, or a child of a nursery.

    Attributes:
      coroutine: what is stepped.
      path: the prefix of its steps' numbers, empty for the root.
      variables: its own context variables, so that nothing leaks between instances or between replays.
      scope: the innermost cancel scope that it is in.
      nursery: the nursery that it belongs to, ``None`` for the root.
      section: the critical section that it is in.
      cancel_pending: the instance was cancelled while it waited; its await raises that, once (O13).
      nurseries: how many nursery blocks it is in.
      steps: how many steps it has asked for.
      awaiting: the task that it waits for.
    """

    coroutine: Coroutine[Any, Any, Any]
    path: str
    variables: contextvars.Context
    scope: Scope | None = None
    nursery: Parent | None = None
    section: Section | None = None
    cancel_pending: bool = False
    nurseries: int = 0
    steps: int = 0
    awaiting: Any = None

    def next_number(self) -> str:
        """The number of its next step."""
        self.steps += 1
        return f"{self.path}{self.steps}"
