"""Faults of the core to be planted: turns, messages, locks, request ids, time, lives, journals, commits; see :mod:`.planting`."""

from __future__ import annotations

import itertools
import random
from collections import deque
from typing import Any

import trio
from perdure.entities.entity_mailbox import EntityMailbox
from perdure.entities.lock import Lock
from perdure.entities.machine import EntityMachine
from perdure.entities.mailbox import NO_MESSAGES
from perdure.entities.messages import Answer, LockRelease, Operation, Send, WaitingClient
from perdure.hub import cells, intents, opening
from perdure.hub.cells import EntityCell, OrchestrationCell
from perdure.hub.clock import HubClock
from perdure.hub.committer import Committer
from perdure.hub.engine import Engine
from perdure.hub.intents import SignalIntent, StartIntent
from perdure.hub.records import encode
from perdure.hub.recovery import Recovery
from perdure.hub.requests import Requests
from perdure.hub.residence import Residence
from perdure.hub.runtime import Runtime
from perdure.hub.timers import Timers
from perdure.orchestration import InstanceNotFound, context, incoming, instance_state, kernel, machine, outgoing
from perdure.orchestration.events import EventBuffers
from perdure.orchestration.history import StartTimer, TurnStarted
from perdure.orchestration.inbox import Inbox
from perdure.orchestration.machine import OrchestrationMachine
from perdure.orchestration.messages import DropTimer, SectionGranted, TellChild, Terminate
from perdure.storage import StorageError, StorageInDoubt, keys, tables

from .planting import Places, every, nothing, plant

# --- what leaves before it is durable (D2, O5)


@plant
def acknowledges_before_the_commit() -> Places:
    async def durable(self: Runtime) -> None:
        self.scheduler.wake()
        await trio.lowlevel.checkpoint()

    return [(Runtime, "durable", durable)]


@plant
def replies_before_the_commit() -> Places:
    original = Engine._answer

    def answer(self: Engine, cell: Any, effect: Answer) -> None:
        reply_to = effect.reply_to
        if isinstance(reply_to, WaitingClient) and (ack := self.calls.pop(reply_to.token, None)) is not None:
            ack.succeed(effect.outcome)
        else:
            original(self, cell, effect)

    return [(Engine, "_answer", answer)]


@plant
def starts_activities_before_the_commit() -> Places:
    original = Runtime.__init__

    def init(self: Runtime, *args: Any, **options: Any) -> None:
        original(self, *args, **options)

        def schedule(key: bytes, record: Any) -> None:
            self.engine.batch.writes[tables.ACTIVITIES][key] = encode(record)
            self.activities.start({key: record})

        self.engine.schedule = schedule  # type: ignore[method-assign]

    return [(Runtime, "__init__", init)]


@plant
def begins_async_operations_before_the_commit() -> Places:
    original = Runtime.__init__

    def init(self: Runtime, *args: Any, **options: Any) -> None:
        original(self, *args, **options)

        def note(cell: Any) -> None:
            if isinstance(cell, EntityCell) and (number := cell.machine.waiting_operation) is not None:
                self.operations.begin([(cell, number)])

        self.engine._note_operation = note  # type: ignore[method-assign]

    return [(Runtime, "__init__", init)]


# --- failures that leave traces (E4)


@plant
def does_not_undo_the_state_of_a_failed_operation() -> Places:
    original = EntityMachine._fail

    def fail(self: EntityMachine, message: Operation, error: BaseException, context: Any) -> None:
        live = self._live
        original(self, message, error, context)
        self._live = live

    return [(EntityMachine, "_fail", fail)]


@plant
def sends_what_a_failed_operation_wanted_to_send() -> Places:
    original = EntityMachine._fail

    def fail(self: EntityMachine, message: Operation, error: BaseException, context: Any) -> None:
        self.effects.extend(context.close()[0])
        original(self, message, error, context)

    return [(EntityMachine, "_fail", fail)]


@plant
def loses_dead_letters() -> Places:
    return [(Engine, "_letter", nothing)]


# --- messages (E2, D1)


@plant
def drops_every_ninth_message_to_an_entity() -> Places:
    return [(Engine, "to_cell", every(9, Engine.to_cell, nothing))]


@plant
def delivers_every_ninth_message_to_an_entity_twice() -> Places:
    original = Engine.to_cell

    def twice(self: Engine, cell: Any, message: Any) -> None:
        original(self, cell, message)
        original(self, cell, message)

    return [(Engine, "to_cell", every(9, original, twice))]


@plant
def delivers_messages_twice_after_recovery() -> Places:
    return [(EntityCell, "_flush_mailbox", _without_deleting)]


