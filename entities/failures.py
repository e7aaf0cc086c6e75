"""A failure as data: what went wrong on one side of a boundary, as the other side may see it.

Exceptions cross boundaries (from an operation to its caller, from an activity to its orchestration, from one
process's life to the next) as :class:`FailureDetails`: names and text. Nothing is pickled, and nothing is imported
to read one (E4). To answer ``is_caused_by(ValueError)`` for subclasses too, the names of the exception's bases are
kept beside its own.
"""

from __future__ import annotations

import traceback
from typing import Any, Final

from ..storage.plain_data import PlainData

MESSAGE_LENGTH_MAX: Final = 10_000
TRACEBACK_LENGTH_MAX: Final = 20_000
CAUSE_DEPTH_MAX: Final = 10
MEMBERS_MAX: Final = 100


class FailureDetails(PlainData, frozen=True, array_like=True):
    """What is known of a failure.

    Attributes:
      type_name: the exception's qualified name, such as ``bank.InsufficientFunds``; built-in ones without module.
      message: its text.
      traceback: the formatted traceback, without values of variables; cut where it is very long.
      base_names: the qualified names of the exception's base classes, nearest first.
      cause: the failure that it was raised from, or while handling.
      members: the failures in an exception group.
    """

    type_name: str
    message: str
    traceback: str = ""
    base_names: tuple[str, ...] = ()
    cause: FailureDetails | None = None
    members: tuple[FailureDetails, ...] = ()

    @classmethod
    def from_exception(cls, exc: BaseException, _depth: int = 0) -> FailureDetails:
        """Describe an exception, its causes and its members, with bounds on depth and length.

        Failures that came over a boundary already (exceptions with a ``failure``) become the cause, so the chain
        reads from the place where it was noticed to the place where it arose.
        """
        cause: FailureDetails | None = None
        members: tuple[FailureDetails, ...] = ()
        if _depth < CAUSE_DEPTH_MAX:
            inner = exc.__cause__
            if inner is None and not exc.__suppress_context__:
                inner = exc.__context__
            remote = failure_of(exc)
            if remote is not None:
                cause = remote
            elif inner is not None:
                cause = cls.from_exception(inner, _depth + 1)
            members = tuple(cls.from_exception(each, _depth + 1) for each in members_of(exc)[:MEMBERS_MAX])
        return cls(
            type_name=qualified_name(type(exc)),
            message=_clean(_text_of(exc), MESSAGE_LENGTH_MAX),
            traceback=_clean(_traceback_of(exc), TRACEBACK_LENGTH_MAX),
            base_names=tuple(qualified_name(base) for base in type(exc).__mro__[1:-1]),
            cause=cause,
            members=members,
        )

    def is_caused_by(self, exception_type: type[BaseException]) -> bool:
        """Whether this failure, its cause, or a member of its group is of that type or of a subclass of it."""
        name = qualified_name(exception_type)
        if name == self.type_name or name in self.base_names:
            return True
        return any(each.is_caused_by(exception_type) for each in (*self.members, *([self.cause] if self.cause else [])))

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


def one_line(said: object) -> str:
    """What somebody else has said, as a part of one line of a log: what could begin a line, or command a terminal, is escaped."""
    text = str(said)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def members_of(exc: BaseException) -> tuple[BaseException, ...]:
    """The exceptions in a group; none of any other exception."""
    group: Any = exc
    return group.exceptions if isinstance(exc, BaseExceptionGroup) else ()


def qualified_name(cls: type) -> str:
    """``module.QualName``, without the module for built-in classes."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def failure_of(exc: BaseException) -> FailureDetails | None:
    """The failure that an exception brought over a boundary, if it is one of those."""
    try:
        failure = getattr(exc, "failure", None)
    except Exception:  # noqa: BLE001 - a broken attribute must not hide the failure itself
        return None
    return failure if isinstance(failure, FailureDetails) else None


def _traceback_of(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(exc), exc, exc.__traceback__, limit=-50, chain=False))
    except Exception as error:  # noqa: BLE001 - an exception that cannot be formatted must not hide the failure itself
        return f"<its traceback cannot be had: {type(error).__name__}>"


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not hide the failure itself
        return f"<its text cannot be had: {type(error).__name__}>"


def _clean(text: str, length_max: int) -> str:
    """Text that can be stored: lone surrogates escaped, cut in the middle where it is too long."""
    if len(text) > length_max:
        half = length_max // 2
        text = f"{text[:half]}\n... ({len(text) - 2 * half} characters left out) ...\n{text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
