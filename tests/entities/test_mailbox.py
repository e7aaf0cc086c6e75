"""Mailboxes: what is stored at a seal, and what is deleted (D1, E5)."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities.mailbox import NO_MESSAGES, Lane, Mailbox

M = TypeVar("M")
LANES = 3

moves = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, LANES - 1)),
        st.tuples(st.just("consume"), st.integers(0, LANES - 1)),
        st.tuples(st.just("withdraw"), st.integers(0, LANES - 1)),
        st.tuples(st.just("seal"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=60,
)


class Lanes(Mailbox[M]):
    """A mailbox with lanes that a test fills and empties itself."""

    def __init__(self, *lanes: Lane[M]) -> None:
        super().__init__()
        self._lanes = lanes

    @property
    def lanes(self) -> tuple[Lane[M], ...]:
        """The lanes that it was given."""
        return self._lanes

    def tidy(self) -> None:
        """The test keeps its lanes."""


class Desk:
    """A mailbox with lanes, the storage that its seals write, and a model of both.

    ``waiting`` is the model: in the order of arrival each message that was not consumed, with its lane.
    """

    def __init__(self) -> None:
        self.stored: dict[int, tuple[str, int]] = {}
        self.sealed: list[tuple[str, int]] = []
        self.waiting: list[tuple[str, int]] = []
        self.arrivals = 0
        self.open()

    def open(self) -> None:
        """Make lanes and mailbox of what is stored."""
        self.lanes: list[Lane[tuple[str, int]]] = [deque() for _ in range(LANES)]
        self.mailbox: Mailbox[tuple[str, int]] = Lanes(*self.lanes)
        for number, message in sorted(self.stored.items()):
            self.mailbox.restored(number)
            self.lanes[message[1]].append((number, message))

    def arrive(self, lane: int) -> None:
        """A message arrives in a lane."""
        message = (f"m{self.arrivals}", lane)
        self.arrivals += 1
        self.lanes[lane].append((self.mailbox.number(), message))
        self.waiting.append(message)

    def consume(self, lane: int) -> None:
        """The first message of a lane is consumed."""
        if self.lanes[lane]:
            number, message = self.lanes[lane].popleft()
            self.mailbox.took(number)
            self.waiting.remove(message)

    def withdraw(self, lane: int) -> None:
        """A message in the middle of a lane is taken out, as a release does with a request."""
        if self.lanes[lane]:
            place = len(self.lanes[lane]) // 2
            number, message = self.lanes[lane][place]
            del self.lanes[lane][place]
            self.mailbox.took(number)
            self.waiting.remove(message)

    def seal(self) -> None:
        """A batch is written."""
        fresh, consumed = self.mailbox.seal()
        assert len(consumed) == len(set(consumed))
        assert set(consumed) <= set(self.stored), "what is deleted was stored"
        for number in consumed:
            del self.stored[number]
        for number, message in fresh:
            assert number not in self.stored, "what is stored was not there before"
            self.stored[number] = message
        self.sealed = list(self.waiting)

    def reopen(self) -> None:
        """The instance leaves memory, everything being written, and comes back."""
        self.seal()
        self.open()

    def crash(self) -> None:
        """What was not sealed is lost."""
        self.waiting = list(self.sealed)
        self.open()

    def check(self) -> None:
        """Storage holds what waited at the last seal, in order; the lanes hold what waits."""
        assert [message for _, message in sorted(self.stored.items())] == self.sealed
        for number, lane in enumerate(self.lanes):
            assert [message for _, message in lane] == [each for each in self.waiting if each[1] == number]
        assert self.mailbox.waiting == len(self.waiting)


def sealed(mailbox: Mailbox[str]) -> tuple[list[tuple[int, str]], list[int]]:
    """What a seal stores and deletes."""
    fresh, consumed = mailbox.seal()
    return list(fresh), list(consumed)


@settings(max_examples=4 * settings().max_examples)
@given(moves=moves)
def test_D1_storage_holds_what_was_sealed(moves: list[tuple[str, int]]) -> None:
    """Whatever arrives, goes, is sealed, evicted or lost, storage holds what waited at the last seal, in order, each once."""
    desk = Desk()
    for move, lane in moves:
        if move in ("arrive", "consume", "withdraw"):
            getattr(desk, move)(lane)
        else:
            getattr(desk, move)()
        desk.check()
    desk.seal()
    desk.check()


def test_D1_what_comes_and_goes_is_never_stored() -> None:
    """A message that is consumed before the next seal costs nothing: it is neither stored nor deleted."""
    lane: Lane[str] = deque()
    mailbox = Lanes(lane)
    for _ in range(3):
        lane.append((mailbox.number(), "m"))
        mailbox.took(lane.popleft()[0])
        assert sealed(mailbox) == ([], [])


def test_D1_what_waits_is_stored_once() -> None:
    """A message that waits over several seals is stored by the first, and deleted by the one after its consumption."""
    lane: Lane[str] = deque()
    mailbox = Lanes(lane)
    number = mailbox.number()
    lane.append((number, "m"))
    assert sealed(mailbox) == ([(number, "m")], [])
    assert sealed(mailbox) == ([], [])
    lane.popleft()
    mailbox.took(number)
    assert sealed(mailbox) == ([], [number])
    assert sealed(mailbox) == ([], [])


def test_E2_numbers_rise_across_restarts() -> None:
    """What arrives after a restart is numbered behind all that was read back, so that the order of arrival is kept."""
    lane: Lane[str] = deque()
    mailbox = Lanes(lane)
    for number in (3, 8):
        mailbox.restored(number)
    assert mailbox.number() > 8


@pytest.mark.parametrize("put", ["append", "appendleft"])
def test_the_shared_empty_lane_takes_nothing(put: str) -> None:
    """What is put into the lane that all empty mailboxes share is refused, so no message reaches another instance."""
    with pytest.raises(TypeError, match="make a deque first"):
        getattr(NO_MESSAGES, put)((1, "m"))
    with pytest.raises(TypeError, match="make a deque first"):
        NO_MESSAGES.extend([(1, "m")])
    shared: Lane[Any] = NO_MESSAGES
    assert not shared
