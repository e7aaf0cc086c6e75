"""Critical sections under random interleavings (L1 to L6): a seeded simulation of entities, owners and clients.

Ten entities, and owners that lock random subsets of them, two sections each. Messages of one sender to one receiver stay in
order, everything else is delivered in random order. Owners call from inside their sections, leave some with a call
pending, or end early: while they wait, while they hold, or before they were told of it. Some operations are async and stay
suspended for a while; machines are dropped and made again of what would be stored; releases are repeated, also much later.

Checked at each step, from the owners' point of view as well as the entities': nobody else's operation runs in an entity
while an owner is inside, and what a section holds is a prefix of its set. At the end: everybody had his turn, nothing is
locked, waits or is under way, and each entity served what arrived in the order in which it arrived.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import pytest
from attrs import define, field
from perdure.entities.entity import Entity
from perdure.entities.ids import EntityId
from perdure.entities.messages import (
    Answer,
    CallingTask,
    EntityEffect,
    Granted,
    LockRequest,
    Operation,
    SectionId,
    Send,
)

from .helpers import NOW, Bench, Pause, Subject
from .locking import Post, requests_in

ENTITIES = 10
OWNERS = 10
SECTIONS_EACH = 2
CLIENT_SIGNALS = 30


@define
class Room(Entity):
    """Remembers who ran here."""

    visits: list[str] = field(factory=list)

    def visit(self, who: str) -> int:
        self.visits.append(who)
        return len(self.visits)

    async def stay(self, who: str) -> int:
        self.visits.append(f"{who} comes")
        await Pause()
        self.visits[-1] = who
        return len(self.visits)


@define
class Owner:
    """An owner, and the section that it is at.

    Attributes:
      name: its instance id.
      left: sections that it will still have, this one included.
      section: the present one.
      refs: its set, in order.
      state: ``waiting`` for the locks, ``inside``, or ``ended`` when everything is done.
      pending: the entities whose answers it waits for.
      past: sections that it has left, with their sets.
    """

    name: str
    left: int
    section: SectionId
    refs: list[EntityId] = field(factory=list)
    state: str = "new"
    pending: dict[str, EntityId] = field(factory=dict)
    past: list[tuple[SectionId, list[EntityId]]] = field(factory=list)


@define
class Simulation(Post):
    """The entities and owners of one run.

    Attributes:
      random: decides everything.
      owners: by instance id.
      news: answers and grants under way to an owner, by sender and owner.
      inside: who is inside, by entity, as far as the owners know.
      arrived, served: for each entity what arrived and what had its turn, the calls from inside left out.
    """

    random: Random = field(kw_only=True)
    owners: dict[str, Owner] = field(factory=dict)
    news: dict[tuple[EntityId, str], deque[Any]] = field(factory=dict)
    inside: dict[EntityId, SectionId] = field(factory=dict)
    arrived: dict[EntityId, list[str]] = field(factory=dict)
    served: dict[EntityId, list[str]] = field(factory=dict)
    withdrawn: set[str] = field(factory=set)
    signals: int = CLIENT_SIGNALS
    calls: int = 0

    @classmethod
    def seeded(cls, seed: int) -> Simulation:
        """A run that the seed decides."""
        bench = Bench(Room)
        self = cls(bench, random=Random(seed))
        for key in range(ENTITIES):
            ref = Room.at(str(key))
            self.subjects[ref], self.arrived[ref], self.served[ref] = bench.subject(ref), [], []
        for number in range(OWNERS):
            name = f"owner{number}"
            self.owners[name] = Owner(name, SECTIONS_EACH, SectionId(name, "x", "0"))
        return self

    # --- owners

    def enter(self, owner: Owner) -> None:
        """Ask for the next section."""
        owner.section = SectionId(owner.name, "x", str(int(owner.section.position) + 1))
        owner.refs = sorted(self.random.sample(list(self.subjects), self.random.randint(1, 4)))
        owner.state = "waiting"
        self.ask(owner.section, *owner.refs)

    def call_from_inside(self, owner: Owner) -> None:
        """Call a locked entity that has no call pending."""
        ref = self.random.choice(owner.refs)
        if ref in owner.pending.values():
            return
        self.calls += 1
        task = f"{owner.section.position}/{self.calls}"
        owner.pending[task] = ref
        operation = self.bench.message(ref, self.random.choice(["visit", "stay"]), str_of(owner.section))
        caller = CallingTask(owner.name, "x", task)
        self.send(owner.name, ref, Operation(operation.name, operation.arguments, caller, owner.section))

    def leave(self, owner: Owner) -> None:
        """Leave the section, or withdraw from it, whatever is pending."""
        self.release(owner.section, *owner.refs)
        for ref in owner.refs:
            if self.inside.get(ref) == owner.section:
                del self.inside[ref]
        self.withdrawn.add(str_of(owner.section))
        owner.past.append((owner.section, owner.refs))
        owner.pending.clear()
        owner.left -= 1
        owner.state = "new" if owner.left else "ended"

    def act(self, owner: Owner) -> None:
        """Let an owner do one thing."""
        chance = self.random.random()
        if owner.past and chance < 0.05:
            self.release(owner.past[-1][0], *owner.past[-1][1])
        if owner.state == "new":
            self.enter(owner)
        elif owner.state == "waiting" and chance < 0.03:
            self.leave(owner)
        elif owner.state == "inside":
            if chance < 0.6:
                self.call_from_inside(owner)
            elif chance < 0.7 or not owner.pending:
                self.leave(owner)

    def hear(self, link: tuple[EntityId, str]) -> None:
        """Deliver a grant or an answer to an owner."""
        owner, told = self.owners[link[1]], self.news[link].popleft()
        if isinstance(told, Answer):
            assert isinstance(told.reply_to, CallingTask)
            owner.pending.pop(told.reply_to.task, None)
        elif told.section == owner.section and owner.state == "waiting":
            owner.state = "inside"
            for ref in owner.refs:
                assert ref not in self.inside, f"{ref} has two owners inside"
                self.inside[ref] = owner.section
        else:  # it comes too late: handed back at once (L5)
            self.release(told.section, *(EntityId(*each) for each in told.entities))

    # --- entities

    def take(self, subject: Subject, effects: list[EntityEffect]) -> None:
        """Put what an entity decided on its way; news takes its time, too."""
        for effect in effects:
            if isinstance(effect, Send):
                self.send(subject.id, effect.target, effect.message)
            elif isinstance(effect, Granted):
                self.news.setdefault((subject.id, effect.section.owner), deque()).append(effect)
            elif isinstance(effect, Answer) and isinstance(effect.reply_to, CallingTask):
                self.news.setdefault((subject.id, effect.reply_to.instance_id), deque()).append(effect)

    def arrive(self, link: tuple[object, EntityId]) -> None:
        """Deliver a message to an entity."""
        message = self.links[link][0]
        if isinstance(message, LockRequest):
            self.arrived[link[1]].append(str_of(message.section))
        elif isinstance(message, Operation) and message.section is None:
            self.arrived[link[1]].append(self.bench.registry.values.codec(object).decode(message.arguments)[0])
        self.deliver(link)

    def turn(self, ref: EntityId) -> bool:
        """Let an entity work off one message, or go on with its async operation; true if it did something."""
        subject = self.subjects[ref]
        machine, before = subject.machine, subject.machine.lock
        if machine.running is not None and (self.random.random() < 0.5 or not machine.ready):
            who = self.argument(machine.running.message)
            self.check_visit(ref, who, machine.running.message.section)
            subject.step()
        elif machine.waiting_operation:
            lane = machine.mailbox.queue if machine.lock is None else machine.mailbox.held
            self.note_visit(ref, lane[0][1])
            subject.begin()
        elif machine.ready:
            lane = machine.mailbox.control or (machine.mailbox.queue if machine.lock is None else machine.mailbox.held)
            next_message = lane[0][1]
            if isinstance(next_message, Operation):
                self.note_visit(ref, next_message)
            machine.advance(NOW, 1)
            if machine.lock is not None and machine.lock is not before:
                self.served[ref].append(str_of(machine.lock.section))
        else:
            return False
        self.take(subject, subject.take())
        return True

    def argument(self, message: Operation) -> str:
        """Whom an operation names."""
        return self.bench.registry.values.codec(object).decode(message.arguments)[0]

    def note_visit(self, ref: EntityId, message: Any) -> None:
        """An operation is about to run."""
        who = self.argument(message)
        self.check_visit(ref, who, message.section)
        if message.section is None:
            self.served[ref].append(who)

    def check_visit(self, ref: EntityId, who: str, section: SectionId | None) -> None:
        """Nobody else's operation runs while an owner is inside, or the entity is locked (L2)."""
        owner = self.inside.get(ref)
        assert owner is None or owner == section, f"{who} runs in {ref} while {owner} is inside"
        lock = self.subjects[ref].machine.lock
        assert lock is None or lock.section == section, f"{who} runs in {ref} while {lock} holds it"

    def check_prefixes(self) -> None:
        """What a section that was not left holds is a prefix of its set (L1)."""
        for owner in self.owners.values():
            if owner.state in ("waiting", "inside"):
                held = [self.holds(ref, owner.section) for ref in owner.refs]
                assert held == sorted(held, reverse=True), f"{owner.section} holds {held} of {owner.refs}"
                assert owner.state == "waiting" or all(held)

    def holds(self, ref: EntityId, section: SectionId) -> bool:
        """Whether a section has the lock of an entity."""
        lock = self.subjects[ref].machine.lock
        return lock is not None and lock.section == section

    # --- the run

    def moves(self) -> list[tuple[Any, Any]]:
        """Everything that could happen next."""
        found: list[tuple[Any, Any]] = [(self.arrive, link) for link in self.waiting]
        found += [(self.hear, link) for link, news in self.news.items() if news]
        for ref, subject in self.subjects.items():
            machine = subject.machine
            if machine.ready or machine.waiting_operation or machine.running is not None:
                found.append((self.turn, ref))
            elif self.random.random() < 0.05:
                found.append((self.reopen, ref))
        for owner in self.owners.values():
            if owner.state != "ended" and not (owner.state == "waiting" and self.random.random() < 0.9):
                found.append((self.act, owner))
        if self.signals:
            found.append((self.client, None))
        return found

    def reopen(self, ref: EntityId) -> None:
        """Drop a machine and make it again of what is stored."""
        self.subjects[ref] = self.subjects[ref].reopened()

    def client(self, _: None) -> None:
        """Signal some entity."""
        self.signals -= 1
        name = self.random.choice(["visit", "stay"])
        self.signal(self.random.choice(list(self.subjects)), name, f"client{self.signals}", sender=self.random.randint(1, 3))

    def run(self) -> int:
        """Go on until nothing can happen; how many steps that took."""
        steps = 0
        while moves := self.moves():
            if all(move[0] == self.reopen for move in moves):
                break
            move, what = self.random.choice(moves)
            move(what)
            self.check_prefixes()
            steps += 1
            assert steps < 20_000, "it never ends"
        return steps


