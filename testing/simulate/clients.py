"""Random clients: what they may ask for, and what they may be told.

Every method makes a :class:`~perdure.testing.simulate.requests.Request` with the verb of a hub that it is named after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define

from ...hub import TaskHub
from ...orchestration import RuntimeStatus
from ...orchestration.messages import Terminate
from .known import Fault
from .ledgers import Ledger
from .ops import Op
from .performing import script
from .programs import INSTANCES
from .requests import Request
from .tending import Tending


@define(eq=False)
class Clients(Tending):
    """Makes requests."""

    _instance_before: str = INSTANCES[0]
    _ended_before: bool = False
    _started_before: bool = False
    _raised_before: bool = False
    _same_again: bool = False

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
            *(self.scratch, self.scratch, self.guest, self.guest),
            *(self.later, self.later, self.later, self.cancel_later, self.cancel_later),
            *(self.update, self.update, self.ask, self.ask),
            *(self.take_letter, self.take_letter, self.take_letters, self.clean, self.clean),
            *(self.read, self.status, self.query, self.letters, self.delayed, self.result),
        )
        ended, self._ended_before = self._ended_before, False
        started, self._started_before = self._started_before, False
        raised, self._raised_before = self._raised_before, False
        if started and self.chance.random() < 0.12:
            return self._about(self._instance_before)
        if ended and self.chance.random() < 0.4:
            return self._start_of(self._instance_before)
        if (raised or started) and self.chance.random() < 0.2:
            return self.ask(self._instance_before)
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

    def _event(self, instance_id: str) -> Op:
        return Op(self._name(), "event", instance_id)

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
        self._raised_before = True
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