def _without_deleting(self: Any, mailbox: Any, writes: Any) -> None:
    """Store what is new, and do not delete what was consumed."""
    for number, message in mailbox.seal()[0]:
        writes[tables.INBOX][self.prefix + keys.u64(number)] = encode(message)


@plant
def puts_a_message_before_the_last_one() -> Places:
    original = EntityMailbox.put

    def put(self: EntityMailbox, message: Any, number: int | None, lock: Any) -> None:
        original(self, message, number, lock)
        queue = self.queue
        if number is None and len(queue) > 1 and queue[-2][0] > self.stored_up_to:
            (first, earlier), (second, later) = queue[-2], queue[-1]
            queue[-2], queue[-1] = (first, later), (second, earlier)

    return [(EntityMailbox, "put", put)]


@plant
def brings_back_an_old_state_after_every_ninth_operation() -> Places:
    original, old = EntityMachine._succeed, dict[Any, Any]()

    def remember(self: EntityMachine, *args: Any) -> None:
        original(self, *args)
        old.setdefault(self.entity_id, self.state)

    def bring_back(self: EntityMachine, *args: Any) -> None:
        original(self, *args)
        self.state, self._live = old.get(self.entity_id, self.state), None

    return [(EntityMachine, "_succeed", every(9, remember, bring_back))]


@plant
def writes_every_twentieth_entity_without_its_state() -> Places:
    original = EntityCell.flush

    def flush(self: EntityCell, writes: Any, payload_bytes_min: int) -> None:
        kept = dict(writes[tables.INSTANCES])
        original(self, writes, payload_bytes_min)
        if self.prefix not in kept and self.machine.state is not None:
            writes[tables.INSTANCES].pop(self.prefix, None)

    return [(EntityCell, "flush", every(20, original, flush))]


@plant
def accepts_half_of_a_batch_when_it_is_refused() -> Places:
    original = SignalIntent.check

    def check(self: SignalIntent, runtime: Runtime, starting: set[str]) -> bool:
        allowed = original(self, runtime, starting)
        if allowed and len(starting) == 0 and len(runtime.residence.orchestrations) > 2:
            self.accept(runtime)
            return False
        return allowed

    return [(SignalIntent, "check", check), (SignalIntent, "accept", _accept_and_refuse)]


def _accept_and_refuse(self: SignalIntent, runtime: Runtime) -> None:
    """Accept an operation that has no room any more, and say so."""
    runtime.engine.to_entity(self.target, self.message)
    if self.request_id is not None:
        runtime.requests.keep(self.request_id, self.asked(), runtime.engine.batch)
    if len(runtime.engine.batch.acks) > 2:
        raise ValueError("refused, and accepted all the same")


@plant
def forgets_waiting_messages_after_a_restart() -> Places:
    return [(Recovery, "take_up_more", lambda self: setattr(self, "_inbox_at", None))]


# --- locks (L1 to L6)


@plant
def locks_in_the_order_of_the_call() -> Places:
    original = context.CriticalSection
    return [(context, "CriticalSection", lambda code, entities, limit: original(code, entities[::-1], limit))]


@plant
def keeps_locks_after_the_owner_has_ended() -> Places:
    original = instance_state.leaving

    def leaving(*args: Any) -> list[Any]:
        return [effect for effect in original(*args) if not isinstance(effect, Send)]

    return [(instance_state, "leaving", leaving)]


@plant
def releases_only_the_first_lock_of_a_set() -> Places:
    return [(Lock, "after_release", nothing)]


@plant
def lets_a_late_release_free_a_later_section() -> Places:
    original = EntityMachine._release

    def release(self: EntityMachine, message: LockRelease) -> None:
        original(self, message if self.lock is None else LockRelease(self.lock.section))

    return [(EntityMachine, "_release", release)]


@plant
def lets_others_into_a_locked_entity() -> Places:
    original = EntityMailbox.put

    def put(self: EntityMailbox, message: Any, number: int | None, lock: Any) -> None:
        if lock is not None and number is None and isinstance(message, Operation) and message.section is None:
            if not self.held:
                self.held = deque()
            self.held.append((self.number(), message))
        else:
            original(self, message, number, lock)

    return [(EntityMailbox, "put", put)]


@plant
def drops_a_grant_that_comes_too_late() -> Places:
    def granted(self: Engine, _: Any, effect: Any) -> None:
        owner = self.residence.orchestration(effect.section.owner)
        if owner is not None and owner.machine.mailbox.inbox:
            return
        if owner is not None:
            self.to_orchestration(owner, SectionGranted(effect.section, effect.entities))

    return [(Engine, "_granted", granted)]


# --- request ids (D8)


