"""The hub's bounds: each with a name, a unit, and the reason for its value."""

from __future__ import annotations

import os
from typing import Final

SLICE_SECONDS: Final = 0.0002
"""Turns run at most this long between two Trio checkpoints; with the last turn's own length about 0.25 ms."""

LONE_SLICE_SECONDS: Final = 0.001
"""The same while no other Trio task is runnable and no commit is under way."""

TURN_MESSAGES_MAX: Final = 16
"""Messages that one instance works off before the next one has its turn, and before the clock is looked at."""

YIELD_SECONDS: Final = 0.00005
"""While a commit is under way, the event loop's thread really sleeps this long between two slices, so that the writer
thread gets the interpreter lock (see :mod:`perdure.storage.store`, rule 3)."""

IDLE_YIELD_SECONDS: Final = 0.0004
"""The same when there is no turn to run: a commit takes about this long, and its end is noticed at once."""

BATCH_INSTANCES_MAX: Final = 4000
"""A batch that changed this many instances is sealed as soon as the last commit is done, even in the midst of work."""

BATCH_SECONDS: Final = 0.006
BATCH_ROUNDS: Final = 10
BATCH_SECONDS_MAX: Final = 0.05
"""So is a batch that is this old, once everybody who is ready has had that many turns in it, and in any case at the maximum: it
bounds what the waiting adds to an acknowledgement."""

BACKLOG_MAX: Final = 20_000
"""Clients wait while this many messages are ready to be worked off. A batch of one client may exceed it once."""

MAILBOX_MESSAGES_MAX: Final = 100_000
"""Messages that may wait for one instance, behind a lock, an async operation or a suspension. They do not hold up other
clients, so beyond this a client's message for that instance is refused (LimitReached)."""

CACHE_BYTES: Final = 64 * 1024 * 1024
"""Instances kept in memory, by estimated size: some 50,000 small entities, or 14,000 orchestrations. What is idle longest is dropped
first. Measured (RssAnon for each of 2,000, CPython 3.11): 1.1 KB for an entity with a small state, 4.3 KB for an orchestration that
waits for an event."""

ENTITY_BYTES: Final = 1_200
"""Estimated size of an entity in memory, beside its state."""

STATE_BYTES_FACTOR: Final = 3
"""A state is in memory encoded and as objects; those of text take about twice as many bytes as their encoding, those of small numbers
some 14 times as many."""

ORCHESTRATION_BYTES: Final = 1_400
"""Estimated size of an orchestration in memory, beside its values."""

CODE_BYTES: Final = 3_000
"""Estimated size of its code, while that is in memory, beside its journal."""

MESSAGE_BYTES: Final = 300
"""Estimated size of a waiting message in memory, beside its encoded bytes."""

VALUE_BYTES_MAX: Final = 16 * 1024 * 1024
"""One value (the arguments of a call, a result, a state, an event) takes at most so many bytes encoded. A turn holds its
values in memory several times over, and a page of the store's file that is freed by one is only used again by another."""

VALUE_BYTES_FLOOR: Final = 64 * 1024
"""No hub may set that limit lower: the longest reason of a termination (10,000 characters) must always fit."""

VALUE_BYTES_CEILING: Final = 1 << 30
"""No hub may set that limit higher: one record of the engine holds 4 GiB, and a journal holds several values in one."""

PAYLOAD_BYTES_MIN: Final = 16 * 1024
"""From this size on, a value of an instance's record is stored apart from it (:mod:`.payloads`). Measured, LMDB, 20 records a
commit: at 16 KiB rewriting a record without its value takes 0.43 ms a commit instead of 0.61, and reading it 1.3 us instead
of 14; at 1 MiB 0.44 ms instead of 36, and 1.5 us instead of 806. At 4 KiB the two hardly differ."""

LETTERS_MAX: Final = 100
"""Dead letters kept for one entity; the oldest make room (E4)."""

REQUESTS_MAX: Final = 1_000_000
"""Request ids kept in one hub (D8)."""

REQUEST_TTL_SECONDS: Final = 24 * 3600.0
"""How long a request id is kept (D8)."""

THREADS_MAX: Final = 40
"""Plain activities that run at a time, each in a worker thread."""

TASKS_PARKED_MAX: Final = 256
"""Trio tasks that are kept for the next activities when they have nothing to do."""

PROCESSES_MAX: Final = os.cpu_count() or 1
"""Activities with ``process=True`` that run at a time, each in a worker process: more than the processors gains nothing."""

PROCESS_CALLS_MAX: Final = 1000
"""Attempts after which a worker process is replaced, so that memory that activities leak comes back. Starting one takes some
0.2 s."""

WORKER_CLOSE_SECONDS: Final = 5.0
"""How long an idle worker process that was told to end may take; then it is killed."""

HTTP_REQUESTS_MAX: Final = 100
"""HTTP requests of orchestrations that are under way at a time, and the connections that are kept for them."""

HTTP_REDIRECTS_MAX: Final = 20
"""Redirects that one request follows."""

HTTP_CLOSE_SECONDS: Final = 5.0
"""How long closing a hub waits for its HTTP connections to be closed."""

DUE_AT_A_TIME: Final = 64
"""Of what is due (timers, delayed signals, expiries, removals), so much happens at a time when no turn is to be run."""

RECOVERY_PAGE: Final = 500
"""Instances with waiting messages that are taken up at a time after opening."""

FREE_SPACE_FLOOR_BYTES: Final = 64 << 20
"""Room that is kept for what runs: with less, clients' new work is refused (StorageFull)."""

SPACE_SECONDS: Final = 0.25
"""The room is looked at this often at most, when a client asks for something; a look takes some 30 µs."""

PARK_SECONDS_MAX: Final = 60.0
"""With timers set, an idle hub looks at the wall clock this often: it may have been set forward (D6)."""

UNDEFINED_EXPIRY_SECONDS: Final = 3600
"""An idle entity whose class is not defined to the hub is looked at again after this time."""

CAREFUL_AFTER_LIVES: Final = 2
"""A hub that was opened so often without working off what it found does one thing at a time (O20)."""

POISON_ATTEMPTS_MAX: Final = 5
"""What has taken the process down that often in careful mode is set aside (O20)."""

FOUND_SECONDS: Final = 60.0
"""Activities that were under way at the opening and have run for so long again are taken for harmless (O20)."""

SUSPECT_SECONDS: Final = 1.0
"""In careful mode, what runs on its own has so long to take the process down before the next thing is begun."""

STORAGE_RETRY_SECONDS: Final = (0.05, 5.0)
"""Wait before a failed commit is tried again: first, and at most (doubling)."""

assert SLICE_SECONDS + YIELD_SECONDS <= 0.00025
assert PAYLOAD_BYTES_MIN <= VALUE_BYTES_FLOOR <= VALUE_BYTES_MAX <= VALUE_BYTES_CEILING
assert RECOVERY_PAGE < BATCH_INSTANCES_MAX
