"""The locks of single entities, and of few in a row, message by message (L1 to L6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define, field

from perdure.entities.entity import Entity
from perdure.entities.ids import EntityId
from perdure.entities.messages import (
    Answer,
    CallingTask,
    EntityEffect,
    Granted,
    LockRelease,
    LockRequest,
    Operation,
    SectionId,
    Send,
)

from .helpers import NOW, Subject, fresh
from .locking import Post, requests_in, section, set_of


@define
class Page(Entity):
    """Remembers who wrote on it."""

    lines: list[str] = field(factory=list)

    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


A, B, C, D = (Page.at(key) for key in "abcd")
mine, other, third = section("mine"), section("other"), section("third")


@pytest.fixture
def page() -> Subject:
    return fresh(Page, "a")


@pytest.fixture
def post() -> Post:
    return Post.of(Page, "abcd")


def request(asked: SectionId, *refs: EntityId, at: EntityId = A) -> LockRequest:
    """A section's request as it reaches one entity of the set."""
    locks = set_of(*(refs or (at,)))
    return LockRequest(asked, locks, locks.index((at.name, at.key)))


def locked_by(subject: Subject) -> SectionId | None:
    """Whose lock it is."""
    return None if subject.machine.lock is None else subject.machine.lock.section


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


PASSED_ON = [Send(B, LockRelease(mine))]
ASKED = [Send(B, request(other, A, B, at=B))]
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
