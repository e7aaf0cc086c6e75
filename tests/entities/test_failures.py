"""Failures as data: what the other side gets to see of an exception (E4)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities.errors import EntityOperationFailed
from perdure.entities.failures import MESSAGE_LENGTH_MAX, TRACEBACK_LENGTH_MAX, FailureDetails
from perdure.entities.ids import EntityId
from perdure.storage.errors import PerdureError


class BankError(Exception):
    """A base of our own."""


class InsufficientFunds(BankError, ValueError):
    """Two bases."""


class Outer:
    """A class around one."""

    class Inner(KeyError):
        """A nested one."""


def raised(action: Callable[[], object]) -> BaseException:
    """The exception that an action raises, with its traceback."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        action()
    return caught.value


def details(action: Callable[[], object]) -> FailureDetails:
    """How an action fails."""
    return FailureDetails.from_exception(raised(action))


def withdraw() -> None:
    """Fail with a message."""
    raise InsufficientFunds("7 > 5")


# --- names, message, traceback


def test_E4_name_and_message() -> None:
    """The type's qualified name and the text are kept; names of built-in types come without a module."""
    failure = details(withdraw)
    assert failure.type_name == f"{__name__}.InsufficientFunds"
    assert failure.message == "7 > 5"
    assert str(failure) == f"{__name__}.InsufficientFunds: 7 > 5"
    assert details(lambda: 1 / 0).type_name == "ZeroDivisionError"
    assert FailureDetails.from_exception(Outer.Inner("x")).type_name == f"{__name__}.Outer.Inner"
    assert str(FailureDetails.from_exception(ValueError())) == "ValueError"


def test_E4_the_traceback_is_text() -> None:
    """The traceback names function and line, without the values of variables."""

    def fail() -> None:
        secret = "hunter" + str(2)
        assert secret
        raise ValueError("shown")

    failure = details(fail)
    assert "in fail" in failure.traceback
    assert 'raise ValueError("shown")' in failure.traceback
    assert "hunter2" not in failure.traceback


# --- asking for the cause


def test_E4_asked_for_by_type() -> None:
    """A failure is caused by its own type and by each base of it, and by no other."""
    failure = details(withdraw)
    for base in (InsufficientFunds, BankError, ValueError, Exception, BaseException):
        assert failure.is_caused_by(base)
    for other in (KeyError, TypeError, Outer.Inner, PerdureError):
        assert not failure.is_caused_by(other)


def test_E4_a_subclass_is_not_assumed() -> None:
    """A failure of the base type is not caused by a subclass of it."""
    assert not FailureDetails.from_exception(ValueError()).is_caused_by(InsufficientFunds)


def chained() -> None:
    """A chain of three: from, and while handling."""
    try:
        try:
            withdraw()
        except BankError as error:
            raise KeyError("account") from error
    except KeyError:
        raise RuntimeError("giving up")  # noqa: B904 - that is the case


def test_E4_the_chain_of_causes() -> None:
    """Explicit and implicit causes form a chain, and each of its types can be asked for."""
    failure = details(chained)
    names = []
    link: FailureDetails | None = failure
    while link is not None:
        names.append(link.type_name.rpartition(".")[2])
        link = link.cause
    assert names == ["RuntimeError", "KeyError", "InsufficientFunds"]
    for kind in (RuntimeError, LookupError, BankError):
        assert failure.is_caused_by(kind)


def test_E4_a_suppressed_context_is_no_cause() -> None:
    """What ``from None`` hides stays hidden."""

    def fail() -> None:
        try:
            withdraw()
        except BankError:
            raise KeyError("hidden") from None

    failure = details(fail)
    assert failure.cause is None
    assert not failure.is_caused_by(BankError)


def test_E4_the_explicit_cause_goes_before_the_context() -> None:
    """With a cause given by ``from``, what was being handled is not the cause."""

    def fail() -> None:
        try:
            withdraw()
        except BankError:
            raise RuntimeError("both") from OSError("explicit")

    failure = details(fail)
    assert failure.cause is not None
    assert failure.cause.type_name == "OSError"
    assert not failure.is_caused_by(BankError)


