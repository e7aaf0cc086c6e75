"""Dead letters in a whole hub: reading, redriving and discarding them, once whatever happens (E4)."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import pytest
import trio
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from perdure.entities import Entity, EntityId
from perdure.hub import DeadLetter, HubClosed, LimitReached, TaskHub, letter_verbs, limits
from perdure.storage import DamagedRecord, tables
from perdure.storage.memory_store import MemoryStore
from perdure.testing.scripted_store import Harm, ScriptedStore

from ..entities.on_hub import BrokenStore, WatchedStore, a_while, opened, until
from . import disk
from .helpers import dies

refusing = {"all": True}
"""Whether desks refuse what they are handed."""


@pytest.fixture(autouse=True)
def refuse() -> None:
    refusing["all"] = True


@define
class Desk(Entity):
    """Takes papers, unless it refuses."""

    papers: list[str] = field(factory=list)

    def hand_in(self, paper: str) -> None:
        """Take one."""
        if refusing["all"]:
            raise ValueError(f"not {paper}")
        self.papers.append(paper)


A, B = Desk.at("a"), Desk.at("b")


async def hand_in(hub: TaskHub, *papers: tuple[EntityId, str]) -> None:
    """Signal desks, in order."""
    async with hub.batch() as batch:
        for ref, paper in papers:
            batch.signal_entity(ref, "hand_in", paper)
    await hub.wait_idle()


async def told(hub: TaskHub, ref: EntityId | None = None) -> list[Any]:
    """What the letters were about, in order."""
    return [letter.arguments and letter.arguments[0] async for letter in hub.iter_dead_letters(ref)]


async def papers(hub: TaskHub, key: str) -> list[str]:
    """What a desk has taken."""
    await hub.wait_idle()
    found = await hub.read_entity(Desk.at(key))
    return [] if found is None else found.papers


async def test_E4_a_letter_tells_all_that_there_was() -> None:
    """A letter names entity, operation, arguments, failure and time, in the life of the hub in which it arose and in later ones."""
    store = MemoryStore()
    async with opened(Desk, store=store, clock=lambda: 1_900_000_000_000_000) as hub:
        await hand_in(hub, (A, "x"))
        (first,) = (await hub.dead_letters(A)).items
    async with opened(Desk, store=store) as hub:
        (letter,) = (await hub.dead_letters()).items
        letters_of_a = (await hub.describe(A)).dead_letters
    assert letter == first
    assert letters_of_a == 1
    assert (letter.entity_id, letter.operation, letter.arguments) == (A, "hand_in", ("x",))
    assert letter.failure.message == "not x"
    assert letter.failed_at.isoformat() == "2030-03-17T17:46:40+00:00"


@define
class Clerk(Entity):
    """Is called a desk, and takes two papers at once."""

    @classmethod
    def entity_name(cls) -> str:
        """Like a desk."""
        return "desk"

    def hand_in(self, paper: str, copy: str) -> None:
        """Take two."""


@pytest.mark.parametrize("definitions", [(), (Clerk,)])
async def test_E4_a_letter_can_be_read_where_its_operation_is_unknown(definitions: tuple[type[Entity], ...]) -> None:
    """Where the class is not defined, or its operation takes other arguments, a letter is shown without its arguments."""
    store = MemoryStore()
    async with opened(Desk, store=store) as hub:
        await hand_in(hub, (A, "x"))
    async with opened(*definitions, store=store) as hub:
        (letter,) = (await hub.dead_letters()).items
        assert (letter.operation, letter.arguments) == ("hand_in", None)


async def test_E4_a_redriven_signal_stands_at_the_end_of_the_queue() -> None:
    """Redriving delivers the signal behind what waits already, and the letter is gone by the same commit."""
    store = WatchedStore()
    async with opened(Desk, store=store) as hub:
        await hand_in(hub, (A, "x"))
        refusing["all"] = False
        hub.pause()
        await hub.signal_entity(A, Desk.hand_in, "y")
        (letter,) = (await hub.dead_letters()).items
        before = store.submitted
        assert await letter.redrive()
        assert store.submitted == before + 1
        assert (await hub.dead_letters()).items == []
        assert len(store.snapshot()[tables.INBOX]) == 2
        hub.unpause()
        assert await papers(hub, "a") == ["y", "x"]


@pytest.mark.parametrize("page", [1, 200])
async def test_E4_what_fails_again_is_a_new_letter(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redriven signal that fails once more is kept again, as the newest letter; redriving all takes each letter once."""
    monkeypatch.setattr(letter_verbs, "_AT_A_TIME", page)
    async with opened(Desk) as hub:
        await hand_in(hub, (A, "x"), (A, "y"))
        oldest, _ = (await hub.dead_letters(A)).items
        assert await oldest.redrive()
        await hub.wait_idle()
        assert await told(hub) == ["y", "x"]
        assert await hub.redrive_dead_letters() == 2
        await hub.wait_idle()
        assert await told(hub) == ["y", "x"]


