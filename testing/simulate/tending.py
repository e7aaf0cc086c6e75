"""Random clients that look after a hub: dead letters, cleaning, purges by filter; and that ask what running instances offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import outcome
import trio
from attrs import define, field

from ...hub import DeadLetter, HubClosed, TaskHub
from ...orchestration import CannotQuery, InstanceFinished, InstanceNotFound, QueryFailed, RuntimeStatus
from ...orchestration.status import OrchestrationRecord
from ...storage import StorageError
from .known import Fault
from .ledgers import Ledger
from .ops import LEDGER, Op
from .performing import CREDIT, SEEN
from .programs import KEYS
from .requests import Request
from .sending import Sending

Seen: TypeAlias = tuple[list[str], list[str]]
"""What an execution tells in a query: the events that it has received, and the ops that it has sent."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@define(eq=False)
class Tending(Sending):
    """Makes requests of operators, and of those who talk with running instances."""

    _letters: list[DeadLetter] = field(factory=list)

    # --- dead letters

    def take_letter(self) -> Request:
        """``redrive`` or ``discard`` of one dead letter, which may have been taken long ago."""
        chance, key = self.chance, self.chance.choice(KEYS)
        place, old, redrive = chance.randrange(4), chance.random() < 0.5, chance.random() < 0.6
        taken: list[str] = []

        async def send(hub: TaskHub) -> bool:
            letters = (await hub.dead_letters(Ledger.at(key))).items
            self._letters += letters
            choices = self._letters if old else letters
            if not choices:
                return False
            letter = choices[-1 - place % len(choices)]
            if not redrive and letter.entity_id.key != key:
                return False
            if letter.arguments is not None:
                taken.append(letter.arguments[0])
            return await (letter.redrive() if redrive else letter.discard())

        def check(_: Request, done: bool) -> Iterator[Fault]:
            op = self.known.ops.by_name.get(taken[0]) if taken else None
            if done and not redrive and op is not None and not self.known.unsure(op.name):
                op.refused = True
                if self.known.ops.places[op.name]:
                    yield 23, f"the dead letter {op.name!r} was discarded, and is there"

        what = "redrive" if redrive else "discard"
        return self._with_letters(Request(f"{what} a letter of {key!r}", send, check=check), key, discards=not redrive)

    def take_letters(self) -> Request:
        """``redrive_dead_letters`` or ``discard_dead_letters`` of one ledger."""
        key, redrive = self.chance.choice(KEYS), self.chance.random() < 0.7
        entity = self.known.stored.entity(LEDGER, key)
        number, letters = (b"", set[int]()) if entity is None else (entity.number, set(entity.letters))

        async def send(hub: TaskHub) -> int:
            return await (hub.redrive_dead_letters if redrive else hub.discard_dead_letters)(Ledger.at(key))

        def check(_: Request, __: int) -> Iterator[Fault]:
            now = self.known.stored.entity(LEDGER, key)
            if now is not None and now.number == number and letters & now.letters.keys():
                yield 23, f"the letters {letters & now.letters.keys()} of {key!r} were all taken, and are there"

        what = "redrive" if redrive else "discard"
        return self._with_letters(Request(f"{what} all letters of {key!r}", send, check=check), key, discards=not redrive)

    def _with_letters(self, request: Request, key: str, *, discards: bool) -> Request:
        """The model is to allow for letters that are discarded."""
        discarding = self.known.discarding
        request.begins = lambda: discarding.update({key: int(discards)})
        request.has_ended = lambda: discarding.subtract({key: int(discards)})
        return request

    # --- cleaning

    def clean(self) -> Request:
        """``clean_entities``: nothing that anybody needs may go."""
        return Request("clean entities", lambda hub: hub.clean_entities())

    def purge_some(self) -> Request:
        """``purge`` of all for which several conditions hold."""
        chance, known = self.chance, self.known
        status = chance.choice((None, RuntimeStatus.FAILED, RuntimeStatus.TERMINATED, RuntimeStatus.COMPLETED))
        prefix, age = chance.choice(("", "i", "n", "i1")), chance.choice((None, None, 0, 60))
        name = chance.choice((None, None, None, "nobody"))
        created_to = None if age is None else known.time - age * 1_000_000
        began: list[int] = []

        def matches(record: OrchestrationRecord) -> bool:
            # An execution that began meanwhile, in place of a finished one, may have ended in the very commit that removed it.
            ended_at_once = not record.status.final and bool(began) and record.created_at >= began[0]
            return (
                (ended_at_once or (record.status.final and status in (None, record.status)))
                and record.instance_id.startswith(prefix)
                and (created_to is None or record.created_at < created_to)
                and name in (None, record.name)
            )

        def send(hub: TaskHub) -> Any:
            until = None if created_to is None else EPOCH + timedelta(microseconds=created_to)
            return hub.purge(status=status, id_prefix=prefix, created_to=until, name=name)

        def begins() -> None:
            began.append(known.time)
            known.purges.append(matches)

        what = f"purge {prefix}*, {status=!s}, {age=}, {name=}"
        return Request(what, send, begins=begins, has_ended=lambda: known.purges.remove(matches))

    # --- what running instances offer

    def _running(self) -> str:
        """An instance that runs, mostly."""
        records = [found.record for found in self.known.stored.orchestrations if found.record is not None]
        running = [record.instance_id for record in records if record.status is RuntimeStatus.RUNNING]
        return self.chance.choice(running) if running and self.chance.random() < 0.7 else self._instance()

    def ask(self, instance_id: str | None = None) -> Request:
        """``query``: whatever it tells of is durable (O21)."""
        asked = instance_id or self._running()
        later, check = self.chance.randrange(8), self._query_check(asked)

        async def send(hub: TaskHub) -> Seen | None:
            return await _seen(hub, asked, later)

        return Request(f"query {asked}", send, check=lambda _, seen: check(seen))

    def _query_check(self, instance_id: str) -> Callable[[Seen | None], Iterator[Fault]]:
        """What is wrong with an answer to a query that is asked now."""
        known = self.known
        begun = known.begun[instance_id]

        def check(seen: Seen | None) -> Iterator[Fault]:
            if seen is None:
                yield 2, f"{instance_id} offers a query from its beginning on, and has not answered it"
            elif known.exists(instance_id) and known.begun[instance_id] == begun:
                events, signalled = seen
                early = [name for name in events if name not in known.received and not known.unsure(name)]
                early += [name for name in signalled if name not in known.ops.by_name and not known.ops.places[name]]
                if early:
                    yield 4, f"{instance_id} has told of {early} before that was durable"

        return check

    def update(self) -> Request:
        """``update``: it is done once, or refused without a trace (O21); a query in its midst tells only what is durable."""
        instance_id, key, amount = self._running(), self._programs.key(), self.chance.choice((-1, 0, 3))
        op = Op(self._name(), "update", instance_id, amount, answered=True)
        request_id, later, check_query = self._request_id(op.name), self.chance.randrange(8), self._query_check(instance_id)
        told: list[Fault] = []

        async def look(hub: TaskHub) -> None:
            with suppress(CannotQuery, InstanceNotFound, InstanceFinished, StorageError, HubClosed):
                told.extend(check_query(await _seen(hub, instance_id, later)))

        async def send(hub: TaskHub) -> tuple[str, int]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look, hub)
                answer = await outcome.acapture(
                    hub.update, instance_id, CREDIT, op.name, key, amount, type=tuple[str, int], request_id=request_id
                )
            return answer.unwrap()

        def check(_: Request, done: tuple[str, int]) -> Iterator[Fault]:
            yield from told
            if amount < 0:
                yield 9, f"update {op.name!r} is to be refused, and was answered {done}"
            elif not self._is_performed(done[0], key, done[1]):
                yield 4, f"update {op.name!r} was answered {done}, and that is not in the durable log of {key!r}"

        return Request(f"update {op.name} {amount} of {instance_id}", send, [op], instance_id, request_id=request_id, check=check)


async def _seen(hub: TaskHub, instance_id: str, later: int) -> Seen | None:
    """The answer to a query, asked some steps of the scheduler later, in the midst of what it tells of; ``None`` if it failed."""
    for _ in range(later):
        await trio.lowlevel.checkpoint()
    try:
        return await hub.query(instance_id, SEEN, type=Seen)
    except QueryFailed:
        return None
