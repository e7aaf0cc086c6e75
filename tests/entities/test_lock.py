"""The locks of single entities, and of few in a row, message by message: taking them, and who runs meanwhile (L1, L2)."""

from __future__ import annotations

import pytest
from perdure.entities.messages import Answer, CallingTask, Granted, LockRelease, Operation, SectionId, Send

from .helpers import Subject, fresh
from .locking import A, B, C, D, Page, Post, locked_by, mine, other, request, section, set_of


@pytest.fixture
def page() -> Subject:
    return fresh(Page, "a")


@pytest.fixture
def post() -> Post:
    return Post.of(Page, "abcd")


# --- L1: one after another


def test_L1_the_last_one_tells_the_owner(page: Subject) -> None:
    """A request for a single free entity is granted at once, and the owner is told, with the set."""
    page.accept(request(mine))
    assert page.run() == [Granted(mine, set_of(A))]
    assert locked_by(page) == mine


def test_L1_the_others_ask_the_next(page: Subject) -> None:
    """An entity that is not the last of the set asks the next one, for the same section and set, and tells nobody."""
    page.accept(request(mine, A, B, C))
    assert page.run() == [Send(B, request(mine, A, B, C, at=B))]


def test_L1_a_set_is_taken_in_order(post: Post) -> None:
    """The locks of a set are taken in the order of the ids, however the set was given; the last one is the news."""
    post.ask(mine, C, A, B)
    seen = [post.holders()]
    while post.waiting:
        post.work(post.deliver(post.waiting[0]))
        seen.append(post.holders())
    assert [holders.replace("mine", "m") for holders in seen] == ["....", "m...", "mm..", "mmm."]
    assert post.granted == [mine]


def test_L1_a_request_waits_where_it_is(post: Post) -> None:
    """A request that meets a locked entity keeps what it has and asks for nothing beyond."""
    post.ask(other, C)
    post.settle()
    post.ask(mine, A, B, C, D)
    post.settle()
    assert (post.holder(A), post.holder(B), post.holder(C), post.holder(D)) == ("mine", "mine", "other", None)
    assert post.granted == [other]
    post.release(other, C)
    post.settle()
    assert post.holders() == "mine" * 4
    assert post.granted == [other, mine]


def test_L1_opposite_orders_do_not_deadlock(post: Post) -> None:
    """Two sections that name the same entities in opposite orders get them one after the other."""
    post.ask(mine, A, D)
    post.ask(other, D, A)
    post.settle()
    first, second = (mine, other) if post.granted == [mine] else (other, mine)
    assert post.granted == [first]
    post.release(first, A, D)
    post.settle()
    assert post.granted == [first, second]


# --- L2: who runs meanwhile


def test_L2_only_the_holder_runs(page: Subject) -> None:
    """Calls of the holder overtake what waits; signals, also the owner's own, calls of others and requests wait in order."""
    page.accept(request(mine))
    page.run()
    page.send(Page.write, "owner's signal")
    page.send(Page.write, "client's call", caller=1)
    page.accept(request(other))
    page.send(Page.write, "after the request")
    page.send(Page.write, "holder's", section=mine, caller=2)
    page.send(Page.write, "other's", section=other, caller=3)
    assert len(page.run()) == 1
    assert page.state.lines == ["holder's"]
    page.accept(LockRelease(mine))
    page.run()
    assert page.state.lines == ["holder's", "owner's signal", "client's call"]
    assert locked_by(page) == other


def test_L2_what_waits_is_not_lost_behind_the_next_holder(page: Subject) -> None:
    """What arrived behind a request runs when that section, too, is left; new arrivals come after it."""
    for asked in (mine, other):
        page.accept(request(asked))
        page.send(Page.write, f"behind {asked.owner}")
    page.run()
    page.send(Page.write, "last")
    for asked in (mine, other):
        page.accept(LockRelease(asked))
        page.run()
    assert page.state.lines == ["behind mine", "behind other", "last"]


def test_L2_a_request_waits_its_turn(page: Subject) -> None:
    """A request is granted after the operations that arrived before it, and before those behind it."""
    page.send(Page.write, "before", caller=1)
    page.accept(request(mine))
    page.send(Page.write, "behind", caller=2)
    answer, granted = page.run()
    assert isinstance(answer, Answer)
    assert isinstance(granted, Granted)
    assert page.state.lines == ["before"]


@pytest.mark.parametrize(
    "almost", [section("mine", "y"), section("mine", "x", "2"), section("Mine"), section("mine", "x", "1/1"), other, None]
)
def test_L2_only_exactly_this_section(page: Subject, almost: SectionId | None) -> None:
    """A call of another execution, another step or another instance is not the holder's."""
    page.accept(request(mine))
    page.run()
    page.send(Page.write, "foreign", section=almost, caller=1)
    assert page.run() == []
    assert page.state is None


def test_L2_answers_go_to_the_caller(page: Subject) -> None:
    """A call from inside a section is answered to its task."""
    page.accept(request(mine))
    page.run()
    task = CallingTask("mine", "x", "2")
    call = page.bench.message(A, Page.write, "x", caller=1, section=mine)
    page.accept(Operation(call.name, call.arguments, task, mine))
    (answer,) = page.run()
    assert isinstance(answer, Answer)
    assert answer.reply_to == task


def test_L2_a_failed_operation_keeps_the_lock(page: Subject) -> None:
    """A call that fails, and a deletion, inside a section change nothing about the lock."""
    page.accept(request(mine))
    page.run()
    page.accept(Operation("write", page.bench.packed(), CallingTask("mine", "x", "2"), mine))
    page.send("delete", section=mine, caller=1)
    page.run()
    assert locked_by(page) == mine
    assert page.state is None
    assert not page.machine.empty