async def test_E4_a_letter_is_taken_once() -> None:
    """Redriving and discarding tell whether they did it: only the first of several does, also if they come at once or later."""
    store = MemoryStore()
    async with opened(Desk, store=store) as hub, trio.open_nursery() as nursery:
        await hand_in(hub, (A, "x"))
        (letter,), (copy,) = (await hub.dead_letters()).items, (await hub.dead_letters()).items
        refusing["all"] = False
        done: list[bool] = []

        async def note(verb: Any) -> None:
            done.append(await verb())

        store.hold_commits(True)
        for verb in (letter.redrive, copy.redrive, copy.discard):
            nursery.start_soon(note, verb)
        await a_while()
        assert done == []
        store.hold_commits(False)
        await until(lambda: len(done) == 3)
        assert sorted(done) == [False, False, True]
        assert not await letter.redrive()
        assert await papers(hub, "a") in (["x"], [])
    async with opened(Desk, store=store) as hub:
        assert (await hub.dead_letters()).items == []
        with pytest.raises(HubClosed):
            await letter.redrive()


@pytest.mark.parametrize("cache", [64 << 20, 1])
async def test_E4_a_letter_of_an_earlier_life_of_the_entity_is_gone(cache: int) -> None:
    """A handle whose letter was discarded does nothing to the letters of an entity that came to be again under the same id."""
    async with opened(Desk, cache_bytes=cache) as hub:
        await hand_in(hub, (A, "x"))
        (old,) = (await hub.dead_letters()).items
        assert await old.discard()
        await hub.wait_idle()
        await hand_in(hub, (A, "y"))
        assert not await old.redrive()
        assert not await old.discard()
        assert await told(hub) == ["y"]


async def test_E11_no_letter_nothing_left() -> None:
    """An entity that was kept for its letters only leaves nothing when the last one is gone."""
    store = WatchedStore()
    async with opened(Desk, store=store) as hub:
        await hand_in(hub, (A, "x"), (A, "y"))
        first, second = (await hub.dead_letters()).items
        await first.discard()
        assert store.left_over() == {"directory": 1, "instances": 1, "letters": 1}
        await second.discard()
        assert store.left_over() == {}


async def test_E4_crowded_out_letters_are_gone() -> None:
    """The newest hundred are kept, those that were taken not counted, and a letter that was crowded out cannot be redriven."""
    async with opened(Desk) as hub:
        await hand_in(hub, *((A, str(number)) for number in range(limits.LETTERS_MAX)))
        first, second, third = (await hub.dead_letters(limit=3)).items
        assert await second.discard()
        await hand_in(hub, (A, "one more"))
        assert len(await told(hub)) == limits.LETTERS_MAX
        await hand_in(hub, (A, "and one more"))
        assert not await first.redrive()
        assert await third.discard()
        assert len(await told(hub)) == limits.LETTERS_MAX - 1


async def test_E4_a_full_mailbox_keeps_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter whose entity has no room is refused, and stays."""
    monkeypatch.setattr(limits, "MAILBOX_MESSAGES_MAX", 1)
    async with opened(Desk) as hub:
        await hand_in(hub, (A, "x"))
        hub.pause()
        await hub.signal_entity(A, Desk.hand_in, "y")
        (letter,) = (await hub.dead_letters()).items
        with pytest.raises(LimitReached):
            await letter.redrive()
        assert await told(hub) == ["x"]
        assert await letter.discard()


# --- all of them


async def test_E4_all_letters_of_one_or_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All letters of an entity, or of all entities, are redriven or discarded, over any number of pages."""
    monkeypatch.setattr(letter_verbs, "_AT_A_TIME", 3)
    refs = [Desk.at(str(number)) for number in range(4)]
    async with opened(Desk) as hub:
        await hand_in(hub, *((ref, f"{ref.key}-{number}") for number in range(5) for ref in refs))
        assert await hub.discard_dead_letters(refs[0]) == 5
        assert await told(hub) == [f"{ref.key}-{number}" for ref in refs[1:] for number in range(5)]
        refusing["all"] = False
        assert await hub.redrive_dead_letters(refs[1]) == 5
        assert await papers(hub, "1") == [f"1-{number}" for number in range(5)]
        assert await hub.redrive_dead_letters() == 10
        assert await told(hub) == []
        assert [await papers(hub, key) for key in "023"] == [[], *([f"{key}-{number}" for number in range(5)] for key in "23")]
        assert await hub.redrive_dead_letters() == await hub.discard_dead_letters(Desk.at("nobody")) == 0