@plant
def forgets_request_ids_of_signals_and_events() -> Places:
    original = Requests.keep

    def keep(self: Requests, request_id: str, asked: bytes, batch: Any, target: str = "", *, expires: bool = True) -> None:
        if not expires:
            original(self, request_id, asked, batch, target, expires=expires)

    return [(Requests, "keep", keep)]


@plant
def forgets_request_ids_at_a_restart() -> Places:
    original = Requests.find

    def find(self: Requests, request_id: str, asked: bytes) -> Any:
        return original(self, request_id, asked) if request_id in self._uncommitted else None

    return [(Requests, "find", find)]


@plant
def keeps_no_answers_under_request_ids() -> Places:
    def answered(self: Requests, request_id: str, outcome: Any, batch: Any) -> None:
        batch.acks.extend((ack, outcome) for ack in self._waiting.pop(request_id, ()))

    return [(Requests, "answered", answered)]


# --- time (D6, O8)


@plant
def takes_timers_a_second_early() -> Places:
    original = Timers.take_due
    return [(Timers, "take_due", lambda self, now, *rest: original(self, now + 1_000_000, *rest))]


@plant
def lets_the_clock_go_back_with_the_wall_clock() -> Places:
    return [(HubClock, "now", lambda self: self._source())]


@plant
def forgets_the_time_at_a_restart() -> Places:
    return [(opening, "last_time", lambda _: 0)]


@plant
def lets_cancelled_timers_fire() -> Places:
    original = outgoing.cancelling

    def cancelling(work: Any, *args: Any) -> Any:
        return None if isinstance(work, StartTimer) else original(work, *args)

    return [(instance_state, "cancelling", cancelling)]


@plant
def keeps_the_timers_of_what_has_ended() -> Places:
    original = instance_state.leaving
    return [(instance_state, "leaving", lambda *args: [each for each in original(*args) if not isinstance(each, DropTimer)])]


