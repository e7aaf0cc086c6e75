"""The locks of single entities, and of few in a row, message by message: letting them go (L4 to L6), and the table of moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from perdure.entities.messages import Answer, EntityEffect, LockRelease, SectionId, Send

from .helpers import NOW, Subject, fresh
from .locking import A, B, C, D, Page, Post, locked_by, mine, other, request, requests_in, section, third


@pytest.fixture
def page() -> Subject:
    return fresh(Page, "a")


@pytest.fixture
def post() -> Post:
    return Post.of(Page, "abcd")


# --- L4: leaving


def test_L4_every_lock_is_released(post: Post) -> None:
    """One release, sent to the first, frees the whole set, in order, and nothing waits or is under way afterwards."""
    post.ask(mine, A, B, C, D)
    post.settle()
    post.release(mine, A, B, C, D)
    freed = []
    while post.waiting:
        post.work(post.deliver(post.waiting[0]))
        freed.append(post.holders().replace("mine", "m"))
    assert freed == [".mmm", "..mm", "...m", "...."]
    assert all(subject.machine.empty for subject in post.subjects.values())


def test_L4_an_entity_with_a_pending_call(page: Subject) -> None:
    """A call that still waits when its section is left runs first, under the lock; then the next one has its turn."""
    page.accept(request(mine, A, B))
    page.run()
    page.send(Page.write, "foreign")
    page.send(Page.write, "pending", section=mine, caller=1)
    page.accept(LockRelease(mine))
    effects = page.run()
    assert page.state.lines == ["pending", "foreign"]
    assert effects[0] == Send(B, LockRelease(mine))
    assert locked_by(page) is None


def test_L4_the_release_does_not_wait_for_the_call(page: Subject) -> None:
    """The release goes on to the next entity before the pending call has run, and only once."""
    page.accept(request(mine, A, B))
    page.run()
    page.send(Page.write, "pending", section=mine, caller=1)
    page.accept(LockRelease(mine))
    page.accept(LockRelease(mine))
    page.machine.advance(NOW, 2)
    assert page.take() == [Send(B, LockRelease(mine))]
    assert locked_by(page) == mine
    assert [type(effect) for effect in page.run()] == [Answer]
    assert locked_by(page) is None


# --- L5: ending while waiting


def withdrawn_at_the_first(post: Post) -> None:
    """The request waits at its first entity."""
    post.ask(other, A)
    post.settle()
    post.ask(mine, A, B, C)
    post.settle()


def withdrawn_in_the_middle(post: Post) -> None:
    """The request holds the first and waits at the second."""
    post.ask(other, B)
    post.settle()
    post.ask(mine, A, B, C)
    post.settle()


def withdrawn_before_it_arrived(post: Post) -> None:
    """The request is still on its way to the first."""
    post.ask(other, D)
    post.settle()
    post.ask(mine, A, B, C)


def withdrawn_on_its_way(post: Post) -> None:
    """The request is on its way from the first to the second."""
    post.ask(other, D)
    post.settle()
    post.ask(mine, A, B, C)
    post.work(post.deliver(("mine", A)))


@pytest.mark.parametrize(
    "situation", [withdrawn_at_the_first, withdrawn_in_the_middle, withdrawn_before_it_arrived, withdrawn_on_its_way]
)
def test_L5_a_request_is_withdrawn(post: Post, situation: Callable[[Post], None]) -> None:
    """A release finds its request wherever that is: its locks fall, it waits nowhere any more, and others are not touched."""
    situation(post)
    post.ask(third, A)
    post.release(mine, A, B, C)
    post.settle()
    assert "mine" not in post.holders()
    assert not any(mine in requests_in(subject) for subject in post.subjects.values())
    assert "other" in post.holders()
    post.release(other, A)
    post.release(other, B)
    post.release(other, D)
    post.settle()
    assert third in post.granted
    assert post.holders() == "third..."


def test_L5_others_keep_their_places(page: Subject) -> None:
    """Withdrawing one of several waiting requests leaves the order of the others, and what stands between them."""
    page.accept(request(section("holder")))
    for asked in (other, mine, third):
        page.accept(request(asked))
        page.send(Page.write, f"behind {asked.owner}")
    page.run()
    page.accept(LockRelease(mine))
    page.run()
    assert requests_in(page) == [other, third]
    for asked in (section("holder"), other, third):
        page.accept(LockRelease(asked))
        page.run()
    assert page.state.lines == ["behind other", "behind mine", "behind third"]


def test_L5_a_withdrawn_request_asks_nobody(page: Subject) -> None:
    """A request that is withdrawn where it waits sends nothing on: the entities behind it were never asked."""
    page.accept(request(other))
    page.run()
    page.accept(request(mine, A, B))
    page.accept(LockRelease(mine))
    assert page.run() == []
    page.accept(LockRelease(other))
    assert page.run() == []
    assert page.machine.empty


# --- L6: late and repeated releases


@pytest.mark.parametrize("stale", [section("mine", "x", "1"), section("mine", "w", "3"), other, section("nobody")])
def test_L6_a_stale_release_frees_nothing(page: Subject, stale: SectionId) -> None:
    """A release of an earlier section of the same instance, an earlier execution or somebody else frees no later section."""
    later = section("mine", "x", "3")
    page.accept(request(section("mine", "x", "1")))
    page.accept(LockRelease(section("mine", "x", "1")))
    page.accept(request(later, A, B))
    page.run()
    page.send(Page.write, "foreign")
    page.accept(LockRelease(stale))
    assert page.run() == []
    assert locked_by(page) == later
    assert page.state is None


def test_L6_a_stale_release_withdraws_nothing(page: Subject) -> None:
    """It does not withdraw a later request of the same instance either."""
    page.accept(request(other))
    page.accept(request(section("mine", "x", "3")))
    page.run()
    page.accept(LockRelease(mine))
    assert page.run() == []
    assert requests_in(page) == [section("mine", "x", "3")]


def test_L6_a_repeated_release_of_a_set(post: Post) -> None:
    """Releasing a set again while a later section has it changes nothing anywhere."""
    post.ask(mine, A, B, C)
    post.settle()
    post.release(mine, A, B, C)
    post.ask(other, B, C)
    post.settle()
    for _ in range(3):
        post.release(mine, A, B, C)
        post.settle()
    assert post.holders() == ".otherother."
    assert post.granted == [mine, other]


# --- the table, and storage


def free(page: Subject) -> None:
    """Nobody has it."""
    del page


def held(page: Subject) -> None:
    """A section of two entities has it."""
    page.accept(request(mine, A, B))
    page.run()


def releasing(page: Subject) -> None:
    """The holder has left with a call pending."""
    held(page)
    page.send(Page.write, "pending", section=mine)
    page.accept(LockRelease(mine))
    page.machine.advance(NOW, 1)


PASSED_ON: list[EntityEffect] = [Send(B, LockRelease(mine))]
ASKED: list[EntityEffect] = [Send(B, request(other, A, B, at=B))]
TABLE: list[tuple[Callable[[Subject], None], str, SectionId | None, list[EntityEffect]]] = [
    (free, "request", other, ASKED),
    (free, "holder releases", None, []),
    (free, "stale release", None, []),
    (held, "request", mine, []),
    (held, "holder releases", None, PASSED_ON),
    (held, "stale release", mine, []),
    (releasing, "request", mine, []),
    (releasing, "holder releases", mine, []),
    (releasing, "stale release", mine, []),
    (releasing, "last call", None, []),
]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize(("state", "event", "holder", "effects"), TABLE)
def test_L_the_table(
    page: Subject,
    state: Callable[[Subject], None],
    event: str,
    holder: SectionId | None,
    effects: list[EntityEffect],
    reopened: bool,
) -> None:
    """In every state every event leads where the table says, and sends what it says; a restart in between changes nothing."""
    state(page)
    page.take()
    if reopened:
        page = page.reopened()
    if event == "request":
        page.accept(request(other, A, B))
    elif event != "last call":
        page.accept(LockRelease(mine if event == "holder releases" else third))
    if (state, event) != (releasing, "request"):  # there the turn would go to the call
        page.machine.advance(NOW, 1)
    assert locked_by(page) == holder
    assert [effect for effect in page.take() if not isinstance(effect, Answer)] == effects


def test_E11_a_lock_keeps_an_entity() -> None:
    """An entity without state that is locked, or has a request waiting, is not empty; a free one without state is."""
    page = fresh(Page, "a")
    page.accept(request(mine))
    assert not page.machine.empty
    page.run()
    assert not page.machine.empty
    page.accept(LockRelease(mine))
    page.run()
    assert page.machine.empty
