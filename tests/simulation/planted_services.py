"""Faults to be planted in what stands around turns; see :mod:`.planting`.

Delayed signals, dead letters, queries and updates, retention, purges, expiry, cleaning, heartbeats, HTTP calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import attrs
import trio
from perdure.entities.machine import EntityMachine
from perdure.entities.messages import DropSignal, Failure, Operation
from perdure.hub import cleaning, letter_verbs, purge_verbs
from perdure.hub.activities import ActivityRunner
from perdure.hub.careful import Careful
from perdure.hub.cells import EntityCell
from perdure.hub.delayed import DelayedSignals, signal_key
from perdure.hub.engine import Engine
from perdure.hub.handler_verbs import HandlerVerbs
from perdure.hub.intents import running_cell
from perdure.hub.records import SignalRecord
from perdure.hub.retention import Retention
from perdure.hub.timers import Timers
from perdure.orchestration import CannotQuery, QueryFailed, RuntimeStatus, http_call
from perdure.orchestration.handlers import Handlers
from perdure.orchestration.instance_state import InstanceState
from perdure.storage import keys, tables

from .planting import Places, every, nothing, plant

# --- delayed signals (E10)


@plant
def delivers_delayed_signals_ten_seconds_early() -> Places:
    original = Timers.take_due

    def take_due(self: Timers, now: int, batch: Any, under_way: Any) -> Any:
        due = original(self, now + 10_000_000, batch, under_way)
        taken = [(key, record) for key, record in due if keys.read_u64(key) <= now or isinstance(record, SignalRecord)]
        for key in {key for key, _ in due} - {key for key, _ in taken}:
            del batch.writes[tables.TIMERS][key]
            self.next_due = 0
        return taken

    return [(Timers, "take_due", take_due)]


@plant
def sends_at_once_what_is_for_later() -> Places:
    def send(self: DelayedSignals, effect: Any, sender: str, batch: Any) -> None:
        cell = self._residence.entity(effect.target)
        cell.machine.accept(effect.message)
        self._touch(cell, 1)

    return [(DelayedSignals, "send", send)]


@plant
def says_that_a_signal_is_cancelled_and_leaves_it() -> Places:
    return [(DelayedSignals, "cancel", lambda self, signal_id, _: self.find(signal_id) is not None)]


@plant
def says_that_a_signal_is_cancelled_that_was_delivered() -> Places:
    original = DelayedSignals.cancel

    def cancel(self: DelayedSignals, signal_id: str, batch: Any) -> bool:
        original(self, signal_id, batch)
        return True

    return [(DelayedSignals, "cancel", cancel)]


@plant
def cancels_signals_for_an_operation_that_failed() -> Places:
    original = EntityMachine._fail

    def fail(self: EntityMachine, message: Operation, error: BaseException, context: Any) -> None:
        self.effects.extend(effect for effect in context.close()[0] if isinstance(effect, DropSignal))
        original(self, message, error, context)

    return [(EntityMachine, "_fail", fail)]


@plant
def forgets_that_a_signal_is_gone_until_that_is_durable() -> Places:
    def find(self: DelayedSignals, signal_id: str) -> Any:
        stored = self._timers.stored(signal_key(signal_id))
        return stored if isinstance(stored, SignalRecord) else None

    return [(DelayedSignals, "find", find)]


@plant
def loses_every_third_delayed_signal_when_it_is_due() -> Places:
    original = DelayedSignals.deliver

    def lose(self: DelayedSignals, key: bytes, record: Any, batch: Any) -> None:
        self._touch(self._gone(key, record, batch), 0)

    return [(DelayedSignals, "deliver", every(3, original, lose))]


# --- dead letters (E4)


@plant
def redrives_letters_and_keeps_them() -> Places:
    return [(letter_verbs, "remove_letter", lambda *_: True)]


@plant
def redrives_letters_that_are_gone() -> Places:
    original = letter_verbs.remove_letter

    def remove(*args: Any) -> bool:
        original(*args)
        return True

    return [(letter_verbs, "remove_letter", remove)]


@plant
def discards_letters_that_are_to_be_redriven() -> Places:
    original = letter_verbs._take
    return [(letter_verbs, "_take", lambda runtime, key, record, *, redrive: original(runtime, key, record, redrive=False))]


# --- queries and updates (O21)


async def _query(self: HandlerVerbs, instance_id: str, name: str, *, waits: bool, begun: bool) -> Any:
    """Answer a query; without waiting until it is durable, or whether or not the code has begun."""
    runtime = self._open_runtime()
    await trio.lowlevel.checkpoint()
    cell = running_cell(runtime, instance_id, "query")
    record = cell.machine.record
    if cell.machine.needs_history and (not begun or (record is not None and record.status is RuntimeStatus.RUNNING)):
        runtime.residence.revive(cell, runtime.clock.now())
    if cell.machine.kernel is None:
        raise CannotQuery("it has no code in memory")
    outcome = cell.machine.kernel.handlers.query(instance_id, name, self._registry.handler_arguments(()))
    if waits and cell.batch > runtime.committer.committed:
        await runtime.durable()
    if isinstance(outcome, Failure):
        raise QueryFailed(instance_id, name, outcome.failure)
    return self._registry.values.codec(tuple[list[str], list[str]]).decode(outcome.value)


@plant
def tells_in_a_query_of_what_is_not_durable() -> Places:
    return [(HandlerVerbs, "query", lambda *args, **_: _query(*args, waits=False, begun=True))]


@plant
def asks_code_that_has_not_begun() -> Places:
    return [(HandlerVerbs, "query", lambda *args, **_: _query(*args, waits=True, begun=False))]


@plant
def accepts_updates_that_the_code_refuses() -> Places:
    return [(Handlers, "refusal", nothing)]


@plant
def answers_an_update_again_after_a_rewind() -> Places:
    original = Handlers.received

    def received(self: Handlers, event: Any) -> Any:
        strand = original(self, event)
        self.unanswered.setdefault(self._received, event.reply_to)
        return strand

    return [(Handlers, "received", received)]


@plant
def does_not_answer_the_updates_of_what_has_ended() -> Places:
    original = InstanceState._answer_updates
    return [(InstanceState, "_answer_updates", lambda self, ended=None: original(self))]


# --- what goes: retention, purges, expiry, cleaning (O16, E11, L8)


@plant
def removes_finished_instances_too_early() -> Places:
    original = Retention.purge_at

    def purge_at(self: Retention, record: Any) -> int | None:
        due = original(self, record)
        return None if due is None else (due + record.completed_at) // 2

    return [(Retention, "purge_at", purge_at)]


@plant
def never_removes_finished_instances() -> Places:
    return [(Retention, "purge_at", nothing)]


@plant
def purges_more_than_it_was_asked_to() -> Places:
    return [(purge_verbs, "InstanceFilter", _Everything)]


class _Everything:
    """A filter that lets everything through."""

    def __init__(self, *_: object) -> None:
        pass

    def matches(self, _: object) -> bool:
        """Whatever it is."""
        return True


@plant
def does_not_count_calls_against_idleness() -> Places:
    return [(EntityCell, "note_success", nothing)]


@plant
def lets_entities_go_that_are_to_get_signals() -> Places:
    held = property(lambda self: self.machine.lock is not None or self.machine.mailbox.waiting > 0)
    return [(EntityCell, "held", held)]


@plant
def never_lets_idle_entities_go() -> Places:
    return [(EntityCell, "idle_until", property(lambda _: 0))]


@plant
def releases_the_locks_of_living_owners_when_cleaning() -> Places:
    return [(cleaning, "_orphaned", lambda *_: True)]


# --- activities and HTTP calls (O5, O14)


@plant
def forgets_how_far_an_attempt_was_when_it_fails() -> Places:
    original = Engine.task_result
    return [(Engine, "task_result", lambda self, reply_to, outcome, heartbeat=None: original(self, reply_to, outcome))]


@plant
def begins_with_care_what_was_cancelled() -> Places:
    def cancel(self: Careful, cancelled: Iterable[bytes]) -> None:
        gone = {b"suspect:" + key for key in cancelled}
        self._held = deque(trial for trial in self._held if trial.key not in gone)

    return [(Careful, "cancel_activities", cancel)]


@plant
def does_not_tell_an_activity_how_far_it_was() -> Places:
    return [(ActivityRunner, "last_heartbeat", nothing)]


@plant
def polls_before_the_server_wants_it() -> Places:
    original = http_call.next_poll

    def next_poll(request: Any, response: Any, now: int, *, polling: bool) -> Any:
        poll = original(request, response, now, polling=polling)
        return None if poll is None else attrs.evolve(poll, due=now)

    return [(http_call, "next_poll", next_poll)]


@plant
def takes_an_acceptance_for_the_answer() -> Places:
    return [(http_call, "next_poll", nothing)]