async def test_E4_letters_in_pages() -> None:
    """Pages show each letter once, entity by entity, also while letters come and go between them."""
    async with opened(Desk) as hub:
        await hand_in(hub, *((ref, f"{ref.key}{number}") for ref in (A, B) for number in range(3)))
        first = await hub.dead_letters(limit=2)
        assert [letter.arguments for letter in first.items] == [("a0",), ("a1",)]
        await first.items[1].discard()
        await hand_in(hub, (A, "a3"))
        second = await hub.dead_letters(limit=4, token=first.token)
        assert [letter.arguments for letter in second.items] == [("a2",), ("a3",), ("b0",), ("b1",)]
        third = await hub.dead_letters(limit=4, token=second.token)
        assert ([letter.arguments for letter in third.items], third.token) == ([("b2",)], None)
        with pytest.raises(ValueError, match="another query"):
            await hub.dead_letters(B, token=first.token)


async def test_D9_letters_beside_damaged_ones() -> None:
    """A damaged letter, or the letters of a damaged entity, are left where they are; all others are read and redriven."""
    store = BrokenStore()
    async with opened(Desk, store=store) as hub:
        await hand_in(hub, (A, "a"), (B, "b1"), (B, "b2"), (Desk.at("c"), "c"))
    disk = store.snapshot()
    store.broken = {(tables.INSTANCES, disk[tables.DIRECTORY][b"edesk\0a"]), (tables.LETTERS, sorted(disk[tables.LETTERS])[1])}
    refusing["all"] = False
    async with opened(Desk, store=store) as hub:
        assert await told(hub) == ["a", "b2", "c"]
        (of_a,) = (await hub.dead_letters(A)).items
        with pytest.raises(DamagedRecord):
            await of_a.redrive()
        assert await hub.redrive_dead_letters() == 2
        assert [await papers(hub, key) for key in "bc"] == [["b2"], ["c"]]
    assert len(store.snapshot()[tables.LETTERS]) == 2


# --- crashes


def test_E4_redriving_is_repeated_safely() -> None:
    """Wherever the process dies while letters are redriven, repeating it delivers each signal exactly once."""
    died = 0
    for at, harm in itertools.product(range(1, 12), (Harm.DIED_BEFORE, Harm.DIED_AFTER, Harm.LOST, Harm.KEPT)):
        store = ScriptedStore()
        refusing["all"] = True
        trio.run(fill, store)
        store = store.reborn()
        refusing["all"] = False
        died += dies(redrive_each, store.harm(at, harm))
        disk.check(store.disk.snapshot())
        store = store.reborn()
        trio.run(redrive_each, store)
        assert trio.run(read_both, store) == [["x", "y"], ["z"]]
        assert store.table(tables.LETTERS) == {}
    assert died > 8


async def fill(store: ScriptedStore) -> None:
    """Three letters."""
    async with TaskHub("Test", [Desk], store) as hub:
        await hand_in(hub, (A, "x"), (A, "y"), (B, "z"))


async def redrive_each(store: ScriptedStore) -> None:
    """One after another."""
    async with TaskHub("Test", [Desk], store) as hub:
        async for letter in hub.iter_dead_letters():
            await letter.redrive()
        await hub.wait_idle()


async def read_both(store: ScriptedStore) -> list[list[str]]:
    """What both desks have taken, in order of the alphabet."""
    async with TaskHub("Test", [Desk], store) as hub:
        return [sorted(await papers(hub, key)) for key in "ab"]


# --- against a model


@settings(max_examples=25)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["fail", "redrive", "discard", "succeed"]), st.integers(0, 9)), max_size=20),
    cache=st.sampled_from([1, 64 << 20]),
)
def test_E4_letters_agree_with_a_model(steps: list[tuple[str, int]], cache: int) -> None:
    """Whatever fails and is redriven or discarded in whatever order, the letters are those of a list, the newest four kept."""

    async def program() -> None:
        model: deque[str] = deque(maxlen=4)
        taken: list[str] = []
        names = map(str, itertools.count())
        async with opened(Desk, cache_bytes=cache) as hub:
            for verb, place in steps:
                letters: list[DeadLetter] = (await hub.dead_letters(A)).items
                refusing["all"] = verb != "succeed"
                if verb == "fail":
                    await hand_in(hub, (A, name := next(names)))
                    model.append(name)
                elif place < len(letters):
                    name = model[place]
                    del model[place]
                    if verb == "discard":
                        assert await letters[place].discard()
                    else:
                        assert await letters[place].redrive()
                        (taken if verb == "succeed" else model).append(name)
                await hub.wait_idle()
                assert await told(hub, A) == list(model)
            assert await papers(hub, "a") == taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LETTERS_MAX", 4)
        trio.run(program)
