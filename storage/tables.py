"""The tables of a hub and the layout of their keys.

Every key is binary and sorts as its fields do: integers are big-endian and of fixed width. Only the directory
holds a user's bytes, last in the key and unescaped, so that the longest name and key (100 + 1 + 400 bytes)
stay below LMDB's limit of 511; every other table uses the 8-byte number that the directory gave an instance.

========== ============================================ ======================================================
table      key                                          value
========== ============================================ ======================================================
meta       a short name                                 hub-wide counters; the keys ``commit`` and ``header``
directory  kind (1), name and key, or instance id       number (8)
instances  number (8)                                   the instance's record: identity, state or status
history    number (8), chunk (4)                        what happened in the turns of one batch, in order
inbox      number (8), sequence (8)                     a message that waits for its turn
activities number (8), execution (16), task id          an activity that was scheduled and has no result yet
requests   request id (UTF-8)                           what was asked under this id, and its answer (D8)
expiry     expiry time in microseconds (8), request id  index of ``requests`` by the end of its life
letters    number (8), sequence (8)                     failed signals that an operator may look at (E4)
timers     due time in microseconds (8), number (8), id what is due then; a delayed signal has the number 0
delayed    number (8), due time (8), digest of the id   index of the delayed signals by their entity (E10)
payloads   number (8), payload (8)                      large values, deleted with their owner
========== ============================================ ======================================================

The keys ``commit`` and ``header`` of ``meta`` belong to the store itself (:mod:`perdure.storage.batch_rules`).
"""

from __future__ import annotations

from typing import Final

META: Final = "meta"
DIRECTORY: Final = "directory"
INSTANCES: Final = "instances"
HISTORY: Final = "history"
INBOX: Final = "inbox"
ACTIVITIES: Final = "activities"
REQUESTS: Final = "requests"
EXPIRY: Final = "expiry"
LETTERS: Final = "letters"
TIMERS: Final = "timers"
DELAYED: Final = "delayed"
PAYLOADS: Final = "payloads"

TABLES: Final = (
    META,
    DIRECTORY,
    INSTANCES,
    HISTORY,
    INBOX,
    ACTIVITIES,
    REQUESTS,
    EXPIRY,
    LETTERS,
    TIMERS,
    DELAYED,
    PAYLOADS,
)
"""Every table, in the order in which an engine may create them. All are opened once, together."""

ENTITY_KIND: Final = b"e"
ORCHESTRATION_KIND: Final = b"o"

KEY_BYTES_MAX: Final = 511
"""LMDB's limit, which every engine keeps."""