def str_of(section: SectionId) -> str:
    """A section in few characters."""
    return f"{section.owner}.{section.position}"


@pytest.mark.parametrize("seed", range(40))
def test_L_sections_under_any_interleaving(seed: int) -> None:
    """No run breaks isolation or order, none gets stuck, and none leaves anything locked, waiting or under way."""
    run = Simulation.seeded(seed)
    run.run()
    assert [owner.state for owner in run.owners.values()] == ["ended"] * OWNERS
    assert not run.waiting
    assert not run.inside
    for ref, subject in run.subjects.items():
        machine = subject.machine
        assert machine.lock is None
        assert not machine.mailbox.waiting
        assert not requests_in(subject)
        visits = [who for who in run.served[ref] if who in run.arrived[ref]]
        expected = [who for who in run.arrived[ref] if who in visits]
        assert visits == expected == run.served[ref]
        assert set(run.arrived[ref]) - set(visits) <= run.withdrawn
    clients = [who for ref in run.subjects for who in run.served[ref] if who.startswith("client")]
    assert len(clients) == CLIENT_SIGNALS


def test_L_the_simulation_reaches_what_it_is_for() -> None:
    """Over the seeds there are grants, calls from inside, requests that were withdrawn while waiting, and suspended operations."""
    granted = calls = withdrawn = 0
    for seed in range(10):
        run = Simulation.seeded(seed)
        run.run()
        sections = {str_of(owner.section) for owner in run.owners.values()} | run.withdrawn
        full = {section for section in sections if any(section in served for served in run.served.values())}
        granted += len(full)
        withdrawn += sum(
            1 for ref in run.subjects for who in run.arrived[ref] if who in run.withdrawn and who not in run.served[ref]
        )
        calls += run.calls
    assert granted > 100
    assert calls > 100
    assert withdrawn > 5