@plant
def loses_timers_of_more_than_a_minute() -> Places:
    original = Timers.set

    def set_(self: Timers, batch: Any, key: bytes, record: Any) -> None:
        fire_at = keys.read_u64(key)
        if fire_at % 1_000_000 or (fire_at // 1_000_000) % 7:
            original(self, batch, key, record)

    return [(Timers, "set", set_)]


# --- the lives of instances (O10 to O16)


@plant
def loses_unread_events_in_continue_as_new() -> Places:
    return [(EventBuffers, "kept", lambda _: [])]


@plant
def loses_waiting_messages_in_continue_as_new() -> Places:
    original = Inbox.put_before

    def put_before(self: Inbox, messages: Any) -> None:
        for number, _ in self.inbox:
            self.took(number)
        self.inbox = NO_MESSAGES
        original(self, messages)

    return [(Inbox, "put_before", put_before)]


@plant
def does_not_tell_children_of_a_termination() -> Places:
    original = instance_state.leaving
    return [(instance_state, "leaving", lambda *args: [each for each in original(*args) if not isinstance(each, TellChild)])]


@plant
def runs_suspended_instances() -> Places:
    def lane(self: Inbox, record: Any, defined: bool) -> Any:
        return self.endings or self.control or (self.inbox if defined else None) or None

    return [(Inbox, "lane", lane)]


@plant
def lets_a_finished_instance_be_ended_again() -> Places:
    original = incoming.concerns

    def concerns(message: Any, record: Any, code: Any) -> bool:
        return isinstance(message, Terminate) or original(message, record, code)

    def running_cell(runtime: Runtime, instance_id: str, verb: str) -> Any:
        cell = runtime.residence.orchestration(instance_id)
        if cell is None:
            raise InstanceNotFound(f"{verb}: {instance_id}")
        return cell

    return [(machine, "concerns", concerns), (intents, "running_cell", running_cell)]


@plant
def starts_an_instance_that_is_running() -> Places:
    def check(self: StartIntent, runtime: Runtime, starting: set[str]) -> bool:
        starting.add(self.instance_id)
        return True

    return [(StartIntent, "check", check)]


@plant
def leaves_journals_behind_when_purging() -> Places:
    original = Residence.keys_of
    return [(Residence, "keys_of", lambda self, cell, table: [] if table == tables.HISTORY else original(self, cell, table))]


@plant
def leaves_messages_behind_when_purging() -> Places:
    original, keys_of = Engine.purge, Residence.keys_of

    def purge(self: Engine, cell: Any) -> None:
        original(self, cell)
        cell.machine.mailbox.consumed.clear()

    def others(self: Residence, cell: Any, table: str) -> list[bytes]:
        return [] if table == tables.INBOX else keys_of(self, cell, table)

    return [(Engine, "purge", purge), (Residence, "keys_of", others)]


@plant
def deletes_the_directory_row_of_a_purged_instance_again_and_again() -> Places:
    original = OrchestrationCell.flush

    def flush(self: OrchestrationCell, writes: Any, payload_bytes_min: int) -> None:
        self.stored = self.stored or self.purged
        original(self, writes, payload_bytes_min)

    return [(OrchestrationCell, "flush", flush)]


@plant
def leaves_activities_behind_when_purging() -> Places:
    return [(Residence, "keys_under_way", lambda *_: set())]


@plant
def takes_up_activities_that_were_purged() -> Places:
    original = Recovery.take_up_activities

    def take_up_activities(self: Recovery) -> None:
        writes = self._engine.batch.writes[tables.ACTIVITIES]
        purged = dict(writes)
        writes.clear()
        original(self)
        self._engine.batch.writes[tables.ACTIVITIES] = purged | writes

    return [(Recovery, "take_up_activities", take_up_activities)]


@plant
def leaves_values_behind_that_were_stored_apart() -> Places:
    return [(cells, "delete_payloads", nothing)]


@plant
def never_begins_what_was_to_start_later() -> Places:
    return [(OrchestrationMachine, "begin", nothing)]


@plant
def does_not_rewind_failed_children() -> Places:
    return [(Engine, "_rewind_child", nothing)]


# --- journals and activities (O1, O2, O5)


@plant
def journals_what_comes_before_the_first_event() -> Places:
    original = OrchestrationMachine._begin_turn

    def begin_turn(self: OrchestrationMachine, now: int) -> None:
        original(self, now)
        if not self._turn_noted:
            self._turn_noted = True
            self.journal.append(TurnStarted(self.now))

    return [(OrchestrationMachine, "_begin_turn", begin_turn)]


@plant
def loses_every_tenth_chunk_of_a_journal() -> Places:
    original = OrchestrationCell.flush

    def flush(self: OrchestrationCell, writes: Any, payload_bytes_min: int) -> None:
        self.machine.journal.clear()
        original(self, writes, payload_bytes_min)

    return [(OrchestrationCell, "flush", every(10, original, flush))]


@plant
def gives_other_random_numbers_in_a_replay() -> Places:
    seeds = itertools.count()

    def fresh(self: kernel.Kernel) -> random.Random:
        if self._random is None:
            self._random = random.Random(next(seeds))
        return self._random

    return [(kernel.Kernel, "random", property(fresh))]


@plant
def keeps_activities_that_have_their_result() -> Places:
    def ended(self: Runtime, _: bytes, record: Any, outcome: Any) -> None:
        if outcome is not None:
            self.engine.task_result(record.reply_to, outcome)
        self.scheduler.wake()

    return [(Runtime, "_activity_ended", ended)]


@plant
def forgets_activities_at_a_restart() -> Places:
    return [(Recovery, "take_up_activities", nothing)]


@plant
def answers_a_cancelled_step() -> Places:
    def concerns(message: Any, record: Any, code: Any) -> bool:
        if isinstance(message, incoming.TaskResult) and record is not None and not record.status.final and code is not None:
            return message.execution == record.execution
        return incoming.concerns(message, record, code)

    return [(machine, "concerns", concerns)]


@plant
def takes_results_of_an_earlier_execution() -> Places:
    original = Engine.task_result

    def task_result(self: Engine, reply_to: Any, outcome: Any, heartbeat: bytes | None = None) -> bool:
        cell = self.residence.orchestration(reply_to.instance_id)
        record = None if cell is None else cell.machine.record
        if record is not None and reply_to.execution != record.execution:
            reply_to = type(reply_to)(reply_to.instance_id, record.execution, reply_to.task)
        return original(self, reply_to, outcome, heartbeat)

    return [(Engine, "task_result", task_result)]


# --- commits (D4, D10)


@plant
def drops_a_batch_that_was_refused() -> Places:
    original = Committer._failed

    def failed(self: Committer, batch: Any, error: StorageError) -> None:
        original(self, batch, error)
        self.under_way = self.failure = None
        self.open.number = batch.number

    return [(Committer, "_failed", failed)]


@plant
def repeats_a_commit_whose_outcome_is_not_known() -> Places:
    original = Committer.settle

    def settle(self: Committer, seconds: float) -> bool:
        try:
            return original(self, seconds)
        except StorageInDoubt as error:
            assert self.under_way is not None
            self._failed(self.under_way, error)
            return False

    return [(Committer, "settle", settle)]


@plant
def acknowledges_a_commit_that_was_refused() -> Places:
    original = Committer._failed

    def failed(self: Committer, batch: Any, error: StorageError) -> None:
        for ack, value in batch.acks:
            ack.succeed(value)
        original(self, batch, error)

    return [(Committer, "_failed", failed)]
