"""Random clients: what they may ask for, and what they may be told.

Every method makes a :class:`~perdure.testing.simulate.requests.Request` with the verb of a hub that it is named after.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, field

from ...hub import TaskHub
from ...orchestration import RuntimeStatus
from ...orchestration.messages import Terminate
from .known import Fault
from .looking import Looking
from .ops import LEDGER, Op
from .programs import INSTANCES, Programs
from .requests import Request
from .world import Ledger, Scratch, script

OPERATIONS: Final = (Ledger.note, Ledger.note, Ledger.take, Ledger.note_slowly, Ledger.pass_on, Ledger.refuse, Ledger.launch)


@define(eq=False)
class Clients(Looking):
    """Makes requests."""

    _names: Iterator[int] = field(factory=lambda: itertools.count(1))
    _programs: Programs = field(init=False)
    _instance_before: str = INSTANCES[0]
    _ended_before: bool = False
    _started_before: bool = False
    _same_again: bool = False

    def __attrs_post_init__(self) -> None:
        self._programs = Programs(self.chance)

    def request(self) -> Request:
        """A request of any kind."""
        kinds: tuple[Callable[[], Request], ...] = (
            *(self.signal,) * 6,
            *(self.call,) * 6,
            *(self.start,) * 8,
            *(self.event,) * 6,
            *(self.start_and_raise, self.batch, self.batch),
            *(self.terminate, self.cancel, self.suspend, self.suspend, self.resume, self.purge, self.purge_some, self.restart),
            *(self.rewind, self.rewind),
            *(self.scratch, self.scratch),
            *(self.read, self.status, self.query, self.letters, self.result),
        )
        ended, self._ended_before = self._ended_before, False
        started, self._started_before = self._started_before, False
        if started and self.chance.random() < 0.12:
            return self._about(self._instance_before)
        if ended and self.chance.random() < 0.4:
            return self._start_of(self._instance_before)
        return self.chance.choice(kinds)()

    def early_request(self) -> Request:
        """A request about something that was under way when the last process died, before the hub has taken it up."""
        live = [found.record.instance_id for found in self.known.stored.orchestrations if found.record is not None and found.live]
        if not live:
            return self.request()
        return self._about(self.chance.choice(live))

    def _about(self, instance_id: str) -> Request:
        """A request that changes the life of just that instance."""
        self._instance_before, self._same_again = instance_id, True
        return self.chance.choice(
            (self.purge, self.purge, self.terminate, self.cancel, self.suspend, self.resume, self.restart)
        )()

    # --- entities

    def _op(self, operation: Any, key: str) -> tuple[Op, tuple[Any, ...]]:
        """An op for a ledger, and the arguments that send it."""
        chance, name = self.chance, f"c{next(self._names)}"
        amount = -chance.randrange(1, 9) if operation is Ledger.take else chance.randrange(9)
        op = Op(name, operation.__name__, key, amount)
        if operation is Ledger.note_slowly:
            return op, (name, amount, self._programs.seconds())
        if operation in (Ledger.pass_on, Ledger.refuse):
            return op, (name, amount, self._programs.key())
        if operation is Ledger.launch:
            op.launches = chance.choice(INSTANCES)
            return op, (name, amount, op.launches, self._programs.program(1))
        return op, (name, amount)

    def _request_id(self, name: str) -> str | None:
        return f"r-{name}" if self.chance.random() < 0.5 else None

    def signal(self) -> Request:
        """``signal_entity``."""
        operation, key = self.chance.choice(OPERATIONS), self._programs.key()
        op, arguments = self._op(operation, key)
        request_id = self._request_id(op.name)
        request = Request(
            f"signal {op.name} {op.operation} to {key!r}",
            lambda hub: hub.signal_entity(Ledger.at(key), operation, *arguments, request_id=request_id),
            [op],
            request_id=request_id,
        )
        return self._with_start(request, op)

    def call(self) -> Request:
        """``call_entity``."""
        operation, key = self.chance.choice(OPERATIONS), self._programs.key()
        op, arguments = self._op(operation, key)
        op.answered = True
        request_id = self._request_id(op.name)
        request = Request(
            f"call {op.name} {op.operation} of {key!r}",
            lambda hub: hub.call_entity(Ledger.at(key), operation, *arguments, request_id=request_id),
            [op],
            request_id=request_id,
            check=self._answered,
        )
        return self._with_start(request, op)

    def _with_start(self, request: Request, op: Op) -> Request:
        if op.launches is not None:
            self.known.starting(op.launches)
        return request

    def _answered(self, request: Request, place: int) -> Iterator[Fault]:
        """The answer of a ledger is the place of the op in its log, once that is durable (8, 10)."""
        op = request.ops[0]
        if op.operation == "refuse":
            yield 9, f"op {op.name!r} fails, and its caller was told {place}"
        entity = self.known.stored.entity(LEDGER, op.target)
        log: list[str] = [] if entity is None or entity.state is None else entity.state["log"]
        if log[place - 1 : place] != [op.name]:
            yield 4, f"the caller of {op.name!r} was told {place}, and the durable log is {log!r}"

    def scratch(self) -> Request:
        """A call of an entity that is deleted again and again (E3, E11)."""
        key = self.chance.choice(("s", "t"))
        if self.chance.random() < 0.5:
            return Request(f"delete scratch {key}", lambda hub: hub.call_entity(Scratch.at(key), "delete"))
        return Request(f"add to scratch {key}", lambda hub: hub.call_entity(Scratch.at(key), Scratch.add, 1))

    # --- orchestrations

    def start(self) -> Request:
        """``start``."""
        news = (f"n{next(self._names)}", f"n{next(self._names)}")
        self._instance_before = self.chance.choice((self._instance(), *INSTANCES[:3], *news))
        return self._start_of(self._instance_before)

    def _start_of(self, instance_id: str) -> Request:
        chance = self.chance
        self._started_before = True
        program, request_id = self._programs.program(), self._request_id(instance_id + f"-{next(self._names)}")
        if_exists = chance.choice(("fail", "return", "replace_finished", "replace_finished", "replace"))
        start_at = self._programs.seconds() if chance.random() < 0.2 else None
        return Request(
            f"start {instance_id}, {if_exists}, {start_at=}: {program}",
            lambda hub: hub.start(
                script,
                program,
                list[str](),
                instance_id=instance_id,
                if_exists=if_exists,
                start_at=start_at,
                request_id=request_id,
            ),
            instance_id=instance_id,
            starts=True,
            wakes=True,
            request_id=request_id,
            check=self._started if if_exists != "fail" else self._started_first,
        )

    def _started_first(self, request: Request, _: object) -> Iterator[Fault]:
        yield from self._started(request, _)
        instance_id = request.instance_id or ""
        purged = self.known.purging or instance_id in self.known.purged
        if request.attempts == 1 and request.existed and not purged:
            yield 2, f"{instance_id} existed, and was started by somebody who did not want that"

    def _started(self, request: Request, _: object) -> Iterator[Fault]:
        instance_id = request.instance_id or ""
        if self.known.stored.orchestration(instance_id) is None and not self._touched(request):
            yield 4, f"the start of {instance_id} was acknowledged before it was durable"

    def _touched(self, request: Request) -> bool:
        """Whether the instance has changed since the request was made, or somebody wanted it to be purged."""
        instance_id = request.instance_id or ""
        purged_at = self.known.purged.get(instance_id, -1)
        return max(self.known.touched_at.get(instance_id, 0), purged_at + 1) > request.asked_at

    def _event(self, instance_id: str) -> Op:
        return Op(f"c{next(self._names)}", "event", instance_id)

    def _instance(self) -> str:
        """An instance that there may be; often the one of the last request, so that its life is an eventful one."""
        same_again, self._same_again = self._same_again, False
        if not same_again and self.chance.random() >= 0.3:
            self._instance_before = self._any_instance()
        return self._instance_before

    def _any_instance(self) -> str:
        there = [found.record.instance_id for found in self.known.stored.orchestrations if found.record is not None]
        return self.chance.choice((*INSTANCES, *there, *there))

    def event(self) -> Request:
        """``raise_event``."""
        instance_id, name = self._instance(), self._programs.event()
        op = self._event(instance_id)
        request_id = self._request_id(op.name)
        return Request(
            f"event {op.name} {name} to {instance_id}",
            lambda hub: hub.raise_event(instance_id, name, op.name, request_id=request_id),
            [op],
            instance_id,
            request_id=request_id,
        )

    def start_and_raise(self) -> Request:
        """``start_and_raise``."""
        instance_id, name, program = self.chance.choice(INSTANCES), self._programs.event(), self._programs.program()
        op = self._event(instance_id)
        return Request(
            f"start {instance_id} and raise {op.name} {name}: {program}",
            lambda hub: hub.start_and_raise(script, program, list[str](), instance_id=instance_id, event=name, value=op.name),
            [op],
            instance_id,
            starts=True,
            check=self._started,
        )

    def batch(self) -> Request:
        """``batch``: signals, a start and an event, all or none."""
        instance_id, program = f"n{next(self._names)}", self._programs.program()
        signals = [self._op(Ledger.note, self._programs.key()) for _ in range(self.chance.randrange(1, 5))]
        event = self._event(instance_id)

        async def send(hub: TaskHub) -> None:
            async with hub.batch() as batch:
                for op, (name, amount) in signals:
                    batch.signal_entity(Ledger.at(op.target), Ledger.note, name, amount)
                batch.start(script, program, list[str](), instance_id=instance_id)
                batch.raise_event(instance_id, "a", event.name)

        ops = [op for op, _ in signals]
        return Request(
            f"batch {[op.name for op in ops]}, start {instance_id}, event {event.name}: {program}",
            send,
            [*ops, event],
            instance_id,
            starts=True,
            check=self._started,
        )

    # --- lives

    def terminate(self) -> Request:
        """``terminate``."""
        instance_id, self._ended_before = self._instance(), True
        return Request(
            f"terminate {instance_id}",
            lambda hub: hub.terminate(instance_id, "enough"),
            instance_id=instance_id,
            wakes=True,
            check=self._terminated,
        )

    def _terminated(self, request: Request, _: object) -> Iterator[Fault]:
        found = self.known.stored.orchestration(request.instance_id or "")
        if found is None or not found.live or self._touched(request):
            return
        if not any(isinstance(message, Terminate) for message in found.inbox.values()):
            yield 4, f"the termination of {request.instance_id} was acknowledged before it was durable"

    def _tell(self, verb: str, *, wakes: bool) -> Request:
        instance_id = self._instance()
        return Request(
            f"{verb} {instance_id}", lambda hub: getattr(hub, verb)(instance_id, verb), instance_id=instance_id, wakes=wakes
        )

    def cancel(self) -> Request:
        """``cancel``."""
        return self._tell("cancel", wakes=True)

    def suspend(self) -> Request:
        """``suspend``."""
        return self._tell("suspend", wakes=False)

    def resume(self) -> Request:
        """``resume``."""
        return self._tell("resume", wakes=True)

    def purge(self) -> Request:
        """``purge_instance``."""
        instance_id, force = self._instance(), self.chance.random() < 0.5
        self._ended_before = True
        return Request(
            f"purge {instance_id}, {force=}",
            lambda hub: hub.purge_instance(instance_id, force=force),
            instance_id=instance_id,
            wakes=True,
            purges=True,
            check=self._purged,
        )

    def _purged(self, request: Request, _: object) -> Iterator[Fault]:
        if self.known.stored.orchestration(request.instance_id or "") is not None and not self._touched(request):
            yield 4, f"the purge of {request.instance_id} was acknowledged before it was durable"

    def purge_some(self) -> Request:
        """``purge`` of all that failed, or were terminated."""
        status = self.chance.choice((RuntimeStatus.FAILED, RuntimeStatus.TERMINATED))
        return Request(f"purge all that are {status}", lambda hub: hub.purge(status=status), purges=True)

    def restart(self) -> Request:
        """``restart``."""
        instance_id, new_id = self._instance(), self.chance.random() < 0.3
        self.known.may_begin_anonymously += new_id
        return Request(
            f"restart {instance_id}, {new_id=}",
            lambda hub: hub.restart(instance_id, new_id=new_id),
            instance_id=instance_id,
            starts=not new_id,
            wakes=True,
            restarts=True,
        )

    def rewind(self) -> Request:
        """``rewind``, mostly of one that has failed."""
        records = [found.record for found in self.known.stored.orchestrations if found.record is not None]
        failed = [record.instance_id for record in records if record.status is RuntimeStatus.FAILED]
        instance_id = self.chance.choice((self._instance(), *failed, *failed))
        return Request(f"rewind {instance_id}", lambda hub: hub.rewind(instance_id), instance_id=instance_id, wakes=True)
