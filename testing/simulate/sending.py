"""Random clients that signal and call entities, now and later (E2, E3, E4, E10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field

from ...entities.delayed import parts_of
from ...hub import TaskHub
from ...hub.delayed import signal_id_of_key, signal_key
from .known import Fault
from .ledgers import IDLE_SECONDS, Guest, Ledger, Scratch
from .looking import Looking
from .ops import Op
from .requests import Request

OPERATIONS: Final = (
    *(Ledger.note, Ledger.note, Ledger.take, Ledger.note_slowly, Ledger.pass_on, Ledger.refuse, Ledger.launch),
    *(Ledger.put_off, Ledger.call_off),
)


@define(eq=False)
class Sending(Looking):
    """Makes requests for entities."""

    _signal_ids: list[tuple[str, Op]] = field(factory=list)

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
        if not self._is_performed(op.name, op.target, place):
            yield 4, f"the caller of {op.name!r} was told {place}, and that is not in the durable log"

    # --- later

    def later(self) -> Request:
        """``signal_entity`` with ``deliver_at``."""
        operation, key, seconds = self.chance.choice((Ledger.note, Ledger.take)), self._programs.key(), self._programs.seconds()
        op, arguments = self._op(operation, key)
        op.due_at = max(1, self.known.time) + round(seconds * 1_000_000)
        request_id = self._request_id(op.name)

        def check(_: Request, signal_id: str) -> Iterator[Fault]:
            self._signal_ids.append((signal_id, op))
            if parts_of(signal_id)[0] < op.due_at:
                yield 20, f"op {op.name!r} was accepted for {op.due_at - parts_of(signal_id)[0]} µs too early"

        return Request(
            f"signal {op.name} {op.operation} to {key!r} in {seconds} s",
            lambda hub: hub.signal_entity(Ledger.at(key), operation, *arguments, deliver_at=seconds, request_id=request_id),
            [op],
            request_id=request_id,
            check=check,
        )

    def cancel_later(self) -> Request:
        """``cancel_signal``, of a signal that waits, whoever sent it, or of one that a client sent long ago."""
        known = self.known
        waiting = [
            (signal_id_of_key(key), known.ops.by_name[name]) for key, name in known.ops.later.items() if name in known.ops.by_name
        ]
        choices = [*waiting, *waiting, *self._signal_ids[-3:]]
        if not choices:
            return self.later()
        signal_id, op = self.chance.choice(choices)

        def begins() -> None:
            op.withdrawn = True

        def check(_: Request, cancelled: bool) -> Iterator[Fault]:
            if signal_key(signal_id) in known.stored.timers:
                yield 23, f"{op.name!r} was cancelled ({cancelled}), and waits all the same"
            if cancelled and not known.unsure(op.name):
                op.refused = True
                if known.ops.places[op.name]:
                    yield 4, f"{op.name!r} was cancelled, and is there"

        return Request(f"cancel {op.name}", lambda hub: hub.cancel_signal(signal_id), check=check, begins=begins)

    # --- entities that come and go

    def scratch(self) -> Request:
        """A call of an entity that is deleted again and again (E3, E11)."""
        key = self.chance.choice(("s", "t"))
        if self.chance.random() < 0.5:
            return Request(f"delete scratch {key}", lambda hub: hub.call_entity(Scratch.at(key), "delete"))
        return Request(f"add to scratch {key}", lambda hub: hub.call_entity(Scratch.at(key), Scratch.add, 1))

    def guest(self) -> Request:
        """A call of an entity that goes by itself, now or so late that it is to wait for it."""
        guest, seconds = Guest.at(self.chance.choice(("g", "h"))), IDLE_SECONDS * self.chance.choice((0.9, 2.0))
        if self.chance.random() < 0.8:
            return Request(f"call {guest}", lambda hub: hub.call_entity(guest, Guest.call))

        async def send(hub: TaskHub) -> None:
            await hub.signal_entity(guest, Guest.call, deliver_at=seconds)

        return Request(f"call {guest} in {seconds} s", send)
