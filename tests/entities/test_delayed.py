"""Delayed signals of operations (E10, E4), and their ids, by calling functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from perdure.entities import Entity
from perdure.entities.delayed import check_signal_id, delivery_time, parts_of, signal_id
from perdure.entities.messages import DropSignal, Send, SendLater
from perdure.entities.times import LATEST, microseconds_of

from .helpers import NOW, Subject, fresh


@define
class Clockwork(Entity):
    """Sends to itself, now and later."""

    ids: list[str] = field(factory=list)

    def strike(self, number: int) -> None:
        """Do nothing."""

    def wind(self, delay: float, fail: bool = False) -> None:
        """Send one for now and two for later, cancel the first of them; fail if told."""
        me = Clockwork.at("k")
        context = self.context
        first = context.signal_entity(me, Clockwork.strike, 1, deliver_at=timedelta(seconds=delay))
        context.signal_entity(me, Clockwork.strike, 2)
        self.ids.append(context.signal_entity(me, "strike", 3, deliver_at=context.now + timedelta(seconds=delay)))
        context.cancel_signal(first)
        if fail:
            raise ValueError("no")

    def cancel(self, what: str) -> None:
        """Cancel that."""
        self.context.cancel_signal(what)


def wound(delay: float) -> tuple[Subject, list[Any]]:
    """A clockwork that was wound, and what that sent."""
    subject = fresh(Clockwork)
    subject.send("wind", delay)
    return subject, list(subject.run())


def test_E10_effects_in_the_order_of_the_calls() -> None:
    """An operation sends in order, with the ids that it was given; a delay counts from its own time."""
    subject, (first, second, third, dropped) = wound(60)
    assert isinstance(first, SendLater)
    assert isinstance(second, Send)
    assert isinstance(third, SendLater)
    assert dropped == DropSignal(first.signal_id)
    assert subject.state.ids == [third.signal_id]
    assert first.signal_id != third.signal_id
    due = microseconds_of(NOW) + 60_000_000
    assert [parts_of(effect.signal_id)[0] for effect in (first, third)] == [due, due]


def test_E4_a_failed_operation_sends_nothing_later_either() -> None:
    """The delayed signals and cancellations of an operation that fails are thrown away."""
    subject = fresh(Clockwork)
    failure = subject.failure("wind", 60, True)
    assert failure.message == "no"
    assert subject.take() == []


def test_E10_a_bad_time_fails_the_operation() -> None:
    """A delay that is not allowed fails the operation where it is asked for, with what is allowed."""
    assert "0 or more" in fresh(Clockwork).failure("wind", -1.0).message


@pytest.mark.parametrize("bad", ["", "0" * 47, "0" * 49, "G" * 48, "ABCDEF" * 8, "0" * 47 + "\n"])
def test_E10_what_is_no_id_is_refused(bad: str) -> None:
    """Only what sending returns is an id."""
    with pytest.raises(ValueError, match="no id of a delayed signal"):
        check_signal_id(bad)
    assert "no id of a delayed signal" in fresh(Clockwork).failure("cancel", bad).message


@given(due=st.integers(0, LATEST), seed=st.text(st.characters(exclude_categories=("Cs",))))
def test_E10_an_id_holds_its_time(due: int, seed: str) -> None:
    """Whatever the time and the seed: the id is well formed, gives the time back, and is the same each time."""
    made = signal_id(due, seed)
    assert check_signal_id(made) == made == signal_id(due, seed)
    assert parts_of(made)[0] == due
    assert signal_id(due, seed + "x") != made


@given(now=st.integers(0, LATEST // 2), seconds=st.floats(0, 1e9))
def test_E10_never_before_its_time(now: int, seconds: float) -> None:
    """A delay is never shorter than was asked for, and by no more than a microsecond longer."""
    due = delivery_time(seconds, now)
    assert seconds <= (due - now) / 1_000_000 <= seconds + 1e-5


def test_E10_a_time_that_has_passed_is_now() -> None:
    """Times in the past, before 1970 too, are due at once."""
    now = microseconds_of(NOW)
    for time in (NOW - timedelta(days=1), datetime(1903, 1, 1, tzinfo=UTC), NOW, 0, timedelta(0)):
        assert delivery_time(time, now) == now