def test_E4_a_failure_from_elsewhere_is_the_cause() -> None:
    """An exception that carries the failure of another side has that failure as its cause."""
    remote = details(chained)
    failure = FailureDetails.from_exception(EntityOperationFailed(EntityId("a", "k"), "withdraw", remote))
    assert failure.cause == remote
    assert failure.is_caused_by(EntityOperationFailed)
    assert failure.is_caused_by(InsufficientFunds)


def test_E4_members_of_groups() -> None:
    """The members of a group are kept, nested ones too, each with its causes, and can be asked for."""

    def fail() -> None:
        raise ExceptionGroup("all", [ValueError("1"), ExceptionGroup("inner", [raised(chained)])])  # type: ignore[list-item]

    failure = details(fail)
    assert failure.type_name == "ExceptionGroup"
    assert [member.type_name for member in failure.members] == ["ValueError", "ExceptionGroup"]
    assert failure.members[1].members[0].is_caused_by(BankError)
    for kind in (ValueError, RuntimeError, BankError, ExceptionGroup):
        assert failure.is_caused_by(kind)
    assert not failure.is_caused_by(OSError)


# --- bounds, and exceptions that misbehave


def test_E4_endless_chains_end() -> None:
    """A chain that goes in a circle, or on for very long, is cut off."""
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    assert FailureDetails.from_exception(first).is_caused_by(ValueError)
    deep: BaseException = ValueError("0")
    for number in range(5000):
        above = ValueError(str(number))
        above.__cause__ = deep
        deep = above
    assert len(msgspec.msgpack.encode(FailureDetails.from_exception(deep))) < 10_000


def test_E4_long_texts_are_cut_in_the_middle() -> None:
    """Of a very long message the beginning and the end are kept, and it says how much was left out."""
    failure = FailureDetails.from_exception(ValueError("begin" + "x" * 1_000_000 + "end"))
    assert len(failure.message) < MESSAGE_LENGTH_MAX + 100
    assert len(failure.traceback) < TRACEBACK_LENGTH_MAX + 100
    assert failure.message.startswith("begin")
    assert failure.message.endswith("end")
    assert f"({1_000_008 - MESSAGE_LENGTH_MAX} characters left out)" in failure.message


def test_E4_deep_recursion() -> None:
    """Endless recursion, with its very long traceback, is a failure of reasonable size."""

    def fall() -> None:
        fall()

    failure = details(fall)
    assert failure.type_name == "RecursionError"
    assert len(failure.traceback) < TRACEBACK_LENGTH_MAX + 100


class BadText(ValueError):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class BadFailure(ValueError):
    """Its attribute ``failure`` raises."""

    @property
    def failure(self) -> Any:
        raise ZeroDivisionError


class Falsy(ValueError):
    """An exception that is false, as one with a length of 0 is."""

    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize("kind", [BadText, BadFailure, Falsy])
def test_E4_exceptions_that_misbehave(kind: type[ValueError]) -> None:
    """An exception whose own methods fail is described all the same, by its name at least."""
    failure = FailureDetails.from_exception(kind("x"))
    assert failure.type_name == f"{__name__}.{kind.__name__}"
    assert failure.is_caused_by(ValueError)


def test_E4_a_false_cause_is_a_cause() -> None:
    """Whether an exception is a cause does not depend on its truth value."""
    error = RuntimeError("outer")
    error.__cause__ = Falsy("inner")
    assert FailureDetails.from_exception(error).is_caused_by(Falsy)


@given(text=st.text(max_size=200))
def test_E4_any_text_can_be_stored(text: str) -> None:
    """Whatever an exception says, lone surrogates included, can be stored and comes back the same."""
    failure = FailureDetails.from_exception(ValueError(text))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=FailureDetails) == failure
    if max(text, default="") < "\ud800" or text.isascii():
        assert failure.message == text


def test_E4_nothing_is_imported_to_read_one() -> None:
    """A stored failure, its causes and members included, can be read and asked where its exception's module does not exist."""
    failure = details(chained)
    elsewhere = msgspec.json.encode(failure).replace(__name__.encode(), b"nowhere.at_all")
    program = (
        "import sys, msgspec\n"
        "from perdure.entities.failures import FailureDetails\n"
        "failure = msgspec.json.decode(sys.stdin.buffer.read(), type=FailureDetails)\n"
        "print(failure.is_caused_by(ValueError), failure.is_caused_by(OSError), 'nowhere' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=elsewhere, capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"False", b"False"]
