"""Locks by hand: names of sections, and a small network that delivers what entities send each other.

The network keeps messages of one sender to one receiver in order, and nothing else: which pair's turn it is, and whether a
receiver works at once, is the test's choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field
from perdure.entities.entity import Entity
from perdure.entities.ids import EntityId
from perdure.entities.lock import release_of
from perdure.entities.messages import (
    Answer,
    EntityEffect,
    EntityMessage,
    Granted,
    LockRequest,
    SectionId,
    Send,
)

from .helpers import Bench, Subject


def section(owner: str, execution: str = "x", position: str = "1") -> SectionId:
    """A section's id."""
    return SectionId(owner, execution, position)


def set_of(*refs: EntityId) -> tuple[tuple[str, str], ...]:
    """A lock set as messages hold it, in order."""
    return tuple((ref.name, ref.key) for ref in sorted(refs))


@define
class Post:
    """Machines wired together.

    Attributes:
      bench: their definitions.
      subjects: the machines, by id.
      links: what is under way, by sender and receiver.
      granted: the sections whose owners have been told, in order.
      answers: the answers that were given, in order.
    """

    bench: Bench
    subjects: dict[EntityId, Subject] = field(factory=dict)
    links: dict[tuple[object, EntityId], deque[EntityMessage]] = field(factory=dict)
    granted: list[SectionId] = field(factory=list)
    answers: list[Answer] = field(factory=list)

    @classmethod
    def of(cls, entity: type[Entity], keys: Iterable[str]) -> Post:
        """A machine of the class for each key."""
        post = cls(Bench(entity))
        for key in keys:
            post.subjects[entity.at(key)] = post.bench.subject(entity.at(key))
        return post

    def send(self, sender: object, target: EntityId, message: EntityMessage) -> None:
        """Put a message on its way."""
        self.links.setdefault((sender, target), deque()).append(message)

    def ask(self, asked: SectionId, *refs: EntityId) -> None:
        """Send the lock request of a section, as its owner does."""
        locks = set_of(*refs)
        self.send(asked.owner, EntityId(*locks[0]), LockRequest(asked, locks, 0))

    def release(self, released: SectionId, *refs: EntityId) -> None:
        """Send the release of a section, as its owner does when it leaves, in whatever way."""
        effect = release_of(released, set_of(*refs))
        self.send(released.owner, effect.target, effect.message)

    def call(self, holder: SectionId, ref: EntityId, operation: str, *arguments: object, caller: int = 0) -> None:
        """Call an entity from within a section."""
        self.send(holder.owner, ref, self.bench.message(ref, operation, *arguments, caller=caller, section=holder))

    def signal(self, ref: EntityId, operation: str, *arguments: object, sender: object = "client") -> None:
        """Signal an entity from outside of any section."""
        self.send(sender, ref, self.bench.message(ref, operation, *arguments))

    @property
    def waiting(self) -> list[tuple[object, EntityId]]:
        """The links on which something is under way."""
        return [link for link, messages in self.links.items() if messages]

    def deliver(self, link: tuple[object, EntityId]) -> Subject:
        """Deliver the next message of a link, without letting the receiver work."""
        subject = self.subjects[link[1]]
        subject.machine.accept(self.links[link].popleft())
        return subject

    def work(self, subject: Subject) -> None:
        """Let a machine work off all that it has, and put what it decided on its way."""
        self.take(subject, subject.run_all())

    def take(self, subject: Subject, effects: list[EntityEffect]) -> None:
        """Put what a machine decided on its way."""
        for effect in effects:
            if isinstance(effect, Send):
                self.send(subject.id, effect.target, effect.message)
            elif isinstance(effect, Granted):
                self.granted.append(effect.section)
            elif isinstance(effect, Answer):
                self.answers.append(effect)

    def settle(self) -> None:
        """Deliver everything, oldest link first, until nothing is under way."""
        while waiting := self.waiting:
            for link in waiting:
                self.work(self.deliver(link))

    def holder(self, ref: EntityId) -> str | None:
        """Whose lock an entity has."""
        lock = self.subjects[ref].machine.lock
        return None if lock is None else lock.section.owner

    def holders(self) -> str:
        """The holders of all entities in the order of their keys; a dot for a free one."""
        return "".join(self.holder(ref) or "." for ref in sorted(self.subjects))


def requests_in(subject: Subject) -> list[SectionId]:
    """The sections that wait for an entity, in order."""
    return [message.section for _, message in subject.machine.mailbox.queue if isinstance(message, LockRequest)]


# --- pages, to lock


@define
class Page(Entity):
    """Remembers who wrote on it."""

    lines: list[str] = field(factory=list)

    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


A, B, C, D = (Page.at(key) for key in "abcd")
mine, other, third = section("mine"), section("other"), section("third")


def request(asked: SectionId, *refs: EntityId, at: EntityId = A) -> LockRequest:
    """A section's request as it reaches one entity of the set."""
    locks = set_of(*(refs or (at,)))
    return LockRequest(asked, locks, locks.index((at.name, at.key)))


def locked_by(subject: Subject) -> SectionId | None:
    """Whose lock it is."""
    return None if subject.machine.lock is None else subject.machine.lock.section
